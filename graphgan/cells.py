"""Cells in one convention: primitive, Niggli-reduced, right-handed; and symmetrising what a network made.

Knows pymatgen and spglib; no tensors and no files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from graphgan.errors import UserError

if TYPE_CHECKING:
    from pymatgen.core import Structure


class SymmetryError(UserError):
    """spglib found no symmetry operations for a cell at the given tolerance."""


def standard_cell(structure: Structure, *, primitive: bool = True, symprec: float = 0.01) -> Structure:
    """The crystal in the cell every network sees: primitive, Niggli-reduced, right-handed, coordinates in [0, 1).

    The cell is a basis of the same lattice of points: no atom moves. A crystal that spglib cannot make primitive keeps
    its cell. `symprec` in Å decides which atoms are translations of each other. Křivý & Gruber (1976),
    doi:10.1107/S0567739476000636; Togo et al. (2024), doi:10.1080/27660400.2024.2384822.
    """
    import spglib
    from pymatgen.core import Structure

    lattice = np.array(structure.lattice.matrix)
    frac_coords = np.array(structure.frac_coords)
    numbers = np.array([site.specie.Z for site in structure])
    if primitive and _has_translations(lattice, frac_coords, numbers, symprec):
        cell = _quiet(spglib.standardize_cell, (lattice, frac_coords, numbers), True, True, symprec)
        # no_idealize turns the crystal into a standard setting without moving atoms within it.
        if cell is not None and len(cell[2]) < len(numbers):
            lattice, frac_coords, numbers = cell
    reduced = _quiet(spglib.niggli_reduce, lattice, 1e-5)
    if reduced is not None:
        change = np.rint(reduced @ np.linalg.inv(lattice))
        # The integer matrix is exact where the reduced lattice is rounded; a change of basis must keep the volume.
        if abs(abs(np.linalg.det(change)) - 1) < 1e-6:
            lattice, frac_coords = change @ lattice, frac_coords @ np.linalg.inv(change)
    if np.linalg.det(lattice) < 0:
        lattice, frac_coords = -lattice, -frac_coords
    return Structure(lattice, numbers, frac_coords % 1.0)


def symmetrize(structure: Structure, tolerance: float) -> Structure:
    """The crystal with atoms and cell moved onto the symmetry that spglib finds within `tolerance` Å: its primitive
    standard cell, idealised. Raises SymmetryError if spglib finds none."""
    import spglib
    from pymatgen.core import Structure

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
    species, counts = np.unique(numbers, return_counts=True)
    if np.gcd.reduce(counts) == 1:
        return False
    rarest = np.flatnonzero(numbers == species[counts.argmin()])
    same = numbers[:, None] == numbers[None, :]
    for shift in frac_coords[rarest[1:]] - frac_coords[rarest[0]]:
        delta = frac_coords[:, None] + shift - frac_coords[None, :]
        delta -= np.rint(delta)
        close = np.linalg.norm(delta @ lattice, axis=-1) < 2 * symprec
        if (close & same).any(axis=1).all():
            return True
    return False


def _quiet(function, *arguments):
    """spglib's result, or None where it gives up, by return value or (newer versions) by exception."""
    try:
        return function(*arguments)
    except Exception:
        return None
