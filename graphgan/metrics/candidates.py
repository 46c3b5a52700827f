"""Which pairs of crystals could be the same, and in which order to try them; knows nothing of uniqueness or novelty.

StructureMatcher takes milliseconds a pair, and ten thousand crystals have fifty million pairs. Nearly all of them
differ in formula, number of atoms or cell lengths. Of the others, the nearest by average minimum distance come first.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from math import gcd
from typing import TYPE_CHECKING

import numpy as np

from graphgan.metrics.amd import average_minimum_distances
from graphgan.metrics.fitting import Arrays

if TYPE_CHECKING:
    from pymatgen.core import Structure

MAX_CANDIDATES = 20
"""Crystals that one crystal is compared with at most: those whose AMD, per (volume per atom)^(1/3), has the smallest
mean absolute difference. Of 450 crystals of Carbon-24 this finds 98 % of the repetitions that trying all pairs finds
with tolerances .3/.5/10, and all with .2/.3/5; sets of many formulas are never so crowded."""

LONGEST_EDGE = 1e4
"""Å, of a cell that is reduced."""
LONGEST_RATIO = 200.0
"""Of the longest edge to the cube root of the volume per atom, in a cell that is reduced."""

MAX_LATTICE_POINTS = 20_000
"""StructureMatcher lists all lattice points in a sphere of 1.3 times the longest edge: about this many for a cell of
3 x 3 x 140 Å, where one pair takes a second, growing with the square of the length."""


@dataclass(frozen=True, eq=False)
class Cell:
    """A crystal as StructureMatcher sees it after its own reduction: elements only, Niggli, primitive.

    structure    the reduced cell; a cell that cannot be reduced stays as given
    arrays       the same as arrays
    lengths      [3] edges, ascending, in units of (volume per atom)^(1/3): StructureMatcher scales volumes away
    """

    structure: Structure
    arrays: Arrays
    lengths: np.ndarray

    @cached_property
    def fingerprint(self) -> np.ndarray:
        """AMD in the same unit. It takes milliseconds, so it waits until it is asked for."""
        return average_minimum_distances(self.structure) / _free_length(self.structure)

    def too_long(self, ltol: float) -> bool:
        """Whether StructureMatcher would take seconds to find vectors like this cell's edges."""
        points = 4 / 3 * np.pi * ((1 + ltol) * self.lengths[2]) ** 3 / len(self.structure)
        return bool(points > MAX_LATTICE_POINTS)


def formula_of(structure: Structure) -> str:
    """Reduced formula of the elements; charges do not tell crystals apart here."""
    return structure.composition.element_composition.reduced_formula


def reduced_cell(structure: Structure) -> Cell:
    """The cell that StructureMatcher would reduce both sides of every pair to, made once."""
    from pymatgen.core import Structure

    species = [site.species.element_composition for site in structure]
    cell = Structure(structure.lattice, species, structure.frac_coords)
    if _extreme(cell):  # pymatgen would list lattice points until the memory is full
        return _as_cell(cell)
    # What StructureMatcher does, through public calls; a reduction can fail to converge, in several ways.
    with contextlib.suppress(Exception):
        cell = cell.get_reduced_structure(reduction_algo="niggli")
        # A translation within the cell would permute the atoms of every kind in cycles of one length.
        if gcd(*Counter(site.species_string for site in cell).values()) > 1:
            cell = cell.get_primitive_structure()
    return _as_cell(cell)


def _extreme(cell: Structure) -> bool:
    """Whether a cell is so long, or so large, that no crystal could be meant and its reduction would not end."""
    edge = max(cell.lattice.get_lll_reduced_lattice().abc)
    return bool(not edge < LONGEST_EDGE or edge > LONGEST_RATIO * _free_length(cell))


def _as_cell(cell: Structure) -> Cell:
    arrays = Arrays(cell.lattice.matrix, cell.frac_coords, np.array([site.species_string for site in cell]))
    return Cell(cell, arrays, np.sort(cell.lattice.abc) / _free_length(cell))


def _free_length(structure: Structure) -> float:
    return float((structure.volume / len(structure)) ** (1 / 3))


class Crowd:
    """Crystals of one formula and number of atoms that can be asked which of them a cell may match.

    `crowded` counts the questions for which there were more than MAX_CANDIDATES.
    """

    def __init__(self, ltol: float, cells: Iterable[Cell] = ()) -> None:
        self.cells = list(cells)
        self.crowded = 0
        self._ltol = ltol
        self._lengths = np.array([cell.lengths for cell in self.cells]).reshape(-1, 3)
        self._fingerprints: np.ndarray | None = None

    def add(self, cell: Cell) -> None:
        self.cells.append(cell)

    def candidates(self, cell: Cell) -> Iterator[int]:
        """Places of the crystals that the cell may match: all in order, or the MAX_CANDIDATES nearest by AMD.

        Cell lengths must agree within the tolerance: a match maps a basis of the known lattice onto the cell's edges,
        each at most 1 + ltol times as long as its edge, and the sorted lengths of any basis are at least those of the
        Niggli cell.
        """
        if len(self._lengths) < len(self.cells):
            new = [cell.lengths for cell in self.cells[len(self._lengths) :]]
            self._lengths = np.concatenate([self._lengths, new])
        possible = np.flatnonzero((self._lengths <= (1 + self._ltol) * cell.lengths + 1e-6).all(axis=1))
        if len(possible) > MAX_CANDIDATES:
            self.crowded += 1
            distances = np.abs(self._known()[possible] - cell.fingerprint).mean(axis=1)
            possible = possible[np.argsort(distances, kind="stable")[:MAX_CANDIDATES]]
        return iter(possible.tolist())

    def _known(self) -> np.ndarray:
        """Fingerprints of all cells."""
        have = 0 if self._fingerprints is None else len(self._fingerprints)
        if have < len(self.cells):
            new = np.array([cell.fingerprint for cell in self.cells[have:]])
            self._fingerprints = new if self._fingerprints is None else np.concatenate([self._fingerprints, new])
        assert self._fingerprints is not None
        return self._fingerprints
