"""What `graphgan evaluate` does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from graphgan import __version__
from graphgan.cli.actions import check_seed, make_folder, say
from graphgan.cli.commands import CommandError, Evaluate
from graphgan.cli.evaluate_molecules import check_options, evaluate_molecules

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from graphgan.report.result import Outcome
    from graphgan.stability import Stability


def evaluate(command: Evaluate) -> int:
    """`graphgan evaluate`."""
    from graphgan.data import read
    from graphgan.data.molecule_files import holds_molecules
    from graphgan.report import evaluate as evaluate_structures

    check_seed(command.seed)
    molecules = holds_molecules(command.samples)
    check_options(command, molecules)
    if command.stability != "none" and command.train is None:
        raise CommandError("--stability needs --train: the hull is that of the training crystals")
    if command.genmetrics and not (command.coverage and command.reference and command.train):
        raise CommandError("--genmetrics needs --reference, --train and coverage")
    log = _log_of(command.log) if command.log is not None else None
    make_folder(command.out)  # before the work, which may take hours
    if molecules:
        return evaluate_molecules(command, log)
    found = read(command.samples, check=False, progress=True, cache=False)
    # What could not be read was asked for all the same: it stays in every denominator.
    samples: list[Structure | None] = [*found.structures, *[None] * len(found.skipped)]
    ids = [*found.ids, *(s.entry for s in found.skipped)]
    reference = _real(command.reference, command.reference_split, "val")
    train = _real(command.train, command.train_split, "train")
    report = evaluate_structures(
        samples,
        reference,
        train,
        seed=command.seed,
        ids=ids,
        benchmark=_benchmark(command),
        coverage=command.coverage,
        genmetrics=command.genmetrics,
        stability=_stability(command, samples, train),
        table=command.table,
        tolerances=command.tolerances,
        progress=True,
    )
    if found.skipped:
        found.write_skipped(command.out / "skipped.csv")
        say(f"{len(found.skipped)} of {len(samples)} entries are no crystals: {command.out / 'skipped.csv'} says why")
    details = {"samples": command.samples, "seed": str(command.seed), "graphgan": __version__}
    details |= {"reference": command.reference} if command.reference else {}
    details |= {"training set": command.train} if command.train else {}
    finish_report(report, command.out, f"Evaluation of {Path(command.samples).name}", log, details)
    return 0


def _benchmark(command: Evaluate) -> str | None:
    from graphgan.report.published import BENCHMARKS, benchmark_of

    if command.benchmark != "auto":
        return None if command.benchmark == "none" else command.benchmark
    name = benchmark_of(command.reference) if command.reference else None
    if name is not None:
        say(f"benchmark {BENCHMARKS[name]}, by the name of the reference; --benchmark says otherwise")
    return name


def _stability(command: Evaluate, samples: list[Structure | None], train: list[Structure] | None) -> Stability | None:
    if command.stability == "none" or train is None:
        return None
    from graphgan.data import write_structures
    from graphgan.stability import stability

    folder = command.out / "stability"
    found = stability(samples, train, potential=command.stability, device=command.device, folder=folder, progress=True)
    comment = f"graphgan {__version__}; relaxed with {found.potential}"
    write_structures(found.structures, command.out / "relaxed.extxyz", comment=comment, overwrite=True)
    return found


def finish_report(report: Outcome, folder: Path, title: str, log: list[dict] | None, details: dict[str, str]) -> None:
    """Save a report and print it."""
    page = report.save(folder, title=title, log=log, details=details)
    print(report)
    say(f"report: {page}")


def _real(data: str | None, split: str | None, part: str) -> list[Structure] | None:
    """Real crystals of DATA to compare with; of a named set its `part` if it has one."""
    from graphgan.cli.prepare import default_split
    from graphgan.data import read

    if data is None:
        return None
    return read(data, split=split or default_split(data, part), progress=True).structures


def _log_of(folder: Path) -> list[dict]:
    from graphgan.cli.train import read_log

    path = folder / "log.jsonl" if folder.is_dir() else folder
    if not path.is_file():
        raise CommandError(f"{folder}: there is no log.jsonl")
    return read_log(path)
