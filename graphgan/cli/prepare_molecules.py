"""From DATA of molecules to a run: read, encode, keep some out; and the judges of molecules, which know RDKit."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from graphgan.cli.commands import CommandError, Training
from graphgan.cli.molecule_stages import MoleculeStages
from graphgan.cli.progress import RunProgress
from graphgan.cli.train import Judge
from graphgan.config import MoleculeConfig
from graphgan.data.cards import default_split
from graphgan.encodings.molecules import MoleculeEncoding
from graphgan.molecule_tensor import MoleculeSet, MoleculeTensor
from graphgan.molecules.rewarding import Judge as RewardJudge
from graphgan.rewards import Product

if TYPE_CHECKING:
    from rdkit.Chem import Mol


@dataclasses.dataclass(eq=False)
class PreparedMolecules:
    """Molecules, as `graphgan.cli.prepare.Ready`. `smiles` are the canonical ones of the training set."""

    encoding: MoleculeEncoding
    crystals: MoleculeSet
    held: MoleculeSet
    smiles: frozenset[str]
    skipped: int
    kind: str = "molecules"

    @property
    def content(self) -> str:
        return f"{len(self.encoding.kinds)} kinds of atoms ({', '.join(self.encoding.kinds)})"

    def stages(self, config: MoleculeConfig, device: torch.device) -> MoleculeStages:
        judge = reward_judge(names, self.encoding, self.smiles) if (names := config.rewards.names) else None
        return MoleculeStages(config, self.encoding, self.crystals, self.held, device=device, judge=judge)

    def judge(self, config: MoleculeConfig) -> Judge | None:
        return molecule_judge(config, self.smiles)


def prepare_molecules(
    command: Training, config: MoleculeConfig, folder: Path, progress: RunProgress
) -> PreparedMolecules:
    """Read and encode DATA; entries that cannot be used go to skipped.csv in the run folder."""
    from graphgan.cli.prepare import hold_out
    from graphgan.data.molecule_files import read_molecules

    encoding = MoleculeEncoding(config.max_atoms)
    options: dict[str, Any] = {"max_atoms": config.max_atoms, "progress": not command.quiet}
    found = read_molecules(command.data, split=command.split or default_split(command.data), **options)
    found.write_skipped(folder / "skipped.csv")
    if found.skipped:
        progress.say(f"{len(found.skipped)} entries skipped: {folder / 'skipped.csv'} says which and why")
    if command.validation is None:
        rows, held = hold_out(len(found.molecules), config.seed)
        molecules, _ = encoding.fit_encode(found.molecules)
        smiles = frozenset(found.smiles[row] for row in rows)
        return PreparedMolecules(encoding, molecules.subset(rows), molecules.subset(held), smiles, len(found.skipped))
    kept_out = read_molecules(command.validation, **options).molecules
    molecules, _ = encoding.fit_encode(found.molecules)
    usable = encoding.encodable(kept_out)
    if not usable:
        raise CommandError(f"{command.validation}: no molecule fits the atoms and size of {command.data}")
    held_out = encoding.encode([kept_out[row] for row in usable])
    return PreparedMolecules(encoding, molecules, held_out, frozenset(found.smiles), len(found.skipped))


def reward_judge(names: Sequence[str], encoding: MoleculeEncoding, train: frozenset[str]) -> RewardJudge:
    """The product of rewards of molecules as tensors; RewardError for an unknown one."""
    product = Product(names, train)

    def judge(molecules: MoleculeTensor) -> torch.Tensor:
        return torch.from_numpy(product(encoding.to_molecules(molecules))).float()

    return judge


def molecule_judge(config: MoleculeConfig, train: frozenset[str]) -> Judge:
    """Numbers of a sample, for choosing a checkpoint.

    score = 1 - the share of distinct valid molecules among all, times the mean of every reward over valid ones where
    there are rewards; of a sample with fewer valid molecules than is wanted, 2 - validity, which is more than any of
    these. Lower is better. RewardError for a reward that gives no numbers in [0, 1].
    """
    from graphgan.metrics import molecules as metrics
    from graphgan.rewards import computed, reward

    names = config.rewards.names
    rewards = [reward(name) for name in names]

    def judge(samples: Sequence[Mol | None]) -> dict[str, float]:
        found = metrics.compare(samples, train)
        valid = [mol for mol in samples if metrics.is_valid(mol)]
        numbers = {"validity": found.validity}
        value = found.validity
        if valid:
            numbers |= {"uniqueness": found.uniqueness, "novelty": found.novelty or 0.0}
            value *= found.uniqueness
        for name, function in zip(names, rewards, strict=True):
            numbers[f"reward_{name}"] = float(computed(name, function, valid, train).mean()) if valid else 0.0
            value *= numbers[f"reward_{name}"]
        enough = found.validity >= config.least_validity
        return numbers | {"score": 1 - value if enough else 2 - found.validity}

    return judge
