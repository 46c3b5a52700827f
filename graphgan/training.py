"""Trainer: one loop for every kind of batch and any number of players; knows no chemistry, no file names, no config.

A player is a network with a loss and an optimiser. An autoencoder is one player, a game is two: a critic that moves
several times a step, then a generator.
"""

from __future__ import annotations

import copy
import dataclasses
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from graphgan.errors import UserError
from graphgan.objectives import Loss, Objective

D_co = TypeVar("D_co", covariant=True)

POOL = 16
"""Batches that are drawn together where batches are sorted by size."""


class Data(Protocol[D_co]):
    """A whole data set in memory, on the device; a minibatch is an index away."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: Tensor) -> D_co: ...


class NonFiniteLossError(UserError, ArithmeticError):
    """A loss became NaN or infinite; the message names player and step."""


@dataclasses.dataclass(eq=False)
class Player:
    """A network that lowers `loss(batch, rng) -> (loss, stats)`, `repeats` times a step, each time on a new batch.

    `constrain` is called on the network after each of its moves (weight clipping).
    """

    name: str
    network: nn.Module
    loss: Callable[[Any, torch.Generator], Loss]
    learning_rate: float
    betas: tuple[float, float] = (0.0, 0.9)
    repeats: int = 1
    clip_norm: float | None = None
    constrain: Callable[[nn.Module], None] | None = None


class Average:
    """Exponential moving average of a network's weights; Yazıcı et al. (2019), arXiv:1806.04498.

    The decay warms up as (1 + step) / (10 + step), so that the first weights are forgotten quickly.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).requires_grad_(False).eval()
        self.decay = decay

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Move towards the network's weights; buffers are copied."""
        decay = min(self.decay, (1 + step) / (10 + step))
        mine: list[Tensor] = list(self.network.parameters())
        theirs: list[Tensor] = list(network.parameters())
        torch._foreach_lerp_(mine, theirs, 1 - decay)
        for own, other in zip(self.network.buffers(), network.buffers(), strict=True):
            own.copy_(other)


class Trainer:
    """Players take turns on random batches of `data`; everything that decides the next number is in `state_dict`.

    The average follows the network of the last player: the autoencoder, or the generator. All randomness comes from
    `rng`, which lives on the data's device. With `sizes`, a number for each item of `data`, the items of a batch are of
    like size, which saves padding: POOL batches are drawn at once, sorted, and dealt in random order. Every item is as
    likely as without.
    """

    def __init__(
        self,
        players: list[Player],
        data: Data[Any],
        *,
        batch_size: int,
        rng: torch.Generator,
        ema_decay: float = 0.999,
        sizes: Tensor | None = None,
    ) -> None:
        if not len(data):
            raise ValueError("there is nothing to train on")
        self.players, self.data, self.rng = players, data, rng
        self.batch_size = min(batch_size, len(data))
        # Items of one size need no sorting.
        self.sizes = None if sizes is None or len(sizes.unique()) == 1 else sizes
        self._dealt = torch.empty(0, self.batch_size, dtype=torch.int64, device=rng.device)
        self.optimizers = {
            p.name: torch.optim.Adam(p.network.parameters(), lr=p.learning_rate, betas=p.betas) for p in players
        }
        self.average = Average(players[-1].network, ema_decay)
        self.step = 0

    def train(self, steps: int | None = None, seconds: float | None = None) -> Iterator[dict[str, Tensor]]:
        """Play until `steps` in all, or for `seconds` more; yield the stats of every step as tensors on the device.

        Raises NonFiniteLossError before the step that would have spoiled the weights is taken.
        """
        end = None if seconds is None else time.monotonic() + seconds
        while (steps is None or self.step < steps) and (end is None or time.monotonic() < end):
            stats: dict[str, Tensor] = {}
            for player in self.players:
                self._give_turn(player)
                for _ in range(player.repeats):
                    loss, player_stats = player.loss(self._draw(), self.rng)
                    self._update(player, loss)
                stats |= player_stats
            self.step += 1
            self.average.update(self.players[-1].network, self.step)
            yield stats

    def _draw(self) -> Any:
        if not len(self._dealt):
            self._dealt = self._deal()
        index, self._dealt = self._dealt[0], self._dealt[1:]
        return self.data[index]

    def _deal(self) -> Tensor:
        """Indices [batches, batch_size] of the next batches."""
        rng, device = self.rng, self.rng.device
        if self.sizes is None:
            return torch.randint(len(self.data), (1, self.batch_size), generator=rng, device=device)
        index = torch.randint(len(self.data), (POOL * self.batch_size,), generator=rng, device=device)
        index = index[torch.argsort(self.sizes[index])].view(POOL, self.batch_size)
        return index[torch.randperm(POOL, generator=rng, device=device)]

    def _give_turn(self, player: Player) -> None:
        """Only the player whose turn it is keeps gradients; the others would pay for numbers nobody uses."""
        for other in self.players:
            other.network.requires_grad_(other is player)

    def _update(self, player: Player, loss: Tensor) -> None:
        if not torch.isfinite(loss):
            raise NonFiniteLossError(f"the {player.name}'s loss is {float(loss.detach())} at step {self.step + 1}")
        optimizer = self.optimizers[player.name]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(player.network.parameters(), player.clip_norm or float("inf"))
        if not torch.isfinite(norm):  # a finite loss can have a gradient that is not
            raise NonFiniteLossError(f"the {player.name}'s gradient is {float(norm)} at step {self.step + 1}")
        optimizer.step()
        if player.constrain is not None:
            player.constrain(player.network)

    def state_dict(self) -> dict[str, Any]:
        """Networks, average, optimisers, step and generator state: enough to go on as if nothing had happened."""
        return {
            "networks": {p.name: p.network.state_dict() for p in self.players},
            "average": self.average.network.state_dict(),
            "optimizers": {name: o.state_dict() for name, o in self.optimizers.items()},
            "step": self.step,
            "rng": self.rng.get_state(),
            "dealt": self._dealt,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a state; RuntimeError if the networks differ."""
        for player in self.players:
            player.network.load_state_dict(state["networks"][player.name])
            self.optimizers[player.name].load_state_dict(state["optimizers"][player.name])
        self.average.network.load_state_dict(state["average"])
        self.step = state["step"]
        self.rng.set_state(state["rng"].cpu())
        self._dealt = state.get("dealt", self._dealt[:0]).to(self.rng.device)  # absent from files of before


def adversaries(
    objective: Objective,
    critic: nn.Module,
    generator: nn.Module,
    *,
    real: Callable[[Any, torch.Generator], Any],
    fake: Callable[[Any, torch.Generator], Any],
    critic_steps: int,
    learning_rate: float,
    critic_learning_rate: float | None = None,
) -> list[Player]:
    """The two players of a game. `real` turns a batch of data into what the critic sees; `fake` makes a generated batch
    with the atom counts and condition of that real one, so that an objective may pair them."""

    def critic_loss(batch: Any, rng: torch.Generator) -> Loss:
        with torch.no_grad():
            seen = real(batch, rng)
            made = fake(seen, rng)
        return objective.critic_loss(critic, seen, made, rng)

    def generator_loss(batch: Any, rng: torch.Generator) -> Loss:
        with torch.no_grad():
            seen = real(batch, rng)
        return objective.generator_loss(critic, seen, fake(seen, rng))

    constrain = getattr(objective, "constrain", None)
    return [
        Player(
            "critic",
            critic,
            critic_loss,
            critic_learning_rate or learning_rate,
            repeats=critic_steps,
            constrain=constrain,
        ),
        Player("generator", generator, generator_loss, learning_rate),
    ]
