"""Average minimum distances: a vector that tells crystals apart continuously, whatever cell or order of atoms they
have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pymatgen.core import Structure

NUM_NEIGHBOURS = 100
"""Entries of the vector; the value in most use (Widdowson et al. 2022)."""


def average_minimum_distances(structure: Structure, num_neighbours: int = NUM_NEIGHBOURS) -> np.ndarray:
    """AMD [num_neighbours] in Å: entry k is the mean over atoms of the distance to the (k+1)-th nearest atom.

    Widdowson, Mosca, Pulido, Cooper and Kurlin (2022), doi:10.46793/match.87-3.529W. It does not depend on the cell,
    the order or the kinds of the atoms, and moves by at most 2 r (largest entry) if every atom moves by r or less.
    Different crystals may share it in principle; none of hundreds of thousands of real ones did.

    Raises ValueError for a structure without atoms.
    """
    if len(structure) == 0:
        raise ValueError("no atoms: there are no distances between them")
    from scipy.spatial import cKDTree

    reduced = structure.lattice.get_lll_reduced_lattice().matrix
    cart = structure.cart_coords
    frac = np.linalg.solve(reduced.T, cart.T).T
    cart = (frac - np.floor(frac)) @ reduced
    heights = 1 / np.linalg.norm(np.linalg.inv(reduced), axis=0)
    # The radius that holds the neighbours asked for on average; grown until it holds them for every atom.
    radius = (3 * (num_neighbours + 1) * structure.volume / (4 * np.pi * len(cart))) ** (1 / 3)
    while True:
        # Images of a cell within `radius` of some atom in the cell itself: atoms lie less than a cell apart.
        reach = np.ceil(radius / heights).astype(int)
        steps = [np.arange(-r, r + 1) for r in reach]
        shifts = np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1).reshape(-1, 3) @ reduced
        points = (cart[None] + shifts[:, None]).reshape(-1, 3)
        if len(points) > num_neighbours:
            distances = cKDTree(points).query(cart, num_neighbours + 1)[0][:, 1:]
            if distances.max() <= radius:
                return distances.mean(axis=0)
            radius = max(1.3 * radius, min(distances.max(), 2 * radius))
        else:
            radius *= 1.3
