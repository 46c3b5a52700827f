"""Trainer: one loop for every kind of batch and any number of players; knows no chemistry, no file names, no config.

A player is a network with a loss and an optimiser. An autoencoder is one player, a game is two: a critic that moves
several times a step, then a generator. Several processes may share every batch (`graphgan.draws.Share`).
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from graphgan.draws import ranks_of
from graphgan.errors import UserError
from graphgan.objectives import Loss, Objective
from graphgan.step_graph import StepGraph
from graphgan.watch import Watch

D_co = TypeVar("D_co", covariant=True)

POOL = 16
"""Batches that are drawn together where batches are sorted by size."""


class Data(Protocol[D_co]):
    """A whole data set; a minibatch on the device is an index [batch_size], on the CPU, away.

    For a CUDA graph the index is on the device, and no shape may depend on it; where processes share batches, a batch
    gives its rows [rank::size], with the padding of the whole.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: Tensor) -> D_co: ...


class NonFiniteLossError(UserError, ArithmeticError):
    """A loss became NaN or infinite; the message names player and step."""


@dataclasses.dataclass(eq=False)
class Player:
    """A network that lowers `loss(batch, rng) -> (loss, stats)`, `repeats` times a step, each time on a new batch.

    `constrain` is called on the network after each of its moves (weight clipping). `moves` counts those before the one
    at hand; after `period` moves, the loss does the same kind of thing again. Over the last share `fade` of a training
    of known length the learning rate falls to 0, linearly.
    """

    name: str
    network: nn.Module
    loss: Callable[[Any, torch.Generator], Loss]
    learning_rate: float
    betas: tuple[float, float] = (0.0, 0.9)
    repeats: int = 1
    clip_norm: float | None = None
    constrain: Callable[[nn.Module], None] | None = None
    period: int = 1
    moves: int = 0
    fade: float = 0.0


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

    Where `rng` is a Share, `batch_size` is that of all processes together, each takes its rows of every batch, and all
    end with the weights that one process would have; RankError if the rows do not divide.

    autocast  dtype of the networks in the losses, None for their own
    patient   look at losses in `check` alone, rather than after every move: on a GPU a look waits for all work given to
              it. From the first move on that is not finite, no weight changes. By default on a GPU
    capture   play whole steps as a CUDA graph, on one GPU
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
        autocast: torch.dtype | None = None,
        patient: bool | None = None,
        capture: bool = False,
    ) -> None:
        if not len(data):
            raise ValueError("there is nothing to train on")
        self.players, self.data, self.rng = players, data, rng
        self.ranks = ranks_of(rng)
        self.batch_size = self.ranks.batch_size(batch_size, len(data))
        # Items of one size need no sorting.
        self.sizes = None if sizes is None or len(sizes.unique()) == 1 else sizes.cpu()
        on_gpu = rng.device.type == "cuda"
        # Batches are dealt on the host, where their sizes are known without asking a GPU.
        self.dealer = torch.Generator().manual_seed(rng.initial_seed()) if on_gpu else rng
        self._dealt = torch.empty(0, self.batch_size, dtype=torch.int64)
        self.autocast, self.patient = autocast, on_gpu if patient is None else patient
        self.watch, self._watched_from = Watch(rng.device), 0
        # Only fused optimisers can be told by the device to leave the weights alone.
        fast = {"fused": True, "capturable": on_gpu} if self.patient else {}
        self.optimizers: dict[str, Any] = {
            p.name: torch.optim.Adam(p.network.parameters(), lr=p.learning_rate, betas=p.betas, **fast) for p in players
        }
        for optimizer in self.optimizers.values() if self.patient else ():
            optimizer.grad_scale, optimizer.found_inf = None, self.watch.broken
        self.average = Average(players[-1].network, ema_decay)
        self.step = 0
        # The moves of a step, by who makes them.
        self._turns = [player for player in players for _ in range(player.repeats)]
        alike = all(player.repeats % player.period == 0 for player in players)
        captured = capture and on_gpu and alike and self.ranks.size == 1
        self._graph = StepGraph(self._play, rng, len(self._turns), self.batch_size) if captured else None

    def train(
        self, steps: int | None = None, seconds: float | None = None, spent: float = 0.0
    ) -> Iterator[dict[str, Tensor]]:
        """Play until `steps` in all, or for `seconds` more after `spent` seconds of the same training; yield the stats
        of every step as tensors on the device.

        Raises NonFiniteLossError before the weights are spoiled: at once, or, if `patient`, in the next `check`.
        """
        end = None if seconds is None else time.monotonic() + seconds
        total = None if seconds is None else seconds + spent
        while (steps is None or self.step < steps) and not self._is_over(end):
            if any(player.fade for player in self.players):
                self._fade(self._left(steps, None if end is None else end - time.monotonic(), total))
            stats = self._play(self._indices()) if self._graph is None else self._graph(self._indices_of_a_step())
            self.step += 1
            self.average.update(self.players[-1].network, self.step)
            yield stats
        self.check()

    @property
    def captures(self) -> bool:
        """Whether steps are played as a CUDA graph."""
        return self._graph is not None

    @property
    def items_a_step(self) -> int:
        """Items that the players see in a step, one seen twice counted twice."""
        return self.batch_size * len(self._turns)

    def check(self) -> None:
        """NonFiniteLossError, with player and step, if a move was not finite."""
        found = self.watch.look()
        if found is None:
            return
        steps, turn = divmod(found.move, len(self._turns))
        what, value = ("gradient", found.norm) if math.isfinite(found.loss) else ("loss", found.loss)
        name, step = self._turns[turn].name, self._watched_from + steps + 1
        raise NonFiniteLossError(f"the {name}'s {what} is {value} at step {step}")

    def _left(self, steps: int | None, seconds: float | None, total: float | None) -> float:
        """The share of the training that is left, by steps or by time, whichever ends first; 1 where no end is known.
        All processes go by the clock of the first: with other learning rates they would have other weights."""
        left = 1.0 if steps is None else 1 - self.step / steps
        if seconds is not None and total:
            clock = torch.tensor(seconds / total)
            self.ranks.broadcast_([clock])
            left = min(left, clock.item())
        return max(left, 0.0)

    def _fade(self, left: float) -> None:
        for player in self.players:
            rate = player.learning_rate * (min(1.0, left / player.fade) if player.fade else 1.0)
            for group in self.optimizers[player.name].param_groups:
                group["lr"] = rate

    def _is_over(self, end: float | None) -> bool:
        return end is not None and self.ranks.any(time.monotonic() >= end)

    def _play(self, indices: Iterator[Tensor]) -> dict[str, Tensor]:
        """One step: the moves of every player in turn, each on the next batch."""
        stats: dict[str, Tensor] = {}
        for player in self.players:
            self._give_turn(player)
            for turn in range(player.repeats):
                player.moves = self.step * player.repeats + turn
                with self._precision():
                    loss, player_stats = player.loss(self._batch(next(indices)), self.rng)
                self._update(player, loss, player_stats)
                stats |= player_stats
        return stats

    def _batch(self, index: Tensor) -> Any:
        """The batch of an index, or what of it is for this process."""
        batch, ranks = self.data[index], self.ranks
        return batch if ranks.size == 1 else batch[ranks.rank :: ranks.size]

    def _draw(self) -> Any:
        return self._batch(next(self._indices()))

    def _indices(self) -> Iterator[Tensor]:
        """Indices [batch_size] of the next batches, on the host; dealt when asked for."""
        while True:
            if not len(self._dealt):
                self._dealt = self._pinned(self._deal())
            index, self._dealt = self._dealt[0], self._dealt[1:]
            yield index

    def _indices_of_a_step(self) -> Tensor:
        indices = self._indices()
        return self._pinned(torch.stack([next(indices) for _ in self._turns]))

    def _pinned(self, index: Tensor) -> Tensor:
        """From pinned memory, a copy to a GPU waits for nothing."""
        return index.pin_memory() if self.rng.device.type == "cuda" else index

    def _deal(self) -> Tensor:
        """Indices [batches, batch_size] of the next batches."""
        rng = self.dealer
        if self.sizes is None:
            return torch.randint(len(self.data), (1, self.batch_size), generator=rng)
        index = torch.randint(len(self.data), (POOL * self.batch_size,), generator=rng)
        index = index[torch.argsort(self.sizes[index])].view(POOL, self.batch_size)
        return index[torch.randperm(POOL, generator=rng)]

    def _precision(self) -> contextlib.AbstractContextManager[Any]:
        if self.autocast is None:
            return contextlib.nullcontext()
        return torch.autocast(self.rng.device.type, dtype=self.autocast)

    def _give_turn(self, player: Player) -> None:
        """Only the player whose turn it is keeps gradients; the others would pay for numbers nobody uses."""
        for other in self.players:
            other.network.requires_grad_(other is player)

    def _update(self, player: Player, loss: Tensor, stats: dict[str, Tensor] | None = None) -> None:
        optimizer = self.optimizers[player.name]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        # DistributedDataParallel would do this in hooks; it does not go with torch.autograd.grad, of which gradient
        # penalties are made. Loss and stats come along: every process then sees, logs and judges the same numbers.
        gradients = [p.grad for p in player.network.parameters() if p.grad is not None]
        self.ranks.mean_([*gradients, loss.detach(), *(stats or {}).values()])
        norm = nn.utils.clip_grad_norm_(player.network.parameters(), player.clip_norm or float("inf"))
        self.watch.note(loss, norm)  # the norm too: a finite loss can have a gradient that is not
        if not self.patient:
            self.check()
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
            "dealer": self.dealer.get_state(),
            "dealt": self._dealt.clone(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a state; RuntimeError if the networks differ."""
        for player in self.players:
            player.network.load_state_dict(state["networks"][player.name])
            self._load_optimizer(self.optimizers[player.name], state["optimizers"][player.name])
        self.average.network.load_state_dict(state["average"])
        self.step = self._watched_from = state["step"]
        self.watch.forget()
        for name, rng in {"dealer": self.dealer, "rng": self.rng}.items():
            kept = state[name].cpu()
            if kept.shape == rng.get_state().shape:
                rng.set_state(kept)
            else:  # of another kind of device, which cannot go on with these numbers
                rng.manual_seed(rng.initial_seed() + self.step)
        dealt = state["dealt"].cpu()
        self._dealt = dealt if dealt.shape[1:] == (self.batch_size,) else self._dealt[:0]

    @staticmethod
    def _load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
        """Its numbers from the file, but its way of computing from here: the file may be of another device, and the
        learning rate another one now."""
        ways = {name: optimizer.defaults[name] for name in ("fused", "capturable", "foreach", "lr", "betas")}
        optimizer.load_state_dict({**state, "param_groups": [{**group, **ways} for group in state["param_groups"]]})


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
    betas: tuple[float, float] = (0.0, 0.9),
) -> list[Player]:
    """The two players of a game. `real` turns a batch of data into what the critic sees; `fake` makes a generated batch
    with the atom counts and condition of that real one, so that an objective may pair them.

    Scores reach the objective in float32 or better. An objective may have `constrain(critic)`, called after each of the
    critic's moves, and `at(move)`, the objective of the critic's move of that number, with `period` moves to a cycle.
    """

    def judge(points: Any) -> Tensor:
        scores = critic(points)
        return scores.to(torch.promote_types(scores.dtype, torch.float32))

    def critic_loss(batch: Any, rng: torch.Generator) -> Loss:
        with torch.no_grad():
            seen = real(batch, rng)
            made = fake(seen, rng)
        now = objective.at(critic_player.moves) if hasattr(objective, "at") else objective
        return now.critic_loss(judge, seen, made, rng)

    def generator_loss(batch: Any, rng: torch.Generator) -> Loss:
        with torch.no_grad():
            seen = real(batch, rng)
        return objective.generator_loss(judge, seen, fake(seen, rng))

    critic_player = Player(
        "critic",
        critic,
        critic_loss,
        critic_learning_rate or learning_rate,
        betas,
        repeats=critic_steps,
        constrain=getattr(objective, "constrain", None),
        period=getattr(objective, "period", 1),
    )
    return [critic_player, Player("generator", generator, generator_loss, learning_rate, betas)]
