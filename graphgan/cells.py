"""Cells in one convention: primitive, Niggli-reduced, right-handed; and symmetrising what a network made.

Knows pymatgen and spglib; no tensors and no files.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from graphgan.errors import UserError

if TYPE_CHECKING:
    from pymatgen.core import Structure


class SymmetryError(UserError):
    """spglib found no symmetry operations for a cell at the given tolerance."""


Cell = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Lattice [3, 3] with rows in Å, fractional coordinates [N, 3], atomic numbers [N]."""


def standard_cell(structure: Structure, *, primitive: bool = True, symprec: float = 0.01) -> Structure:
    """The crystal in the cell every network sees: primitive, Niggli-reduced, right-handed, coordinates in [0, 1).

    The cell is a basis of the same lattice of points: no atom moves by more than `symprec` Å, which decides what atoms
    are translations of each other. Křivý & Gruber (1976), doi:10.1107/S0567739476000636; Togo et al. (2024),
    doi:10.1080/27660400.2024.2384822.

    A primitive cell that StructureMatcher (default tolerances) does not take for the crystal is not used: its answer
    depends on the cell it is given where atoms are nearly, within 0.25 Å, translations of each other, as in stacks of
    graphene, and what leaves the encoding should match what entered by the measure that everybody uses.
    """
    return _structure(*standard_arrays(*cell_of(structure), primitive=primitive, symprec=symprec))


def standard_arrays(
    lattice: np.ndarray,
    frac_coords: np.ndarray,
    numbers: np.ndarray,
    *,
    primitive: bool = True,
    symprec: float = 0.01,
) -> Cell:
    """`standard_cell` of bare arrays: most of a Structure's time goes into its sites."""
    if primitive and _has_translations(lattice, frac_coords, numbers, symprec):
        smaller = _primitive(lattice, frac_coords, numbers, symprec)
        if smaller is not None:
            reduced = _reduced(*smaller)
            if _same_crystal((lattice, frac_coords, numbers), reduced):
                return reduced
    return _reduced(lattice, frac_coords, numbers)


def standard_cell_of(cell: Cell, *, primitive: bool = True) -> Cell:
    """`standard_arrays` of one argument, as work for several processes has."""
    return standard_arrays(*cell, primitive=primitive)


def arranged(cell: Cell, *, standard: bool, sort: bool, shift: bool) -> tuple[Cell, int]:
    """A cell as images show it, and the number of its space group (spglib, 0.01 Å; 0 where it finds none).

    `standard` takes the standard cell first, `sort` puts sites in order of atomic number, then of coordinates, and
    `shift` puts the first site at 0. Coordinates are in [0, 1]: only those outside are wrapped.
    """
    lattice, frac_coords, numbers = standard_arrays(*cell) if standard else cell
    frac_coords = np.where((frac_coords < 0) | (frac_coords > 1), frac_coords % 1.0, frac_coords)
    if sort:
        # Coordinates count to 3 digits: what rounding of the last ones decides would be no order.
        order = np.lexsort((*(np.round(frac_coords, 3) % 1.0).T[::-1], numbers))
        frac_coords, numbers = frac_coords[order], numbers[order]
    if shift:
        frac_coords = (frac_coords - frac_coords[:1]) % 1.0
    return (lattice, frac_coords, numbers), space_group_number(lattice, frac_coords, numbers)


def space_group_number(lattice: np.ndarray, frac_coords: np.ndarray, numbers: np.ndarray, symprec: float = 0.01) -> int:
    """The number, 1 to 230, of the space group that spglib finds within `symprec` Å and 5 degrees; 0 for none."""
    import spglib

    found = _quiet(spglib.get_symmetry_dataset, (lattice, frac_coords, numbers), symprec, 5.0)
    return 0 if found is None else int(found.number)


def cell_of(structure: Structure) -> Cell:
    """The arrays of a structure; oxidation states are dropped."""
    numbers = np.array([site.specie.Z for site in structure])
    return np.array(structure.lattice.matrix), np.array(structure.frac_coords).reshape(-1, 3), numbers


