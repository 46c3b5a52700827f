"""What every run has: a budget, a seed, a device, and how often it logs, saves and looks at samples."""

from __future__ import annotations

import abc
import dataclasses
from typing import Literal

from graphgan.config.tables import check_values


@dataclasses.dataclass(frozen=True)
class RunConfig(abc.ABC):
    """A whole run. The budget is --minutes or else --steps, split over the stages by their shares."""

    steps: int = 20000
    """Steps of all stages together, unless minutes is given."""
    minutes: float | None = None
    """Minutes of training of all stages together."""
    seed: int = 0
    """Of weights, batches and noise."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto takes a GPU where there is one."""
    precision: Literal["float32", "bf16"] = "float32"
    """bf16 halves the width of the networks' products in the autoencoder, prior, mixture and latent stages and on
    images; gradient penalty, weights and the graph stage stay in float32. For GPUs."""
    cuda_graph: bool = False
    """Play whole steps of the latent game, or of a game of images, as one CUDA graph; on one GPU."""
    threads: int = 1
    """CPU threads; 0 takes all cores. More than one helps large cells on an idle machine; on a busy one it can be 30
    times slower. Equal numbers need equal threads."""
    log_every: int = 25
    """Steps between rows of log.jsonl."""
    checkpoint_every: int = 250
    """Steps between checkpoints."""
    evaluate_every: int = 500
    """Steps of a game between evaluations of a small sample, which choose checkpoints/best.pt."""

    def __post_init__(self) -> None:
        # All is judged here rather than in each part: only the whole knows the names that users type, and tyro draws
        # boxes of many lines around the errors of a part.
        check_values(self)

    @property
    @abc.abstractmethod
    def stages(self) -> dict[str, float]:
        """The stages in order, each with its part of the budget; the parts sum to 1, and none is 0."""

    @abc.abstractmethod
    def batch_size(self, stage: str) -> int:
        """Crystals a step of a stage."""

    def stage_budget(self, stage: str) -> tuple[int | None, float | None]:
        """(steps, seconds) of a stage; one of them is None."""
        share = self.stages.get(stage, 0.0)
        if self.minutes is not None:
            return None, 60 * self.minutes * share
        return (max(1, round(self.steps * share)) if share > 0 else 0), None
