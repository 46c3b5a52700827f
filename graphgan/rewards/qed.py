"""Drug-likeness as a reward."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np

from graphgan.metrics.molecule_properties import drug_likeness

if TYPE_CHECKING:
    from rdkit.Chem import Mol


def qed(molecules: Sequence[Mol | None], train: Collection[str] = ()) -> np.ndarray:
    """QED of every molecule, which is in [0, 1] as it is; 0 for None. "Druglikeness" of MolGAN."""
    return np.array([0.0 if mol is None else drug_likeness(mol) for mol in molecules], float)
