"""Uniqueness as a reward."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np

from graphgan.metrics.molecule_properties import canonical_smiles

if TYPE_CHECKING:
    from rdkit.Chem import Mol


def uniqueness(molecules: Sequence[Mol | None], train: Collection[str] = ()) -> np.ndarray:
    """1 / (how often the molecule is among the given ones), in (0, 1]; 0 for None.

    Copies share one reward, whatever the number given. The public code of MolGAN clips 0.75 + 1 / count to 1 instead,
    so that a thousand copies of one molecule keep three quarters of the reward.
    """
    smiles = [None if mol is None else canonical_smiles(mol) for mol in molecules]
    counts = Counter(smiles)
    return np.array([0.0 if text is None else 1 / counts[text] for text in smiles], float)
