"""What `graphgan evaluate` does with molecules."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from graphgan import __version__
from graphgan.cli.actions import say
from graphgan.cli.commands import CommandError, Evaluate

if TYPE_CHECKING:
    from rdkit.Chem import Mol

    from graphgan.data.molecule_files import MoleculeReadResult

_OF_CRYSTALS = ("benchmark", "coverage", "genmetrics", "stability", "table", "tolerances", "device")
"""Options that mean nothing for molecules."""


def evaluate_molecules(command: Evaluate, log: list[dict] | None) -> int:
    """`graphgan evaluate` of samples that are molecules."""
    from graphgan.cli.evaluate import finish_report
    from graphgan.data.molecule_files import read_molecules
    from graphgan.data.molecules import to_mol
    from graphgan.report.molecules import evaluate_molecules as evaluate
    from graphgan.report.published import MOLECULE_BENCHMARKS, benchmark_of
    from graphgan.rewards import reward

    for name in command.rewards:
        reward(name)  # a wrong name is said before anything is read
    if "novelty" in command.rewards and command.train is None:
        raise CommandError("the reward novelty needs --train")
    found = read_molecules(command.samples, check=False, progress=True, cache=False)
    # What could not be read was asked for all the same: it stays in every denominator.
    samples: list[Mol | None] = [*map(to_mol, found.molecules), *[None] * len(found.skipped)]
    texts = _texts(Path(command.samples).expanduser(), {skipped.entry for skipped in found.skipped})
    read = [""] * len(found.molecules)
    reference = _real(command.reference, command.reference_split, "val")
    train = _real(command.train, command.train_split, "train")
    report = evaluate(
        samples,
        train=None if train is None else train.smiles,
        reference=None if reference is None else reference.smiles,
        rewards=command.rewards,
        seed=command.seed,
        ids=[*found.ids, *(skipped.entry for skipped in found.skipped)],
        raw=[*read, *(texts.get(skipped.entry, "") for skipped in found.skipped)],
        reasons=[*read, *(skipped.reason for skipped in found.skipped)],
        benchmark=benchmark_of(command.train, MOLECULE_BENCHMARKS) if command.train else None,
        progress=True,
    )
    if found.skipped:
        found.write_skipped(command.out / "skipped.csv")
        say(f"{len(found.skipped)} of {len(samples)} entries are no molecules: {command.out / 'skipped.csv'} says why")
    details = {"samples": command.samples, "seed": str(command.seed), "graphgan": __version__}
    details |= {"reference": command.reference} if command.reference else {}
    details |= {"training set": command.train} if command.train else {}
    finish_report(report, command.out, f"Evaluation of {Path(command.samples).name}", log, details)
    return 0


def check_options(command: Evaluate, molecules: bool) -> None:
    """Refuse options of the other kind of samples. Raises CommandError."""
    names, kind, held = (
        (_OF_CRYSTALS, "crystals", "molecules") if molecules else (("rewards",), "molecules", "crystals")
    )
    defaults = {field.name: field.default for field in dataclasses.fields(Evaluate)}
    for name in names:
        if getattr(command, name) != defaults[name]:
            flag = f"--no-{name}" if getattr(command, name) is False else f"--{name}"
            raise CommandError(f"{flag} is for {kind}, and {command.samples} holds {held}")


def _real(data: str | None, split: str | None, part: str) -> MoleculeReadResult | None:
    """Real molecules of DATA to compare with; of a named set its `part` if it has one."""
    from graphgan.data.cards import default_split
    from graphgan.data.molecule_files import read_molecules

    if data is None:
        return None
    return read_molecules(data, split=split or default_split(data, part), progress=True)


def _texts(path: Path, wanted: Collection[str]) -> dict[str, str]:
    """The SMILES of entries by their name, as they are written: a failure is drawn by it."""
    from graphgan.data import molecule_sources as sources

    if not wanted or not path.exists():
        return {}
    files = sources.files_of_folder(path) if path.is_dir() else [(path.name, path)]
    entries = sources.folder_entries(files)
    return {e.name: e.content for e in entries if e.name in wanted and e.kind == "smiles"}
