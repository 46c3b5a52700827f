"""One crystal as three arrays, the elements, and the checks a crystal must pass; knows no file format and no
pymatgen.
"""

import math
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from graphgan.data.errors import EntryError

_SYMBOLS = """
    X H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr
    Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W
    Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr Rf Db Sg Bh Hs Mt Ds
    Rg Cn Nh Fl Mc Lv Ts Og
"""
SYMBOLS = tuple(_SYMBOLS.split())
"""Element symbols by atomic number; X stands at 0, for none."""
_NUMBERS = {symbol: number for number, symbol in enumerate(SYMBOLS) if number} | {"D": 1, "T": 1}

CLOSE = 0.1
"""Two atoms nearer than this, in Å, are one atom written twice."""
FLAT = 2 * CLOSE
"""Lattice planes nearer than this, in Å, make a cell in which `CLOSE` cannot be told by the nearest image."""


class Crystal(NamedTuple):
    """An ordered crystal of N atoms.

    lattice      [3, 3]  rows are the lattice vectors, in Å, float64
    frac_coords  [N, 3]  fractional coordinates as the source gives them, not wrapped, float64
    numbers      [N]     atomic numbers 1 to 118, uint8
    """

    lattice: np.ndarray
    frac_coords: np.ndarray
    numbers: np.ndarray


def crystal_of_arrays(lattice: np.ndarray, frac_coords: np.ndarray, numbers: np.ndarray) -> Crystal:
    """A crystal of arrays of any number type; raises EntryError for atomic numbers outside 1 to 118."""
    unknown = [number for number in np.asarray(numbers).tolist() if number not in range(1, len(SYMBOLS))]
    if unknown:
        raise EntryError(f"unknown species: atomic number {unknown[0]:g}")
    return Crystal(lattice, frac_coords, np.asarray(numbers).astype(np.uint8))


@lru_cache(maxsize=4096)
def atomic_number(symbol: str) -> int:
    """The atomic number of an element or species such as Fe, FE, Fe3+, O2-, Fe1 or D (deuterium counts as H).

    Raises EntryError for anything else: dummies, vacancies, water.
    """
    letters = re.fullmatch(r"\s*([A-Za-z]{1,2})[\d.]*[+-]?[\d.]*[+-]?\s*", symbol)
    number = _NUMBERS.get(letters[1].title()) if letters else None
    if number is None:
        raise EntryError(f"unknown species {symbol.strip()!r}")
    return number


@lru_cache(maxsize=4096)
def number_of_label(label: str) -> int:
    """The atomic number that a site label such as Fe1, O2A or CA1 begins with; case tells Co1 from CO1.

    Raises EntryError for a label that begins with no element.
    """
    for symbol in (label[:2], label[:1]):
        if symbol in _NUMBERS and not label[len(symbol) : len(symbol) + 1].islower():
            return _NUMBERS[symbol]
    raise EntryError(f"unknown species {label!r}")


def lattice_from_parameters(lengths: Sequence[float], angles: Sequence[float]) -> np.ndarray:
    """Lattice vectors [3, 3] in Å from a, b, c in Å and alpha, beta, gamma in degrees; c lies along z, a in
    the xz plane.

    Raises EntryError where the six numbers make no cell.
    """
    a, b, c = lengths
    if not all(map(math.isfinite, (*lengths, *angles))):
        raise EntryError(f"cell is not finite: {_numbers(lengths)} Å, {_numbers(angles)} degrees")
    if min(lengths) <= 0:
        raise EntryError(f"cell lengths {_numbers(lengths)} Å are not all positive")
    cos_alpha, cos_beta, cos_gamma = (math.cos(math.radians(angle)) for angle in angles)
    sin_beta = math.sin(math.radians(angles[1]))
    squared = 1 - cos_alpha**2 - cos_beta**2 - cos_gamma**2 + 2 * cos_alpha * cos_beta * cos_gamma
    if not (all(0 < angle < 180 for angle in angles) and squared > 1e-12):
        raise EntryError(f"cell angles {_numbers(angles)} degrees make no cell")
    across = (cos_gamma - cos_alpha * cos_beta) / sin_beta
    return np.array(
        [
            [a * sin_beta, 0.0, a * cos_beta],
            [b * across, b * math.sqrt(squared) / sin_beta, b * cos_alpha],
            [0.0, 0.0, c],
        ]
    )


def check_crystal(crystal: Crystal, check: bool = True, max_atoms: int | None = None) -> Crystal:
    """The crystal itself when it is fit for use; raises EntryError with the reason otherwise.

    Always refused: no atoms, more than `max_atoms`, numbers that are not finite, a cell without volume. With
    `check` also: two atoms within `CLOSE`, and cells so flat that an atom is that near its own image.
    """
    lattice, frac_coords, numbers = crystal
    count = len(numbers)
    if count == 0:
        raise EntryError("no atoms")
    if max_atoms is not None and count > max_atoms:
        raise EntryError(f"{count} atoms, more than {max_atoms}")
    if not np.isfinite(lattice).all():
        raise EntryError("cell is not finite")
    if not np.isfinite(frac_coords).all():
        raise EntryError("coordinates are not finite")
    volume = abs(float(np.linalg.det(lattice)))
    lengths = np.sqrt((lattice**2).sum(1))
    if volume <= 1e-6 * float(lengths.prod()):
        raise EntryError("cell has no volume")
    if not check:
        return crystal
    spacing = 1 / math.sqrt(float((np.linalg.inv(lattice) ** 2).sum(0).max()))
    if spacing < FLAT:
        raise EntryError(f"cell is flat: lattice planes {spacing:.3f} Å apart")
    first, second, distance = closest_pair(crystal)
    if distance < CLOSE:
        names = f"{SYMBOLS[numbers[first]]} {first + 1} and {SYMBOLS[numbers[second]]} {second + 1}"
        raise EntryError(f"atoms {names} are {distance:.3f} Å apart")
    return crystal


def closest_pair(crystal: Crystal) -> tuple[int, int, float]:
    """The nearest two different atoms and their distance in Å, by the image nearest in fractional
    coordinates.

    That image is the nearest one wherever the distance is under half the spacing of the lattice planes, which
    is what the search for doubled atoms needs. One atom alone gives an infinite distance.
    """
    count = len(crystal.numbers)
    if count == 1:
        return 0, 0, math.inf
    first, second = _pairs(count)
    apart = crystal.frac_coords[first] - crystal.frac_coords[second]
    squared = (((apart - np.round(apart)) @ crystal.lattice) ** 2).sum(1)
    nearest = int(squared.argmin())
    return int(first[nearest]), int(second[nearest]), math.sqrt(float(squared[nearest]))


@lru_cache(maxsize=64)
def _pairs(count: int) -> tuple[np.ndarray, np.ndarray]:
    first, second = np.triu_indices(count, 1)
    return first, second


def fractional(positions: np.ndarray, lattice: np.ndarray) -> np.ndarray:
    """Fractional coordinates [N, 3] of Cartesian positions [N, 3] in Å; raises EntryError for a cell without
    volume.
    """
    try:
        return np.linalg.solve(lattice.T, positions.T).T
    except np.linalg.LinAlgError:
        raise EntryError("cell has no volume") from None


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)
