"""Rewards in a game: a network that learns to predict them, a generator that follows it, or the score function.

A judge gives the true rewards of molecules: MoleculeTensor -> [B] in [0, 1]; what it looks at is for others to say.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy, binary_cross_entropy_with_logits, softplus

from graphgan.molecule_tensor import MoleculeTensor
from graphgan.molecules.molgan import Logits
from graphgan.objectives import Critic, Loss, Objective

Judge = Callable[[MoleculeTensor], Tensor]


@dataclasses.dataclass(frozen=True)
class Published:
    """Rewards as in MolGAN, for a network whose numbers are in [0, 1]; De Cao & Kipf (2018), arXiv:1805.11973.

    The generator's loss is λ L_game + (1 - λ) α L_reward with 1 - λ = `weight` and α = |L_game / L_reward|, a number
    without gradient, as in the public code; at most 100, since a reward near 0 says nothing.
    """

    weight: float

    def errors(self, found: Tensor, rewards: Tensor) -> Tensor:
        """Squared errors [B] of predicted rewards."""
        return (found - rewards).square()

    def generator_loss(self, game: Tensor, found: Tensor) -> Tensor:
        """The loss of the generator, scalar, of that of the game and of predicted rewards [B]."""
        reward = -found.mean()
        scale = (game.detach().abs() / reward.detach().abs().clamp_min(1e-6)).clamp(max=100.0)
        return (1 - self.weight) * game + self.weight * scale * reward


@dataclasses.dataclass(frozen=True)
class Logistic:
    """Rewards for a network of logits: cross-entropy, and for the generator the logarithm of what is predicted, whose
    gradient does not vanish where rewards are 0. Losses are mixed as they are: scaling up what is nearly reached drives
    the generator to the few molecules that are surest.
    """

    weight: float

    def errors(self, found: Tensor, rewards: Tensor) -> Tensor:
        """Cross-entropies [B] of predicted rewards, 0 where they are right, in nats."""
        least = binary_cross_entropy(rewards, rewards, reduction="none")
        return binary_cross_entropy_with_logits(found, rewards, reduction="none") - least

    def generator_loss(self, game: Tensor, found: Tensor) -> Tensor:
        """The loss of the generator, scalar, of that of the game and of predicted rewards [B]."""
        return (1 - self.weight) * game + self.weight * softplus(-found).mean()


def prediction_loss(
    how: Published | Logistic, network: nn.Module, judge: Judge, real: MoleculeTensor, fake: MoleculeTensor
) -> Loss:
    """What a reward network has still to learn of real and of generated molecules. It is shown what the generator
    gives, which may be soft; rewards are those of the heaviest kinds."""
    rewards = [judge(molecules).to(molecules.device) for molecules in (real, fake)]
    errors = how.errors(network(real.join(fake)), torch.cat(rewards)).split([len(real), len(fake)])
    stats = {
        "reward_real": rewards[0].mean(),
        "reward_generated": rewards[1].mean(),
        "reward_error": errors[1].detach().mean(),
    }
    return errors[0].mean() + errors[1].mean(), stats


def score_function_loss(logits: Logits, drawn: MoleculeTensor, rewards: Tensor) -> Tensor:
    """REINFORCE: the mean of -(reward - mean reward) x log probability of what was drawn; Williams (1992),
    doi:10.1007/BF00992696, as in ORGAN, Guimaraes et al. (2017), arXiv:1705.10843.

    `drawn` are draws of `logits`, `rewards` [B] those of the draws. Its gradient needs no reward network.
    """
    kinds = (logits.atoms.log_softmax(-1) * drawn.atoms.detach()).sum((1, 2))
    pairs = (logits.bonds.log_softmax(-1) * drawn.bonds.detach()).sum(-1).triu(1).sum((1, 2))
    advantage = rewards - rewards.mean()
    return -(advantage * (kinds + pairs)).mean()


@dataclasses.dataclass(frozen=True, eq=False)
class Around:
    """A game (`graphgan.objectives.Objective`) whose critic plays as in another one."""

    objective: Objective

    def __getattr__(self, name: str) -> Any:
        if name in ("at", "period", "constrain"):  # what else players ask an objective for
            return getattr(self.objective, name)
        raise AttributeError(name)

    def critic_loss(self, critic: Critic, real: Any, fake: Any, rng: torch.Generator) -> Loss:
        return self.objective.critic_loss(critic, real, fake, rng)


@dataclasses.dataclass(frozen=True, eq=False)
class Rewarded(Around):
    """The generator is also told what a reward network thinks of its molecules."""

    how: Published | Logistic
    network: nn.Module

    def generator_loss(self, critic: Critic, real: Any, fake: Any) -> Loss:
        game, stats = self.objective.generator_loss(critic, real, fake)
        found = self.network(fake)
        return self.how.generator_loss(game, found), stats | {"reward_predicted": found.detach().mean()}


@dataclasses.dataclass(frozen=True, eq=False)
class FeatureMatching(Around):
    """The generator matches the mean of the critic's features [B, D] of real molecules, instead of raising its score;
    Salimans et al. (2016), arXiv:1606.03498."""

    features: Callable[[Any], Tensor]

    def generator_loss(self, critic: Critic, real: Any, fake: Any) -> Loss:
        on_real, on_fake = self.features(real.join(fake)).split([len(real), len(fake)])
        loss = (on_real.mean(0) - on_fake.mean(0)).square().sum()
        return loss, {"generator_loss": loss.detach()}
