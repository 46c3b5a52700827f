"""A crystal as something to draw: atoms with the copies on the cell's boundary, bonds, and the cell's edges.

Bonds and copies are computed here and handed to the viewer, because viewers made for molecules guess both
badly.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from graphgan.metrics.properties import main_element

if TYPE_CHECKING:
    from pymatgen.core import Structure

BOUNDARY = 0.5
"""Å; an atom this close to a face of the cell is drawn on the opposite face too."""
MAX_STRETCH = 1.3
"""A bond is at most this times the sum of the covalent radii."""
MAX_RELATIVE = 1.15
"""A bond is at most this times the tightest contact that either of its atoms has, both in units of the
radii."""
IONIC_HANDICAP = 1.2
"""Contacts of alkali and alkaline-earth atoms count as this much longer when they compete with others."""

CORNERS = np.array(list(itertools.product((0, 1), repeat=3)))
EDGES = [(i, j) for i, j in itertools.combinations(range(8), 2) if np.abs(CORNERS[i] - CORNERS[j]).sum() == 1]


@dataclass(frozen=True)
class Scene:
    """What is drawn of one crystal, in Å.

    symbols    [M] element of each drawn atom
    positions  [M, 3] Cartesian
    radii      [M] of the drawn spheres
    bonds      pairs of indices into the drawn atoms
    corners    [8, 3] of the cell; EDGES joins them
    """

    symbols: list[str]
    positions: np.ndarray
    radii: np.ndarray
    bonds: list[tuple[int, int]]
    corners: np.ndarray


def scene(structure: Structure) -> Scene:
    """The cell as given, atoms wrapped into it, with boundary copies and bonds."""
    symbols = [main_element(site) for site in structure]
    wrapped = structure.frac_coords - np.floor(structure.frac_coords)
    parents, frac = _with_boundary_copies(wrapped, structure.lattice.matrix)
    positions = frac @ structure.lattice.matrix
    names = [symbols[i] for i in parents]
    return Scene(
        symbols=names,
        positions=positions,
        radii=np.array([0.22 + 0.22 * covalent_radius(name) for name in names]),
        bonds=find_bonds(names, positions),
        corners=CORNERS @ structure.lattice.matrix,
    )


def find_bonds(symbols: list[str], positions: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of atoms joined by a bond in a drawing.

    Distances are taken in units of the sum of the covalent radii (Cordero et al. 2008, doi:10.1039/b801115j).
    A pair is bonded below MAX_STRETCH if it is within MAX_RELATIVE of the tightest contact of *both* its
    atoms: this draws the octahedra of a perovskite and leaves the large cation in their middle alone. Radii
    alone would join the cations of a salt, so two metals are bonded only where there is no non-metal; and
    alkali and alkaline-earth atoms, which charge holds rather than bonds, come after the other cations of a
    non-metal.
    """
    radii = np.array([covalent_radius(symbol) for symbol in symbols])
    metal = np.array([_is_metal(symbol) for symbol in symbols])
    contact = np.linalg.norm(positions[:, None] - positions[None, :], axis=-1) / (radii[:, None] + radii)
    np.fill_diagonal(contact, np.inf)
    if not metal.all():
        contact[metal[:, None] & metal[None, :]] = np.inf
    ionic = np.array([_is_ionic(symbol) for symbol in symbols])
    rank = contact * np.where(ionic[:, None] | ionic[None, :], IONIC_HANDICAP, 1.0)
    tightest = rank.min(axis=1, initial=np.inf)
    limit = MAX_RELATIVE * np.minimum(tightest[:, None], tightest[None, :])
    first, second = np.nonzero(np.triu((rank <= limit) & (contact <= MAX_STRETCH), k=1))
    return list(zip(first.tolist(), second.tolist(), strict=True))


def covalent_radius(symbol: str) -> float:
    """Covalent radius in Å (Cordero et al. 2008); 1.5 for elements without one and for dummies."""
    from pymatgen.analysis.molecule_structure_comparator import CovalentRadius

    return float(CovalentRadius.radius.get(symbol, 1.5))


def _is_metal(symbol: str) -> bool:
    from pymatgen.core import Element

    return Element.is_valid_symbol(symbol) and bool(Element(symbol).is_metal)


def _is_ionic(symbol: str) -> bool:
    from pymatgen.core import Element

    return Element.is_valid_symbol(symbol) and bool(Element(symbol).is_alkali or Element(symbol).is_alkaline)


def _with_boundary_copies(frac: np.ndarray, lattice: np.ndarray) -> tuple[list[int], np.ndarray]:
    """Fractional positions [M, 3] of the atoms and of their copies on opposite faces, and whose copy each
    is."""
    heights = 1 / np.linalg.norm(np.linalg.inv(lattice), axis=0)  # distances between opposite faces
    # A thin cell must not copy all its atoms.
    tolerance = np.minimum(BOUNDARY / heights, 0.15)
    parents, copies = [], []
    for index, position in enumerate(frac):
        shifts = [
            [0, *([1] if x < t else []), *([-1] if x > 1 - t else [])] for x, t in zip(position, tolerance, strict=True)
        ]
        for shift in itertools.product(*shifts):
            parents.append(index)
            copies.append(position + shift)
    return parents, np.array(copies).reshape(-1, 3)


def space_group_symbol(number: int) -> str:
    """Short Hermann-Mauguin symbol of a space group, screw axes with a subscript: 14 is P2₁/c."""
    from pymatgen.symmetry.groups import sg_symbol_from_int_number

    symbol = sg_symbol_from_int_number(number)
    if 3 <= number <= 15:  # the full symbols of monoclinic groups name two axes without symmetry
        symbol = re.sub(r"^([A-Z])1(.+)1$", r"\1\2", symbol)
    return re.sub(r"_(\d)", lambda match: chr(ord("₀") + int(match[1])), symbol)