def _primitive(lattice: np.ndarray, frac_coords: np.ndarray, numbers: np.ndarray, symprec: float) -> Cell | None:
    """The primitive cell by spglib, or None where it finds none with fewer atoms."""
    import spglib

    # no_idealize turns the crystal into a standard setting without moving atoms within it.
    cell = _quiet(spglib.standardize_cell, (lattice, frac_coords, numbers), True, True, symprec)
    return None if cell is None or len(cell[2]) >= len(numbers) else cell


def _reduced(lattice: np.ndarray, frac_coords: np.ndarray, numbers: np.ndarray) -> Cell:
    """The same points in a Niggli-reduced, right-handed basis."""
    import spglib

    reduced = _quiet(spglib.niggli_reduce, lattice, 1e-5)
    if reduced is not None:
        change = np.rint(reduced @ np.linalg.inv(lattice))
        # The integer matrix is exact where the reduced lattice is rounded; a change of basis must keep the volume.
        if abs(abs(np.linalg.det(change)) - 1) < 1e-6:
            moved = frac_coords if np.array_equal(change, np.eye(3)) else frac_coords @ np.linalg.inv(change)
            lattice, frac_coords = change @ lattice, moved
    if np.linalg.det(lattice) < 0:
        lattice, frac_coords = -lattice, -frac_coords
    return lattice, frac_coords % 1.0, numbers


def _structure(lattice: np.ndarray, frac_coords: np.ndarray, numbers: np.ndarray) -> Structure:
    from pymatgen.core import Structure

    return Structure(lattice, numbers.tolist(), frac_coords)


def _same_crystal(cell: Cell, other: Cell) -> bool:
    from pymatgen.core.structure_matcher import StructureMatcher

    return bool(StructureMatcher().fit(_structure(*cell), _structure(*other)))


def symmetrize(structure: Structure, tolerance: float) -> Structure:
    """The crystal with atoms and cell moved onto the symmetry that spglib finds within `tolerance` Å: its primitive
    standard cell, idealised. Raises SymmetryError if spglib finds none, ValueError for an impossible tolerance."""
    import spglib
    from pymatgen.core import Structure

    if not 0 < tolerance < math.inf:  # spglib dies of a nan
        raise ValueError(f"tolerance is {tolerance} Å, expected a positive number")
    numbers = [site.specie.Z for site in structure]
    cell = (structure.lattice.matrix, structure.frac_coords, numbers)
    found = _quiet(spglib.standardize_cell, cell, True, False, tolerance)
    if found is None:
        raise SymmetryError(f"{structure.composition.reduced_formula}: no symmetry within {tolerance} Å")
    lattice, frac_coords, numbers = found
    return Structure(lattice, numbers, frac_coords)


def _has_translations(lattice: np.ndarray, frac_coords: np.ndarray, numbers: np.ndarray, symprec: float) -> bool:
    """Whether a translation smaller than the cell maps the crystal onto itself within `symprec` Å.

    spglib's answer costs its whole symmetry analysis, milliseconds a cell; most cells are primitive already, and that
    shows at once: the number of translations divides the number of atoms of every species.
    """
    counts = np.bincount(numbers)
    present = np.flatnonzero(counts)
    if np.gcd.reduce(counts[present]) == 1:
        return False
    rarest = np.flatnonzero(numbers == present[counts[present].argmin()])
    shifts = frac_coords[rarest[1:]] - frac_coords[rarest[0]]
    for atom in range(len(numbers)):  # nearly every shift fails with the first atoms that it is tried on
        delta = frac_coords[atom] + shifts[:, None] - frac_coords[numbers == numbers[atom]]
        delta -= np.rint(delta)
        close = np.linalg.norm(delta @ lattice, axis=-1) < 2 * symprec
        shifts = shifts[close.any(axis=1)]
        if not len(shifts):
            return False
    return True


def _quiet(function, *arguments):
    """spglib's result, or None where it gives up, by return value or (newer versions) by exception."""
    try:
        return function(*arguments)
    except Exception:
        return None
