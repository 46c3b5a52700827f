"""The slow part of an evaluation of molecules: what is found out about every one, on all cores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from graphgan.data.molecules import canonical, rdkit
from graphgan.metrics.molecule_profiles import CLASSES, NUMBERS, MoleculeProfile, profile_of
from graphgan.metrics.molecule_properties import is_sanitised, is_valid
from graphgan.metrics.molecules import MoleculeComparison, compare, compare_smiles, diversity_of
from graphgan.processes import in_order
from graphgan.report.distances import Values
from graphgan.report.findings import tracked
from graphgan.rewards import PER_MOLECULE, computed, reward

if TYPE_CHECKING:
    from rdkit.Chem import Mol
    from rich.progress import Progress

MAX_REFERENCE = 20_000
"""Reference molecules that enter distances; of more, so many are drawn at random."""
TRAINED = "novelty"
"""The reward that needs the training set, which is not sent to other processes."""


class Found(NamedTuple):
    """A molecule's profile, and those of its rewards that need nothing else."""

    profile: MoleculeProfile
    rewards: dict[str, float]


@dataclass(frozen=True, eq=False)
class MoleculeFindings:
    """Comparisons, profiles and rewards.

    strict     which samples are valid, unique and novel
    loose      the same, of all that RDKit sanitises
    known      of every distinct valid molecule, by canonical SMILES
    real       of every distinct reference molecule, likewise
    reference  canonical SMILES of the reference, at most MAX_REFERENCE
    rewards    float64 [samples] by name, 0 for a sample that is not valid
    """

    samples: Sequence[Mol | None]
    strict: MoleculeComparison
    loose: MoleculeComparison
    known: dict[str, Found]
    real: dict[str, Found]
    reference: list[str]
    rewards: dict[str, np.ndarray]

    @cached_property
    def valid(self) -> np.ndarray:
        """Which samples are valid, bool [samples]."""
        return np.array([text is not None for text in self.strict.smiles])

    @cached_property
    def copies(self) -> Counter[str]:
        """How many valid samples are each molecule."""
        return Counter(text for text in self.strict.smiles if text is not None)

    def diversity(self, seed: int) -> float:
        """The internal diversity."""
        pairs = zip(self.strict.smiles, self.samples, strict=True)
        mols = {text: mol for text, mol in pairs if text is not None and mol is not None}
        return diversity_of(list(self.copies.elements()), mols, seed=seed)

    def values(self) -> tuple[Values, Values]:
        """What distances compare, of the valid samples and of the reference."""
        ours = [self.known[text].profile for text in self.strict.smiles if text in self.known]
        theirs = [self.real[text].profile for text in self.reference if text in self.real]
        return _columns(ours), _columns(theirs)


def _columns(profiles: Sequence[MoleculeProfile]) -> Values:
    return {name: [getattr(p, name) for p in profiles] for name in (*NUMBERS, *CLASSES)}


def find_out(
    samples: Sequence[Mol | None],
    train: Collection[str] | None,
    reference: Sequence[Mol | str],
    functions: Mapping[str, Callable],
    seed: int,
    workers: int | None,
    bar: Progress,
) -> MoleculeFindings:
    """Everything that takes long."""
    train = None if train is None else frozenset(train)
    loose = compare(samples, train, accept=is_sanitised)
    valid = [text if is_valid(mol) else None for mol, text in zip(samples, loose.smiles, strict=True)]
    strict = compare_smiles(valid, train)
    alone = tuple(name for name in functions if name in PER_MOLECULE - {TRAINED})
    known = _examined({s for s in strict.smiles if s is not None}, alone, workers, bar, "properties of samples")
    drawn = _drawn(reference, seed)
    fresh = _examined(set(drawn) - known.keys(), (), workers, bar, "properties of the reference")
    mols = [None if text is None else mol for mol, text in zip(samples, strict.smiles, strict=True)]
    rewards = {}
    for name, function in functions.items():
        if name in alone:
            of = {text: found.rewards[name] for text, found in known.items()}
            rewards[name] = np.array([of.get(text or "", 0.0) for text in strict.smiles])
        else:
            values = computed(name, function, mols, train or ())
            rewards[name] = np.where([mol is not None for mol in mols], values, 0.0)
    return MoleculeFindings(samples, strict, loose, known, known | fresh, drawn, rewards)


def _drawn(reference: Sequence[Mol | str], seed: int) -> list[str]:
    """Canonical SMILES, at most MAX_REFERENCE, by content and seed."""
    smiles = sorted(molecule if isinstance(molecule, str) else canonical(molecule) for molecule in reference)
    if len(smiles) <= MAX_REFERENCE:
        return smiles
    return np.random.default_rng(seed).choice(smiles, MAX_REFERENCE, replace=False).tolist()


def _examined(
    smiles: Collection[str], rewards: tuple[str, ...], workers: int | None, bar: Progress, what: str
) -> dict[str, Found]:
    """What is found of molecules, by their SMILES; without those that RDKit does not read."""
    ordered = sorted(smiles)
    found = in_order(partial(_examine, rewards=rewards), ordered, workers=workers, chunk=200)
    pairs = zip(ordered, tracked(bar, found, len(ordered), what), strict=True)
    return {text: facts for text, facts in pairs if facts is not None}


def _examine(smiles: str, rewards: tuple[str, ...]) -> Found | None:
    from rdkit import Chem

    rdkit()
    mol = Chem.MolFromSmiles(smiles)
    if mol is None or mol.GetNumAtoms() == 0:
        return None
    return Found(profile_of(mol), {name: float(computed(name, reward(name), [mol], ())[0]) for name in rewards})
