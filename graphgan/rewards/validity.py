"""Validity as a reward."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np

from graphgan.metrics.molecule_properties import is_valid

if TYPE_CHECKING:
    from rdkit.Chem import Mol


def validity(molecules: Sequence[Mol | None], train: Collection[str] = ()) -> np.ndarray:
    """1 for a molecule that RDKit accepts and that is in one piece, otherwise 0."""
    return np.array([is_valid(mol) for mol in molecules], float)
