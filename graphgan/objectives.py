"""The games: what a critic and a generator each try to lower, as pure functions of callables and batches.

Nothing here knows an optimiser, a log, a network or a crystal. A batch is anything with the methods of
`SamplePoint`: latents, graph tensors, images, molecules. Every loss returns (scalar loss, dict of detached scalars).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor
from torch.nn.functional import relu, softplus

from graphgan.draws import uniform

Loss = tuple[Tensor, dict[str, Tensor]]
S = TypeVar("S", bound="SamplePoint")


class SamplePoint(Protocol):
    """A batch of points of a manifold: what a game needs to know of crystals."""

    def __len__(self) -> int: ...

    def coordinates(self) -> tuple[Tensor, ...]:
        """Continuous coordinates that a critic's gradient is taken in."""
        ...

    def with_coordinates(self: S, *coordinates: Tensor) -> S:
        """The batch at other coordinates."""
        ...

    def join(self: S, other: S) -> S:
        """Both batches as one."""
        ...

    def interpolate(self: S, other: S, t: Tensor) -> S:
        """The points a share t [B] along the shortest path to `other`."""
        ...

    def dual_norm(self, gradients: Sequence[Tensor]) -> Tensor:
        """Norm [B] of gradients with respect to `coordinates()`, in a stated metric."""
        ...


Critic = Callable[[Any], Tensor]


class Objective(Protocol):
    """One game: a loss for each player; real and fake come in pairs that share num_atoms.

    A loss is a mean over the batch, since processes may share one; random numbers are from `rng` (`graphgan.draws` has
    those that go with sharing)."""

    def critic_loss(self, critic: Critic, real: Any, fake: Any, rng: torch.Generator) -> Loss: ...

    def generator_loss(self, critic: Critic, real: Any, fake: Any) -> Loss: ...


def scores(critic: Critic, real: SamplePoint, fake: SamplePoint) -> tuple[Tensor, Tensor]:
    """The critic's scores of both batches, from one forward pass."""
    on_real, on_fake = critic(real.join(fake)).split([len(real), len(fake)])
    return on_real, on_fake


def gradient_norm(critic: Critic, points: SamplePoint) -> Tensor:
    """One joint norm [B] of the critic's gradient over all coordinates of `points`; differentiable.

    Computed in float32 or better under autocast too: it is differentiated twice, and held against 1.
    """
    coordinates = points.coordinates()
    with torch.autocast(coordinates[0].device.type, enabled=False):
        leaves = [c.detach().to(torch.promote_types(c.dtype, torch.float32)).requires_grad_() for c in coordinates]
        total = critic(points.with_coordinates(*leaves)).sum()
        gradients = torch.autograd.grad(total, leaves, create_graph=True, materialize_grads=True)
        return points.dual_norm(gradients)


@dataclasses.dataclass(frozen=True)
class WassersteinGP:
    """Wasserstein critic with gradient penalty; Gulrajani et al. (2017), arXiv:1704.00028.

    The penalty is taken on shortest paths between pairs, at alpha ~ U(0, 1), one number a crystal. With
    `penalty_every` k, only every k-th move of the critic has it, k times as heavy; Karras et al. (2020),
    arXiv:1912.04958. ValueError if k is less than 1.
    """

    penalty_weight: float = 10.0
    penalty_every: int = 1

    def __post_init__(self) -> None:
        if self.penalty_every < 1 or self.penalty_every % 1:
            raise ValueError(f"penalty_every is {self.penalty_every}, expected a whole number from 1")

    @property
    def period(self) -> int:
        """Moves of the critic after which the game repeats."""
        return int(self.penalty_every)

    def at(self, move: int) -> Objective:
        """The game of the critic's move of this number, counted from 0."""
        return Wasserstein() if move % self.penalty_every else self

    def critic_loss(self, critic: Critic, real: Any, fake: Any, rng: torch.Generator) -> Loss:
        t = uniform(len(real), rng)
        on_real, on_fake = scores(critic, real, fake)
        distance = on_real.mean() - on_fake.mean()
        norm = gradient_norm(critic, real.interpolate(fake, t))
        penalty = (norm - 1).square().mean()
        return self.penalty_weight * self.penalty_every * penalty - distance, _stats(
            wasserstein=distance, gradient_penalty=penalty, gradient_norm=norm.mean()
        )

    def generator_loss(self, critic: Critic, real: Any, fake: Any) -> Loss:
        loss = -critic(fake).mean()
        return loss, _stats(generator_loss=loss)


