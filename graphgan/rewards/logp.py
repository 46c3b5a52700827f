"""Octanol-water partition as a reward."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np

from graphgan.metrics.molecule_properties import log_p

if TYPE_CHECKING:
    from rdkit.Chem import Mol

LOWEST, HIGHEST = -2.12178879609, 6.0429063424
"""logP that give 0 and 1; from the public code of MolGAN (utils/molecular_metrics.py)."""


def logp(molecules: Sequence[Mol | None], train: Collection[str] = ()) -> np.ndarray:
    """Crippen logP, linear from LOWEST to HIGHEST and clipped to [0, 1]; 0 for None. "Solubility" of MolGAN.

    Mind the name of the paper: a high logP is a molecule that does *not* dissolve in water.
    """
    values = [LOWEST if mol is None else log_p(mol) for mol in molecules]
    return np.clip((np.array(values, float) - LOWEST) / (HIGHEST - LOWEST), 0.0, 1.0)
