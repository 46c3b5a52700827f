"""What a run needs of the kind of thing it trains: networks, trainers stage by stage, a model to sample from.

`graphgan.cli.graph_stages` has the stages of graph tensors, `graphgan.cli.image_stages` that of images,
`graphgan.cli.molecule_stages` those of molecules.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import nn

from graphgan.config import RunConfig, build
from graphgan.objectives import OBJECTIVES, Loss, Objective
from graphgan.ranks import Ranks
from graphgan.sampling import Sampler
from graphgan.training import Trainer

LossOf = Callable[[Any, torch.Generator], Loss]
"""What a player lowers: a loss of a batch."""


class Stages(Protocol):
    """The stages of one run, in the order and under the names of its configuration.

    encoding   of the crystals; `state_dict()` is plain data
    crystals   the training set on its device: a `graphgan.training.Data` with `digest()`
    networks   all networks of the run, by name
    arguments  those of the networks' constructors, by the same names
    samples    how many to judge a model by
    """

    encoding: Any
    crystals: Any
    networks: dict[str, nn.Module]
    arguments: dict[str, dict[str, Any]]
    samples: int

    def trainer(self, stage: str, ranks: Ranks) -> Trainer:
        """The trainer of a stage, at its first step; the stages before it are finished."""
        ...

    def averaged(self, stage: str, trainer: Trainer) -> dict[str, nn.Module]:
        """What is to be used now, by name: averages of the networks that the stage trains, and what it builds on."""
        ...

    def finish(self, stage: str, trainer: Trainer) -> None:
        """Let the networks take over the averages."""
        ...

    def generates(self, stage: str) -> bool:
        """Whether there is a `model` to judge during this stage."""
        ...

    def measure(self, used: dict[str, nn.Module], stage: str) -> dict[str, float]:
        """What the end of a stage says of the validation set, without samples; empty where it says nothing."""
        ...

    def model(self, used: dict[str, nn.Module], name: str, step: int) -> Sampler:
        """A model of the networks `used`."""
        ...

    def sample(self, model: Sampler, n: int) -> Sequence[Any]:
        """Crystals or molecules to judge a model by; None for what is none."""
        ...


def build_objective(name: str, options: dict[str, float]) -> Objective:
    """The game of a name; ConfigError for a name or options that are none."""
    return build(name, OBJECTIVES, options)


@contextlib.contextmanager
def initialising(seed: int) -> Iterator[None]:
    """Networks made within have the weights of this seed. torch initialises from its global generator: a fork of it is
    seeded, and the caller's stays as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def anchored(played: LossOf, other: LossOf, weight: float) -> LossOf:
    """A game's loss, and weight times another of the same batch, which keeps what the game may forget: all of the
    training set must stay within reach, so that playing well on a part of it is not enough. Larsen et al. (2016),
    arXiv:1512.09300."""

    def loss(batch: Any, rng: torch.Generator) -> Loss:
        game, stats = played(batch, rng)
        kept, more = other(batch, rng)
        return game + weight * kept, stats | more

    return loss


def autocast(config: RunConfig) -> torch.dtype | None:
    """What networks compute in, or None for their own precision."""
    return torch.bfloat16 if config.precision == "bf16" else None
