"""Metrics of generated molecules: RDKit molecules in, numbers out. Knows no model, no tensor and no file.

A sample is an RDKit Mol, or None where there is no molecule. The names are those of the literature, which divides
uniqueness and novelty by the number of valid samples: the number asked for divides only `validity` and
`unique_novel_valid`. None of them grows by leaving samples out, but `uniqueness` falls as more are made.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from graphgan.metrics.distributions import total_variation, wasserstein
from graphgan.metrics.molecule_profiles import pooled, profile
from graphgan.metrics.molecule_properties import canonical_smiles, is_sanitised, is_valid, num_fragments

if TYPE_CHECKING:
    from rdkit.Chem import Mol

MAX_DIVERSITY = 2000
"""Distinct molecules up to which the internal diversity is exact."""
RADIUS, BITS = 2, 2048
"""Of Morgan fingerprints."""

Samples = Sequence["Mol | None"]


@dataclass(frozen=True)
class MoleculeComparison:
    """Which samples are accepted, distinct and novel; all by canonical SMILES without stereo.

    smiles  of every sample that is accepted, otherwise None
    unique  True for the first sample of every distinct molecule
    novel   True for a sample that is accepted and no training molecule; None without training molecules
    """

    smiles: tuple[str | None, ...]
    unique: tuple[bool, ...]
    novel: tuple[bool, ...] | None

    @property
    def accepted(self) -> int:
        """Number of accepted samples."""
        return len(self.smiles) - self.smiles.count(None)

    @property
    def validity(self) -> float:
        """Accepted samples / samples asked for, in [0, 1]; nan without samples."""
        return _ratio(self.accepted, len(self.smiles))

    @property
    def uniqueness(self) -> float:
        """Distinct accepted molecules / accepted samples, in [0, 1]; nan without one."""
        return _ratio(sum(self.unique), self.accepted)

    @property
    def novelty(self) -> float | None:
        """Accepted samples that are no training molecules / accepted samples, in [0, 1]; nan without one."""
        return None if self.novel is None else _ratio(sum(self.novel), self.accepted)

    @property
    def unique_novel_valid(self) -> float | None:
        """Distinct accepted molecules that are no training molecules / samples asked for, in [0, 1]."""
        if self.novel is None:
            return None
        return _ratio(sum(u and n for u, n in zip(self.unique, self.novel, strict=True)), len(self.smiles))


def compare(
    samples: Samples, train: Collection[str] | None = None, *, accept: Callable[[Mol | None], bool] = is_valid
) -> MoleculeComparison:
    """Compare every sample with the others and with the canonical SMILES of the training molecules.

    `accept` says which samples count at all: the valid ones, or with `is_sanitised` those of MolGAN's public code.
    """
    return compare_smiles([canonical_smiles(m) if m is not None and accept(m) else None for m in samples], train)


def compare_smiles(smiles: Sequence[str | None], train: Collection[str] | None = None) -> MoleculeComparison:
    """`compare` of canonical SMILES, None for what is not accepted."""
    first: dict[str | None, int] = {}
    for index, text in enumerate(smiles):
        first.setdefault(text, index)
    unique = tuple(text is not None and first[text] == index for index, text in enumerate(smiles))
    if train is None:
        return MoleculeComparison(tuple(smiles), unique, None)
    known = train if isinstance(train, (set, frozenset)) else frozenset(train)
    return MoleculeComparison(tuple(smiles), unique, tuple(text is not None and text not in known for text in smiles))


def validity(samples: Samples) -> float:
    """Share of the samples asked for that RDKit sanitises and that are one fragment, in [0, 1]; nan without samples."""
    return _ratio(sum(map(is_valid, samples)), len(samples))


def validity_molgan(samples: Samples) -> float:
    """Share of the samples asked for that RDKit sanitises, in [0, 1]: fragments apart are one valid molecule.

    The validity of the public code of MolGAN; De Cao & Kipf (2018), arXiv:1805.11973.
    """
    return _ratio(sum(map(is_sanitised, samples)), len(samples))


def fragmented(samples: Samples) -> float:
    """Share of the samples asked for that RDKit sanitises and that are several fragments, in [0, 1]."""
    return _ratio(sum(m is not None and is_sanitised(m) and num_fragments(m) > 1 for m in samples), len(samples))


def uniqueness(samples: Samples) -> float:
    """Distinct valid molecules / valid samples, in [0, 1]; nan without a valid sample.

    It falls with the number of samples, since ever more of them have been made before: compare at equal numbers.
    """
    return compare(samples).uniqueness


def novelty(samples: Samples, train: Collection[str]) -> float:
    """Valid samples whose canonical SMILES is not in `train` / valid samples, in [0, 1]; nan without a valid sample."""
    share = compare(samples, train).novelty
    assert share is not None
    return share


def unique_novel_valid(samples: Samples, train: Collection[str]) -> float:
    """Distinct valid molecules that are not in `train` / samples asked for, in [0, 1]; nan without samples."""
    share = compare(samples, train).unique_novel_valid
    assert share is not None
    return share


def internal_diversity(samples: Samples, *, max_molecules: int = MAX_DIVERSITY, seed: int = 0) -> float:
    """1 - mean Tanimoto similarity of all ordered pairs of valid samples, each with itself too; in [0, 1), nan without.

    Of Morgan fingerprints of radius 2 and 2,048 bits; Benhenda (2017), arXiv:1708.08227. Repetitions are pairs like any
    other. Exact up to `max_molecules` distinct molecules; beyond, that many samples are drawn without replacement, by
    content and `seed`.
    """
    smiles = compare(samples).smiles
    mols = {text: mol for text, mol in zip(smiles, samples, strict=True) if text is not None and mol is not None}
    return diversity_of([text for text in smiles if text is not None], mols, max_molecules=max_molecules, seed=seed)


def diversity_of(
    smiles: Sequence[str], mols: Mapping[str, Mol], *, max_molecules: int = MAX_DIVERSITY, seed: int = 0
) -> float:
    """`internal_diversity` of molecules that are given by canonical SMILES, `mols` holding each of them."""
    smiles = sorted(smiles)
    if not smiles:
        return float("nan")
    if len(set(smiles)) > max_molecules:
        smiles = np.random.default_rng(seed).choice(smiles, max_molecules, replace=False).tolist()
    counts = sorted(Counter(smiles).items())
    weights = np.array([count for _, count in counts], float) / len(smiles)
    bits = fingerprints([mols[text] for text, _ in counts])
    shared, sizes = bits @ bits.T, bits.sum(1)
    similarity = shared / (sizes[:, None] + sizes - shared)
    return float(1 - weights @ similarity.astype(float) @ weights)


def fingerprints(mols: Sequence[Mol]) -> np.ndarray:
    """Morgan fingerprints [n, BITS] of ones and zeros, float32, whose products count what molecules share."""
    from rdkit.Chem.rdFingerprintGenerator import GetMorganGenerator

    generator = GetMorganGenerator(radius=RADIUS, fpSize=BITS)
    return np.array([generator.GetFingerprintAsNumPy(mol) for mol in mols], np.float32)


def property_wasserstein(samples: Samples, reference: Samples, name: str) -> float:
    """First Wasserstein distance of a property among valid samples and reference molecules, in the unit of the
    property; nan where one side is empty. `name` is one of `molecule_profiles.NUMBERS`: weight, log_p, qed, sa."""
    ours, theirs = ([getattr(p, name) for p in _profiles(side)] for side in (samples, reference))
    return wasserstein(ours, theirs)


def class_total_variation(samples: Samples, reference: Samples, name: str) -> float:
    """Total variation distance of a histogram among valid samples and reference molecules, in [0, 1]; nan where one
    side is empty. `name` is one of `molecule_profiles.CLASSES`: num_atoms, num_rings, atoms, bonds, rings, groups."""
    ours, theirs = (pooled(getattr(p, name) for p in _profiles(side)) for side in (samples, reference))
    return total_variation(ours, theirs)


def _profiles(samples: Samples) -> list:
    return [p for text in compare(samples).smiles if text is not None and (p := profile(text)) is not None]


def _ratio(count: int, total: int) -> float:
    return count / total if total else float("nan")
