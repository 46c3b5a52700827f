"""Symmetry operations as CIF files write them, and the atoms they make of one site; knows no file and no
element.
"""

import re
import warnings
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from graphgan.data.crystals import CLOSE
from graphgan.data.errors import EntryError

Operations = tuple[np.ndarray, np.ndarray]
"""Rotations [G, 3, 3] and translations [G, 3] on fractional coordinates: x -> rotation @ x + translation."""


@lru_cache(maxsize=4096)
def parse_operation(text: str) -> tuple[np.ndarray, np.ndarray]:
    """Rotation [3, 3] and translation [3] of an operation such as '-x+1/2, y, z'; raises EntryError for other
    text.
    """
    rotation, translation = np.zeros((3, 3)), np.zeros(3)
    rows = re.sub(r"\s", "", text.lower()).split(",")
    if len(rows) != 3:
        raise EntryError(f"symmetry operation {text!r} is not understood")
    for row, expression in enumerate(rows):
        terms = re.findall(r"[+-]?[^+-]+", expression)
        if not terms or "".join(terms) != expression:
            raise EntryError(f"symmetry operation {text!r} is not understood")
        for term in terms:
            axis = "xyz".find(term[-1])
            factor = term[:-1].rstrip("*") if axis >= 0 else term
            try:
                value = _number(factor + "1" if factor in ("", "+", "-") else factor)
            except (ValueError, ZeroDivisionError):
                raise EntryError(f"symmetry operation {text!r} is not understood") from None
            if axis >= 0:
                rotation[row, axis] += value
            else:
                translation[row] += value
    if abs(abs(np.linalg.det(rotation)) - 1) > 1e-6:
        raise EntryError(f"symmetry operation {text!r} does not keep the volume")
    # Files write 1/3 as 0.333; every translation of a space group is a multiple of 1/24.
    ideal = np.round(translation * 24) / 24
    return rotation, np.where(abs(translation - ideal) < 2e-3, ideal, translation)


def _number(text: str) -> float:
    over, _, under = text.partition("/")
    return float(over) / float(under) if under else float(over)


def operations(texts: list[str]) -> Operations | None:
    """The different operations among `texts`; None when the identity is the only one."""
    known: dict[tuple, tuple[np.ndarray, np.ndarray]] = {}
    for text in texts:
        rotation, translation = parse_operation(text)
        key = (
            *np.round(rotation).astype(int).ravel().tolist(),
            *(np.round(translation * 1000) % 1000).tolist(),
        )
        known.setdefault(key, (rotation, translation))
    if len(known) == 1 and next(iter(known))[:9] == (1, 0, 0, 0, 1, 0, 0, 0, 1):
        return None
    return np.array([rotation for rotation, _ in known.values()]), np.array([shift for _, shift in known.values()])


def orbit(site: np.ndarray, symmetry: Operations, lattice: np.ndarray) -> np.ndarray:
    """Every atom [M, 3] that the operations make of a site [3], in fractional coordinates in [0, 1).

    A site within 0.1 Å of a special position is moved onto it (the mean over its stabiliser), because files
    round 1/3 to 0.333. Raises EntryError where orbit and stabiliser do not multiply to the order of the
    group.
    """
    rotations, translations = symmetry

    def images(point: np.ndarray) -> np.ndarray:
        return rotations @ point + translations

    def shifts(points: np.ndarray, point: np.ndarray) -> np.ndarray:
        delta = points - point
        return delta - np.round(delta)

    moved = shifts(images(site), site)
    near = np.linalg.norm(moved @ lattice, axis=1) < CLOSE
    if near.any():
        site = site + moved[near].mean(0)
    points = images(site)
    same = np.linalg.norm(shifts(points[:, None], points[None]) @ lattice, axis=-1) < CLOSE
    unique = points[~np.tril(same, -1).any(1)]
    if len(unique) * int(near.sum()) != len(points):
        raise EntryError("the symmetry operations form no group, or a site lies too near a special position")
    return unique % 1.0


@lru_cache(maxsize=256)
def operations_of_group(symbol: str, number: int | None) -> Operations | None:
    """The operations of a space group named by its Hermann-Mauguin symbol or number, for files that list
    none.

    None for P1. Raises EntryError where the name is unknown or leaves the setting or the origin open: a guess
    would build a different crystal.
    """
    import spglib

    name, _, choice = re.sub(r"[\s_]", "", symbol).partition(":")
    if name.upper() == "P1" or (not name and number == 1):
        return None
    settings = []
    for hall in range(1, 531):
        group = _quietly(spglib.get_spacegroup_type, hall)
        # Short and full name of the setting, as in 'P 2_1/c = P 1 2_1/c 1'.
        names = {re.sub(r"[\s_]", "", part) for part in group.international.split("=")}
        if (name in names) if name else (number == group.number):
            settings.append((hall, group.choice))
    if choice:
        settings = [(hall, known) for hall, known in settings if known == choice.upper()]
    shown = symbol.strip() or f"number {number}"
    if not settings:
        raise EntryError(f"no symmetry operations, and space group {shown!r} is unknown")
    if len(settings) > 1:
        raise EntryError(f"no symmetry operations, and space group {shown!r} has {len(settings)} settings")
    found = _quietly(spglib.get_symmetry_from_database, settings[0][0])
    return found["rotations"].astype(float), found["translations"]


def _quietly(function: Callable[[int], Any], hall: int) -> Any:
    with warnings.catch_warnings():  # spglib announces its future way of reporting errors on every call
        warnings.simplefilter("ignore")
        return function(hall)
