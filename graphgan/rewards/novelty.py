"""Novelty as a reward."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np

from graphgan.metrics.molecule_properties import canonical_smiles

if TYPE_CHECKING:
    from rdkit.Chem import Mol


def novelty(molecules: Sequence[Mol | None], train: Collection[str] = ()) -> np.ndarray:
    """1 for a molecule whose canonical SMILES is not in `train`, best a set; 0 for one that is, and for None."""
    return np.array([mol is not None and canonical_smiles(mol) not in train for mol in molecules], float)
