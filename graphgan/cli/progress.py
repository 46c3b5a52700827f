"""What a terminal shows of a run: one live bar a stage, with the game's numbers, speed and time left."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from graphgan.config import RunConfig
from graphgan.ranks import announced

# The numbers worth a place in the bar, in the words of the field.
SHOWN = {
    "species_accuracy": "species",
    "direction_loss": "directions",
    "lattice_loss": "lattice",
    "wasserstein": "W",
    "gradient_penalty": "penalty",
    "critic_loss": "critic",
    "score_gap": "gap",
    "diffusion_loss": "loss",
    "crystals_per_second": "crystals/s",
}


class RunProgress:
    """A context manager around a run; silent when `quiet`, plain lines where there is no terminal. Of several processes
    the first alone speaks."""

    def __init__(self, config: RunConfig, *, quiet: bool = False) -> None:
        self.config = config
        quiet = quiet or not announced().first
        self.console = Console(stderr=True, quiet=quiet)
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[numbers]}"),
            TextColumn("{task.fields[speed]}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=self.console,
            disable=quiet or not self.console.is_terminal,
        )
        self.task: TaskID | None = None
        self.stage = ""

    def __enter__(self) -> RunProgress:
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()

    def start_stage(self, stage: str, step: int, seconds: float) -> None:
        """A new bar, at `step` after `seconds` of this stage."""
        self.stage = stage
        self.steps, self.budget = self.config.stage_budget(stage)
        self.first_step, self.first_seconds = step, seconds
        limit = f"{self.steps} steps" if self.steps is not None else f"{(self.budget or 0) / 60:.1f} min"
        self.task = self.bar.add_task(stage, total=1.0, numbers="", speed="", left="")
        self.say(f"{stage}: {limit}" + (f", from step {step}" if step else ""))

    def update(self, step: int, seconds: float) -> None:
        """Move the bar."""
        if self.task is None or self.bar.disable:
            return
        spent = max(seconds - self.first_seconds, 1e-6)
        rate = (step - self.first_step) / spent
        if self.steps is not None:
            done, left = step / self.steps, (self.steps - step) / max(rate, 1e-9)
        else:
            budget = self.budget or 1.0
            done, left = min(seconds / budget, 1.0), max(budget - seconds, 0.0)
        speed = f"{rate:.1f} steps/s" if rate >= 1 else f"{1 / max(rate, 1e-9):.1f} s/step"
        minutes, rest = divmod(int(left), 60)
        self.bar.update(self.task, completed=done, speed=speed, left=f"{minutes}:{rest:02d} left")

    def show(self, numbers: dict[str, float]) -> None:
        """Put the latest numbers beside the bar."""
        words = [f"{word} {numbers[name]:.3g}" for name, word in SHOWN.items() if name in numbers]
        if words and self.task is not None:
            self.bar.update(self.task, numbers=" ".join(words))

    def say(self, line: str) -> None:
        """A line above the bar."""
        self.console.print(line, highlight=False, soft_wrap=True)
