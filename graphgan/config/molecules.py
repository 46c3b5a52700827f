"""The configuration of a run on molecules: which networks, which game, which rewards; no networks, no torch.

A field's default here is the default everywhere.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

from graphgan.config.run import RunConfig
from graphgan.config.tables import ConfigError

STATISTICS = 16
"""Molecules that share their statistics (`graphgan.molecules.molgan.GROUP`)."""
MOLECULE_STAGES = ("autoencoder", "game", "rewards", "translation")


@dataclasses.dataclass(frozen=True)
class MoleculeAutoencoderOptions:
    """Stage 1 of the modern networks: molecules to latent vectors and back."""

    share: float = 0.4
    """Share of the budget (--steps or --minutes); published networks have no such stage."""
    latent_dim: int = 48
    """Numbers of a molecule's latent vector, which are the generator's noise too."""
    hidden: int = 64
    """Features an atom of the encoder."""
    layers: int = 3
    """Relational convolutions of the encoder."""
    width: int = 512
    """Features of the generator, which is the decoder."""
    kl_weight: float = 0.05
    """Weight of the KL divergence, nats a molecule."""
    batch_size: int = 128
    """Molecules a step."""
    learning_rate: float = 1e-3
    """Of Adam with betas (0.9, 0.99)."""
    ema_decay: float = 0.998
    """Of the averaged weights, which go on to the next stage."""


@dataclasses.dataclass(frozen=True)
class MoleculeGameOptions:
    """The game of molecular graphs."""

    share: float = 0.1
    """Share of the budget (--steps or --minutes)."""
    objective: str = "relativistic"
    """wgan-gp, wgan, non-saturating, least-squares, hinge, relativistic, or package.module:Name."""
    objective_options: dict[str, float] = dataclasses.field(default_factory=lambda: {"gamma": 0.1})
    """Arguments of the objective."""
    noise: int = 8
    """Noise numbers of the published generator; the modern one has as many as latents have."""
    decision: Literal["softmax", "straight-through", "gumbel", "gumbel-straight-through"] = "straight-through"
    """How logits become atoms and bonds that the critic is shown."""
    temperature: float = 1.0
    """Of that softmax."""
    reconstruction_weight: float = 2.0
    """Weight of the autoencoder's loss in the game of the modern networks, against collapse."""
    feature_matching: bool = False
    """Let the generator match means of the critic's features instead of the objective's loss."""
    batch_statistics: bool = False
    """Show the critic what a group of molecules has in common."""
    dropout: float = 0.0
    """In the critic."""
    critic_steps: int = 1
    """Critic steps a generator step."""
    batch_size: int = 64
    """Molecules a step."""
    learning_rate: float = 2e-4
    """Of the generator's Adam."""
    critic_learning_rate: float = 5e-4
    """Of the critic's Adam."""
    beta1: float = 0.0
    """First beta of both."""
    beta2: float = 0.9
    """Second beta of both."""
    ema_decay: float = 0.998
    """Of the generator that samples."""


@dataclasses.dataclass(frozen=True)
class RewardOptions:
    """What generated molecules should be good at: a stage of its own after the game, in which rewards count too."""

    share: float = 0.5
    """Share of the budget (--steps or --minutes); 0 plays without rewards."""
    of: str = "validity"
    """A reward, or a product of some: qed, logp, sa, validity, uniqueness, novelty, package.module:function; as in
    qed*uniqueness. What is not valid has no reward, whatever it is."""
    weight: float = 0.5
    """Of the rewards, 1 - λ of the paper; the game has the rest."""
    path: Literal["network", "reinforce"] = "network"
    """Gradients of a network that learns to predict rewards, or of the probability of what was drawn."""
    learning_rate: float = 1e-3
    """Of the reward network's Adam."""

    @property
    def names(self) -> list[str]:
        """The rewards that are played for, one by one; empty without a share."""
        return self.of.split("*") if self.share > 0 else []


@dataclasses.dataclass(frozen=True)
class TranslationOptions:
    """Molecules of one class into similar ones of another, in latent space, instead of a game from noise."""

    share: float = 0.0
    """Share of the budget (--steps or --minutes); 0 translates nothing."""
    property: str = "logp"
    """A reward by name: molecules below the median of the training set make one class, those above the other."""
    objective: str = "least-squares"
    """As of the game: wgan-gp, wgan, non-saturating, least-squares, hinge, relativistic, or package.module:Name."""
    objective_options: dict[str, float] = dataclasses.field(default_factory=dict)
    """Arguments of the objective."""
    hidden: int = 128
    """Features of translators and critics."""
    cycle_weight: float = 0.3
    """Weight of coming back, L1."""
    identity_weight: float = 0.1
    """Weight of staying close to the molecule given, L1."""
    batch_size: int = 128
    """Molecules of each class a step."""
    learning_rate: float = 1e-3
    """Of Adam with betas (0.5, 0.999)."""
    ema_decay: float = 0.998
    """Of the translators that are used."""


@dataclasses.dataclass(frozen=True)
class MoleculeConfig(RunConfig):
    """A run on molecules: an autoencoder whose decoder is then played against a critic, or MolGAN as published."""

    encoding: Literal["molecules"] = "molecules"
    """Molecular graph tensors."""
    max_atoms: int = 9
    """Molecules with more heavy atoms are left out."""
    networks: Literal["modern", "molgan"] = "modern"
    """Autoencoder and game, or the networks of MolGAN alone."""
    least_validity: float = 0.92
    """best.pt has the most distinct valid molecules among 2,000 samples, times their mean reward where there are
    rewards, of all checkpoints of at least this validity; before there is one, the highest validity."""
    autoencoder: MoleculeAutoencoderOptions = dataclasses.field(default_factory=MoleculeAutoencoderOptions)
    game: MoleculeGameOptions = dataclasses.field(default_factory=MoleculeGameOptions)
    rewards: RewardOptions = dataclasses.field(default_factory=RewardOptions)
    translation: TranslationOptions = dataclasses.field(default_factory=TranslationOptions)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_atoms < 2:
            raise ConfigError(f"max_atoms is {self.max_atoms}, expected at least 2")
        if not 0 <= self.least_validity <= 1:
            raise ConfigError(f"least_validity is {self.least_validity}, expected 0 to 1")
        if not self.rewards.weight <= 1:
            raise ConfigError(f"rewards.weight is {self.rewards.weight}, expected 0 to 1")
        if self.game.batch_statistics and self.game.batch_size % STATISTICS:
            raise ConfigError(
                f"game.batch_size is {self.game.batch_size}: with batch_statistics, expected a multiple of {STATISTICS}"
            )
        if self.networks == "molgan" and self.translation.share > 0:
            raise ConfigError("translation.share: published networks have no latent space to translate in")
        played = [name for name in ("game", "translation") if getattr(self, name).share > 0]
        if len(played) != 1:
            raise ConfigError(
                f"game.share is {self.game.share}, translation.share {self.translation.share}: one of them must be 0"
            )
        if played == ["translation"] and self.rewards.share > 0:
            raise ConfigError("rewards.share: a translation has no rewards")
        if self.networks == "modern" and not self.autoencoder.share > 0:
            raise ConfigError("autoencoder.share is 0: the modern networks begin with it")

    @property
    def stages(self) -> dict[str, float]:
        names = MOLECULE_STAGES if self.networks == "modern" else MOLECULE_STAGES[1:]
        shares = {name: getattr(self, name).share for name in names}
        return {name: share / sum(shares.values()) for name, share in shares.items() if share > 0}

    def batch_size(self, stage: str) -> int:
        return getattr(self, "game" if stage == "rewards" else stage).batch_size
