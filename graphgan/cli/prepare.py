"""From DATA to a run: read, encode, keep validation crystals out, choose device and threads; then train."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from graphgan.cli.commands import CommandError, Train
from graphgan.cli.devices import choose_device, set_threads
from graphgan.cli.progress import RunProgress
from graphgan.cli.stages import build_objective
from graphgan.cli.train import Interrupted, Judge, Run
from graphgan.config import Config, save_config
from graphgan.crystal_set import CrystalSet
from graphgan.data.cards import default_split
from graphgan.encodings import GraphEncoding
from graphgan.encodings.stored import is_stored
from graphgan.encodings.streaming import READER_FACTOR
from graphgan.graph_tensor import GraphTensor

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from graphgan.data import ReadResult, Skipped

HELD_OUT_SHARE, HELD_OUT_MOST = 0.05, 500


@dataclasses.dataclass(eq=False)
class Prepared:
    """What a run trains on. `structures` of the validation set are None when DATA came as tensors."""

    encoding: GraphEncoding
    crystals: CrystalSet
    validation: GraphTensor
    validation_structures: list[Structure] | None
    skipped: int


def train(command: Train) -> int:
    """`graphgan train`."""
    config, folder = command.options, command.out
    started = (folder / "checkpoints" / "last.pt").is_file()
    if started and not command.resume:
        raise CommandError(f"{folder}: holds a run already; add --resume to go on, or take another --out")
    if command.resume and not started:
        raise CommandError(f"{folder}: there is no checkpoint to resume from")
    if folder.exists() and not folder.is_dir():
        raise CommandError(f"{folder}: is a file, --out needs a folder")
    device = choose_device(config.device)
    set_threads(config.threads)
    for stage in ("latent", "graph"):
        build_objective(stage, config)  # a wrong name should not wait for the autoencoder to finish
    progress = RunProgress(config, quiet=command.quiet)
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / "data.json"
    if command.resume and source.is_file():
        saved = json.loads(source.read_text(encoding="utf-8"))
        command = dataclasses.replace(
            command, split=command.split or saved["split"], validation=command.validation or saved["validation"]
        )
    prepared = prepare(command, config, folder, progress)
    run = Run(
        config,
        prepared.encoding,
        prepared.crystals,
        prepared.validation,
        folder,
        device=device,
        judge=judge_against(prepared.validation_structures),
        match=match_rate(prepared.encoding) if prepared.validation_structures is not None else None,
        progress=progress,
    )
    if command.resume:
        run.resume()
    else:
        for stale in (folder / "log.jsonl", folder / "checkpoints" / "best.pt"):
            stale.unlink(missing_ok=True)  # of a run that was killed before its first checkpoint
    save_config(config, folder / "config.yaml")
    source.write_text(json.dumps({"data": command.data, "split": command.split, "validation": command.validation}))
    progress.say(
        f"{len(prepared.crystals)} crystals, {len(prepared.validation)} for validation, {prepared.skipped} skipped; "
        f"{len(prepared.encoding.elements)} elements; {device}, {torch.get_num_threads()} threads"
    )
    try:
        run.train()
    except Interrupted as stop:
        print(f"graphgan: {stop}; go on with --resume", file=sys.stderr)
        return 130
    return 0


def prepare(command: Train, config: Config, folder: Path, progress: RunProgress) -> Prepared:
    """Read and encode DATA; entries that cannot be used go to skipped.csv in the run folder."""
    encoding = GraphEncoding(config.encoding.max_atoms, config.encoding.primitive)
    if is_encoded(command.data):
        if command.split is not None or command.validation is not None:
            raise CommandError(f"{command.data}: tensors have no --split and take no --validation")
        encoding, crystals = GraphEncoding.load(command.data)
        train_rows, held = _hold_out(len(crystals), config.seed)
        return Prepared(encoding, crystals.subset(train_rows), crystals.subset(held).graph_tensor(), None, 0)
    found = read_data(command.data, command.split or default_split(command.data), config, not command.quiet)
    crystals, kept = encoding.fit_encode(found.structures, progress=not command.quiet)
    structures = [found.structures[i] for i in kept]
    skipped = skipped_too(found, kept, encoding.max_atoms)
    dataclasses.replace(found, skipped=skipped).write_skipped(folder / "skipped.csv")
    if skipped:
        progress.say(f"{len(skipped)} entries skipped: {folder / 'skipped.csv'} says which and why")
    if command.validation is not None:
        held_structures = read_data(command.validation, None, config, not command.quiet).structures
        usable = encoding.encodable(held_structures)
        if not usable:
            raise CommandError(f"{command.validation}: no crystal fits the elements and size of {command.data}")
        held_structures = [held_structures[i] for i in usable]
        validation = encoding.encode(held_structures).graph_tensor()
        return Prepared(encoding, crystals, validation, held_structures, len(skipped))
    train_rows, held = _hold_out(len(crystals), config.seed)
    validation = crystals.subset(held).graph_tensor()
    return Prepared(encoding, crystals.subset(train_rows), validation, [structures[i] for i in held], len(skipped))


def skipped_too(found: ReadResult, kept: Sequence[int], max_atoms: int) -> list[Skipped]:
    """What was not read, and what was read and is too large to encode."""
    from graphgan.data import Skipped

    large = sorted(set(range(len(found.structures))) - set(kept))
    return [*found.skipped, *(Skipped(found.ids[i], f"more than {max_atoms} atoms in the cell") for i in large)]


def _hold_out(n: int, seed: int) -> tuple[list[int], list[int]]:
    """(rows to train on, rows held out); the same for the same seed. Sets too small to part with any validate on
    themselves."""
    count = min(round(HELD_OUT_SHARE * n), HELD_OUT_MOST)
    if count < 1:
        return list(range(n)), list(range(n))
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed)).tolist()
    return sorted(order[count:]), sorted(order[:count])


def read_data(data: str, split: str | None, config: Config, progress: bool) -> ReadResult:
    """Crystals of DATA. The reader's limit is loose, since the cell given may be a large multiple of the primitive."""
    from graphgan.data import read

    return read(data, split=split, max_atoms=READER_FACTOR * config.encoding.max_atoms, progress=progress)


