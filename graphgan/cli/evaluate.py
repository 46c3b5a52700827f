"""What `graphgan evaluate` does."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from graphgan import __version__
from graphgan.cli.actions import check_filters, check_seed, make_folder, say
from graphgan.cli.commands import CommandError, Evaluate
from graphgan.cli.evaluate_molecules import check_options, evaluate_molecules

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from graphgan.report.result import Outcome
    from graphgan.sampling import Filters
    from graphgan.stability import Stability


def evaluate(command: Evaluate) -> int:
    """`graphgan evaluate`."""
    if command.n is None and _is_run(Path(command.samples).expanduser()):
        how = "sample first, or give -n for crystals fresh from it"
        raise CommandError(f"{command.samples} is a model and holds no samples: {how}")
    from graphgan.data.molecule_files import holds_molecules
    from graphgan.report import evaluate as evaluate_structures
    from graphgan.report.filtering import with_filtered
    from graphgan.sampling import Filters

    check_seed(command.seed)
    molecules = command.n is None and holds_molecules(command.samples)
    check_options(command, molecules)
    filters = Filters(**dataclasses.asdict(command.keep), table=command.table)
    if filters and molecules:
        raise CommandError(f"--keep is for crystals, and {command.samples} holds molecules")
    if filters.max_residual is not None and command.n is None:
        raise CommandError("--keep.max-residual judges crystals fresh from a model: give a model and -n, not files")
    if command.stability != "none" and command.train is None:
        raise CommandError("--stability needs --train: the hull is that of the training crystals")
    if command.genmetrics and not (command.coverage and command.reference and command.train):
        raise CommandError("--genmetrics needs --reference, --train and coverage")
    log = _log_of(command.log) if command.log is not None else None
    make_folder(command.out)  # before the work, which may take hours
    if molecules:
        return evaluate_molecules(command, log)
    reference = _real(command.reference, command.reference_split, "val")
    train = _real(command.train, command.train_split, "train")
    given = _drawn(command, filters) if command.n is not None else _given(command)
    judge = partial(
        evaluate_structures,
        reference=reference,
        train=train,
        seed=command.seed,
        benchmark=_benchmark(command),
        coverage=command.coverage,
        table=command.table,
        tolerances=command.tolerances,
        progress=True,
    )
    stability = _stability(command, given.samples, train)
    report = judge(given.samples, ids=given.ids, genmetrics=command.genmetrics, stability=stability)
    if filters:
        report = with_filtered(report, given.samples, given.residuals, filters, judge)
    details = {"samples": command.samples, "seed": str(command.seed), "graphgan": __version__}
    details |= {"reference": command.reference} if command.reference else {}
    details |= {"training set": command.train} if command.train else {}
    finish_report(report, command.out, f"Evaluation of {Path(command.samples).name}", log, details)
    return 0


def _is_run(path: Path) -> bool:
    """Whether this is what `graphgan train` writes, which holds no crystals."""
    return (path.suffix == ".pt" and path.is_file()) or (path / "checkpoints").is_dir()


class _Samples(NamedTuple):
    """What to judge, with names; residuals are those of a model."""

    samples: list[Structure | None]
    ids: list[str]
    residuals: list[float] | None


def _given(command: Evaluate) -> _Samples:
    """The crystals of a file. What cannot be read was asked for all the same: it stays in every denominator."""
    from graphgan.data import DataError, read
    from graphgan.models import find_model

    try:
        found = read(command.samples, check=False, progress=True, cache=False)
    except DataError as error:
        if Path(command.samples).exists() or find_model(command.samples) is None:
            raise
        raise CommandError(f"{error}; give -n for crystals of the model of that name") from None
    samples: list[Structure | None] = [*found.structures, *[None] * len(found.skipped)]
    if found.skipped:
        found.write_skipped(command.out / "skipped.csv")
        say(f"{len(found.skipped)} of {len(samples)} entries are no crystals: {command.out / 'skipped.csv'} says why")
    return _Samples(samples, [*found.ids, *(s.entry for s in found.skipped)], None)


def _drawn(command: Evaluate, filters: Filters) -> _Samples:
    """Crystals fresh from a model: those that `graphgan sample` makes of the same seed."""
    from graphgan.cli.devices import choose_device, set_threads
    from graphgan.sampling import MoleculeModel, load_model

    set_threads(1)
    if command.n is None or command.n < 1:
        raise CommandError(f"-n is {command.n}, expected at least 1")
    model = load_model(command.samples, choose_device(command.device))
    check_filters(filters, model)
    if isinstance(model, MoleculeModel) or model.condition_dim:
        what = "makes molecules" if isinstance(model, MoleculeModel) else "was trained with a condition"
        raise CommandError(f"{command.samples}: {what}; sample first and judge the file")
    samples, residuals = [], []
    for items, some in model.drawn(command.n, seed=command.seed):
        samples += model.finished(items)
        residuals += some or []
    return _Samples(samples, [f"{number:06d}" for number in range(command.n)], residuals or None)


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
