"""A run: the stages one after the other, with log, checkpoints, evaluation and resume; writes the run folder.

Under torchrun several processes run this: all train and agree on when to stop, the first alone writes and evaluates.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from graphgan.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from graphgan.cli.progress import RunProgress
from graphgan.cli.stages import Stages
from graphgan.config import RunConfig
from graphgan.ranks import join
from graphgan.sampling import Sampler
from graphgan.training import NonFiniteLossError, Trainer

# Stages that are played as a CUDA graph where that is asked for and can be.
CAPTURED = ("latent", "images")
# What a resumed run must share with its checkpoint, in words.
WORDS = {"encoding": "elements, cells, images or atoms", "arguments": "networks", "crystals": "training data"}
# What `Run` calls to judge a sample: structures or molecules -> numbers, "score" among them, lower is better.
Judge = Callable[[Sequence[Any]], dict[str, float]]


class Interrupted(Exception):
    """Ctrl-C or SIGTERM arrived; the state is saved."""


@dataclasses.dataclass
class Window:
    """Means of stats since the last row of the log, each over the steps that had it. Part of a checkpoint, so that a
    resumed log shows equal numbers. Sums stay on the device: reading one waits for it."""

    sums: dict[str, Tensor | float] = dataclasses.field(default_factory=dict)
    counts: dict[str, int] = dataclasses.field(default_factory=dict)

    def add(self, stats: dict[str, Tensor]) -> None:
        """Take the stats of one step."""
        for name, value in stats.items():
            self.sums[name] = value.double() + self.sums.get(name, 0.0)
            self.counts[name] = self.counts.get(name, 0) + 1

    def means(self) -> dict[str, float]:
        """The means, and start over."""
        means = {name: float(value) / self.counts[name] for name, value in self.sums.items()}
        self.sums, self.counts = {}, {}
        return means

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"sums": {name: float(value) for name, value in self.sums.items()}, "counts": dict(self.counts)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a state."""
        self.sums = dict(state["sums"])
        # Files of before have one count for all.
        self.counts = dict(state.get("counts") or dict.fromkeys(self.sums, state.get("count", 0)))