def is_encoded(data: str) -> bool:
    """Whether DATA is the .npz or folder of `graphgan encode`."""
    return is_stored(Path(data))


def judge_against(reference: Sequence[Structure] | None) -> Judge | None:
    """Numbers of a small sample against `reference`, for choosing a checkpoint.

    score = (1 - validity) + what the share of distinct formulas lacks of the reference's + Wasserstein distances of
    density (over the reference's standard deviation), number of elements (likewise) and nearest-neighbour distance
    (Å) + total variation of elements: a plain sum of numbers near 0 for perfect samples. Lower is better.
    """
    if not reference:
        return None
    import numpy as np

    from graphgan import metrics

    spread = {
        "density": max(float(np.std([metrics.density(s) for s in reference])), 0.1),
        "num_elements": max(float(np.std([metrics.num_elements(s) for s in reference])), 1.0),
    }

    real_formulas = len({s.composition.reduced_formula for s in reference}) / len(reference)

    def judge(samples: list[Structure | None]) -> dict[str, float]:
        valid = [s if metrics.structurally_valid(s) else None for s in samples]
        formulas = {s.composition.reduced_formula for s in valid if s is not None}
        numbers = {
            "validity": metrics.structural_validity(samples),
            "density_wasserstein": metrics.density_wasserstein(valid, reference),
            "num_elements_wasserstein": metrics.num_elements_wasserstein(valid, reference),
            "nearest_neighbour_wasserstein": metrics.nearest_neighbour_wasserstein(valid, reference),
            "element_total_variation": metrics.element_total_variation(valid, reference),
            "distinct_formulas": len(formulas) / len(samples),
        }
        parts = [
            1 - numbers["validity"],
            max(real_formulas - numbers["distinct_formulas"], 0.0),
            numbers["density_wasserstein"] / spread["density"],
            numbers["num_elements_wasserstein"] / spread["num_elements"],
            numbers["nearest_neighbour_wasserstein"],
            numbers["element_total_variation"],
        ]
        numbers["score"] = sum(p if math.isfinite(p) else 10.0 for p in parts)
        return {name: value for name, value in numbers.items() if math.isfinite(value)}

    return judge


def match_rate(encoding: GraphEncoding, most: int = 200):
    """Share of the first `most` decoded crystals that StructureMatcher (default tolerances) takes for the original."""

    def match(decoded: GraphTensor, real: GraphTensor) -> dict[str, float]:
        from pymatgen.core.structure_matcher import StructureMatcher

        count = min(most, len(real))
        matcher = StructureMatcher()
        pairs = zip(encoding.decode(decoded[:count]), encoding.decode(real[:count]), strict=True)
        matched = [a is not None and b is not None and matcher.fit(a, b) for a, b in pairs]
        return {"match_rate": sum(matched) / count}

    return match
