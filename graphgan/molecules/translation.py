"""Translation between two classes of molecules in the latent space of a frozen autoencoder; knows no chemistry.

Mol-CycleGAN, Maziarka et al. (2020), doi:10.1186/s13321-019-0404-1, after CycleGAN, Zhu et al. (2017),
arXiv:1703.10593: nobody knows pairs, so each direction plays a game against real molecules of its target, and both
together must lead back. The classes are called low and high; "forward" leads from low to high, "backward" from high to
low.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor, nn

from graphgan.latents import Latents
from graphgan.molecules.modern import MoleculePosterior
from graphgan.objectives import Loss, Objective
from graphgan.training import Player, adversaries

DIRECTIONS = ("forward", "backward")
Map = Callable[[Tensor], Tensor]


class Translator(nn.Module):
    """Standardised latents [B, D] to those of the other class: a residual dense network whose last layer weighs nothing
    at first, so that training starts at the identity.

    mean, std   [D] buffers: what standardises latents
    border      buffer, float64: the value of the property between the classes
    """

    mean: Tensor
    std: Tensor
    border: Tensor

    def __init__(self, latent_dim: int = 48, hidden: int = 128, layers: int = 3) -> None:
        super().__init__()
        self.embed = nn.Linear(latent_dim, hidden)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, hidden))
            for _ in range(layers)
        )
        self.step = nn.Linear(hidden, latent_dim)
        nn.init.zeros_(self.step.weight)
        nn.init.zeros_(self.step.bias)
        self.register_buffer("mean", torch.zeros(latent_dim))
        self.register_buffer("std", torch.ones(latent_dim))
        self.register_buffer("border", torch.tensor(float("nan"), dtype=torch.float64))

    def forward(self, latents: Tensor) -> Tensor:
        h = self.embed(latents)
        for block in self.blocks:
            h = h + block(h)
        return latents + self.step(h)

    def fit(self, latents: MoleculePosterior, border: float) -> None:
        """Take over mean and spread of training latents, and the border of their classes.

        The spread is that of draws. In a number that tells the decoder nothing, means are nearly equal: divided by
        their own spread, it would count as much as one that tells a lot.
        """
        self.mean.copy_(latents.mean.mean(0))
        self.std.copy_((latents.mean.var(0, correction=0) + latents.log_variance.exp().mean(0)).sqrt())
        self.border.fill_(border)

    def standardised(self, latents: Tensor) -> Tensor:
        """Latents of the encoder, [B, D], as this network takes them."""
        return (latents - self.mean) / self.std

    def translated(self, latents: Tensor) -> Tensor:
        """Latents of the encoder, [B, D], to latents for the decoder."""
        return latents + self.std * (self(standard := self.standardised(latents)) - standard)


class LatentCritic(nn.Module):
    """Latents of one vector each -> scores [B]: a dense network."""

    def __init__(self, latent_dim: int = 48, hidden: int = 128, layers: int = 3) -> None:
        super().__init__()
        pairs = itertools.pairwise([latent_dim, *[hidden] * layers])
        self.layers = nn.Sequential(*(part for i, o in pairs for part in (nn.Linear(i, o), nn.LeakyReLU(0.1))))
        self.head = nn.Linear(hidden, 1)

    def forward(self, latents: Latents) -> Tensor:
        return self.head(self.layers(latents.values[:, 0]))[:, 0]


@dataclasses.dataclass(frozen=True, eq=False)
class Unpaired:
    """B standardised latents of each class, [B, D]; what stands in one row has nothing in common."""

    low: Tensor
    high: Tensor

    def __len__(self) -> int:
        return len(self.low)

    def __getitem__(self, index: Tensor | slice) -> Unpaired:
        return Unpaired(self.low[index], self.high[index])


class ClassPairs:
    """All pairs of one of n low with one of m high latents, a data set (`graphgan.training.Data`) of n m items: every
    partner is as likely as every other. Pair number i is (i // m, i % m)."""

    def __init__(self, low: Tensor, high: Tensor) -> None:
        self.low, self.high = low, high

    def __len__(self) -> int:
        return len(self.low) * len(self.high)

    def __getitem__(self, index: Tensor) -> Unpaired:
        index = index.to(self.low.device, non_blocking=True)
        return Unpaired(self.low[index // len(self.high)], self.high[index % len(self.high)])


def translated(forward: Map, backward: Map, batch: Unpaired) -> Unpaired:
    """What the high ones become, as low, and what the low ones become, as high; row by row."""
    return Unpaired(backward(batch.high), forward(batch.low))


def cycle_loss(forward: Map, backward: Map, batch: Unpaired, moved: Unpaired) -> Tensor:
    """How far from where it started every latent is after both directions: mean absolute difference, the sum over the
    classes; scalar. `moved` is `translated` of the batch."""
    return (backward(moved.high) - batch.low).abs().mean() + (forward(moved.low) - batch.high).abs().mean()


def step_loss(batch: Unpaired, moved: Unpaired) -> Tensor:
    """How far a translation is from what was given: mean absolute difference, the sum over the classes; scalar.

    The "identity mapping loss" of the public code of Mol-CycleGAN. That of CycleGAN is another one: a molecule that is
    of the target class already should stay as it is.
    """
    return (moved.high - batch.low).abs().mean() + (moved.low - batch.high).abs().mean()


def translation_players(
    objective: Objective,
    networks: Mapping[str, nn.Module],
    *,
    cycle_weight: float,
    identity_weight: float,
    learning_rate: float,
    betas: tuple[float, float] = (0.5, 0.999),
) -> list[Player]:
    """A critic of each direction, then both translators, in the order of DIRECTIONS, as one player; for batches of
    `Unpaired`.

    `networks` has forward, backward, forward_critic and backward_critic. In either game, real is the target class, with
    what is to be translated as its condition: critics do not look at that.
    """
    forward, backward = (networks[name] for name in DIRECTIONS)
    critics = []
    for name in DIRECTIONS:
        critic, _ = adversaries(
            objective,
            networks[f"{name}_critic"],
            networks[name],
            real=partial(_towards, name),
            fake=partial(_from_condition, networks[name]),
            critic_steps=1,
            learning_rate=learning_rate,
            betas=betas,
        )
        # In place: the loss of a critic looks at the moves of this very player.
        critic.name, critic.loss = f"{name}_critic", partial(_critic_loss, name, critic.loss)
        critics.append(critic)

    def loss(batch: Unpaired, rng: torch.Generator) -> Loss:
        moved = translated(forward, backward, batch)  # once, for all that asks for it
        cycle, step = cycle_loss(forward, backward, batch, moved), step_loss(batch, moved)
        total, stats = cycle_weight * cycle + identity_weight * step, {"cycle_loss": cycle, "step_loss": step}
        for name, made in zip(DIRECTIONS, (moved.high, moved.low), strict=True):
            real = _towards(name, batch, rng)
            game, more = objective.generator_loss(networks[f"{name}_critic"], real, _at(real, made))
            total = total + game
            stats |= _named(name, more)
        return total, {name: stat.detach() for name, stat in stats.items()}

    # In a list, since no module can be called "forward" in a table of modules.
    return [*critics, Player("translators", nn.ModuleList([forward, backward]), loss, learning_rate, betas)]


def random_steps(latents: Tensor, moved: Tensor, rng: torch.Generator) -> Tensor:
    """Steps of the lengths from `latents` to `moved`, [B, D], in random directions: what a translation must beat.

    A number changes as much as it differs among the latents: steps do not get lost in numbers that tell nothing.
    """
    direction = torch.randn(latents.shape, generator=rng, device=rng.device, dtype=latents.dtype).to(latents.device)
    direction = direction * latents.std(0, correction=0).clamp_min(1e-6)
    lengths = torch.linalg.vector_norm(moved - latents, dim=-1, keepdim=True)
    return latents + lengths * direction / torch.linalg.vector_norm(direction, dim=-1, keepdim=True)


def _towards(direction: str, batch: Unpaired, rng: torch.Generator) -> Latents:
    """The target class, and what is to be translated into it as its condition."""
    source, target = (batch.low, batch.high) if direction == "forward" else (batch.high, batch.low)
    ones = torch.ones(len(target), dtype=torch.int64, device=target.device)
    return Latents(values=target[:, None], num_atoms=ones, condition=source)


def _from_condition(translator: nn.Module, real: Latents, rng: torch.Generator) -> Latents:
    return _at(real, translator(real.condition))


def _at(real: Latents, values: Tensor) -> Latents:
    return real.replace(values=values[:, None])


def _critic_loss(
    name: str, loss: Callable[[Unpaired, torch.Generator], Loss], batch: Unpaired, rng: torch.Generator
) -> Loss:
    value, stats = loss(batch, rng)
    return value, _named(name, stats)


def _named(name: str, stats: dict[str, Tensor]) -> dict[str, Tensor]:
    """Stats that say which direction they are of."""
    return {f"{name}_{key}": stat for key, stat in stats.items()}
