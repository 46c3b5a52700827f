"""Ease of synthesis as a reward."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np

from graphgan.metrics.molecule_properties import synthetic_accessibility

if TYPE_CHECKING:
    from rdkit.Chem import Mol

HARD, EASY = 5.0, 1.5
"""SA scores that give 0 and 1; from the public code of MolGAN (utils/molecular_metrics.py)."""


def sa(molecules: Sequence[Mol | None], train: Collection[str] = ()) -> np.ndarray:
    """SA score, linear from HARD to EASY and clipped to [0, 1], so that 1 is easy; 0 for None. "Synthesizability" of
    MolGAN."""
    values = [HARD if mol is None else synthetic_accessibility(mol) for mol in molecules]
    return np.clip((HARD - np.array(values, float)) / (HARD - EASY), 0.0, 1.0)