class Run:
    """Trains `stages` into `folder`; everything it needs to go on is in checkpoints/last.pt."""

    def __init__(
        self,
        config: RunConfig,
        stages: Stages,
        folder: Path,
        *,
        device: torch.device,
        judge: Judge | None = None,
        progress: RunProgress | None = None,
    ) -> None:
        self.ranks = join(device)
        self.names = list(config.stages)
        for stage in self.names:  # a size that does not divide should not wait for its stage
            self.ranks.batch_size(config.batch_size(stage), len(stages.crystals))
        self.config, self.stages, self.folder, self.device = config, stages, folder, device
        self.judge = judge
        self.progress = progress or RunProgress(config, quiet=True)
        self.stage, self.finished = self.names[0], False
        self.seconds = dict.fromkeys(self.names, 0.0)
        self.window = Window()
        self._logged = 0, 0.0  # step and seconds of the last row of means
        self.log_rows = 0
        self.identity = self._identity()
        self.best_score: float | None = None
        self.trainer: Trainer | None = None
        self._resume_state: dict[str, Any] | None = None
        self._stop = False

    # -- the run -------------------------------------------------------------------------------------------------------

    def train(self) -> None:
        """Play all stages that remain.

        Raises Interrupted after saving, NonFiniteLossError with the last checkpoint kept; of several processes, all do.
        """
        (self.folder / "checkpoints").mkdir(parents=True, exist_ok=True)
        handlers = {s: signal.signal(s, self._request_stop) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            self.ranks.any(False)  # nothing is written before all have read what is there
            with self._parting(), self.progress, self._open_board() as board:
                remaining = self.names[self.names.index(self.stage) + (1 if self.finished else 0) :]
                if not remaining:
                    self.progress.say("the budget is spent: give more --steps or --minutes to go on")
                for stage in remaining:
                    self._train_stage(stage, board)
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)

    def resume(self) -> None:
        """Take over checkpoints/last.pt and cut the log to it.

        CheckpointError if there is none, or if it is of other networks, other elements or other training data.
        """
        path = self.folder / "checkpoints" / "last.pt"
        content = load_checkpoint(path, self.device)
        for name, mine in self.identity.items():
            if content.get(name) != mine:
                why = _difference(content.get(name), mine)
                raise CheckpointError(f"{path}: cannot go on with other {WORDS[name]}{why}")
        self.stage, self.finished = content["stage"], content["finished"]
        if self.stage not in self.names:
            raise CheckpointError(f"{path}: is in its {self.stage} stage, to which these options give no share")
        self.seconds |= content["seconds"]
        self.window.load_state_dict(content["window"])
        self.best_score = content["best_score"]
        with _of_this_version(path):
            for name, module in self.stages.networks.items():
                module.load_state_dict(content["networks"][name])
        if self.finished and self.stage == self.names[-1] and self._budget_left(content["trainer"]["step"]):
            self.finished = False  # the run was over, and has been given more
        if self.finished:
            for name, weights in content["weights"].items():
                self.stages.networks[name].load_state_dict(weights)
        else:
            self._resume_state = content["trainer"]
        self._cut_log(content["log_rows"])

    def _budget_left(self, step: int) -> bool:
        steps, seconds = self.config.stage_budget(self.stage)
        return step < steps if steps is not None else self.seconds[self.stage] < (seconds or 0.0)

    def _train_stage(self, stage: str, board: Any) -> None:
        self.stage, self.finished = stage, False
        trainer = self.trainer = self.stages.trainer(stage, self.ranks)
        if self.config.cuda_graph and stage in CAPTURED and not trainer.captures:
            self.progress.say(
                "no CUDA graph: it takes one GPU, one process, no anchor and a penalty in equal moves of every step"
            )
        if self._resume_state is not None:
            with _of_this_version(self.folder / "checkpoints" / "last.pt"):
                trainer.load_state_dict(self._resume_state)
            self._resume_state = None
        for network in (*self.stages.networks.values(), trainer.average.network):
            self.ranks.broadcast_([*network.parameters(), *network.buffers()])
        steps, seconds = self.config.stage_budget(stage)
        left = None if seconds is None else max(seconds - self.seconds[stage], 0.0)
        self.progress.start_stage(stage, trainer.step, self.seconds[stage])
        self._logged = trainer.step, self.seconds[stage]
        mark = time.monotonic()
        for stats in trainer.train(steps, left, self.seconds[stage]):
            now = time.monotonic()
            self.seconds[stage] += now - mark
            mark = now
            self.window.add(stats)
            self.progress.update(trainer.step, self.seconds[stage])
            if trainer.step % self.config.log_every == 0:
                trainer.check()
                self._log_window(board)
            if self.stages.generates(stage) and trainer.step % self.config.evaluate_every == 0:
                trainer.check()  # by all processes: one that leaves alone would keep the others waiting
                self._evaluate(board)
            if trainer.step % self.config.checkpoint_every == 0:
                self._save()
            if self.ranks.any(self._stop):
                self._save()
                raise Interrupted(f"stopped at step {trainer.step} of the {stage} stage")
        self._finish_stage(stage, trainer, board)

    def _finish_stage(self, stage: str, trainer: Trainer, board: Any) -> None:
        if self.window.counts:
            self._log_window(board)
        if self.ranks.first and (measures := self.stages.measure(self._used(), stage)):
            self.progress.say("validation set: " + _words(measures))
            self._log(board, {f"validation_{name}": value for name, value in measures.items()})
        if self.stages.generates(stage) and trainer.step % self.config.evaluate_every:
            self._evaluate(board)
        if stage != self.names[-1]:  # the last one may be given more, and then goes on with its own weights
            self.stages.finish(stage, trainer)
        self.finished = True
        self._save()
        if self.ranks.any(self._stop) and stage != self.names[-1]:
            raise Interrupted(f"stopped after the {stage} stage")

    # -- what it writes ------------------------------------------------------------------------------------------------

    def _evaluate(self, board: Any) -> None:
        """Judge a small sample of the averaged generator; keep the best as checkpoints/best.pt."""
        if self.judge is None or not self.ranks.first:
            return
        measures = self.judge(self.stages.sample(self.model(), self.stages.samples))
        self._log(board, {f"sample_{name}": value for name, value in measures.items()})
        self.progress.say(f"{self.stage} step {self._step()}: " + _words(measures))
        if self.best_score is None or measures["score"] < self.best_score:
            self.best_score = measures["score"]
            self._save("best.pt")

    def model(self) -> Sampler:
        """The model as it stands, with averaged weights; only while there are crystals."""
        return self.stages.model(self._used(), self.folder.name, self._step())

    def _used(self) -> dict[str, torch.nn.Module]:
        """The networks that count, by name: the averages, or those that took them over when the stage ended."""
        assert self.trainer is not None
        averaged = self.stages.averaged(self.stage, self.trainer)
        if not self.finished or self.stage == self.names[-1]:
            return averaged
        return {name: self.stages.networks[name] for name in averaged}

    def _save(self, name: str = "last.pt") -> None:
        assert self.trainer is not None
        self.trainer.check()
        if not self.ranks.first:
            return
        now = self._used()
        content = {
            **self.identity,
            "config": dataclasses.asdict(self.config),
            "weights": {name: module.state_dict() for name, module in now.items()},
            "networks": {name: module.state_dict() for name, module in self.stages.networks.items()},
            "trainer": self.trainer.state_dict(),
            "stage": self.stage,
            "finished": self.finished,
            "seconds": self.seconds,
            "window": self.window.state_dict(),
            "best_score": self.best_score,
            "log_rows": self.log_rows,
        }
        save_checkpoint(self.folder / "checkpoints" / name, content)

    def _log_window(self, board: Any) -> None:
        """A row of means, and for board and terminal the crystals that players have seen a second since the last one.
        Not for the row: of two equal runs, `seconds` alone differs."""
        assert self.trainer is not None
        numbers, (step, seconds) = self.window.means(), self._logged
        self._logged = self._step(), self.seconds[self.stage]
        if not self.ranks.first:
            return
        self._log(board, numbers)
        rate = (self._step() - step) * self.trainer.items_a_step / max(self.seconds[self.stage] - seconds, 1e-9)
        board.add_scalar(f"{self.stage}/crystals_per_second", rate, self._step())
        self.progress.show(numbers | {"crystals_per_second": rate})

    def _log(self, board: Any, numbers: dict[str, float]) -> None:
        row = {
            "stage": self.stage,
            "step": self._step(),
            "seconds": round(self.seconds[self.stage], 3),
        } | numbers
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        self.log_rows += 1
        for name, value in numbers.items():
            board.add_scalar(f"{self.stage}/{name}", value, self._step())
        self.progress.show(numbers)

    def _cut_log(self, count: int) -> None:
        """Drop the rows that a killed run wrote after its last checkpoint: they will be written again."""
        path = self.folder / "log.jsonl"
        self.log_rows = count
        if path.exists() and self.ranks.first:
            rows = read_log(path)[:count]
            path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    def _identity(self) -> dict[str, Any]:
        """What a checkpoint must share with a run that goes on from it."""
        return {
            "encoding": self.stages.encoding.state_dict(),
            "arguments": self.stages.arguments,
            "crystals": self.stages.crystals.digest(),
        }

    @contextlib.contextmanager
    def _parting(self) -> Iterator[None]:
        """Leave the other processes in peace where all come to the same end; where one fails alone, torchrun ends the
        others."""
        try:
            yield
        except (Interrupted, NonFiniteLossError):
            self.ranks.leave()
            raise
        self.ranks.leave()

    def _open_board(self) -> Any:
        if not self.ranks.first:
            return contextlib.nullcontext()
        from torch.utils.tensorboard import SummaryWriter

        return SummaryWriter(str(self.folder / "tensorboard"))

    def _step(self) -> int:
        assert self.trainer is not None
        return self.trainer.step

    def _request_stop(self, *_: Any) -> None:
        if self._stop:
            raise KeyboardInterrupt  # asked twice: now, with the last checkpoint kept
        self._stop = True


@contextlib.contextmanager
def _of_this_version(path: Path) -> Iterator[None]:
    """Weights that do not fit networks of the same arguments were saved by another version."""
    try:
        yield
    except RuntimeError:
        raise CheckpointError(
            f"{path}: of another version of graphgan, whose networks were others; start anew"
        ) from None


def read_log(path: Path) -> list[dict[str, Any]]:
    """Rows of a log.jsonl; a last line cut off by a kill is dropped."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def _difference(theirs: Any, mine: Any, prefix: str = "") -> str:
    """': name was x, is y' for the first entry in which two tables differ; empty where they are no tables."""
    if not isinstance(theirs, dict) or not isinstance(mine, dict):
        return f": {prefix} was {theirs}, is {mine}" if prefix and len(f"{theirs}{mine}") < 200 else ""
    for name in mine:
        if theirs.get(name) != mine[name]:
            return _difference(theirs.get(name), mine[name], f"{prefix}.{name}" if prefix else name)
    return ""


def _words(measures: dict[str, float]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value:.3g}" for name, value in measures.items())
