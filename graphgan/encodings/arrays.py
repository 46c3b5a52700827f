"""Arrays of what a network made to crystals: which of them are crystals at all, and pymatgen Structures of those."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from graphgan.data.crystals import Crystal, atomic_number

if TYPE_CHECKING:
    from pymatgen.core import Structure

SMALLEST = 0.1
"""A cell of less volume, in Å^3, is no cell."""


def to_crystals(
    elements: Sequence[str], kinds: np.ndarray, frac_coords: np.ndarray, lattice: np.ndarray, num_atoms: np.ndarray
) -> list[Crystal | None]:
    """B padded crystals as arrays of their own, coordinates in [0, 1); None where the cell or a coordinate is no number
    or the volume is below `SMALLEST`.

    `kinds` [B, N] are indices into `elements`, `frac_coords` is [B, N, 3], `lattice` [B, 3, 3] in Å.
    """
    # float64 before the matrix meets a file: the parameters a, b, c, alpha ... of a float32 cell lose digits.
    lattice, frac_coords = lattice.astype(float), frac_coords.astype(float)
    padding = np.arange(kinds.shape[1]) >= num_atoms[:, None]
    good = np.isfinite(lattice).all((1, 2)) & (np.isfinite(frac_coords).all(2) | padding).all(1) & (num_atoms > 0)
    good &= np.abs(np.linalg.det(np.where(good[:, None, None], lattice, 0.0))) >= SMALLEST
    frac_coords = np.where(good[:, None, None], frac_coords, 0.0) % 1.0
    numbers = np.array([atomic_number(element) for element in elements], dtype=np.uint8)[kinds]
    return [
        Crystal(cell, places[:n], kind[:n]) if whole else None
        for whole, n, cell, places, kind in zip(
            good.tolist(), num_atoms.tolist(), lattice, frac_coords, numbers, strict=True
        )
    ]


def to_structures(crystals: Sequence[Crystal | None]) -> list[Structure | None]:
    """A Structure for every crystal; None stays None."""
    from graphgan.data import packed

    whole = [crystal for crystal in crystals if crystal is not None]
    made = iter(packed.to_structures(packed.pack([""] * len(whole), whole, {})))
    return [None if crystal is None else next(made) for crystal in crystals]
