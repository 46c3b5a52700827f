"""From DATA to a run: read, encode, keep validation crystals out, choose device and threads; then train."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch

from graphgan.cli.commands import CommandError, Training
from graphgan.cli.devices import choose_device, set_threads
from graphgan.cli.graph_stages import GraphStages
from graphgan.cli.image_stages import ImageStages, as_drawn, new_image_encoding, range_warnings, share_beyond
from graphgan.cli.progress import RunProgress
from graphgan.cli.stages import Stages, build_objective
from graphgan.cli.train import Interrupted, Judge, Run
from graphgan.config import DIFFUSION, Config, ImageConfig, MoleculeConfig, RunConfig, save_config
from graphgan.crystal_set import CrystalSet
from graphgan.data.cards import default_split
from graphgan.encodings import GraphEncoding
from graphgan.encodings.image_files import read_images
from graphgan.encodings.images import ImageEncoding
from graphgan.encodings.stored import stored_kind
from graphgan.encodings.streaming import READER_FACTOR
from graphgan.graph_tensor import GraphTensor
from graphgan.image_tensor import ImageTensor
from graphgan.rewards import reward

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from graphgan.data import ReadResult, Skipped

HELD_OUT_SHARE, HELD_OUT_MOST = 0.05, 500


class Ready(Protocol):
    """What a run trains on, and what it keeps out.

    kind      what these are, in one word
    content   what the encoding has found, in words
    skipped   entries of DATA that could not be used
    """

    kind: str
    crystals: Any
    held: Any
    skipped: int

    @property
    def content(self) -> str: ...

    def stages(self, config: Any, device: torch.device) -> Stages:
        """What the run trains."""
        ...

    def judge(self, config: Any) -> Judge | None:
        """What judges samples; None where there is nothing to compare with."""
        ...


@dataclasses.dataclass(eq=False)
class Prepared:
    """Crystals, as `Ready`. `structures` are those kept out, None when DATA came as tensors."""

    encoding: GraphEncoding | ImageEncoding
    crystals: CrystalSet | ImageTensor
    held: CrystalSet | ImageTensor
    structures: list[Structure] | None
    skipped: int
    kind: str = "crystals"

    @property
    def content(self) -> str:
        encoding = self.encoding
        if isinstance(encoding, GraphEncoding):
            return f"{len(encoding.elements)} elements"
        return f"{encoding.name} images of {encoding.side} x {encoding.side}"

    def stages(self, config: RunConfig, device: torch.device) -> Stages:
        encoding, crystals, held = self.encoding, self.crystals, self.held
        if isinstance(config, ImageConfig):
            return ImageStages(config, encoding, crystals, device=device)  # type: ignore[arg-type]
        match = match_rate(encoding) if self.structures is not None else None  # type: ignore[arg-type]
        return GraphStages(config, encoding, crystals, held.graph_tensor(), device=device, match=match)  # type: ignore

    def judge(self, config: RunConfig) -> Judge | None:
        return judge_against(self.structures)


def train(command: Training) -> int:
    """`graphgan train`."""
    config, folder = command.settings, command.out
    started = (folder / "checkpoints" / "last.pt").is_file()
    if started and not command.resume:
        raise CommandError(f"{folder}: holds a run already; add --resume to go on, or take another --out")
    if command.resume and not started:
        raise CommandError(f"{folder}: there is no checkpoint to resume from")
    if folder.exists() and not folder.is_dir():
        raise CommandError(f"{folder}: is a file, --out needs a folder")
    device = choose_device(config.device)
    set_threads(config.threads)
    check_objectives(config)  # a wrong name should not wait for the autoencoder to finish
    progress = RunProgress(config, quiet=command.quiet)
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / "data.json"
    if command.resume and source.is_file():
        saved = json.loads(source.read_text(encoding="utf-8"))
        command = dataclasses.replace(
            command, split=command.split or saved["split"], validation=command.validation or saved["validation"]
        )
    prepared = ready(command, config, folder, progress)
    if isinstance(config, ImageConfig):
        config = as_drawn(config, prepared.encoding)  # type: ignore[attr-defined]
        if beyond := share_beyond(prepared.crystals):
            progress.say(f"{beyond:.1%} of the pixels are not in [0, 1]: networks make none of these")
    run = Run(
        config,
        prepared.stages(config, device),
        folder,
        device=device,
        judge=prepared.judge(config),
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
        f"{len(prepared.crystals)} {prepared.kind}, {len(prepared.held)} for validation, {prepared.skipped} skipped; "
        f"{prepared.content}; {device}, {torch.get_num_threads()} threads"
    )
    try:
        run.train()
    except Interrupted as stop:
        print(f"graphgan: {stop}; go on with --resume", file=sys.stderr)
        return 130
    return 0


def ready(command: Training, config: RunConfig, folder: Path, progress: RunProgress) -> Ready:
    """DATA as the configuration wants it."""
    if isinstance(config, MoleculeConfig):
        from graphgan.cli.prepare_molecules import prepare_molecules

        return prepare_molecules(command, config, folder, progress)
    return prepare(command, config, folder, progress)


def check_objectives(config: RunConfig) -> None:
    """ConfigError for a game that there is not, RewardError for such a reward."""
    if isinstance(config, MoleculeConfig):
        build_objective(config.game.objective, config.game.objective_options)
        for name in config.rewards.names:
            reward(name)
    if isinstance(config, Config):
        for game in (config.latent, config.graph):
            build_objective(game.objective, game.objective_options)
    if isinstance(config, ImageConfig) and config.objective != DIFFUSION:
        build_objective(config.objective, config.objective_options)


def prepare(command: Training, config: RunConfig, folder: Path, progress: RunProgress) -> Prepared:
    """Read and encode DATA; entries that cannot be used go to skipped.csv in the run folder."""
    kind = stored_kind(Path(command.data))
    if kind is not None:
        if command.split is not None or command.validation is not None:
            raise CommandError(f"{command.data}: tensors have no --split and take no --validation")
        wanted = config.encoding if isinstance(config, ImageConfig) else "graph"
        if kind != wanted:
            raise CommandError(f"{command.data}: holds {kind} tensors; train on them with --encoding {kind}")
        encoding, crystals = (GraphEncoding.load if kind == "graph" else read_images)(command.data)
        return _parted(encoding, crystals, None, config.seed, 0)
    encoding = new_encoding(config)
    found = read_data(command.data, command.split or default_split(command.data), encoding, not command.quiet)
    with range_warnings(progress.say):
        crystals, kept = encoding.fit_encode(found.structures, progress=not command.quiet)
    structures = [found.structures[i] for i in kept]
    skipped = skipped_too(found, kept, largest(encoding))
    dataclasses.replace(found, skipped=skipped).write_skipped(folder / "skipped.csv")
    if skipped:
        progress.say(f"{len(skipped)} entries skipped: {folder / 'skipped.csv'} says which and why")
    if command.validation is None:
        return _parted(encoding, crystals, structures, config.seed, len(skipped))
    held_structures = read_data(command.validation, None, encoding, not command.quiet).structures
    usable = encoding.encodable(held_structures)
    if not usable:
        raise CommandError(f"{command.validation}: no crystal fits the elements and size of {command.data}")
    held_structures = [held_structures[i] for i in usable]
    with range_warnings(progress.say):
        held = encoding.encode(held_structures)
    return Prepared(encoding, crystals, held, held_structures, len(skipped))


def new_encoding(config: RunConfig) -> GraphEncoding | ImageEncoding:
    """The encoding that a configuration asks for, not fitted yet."""
    if isinstance(config, ImageConfig):
        return new_image_encoding(config)
    assert isinstance(config, Config)
    return GraphEncoding(config.encoding.max_atoms, config.encoding.primitive)


def largest(encoding: GraphEncoding | ImageEncoding) -> int:
    """The atoms that an encoded crystal can have."""
    return encoding.max_atoms if isinstance(encoding, GraphEncoding) else encoding.max_sites


def _parted(
    encoding: GraphEncoding | ImageEncoding,
    crystals: CrystalSet | ImageTensor,
    structures: list[Structure] | None,
    seed: int,
    skipped: int,
) -> Prepared:
    """Some crystals held out of those given."""
    train_rows, held = hold_out(len(crystals), seed)
    kept_out = None if structures is None else [structures[i] for i in held]
    return Prepared(encoding, crystals.subset(train_rows), crystals.subset(held), kept_out, skipped)


def skipped_too(found: ReadResult, kept: Sequence[int], max_atoms: int) -> list[Skipped]:
    """What was not read, and what was read and is too large to encode."""
    from graphgan.data import Skipped

    large = sorted(set(range(len(found.structures))) - set(kept))
    return [*found.skipped, *(Skipped(found.ids[i], f"more than {max_atoms} atoms in the cell") for i in large)]


def hold_out(n: int, seed: int) -> tuple[list[int], list[int]]:
    """(rows to train on, rows held out); the same for the same seed. Sets too small to part with any validate on
    themselves."""
    count = min(round(HELD_OUT_SHARE * n), HELD_OUT_MOST)
    if count < 1:
        return list(range(n)), list(range(n))
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed)).tolist()
    return sorted(order[count:]), sorted(order[:count])


def read_data(data: str, split: str | None, encoding: GraphEncoding | ImageEncoding, progress: bool) -> ReadResult:
    """Crystals of DATA. The reader's limit is loose, since the cell given may be a large multiple of the primitive."""
    from graphgan.data import read

    return read(data, split=split, max_atoms=READER_FACTOR * largest(encoding), progress=progress)


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

    def judge(samples: Sequence[Structure | None]) -> dict[str, float]:
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