@dataclasses.dataclass(frozen=True)
class Wasserstein:
    """Wasserstein critic with weights clipped to [-clip, clip]; Arjovsky et al. (2017), arXiv:1701.07875."""

    clip: float = 0.01

    def critic_loss(self, critic: Critic, real: Any, fake: Any, rng: torch.Generator) -> Loss:
        on_real, on_fake = scores(critic, real, fake)
        distance = on_real.mean() - on_fake.mean()
        return -distance, _stats(wasserstein=distance)

    def generator_loss(self, critic: Critic, real: Any, fake: Any) -> Loss:
        loss = -critic(fake).mean()
        return loss, _stats(generator_loss=loss)

    @torch.no_grad()
    def constrain(self, critic: torch.nn.Module) -> None:
        """Clip every weight; the trainer calls it after each critic step."""
        for parameter in critic.parameters():
            parameter.clamp_(-self.clip, self.clip)


@dataclasses.dataclass(frozen=True)
class NonSaturating:
    """The original game with the non-saturating generator loss; Goodfellow et al. (2014), arXiv:1406.2661."""

    def critic_loss(self, critic: Critic, real: Any, fake: Any, rng: torch.Generator) -> Loss:
        on_real, on_fake = scores(critic, real, fake)
        loss = softplus(-on_real).mean() + softplus(on_fake).mean()
        return loss, _stats(critic_loss=loss, score_gap=on_real.mean() - on_fake.mean())

    def generator_loss(self, critic: Critic, real: Any, fake: Any) -> Loss:
        loss = softplus(-critic(fake)).mean()
        return loss, _stats(generator_loss=loss)


@dataclasses.dataclass(frozen=True)
class LeastSquares:
    """Targets 1 for real, 0 for fake, 1 for the generator; Mao et al. (2017), arXiv:1611.04076."""

    def critic_loss(self, critic: Critic, real: Any, fake: Any, rng: torch.Generator) -> Loss:
        on_real, on_fake = scores(critic, real, fake)
        loss = 0.5 * ((on_real - 1).square().mean() + on_fake.square().mean())
        return loss, _stats(critic_loss=loss, score_gap=on_real.mean() - on_fake.mean())

    def generator_loss(self, critic: Critic, real: Any, fake: Any) -> Loss:
        loss = 0.5 * (critic(fake) - 1).square().mean()
        return loss, _stats(generator_loss=loss)


@dataclasses.dataclass(frozen=True)
class Hinge:
    """Hinge game; Lim & Ye (2017), arXiv:1705.02894."""

    def critic_loss(self, critic: Critic, real: Any, fake: Any, rng: torch.Generator) -> Loss:
        on_real, on_fake = scores(critic, real, fake)
        loss = relu(1 - on_real).mean() + relu(1 + on_fake).mean()
        return loss, _stats(critic_loss=loss, score_gap=on_real.mean() - on_fake.mean())

    def generator_loss(self, critic: Critic, real: Any, fake: Any) -> Loss:
        loss = -critic(fake).mean()
        return loss, _stats(generator_loss=loss)


@dataclasses.dataclass(frozen=True)
class RelativisticR1R2:
    """Relativistic pairing loss with zero-centred penalties at real and fake; Huang et al. (2024), arXiv:2501.05441.

    Needs no interpolation. `gamma` weighs half the squared gradient norms.
    """

    gamma: float = 1.0

    def critic_loss(self, critic: Critic, real: Any, fake: Any, rng: torch.Generator) -> Loss:
        on_real, on_fake = scores(critic, real, fake)
        gap = on_real - on_fake
        at_real = gradient_norm(critic, real).square().mean()
        at_fake = gradient_norm(critic, fake).square().mean()
        loss = softplus(-gap).mean() + 0.5 * self.gamma * (at_real + at_fake)
        return loss, _stats(critic_loss=loss, score_gap=gap.mean(), r1=at_real, r2=at_fake)

    def generator_loss(self, critic: Critic, real: Any, fake: Any) -> Loss:
        on_real, on_fake = scores(critic, real, fake)
        loss = softplus(on_real - on_fake).mean()
        return loss, _stats(generator_loss=loss)


OBJECTIVES = {
    "wgan-gp": WassersteinGP,
    "wgan": Wasserstein,
    "non-saturating": NonSaturating,
    "least-squares": LeastSquares,
    "hinge": Hinge,
    "relativistic": RelativisticR1R2,
}


def _stats(**values: Tensor) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in values.items()}
