"""Properties of one crystal that the metrics compare: plain functions of a pymatgen Structure."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pymatgen.core import Structure

SYMPREC = 0.1
"""Tolerance in Å of the space-group search; loose on purpose, since generated positions are never exact."""


def density(structure: Structure) -> float:
    """Mass density in g/cm³."""
    return float(structure.density)


def num_elements(structure: Structure) -> int:
    """Number of distinct elements; charge states of one element count once."""
    return len(structure.composition.element_composition)


def element_fractions(structure: Structure) -> dict[str, float]:
    """Share of each element among the atoms, by symbol; the shares of a crystal sum to 1."""
    composition = structure.composition.element_composition
    total = composition.num_atoms
    return {element.symbol: amount / total for element, amount in composition.items()}


def space_group(structure: Structure, symprec: float = SYMPREC) -> int | None:
    """International number (1 to 230) of the space group that spglib finds within `symprec` Å; None if it
    gives up."""
    # spglib prints a line on stderr for every tolerance that it gives up.
    os.environ.setdefault("SPGLIB_WARNING", "OFF")
    import spglib

    # One integer per kind of site: spglib only needs to tell them apart.
    kinds: dict[str, int] = {}
    numbers = [kinds.setdefault(site.species_string, len(kinds) + 1) for site in structure]
    cell = (structure.lattice.matrix.tolist(), structure.frac_coords.tolist(), numbers)
    try:
        dataset = spglib.get_symmetry_dataset(cell, symprec=symprec)
    except Exception:  # newer spglib raises its own error type where older ones return None
        return None
    return None if dataset is None else int(dataset.number)


def _pair_distances(structure: Structure) -> np.ndarray:
    """Minimum-image distances [N, N] in Å, infinite on the diagonal.

    pymatgen searches the images of the LLL-reduced cell; wrapping differences to half a cell would be wrong
    for skewed cells.
    """
    distances = structure.lattice.get_all_distances(structure.frac_coords, structure.frac_coords)
    np.fill_diagonal(distances, np.inf)
    return distances


def minimum_distance(structure: Structure) -> float:
    """Smallest minimum-image distance in Å between two different atoms of the cell.

    An atom's own images are left out, as in CDVAE (Xie et al. 2022, arXiv:2110.06197): infinite for one atom.
    """
    return float(_pair_distances(structure).min())


def nearest_neighbour_distances(structure: Structure) -> np.ndarray:
    """Distance [N] in Å from each atom to its nearest neighbour, its own periodic images included."""
    reduced = structure.lattice.get_lll_reduced_lattice().matrix
    shifts = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    shifts = shifts[np.any(shifts != 0, axis=1)]
    own_image = np.linalg.norm(shifts @ reduced, axis=1).min()
    return np.minimum(_pair_distances(structure).min(axis=1), own_image)
