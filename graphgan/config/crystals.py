"""The configuration of a run on graph tensors as frozen dataclasses; no networks, no torch.

A field's default here is the default everywhere.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

from graphgan.config.run import RunConfig
from graphgan.config.tables import ConfigError

STAGES = ("autoencoder", "prior", "mixture", "noise", "latent", "graph")


@dataclasses.dataclass(frozen=True)
class EncodingOptions:
    """What of the data the networks see."""

    max_atoms: int = 20
    """Crystals with more atoms in the cell are left out."""
    primitive: bool = True
    """Take the primitive cell of every crystal first."""


@dataclasses.dataclass(frozen=True)
class AutoencoderOptions:
    """Stage 1: graph tensors to per-atom latents and back."""

    share: float = 0.3
    """Share of the budget (--steps or --minutes)."""
    latent_dim: int = 8
    """Numbers in an atom's latent vector."""
    hidden: int = 96
    """Features an atom."""
    encoder_layers: int = 3
    """Rounds of equivariant messages."""
    decoder_layers: int = 3
    """Transformer blocks."""
    heads: int = 4
    """Attention heads of the decoder."""
    channels: int = 16
    """Channels of every l > 0, and heads of the encoder's attention; they divide hidden."""
    lmax: int = 2
    """Highest l of the e3nn irreps."""
    cutoff: float = 6.0
    """Reach of the Cartesian edge features in Å."""
    rounds: int = 3
    """Rounds of averaging directions into positions."""
    agreement: float = 0.0
    """Atoms of a decoded crystal agree on its formula: weight of what the training set says of formulas; 0 lets every
    atom choose for itself."""
    separations: float = 0.0
    """Atoms of a decoded crystal that are too near to one another move apart: nearer than their elements are in all but
    this share of the training crystals that have both. 0 leaves atoms where averaging puts them."""
    direction_weight: float = 10.0
    """Weight of 1 - cos of the direction errors."""
    lattice_weight: float = 3.0
    """Weight of the squared error of the normalised log-metric."""
    kl_weight: float = 1e-3
    """Weight of the KL divergence, nats an atom."""
    batch_size: int = 64
    """Crystals a step."""
    learning_rate: float = 1e-3
    """Of Adam with betas (0.9, 0.99)."""
    ema_decay: float = 0.998
    """Of the averaged weights, which go on to the next stage."""


@dataclasses.dataclass(frozen=True)
class PriorOptions:
    """Stage 2, off unless it has a share: the generator learns to read whole crystals from the noise their atoms share,
    as the decoder of a variational autoencoder. Generator and heads are those of the latent stage."""

    share: float = 0.0
    """Share of the budget (--steps or --minutes)."""
    layers: int = 2
    """Transformer blocks of the network that finds the noise of a crystal."""
    variance: float = 0.2
    """Squared error of a latent number that counts as half a nat."""
    halved_after: int | None = None
    """Steps after which, and beside the game, half the squared error counts as much; None for never."""
    kl_weight: float = 1.0
    """Weight of the KL divergence of the crystal noise."""
    batch_size: int = 64
    """Crystals a step."""
    learning_rate: float = 1e-3
    """Of Adam with betas (0.9, 0.99)."""
    fade: float = 0.0
    """Share of the stage at whose end the learning rate falls to 0."""
    ema_decay: float = 0.998
    """Of the averaged weights, which go on to the next stage."""


@dataclasses.dataclass(frozen=True)
class MixtureOptions:
    """Stage 3, off unless it has a share: the prior stage goes on, and the noise of crystals is no longer drawn from
    one normal distribution but from a mixture of many, which begin at training crystals and are learned."""

    share: float = 0.0
    """Share of the budget (--steps or --minutes)."""
    components: int = 512
    """Normal distributions in the mixture."""
    learning_rate: float = 1e-3
    """Of Adam with betas (0.9, 0.99); all else, `fade` too, is as in the prior stage."""


@dataclasses.dataclass(frozen=True)
class NoiseOptions:
    """Stage 4, off unless it has a share: after the prior and mixture stages, a game over the noise of whole crystals,
    so that sampled noise is like that which was read from real ones. Its critic has the latent stage's heads and
    layers."""

    share: float = 0.0
    """Share of the budget (--steps or --minutes)."""
    objective: str = "wgan-gp"
    """As in the latent stage."""
    objective_options: dict[str, float] = dataclasses.field(default_factory=dict)
    """Arguments of the objective."""
    hidden: int = 128
    """Features of the network that shapes noise, and of the critic."""
    critic_steps: int = 3
    """Critic steps a step of the shaper."""
    batch_size: int = 128
    """Crystals a step."""
    learning_rate: float = 3e-4
    """Of the shaper's Adam with betas (0.0, 0.9)."""
    critic_learning_rate: float = 3e-4
    """Of the critic's Adam with betas (0.0, 0.9)."""
    ema_decay: float = 0.998
    """Of the averaged weights, which go on to the next stage."""


@dataclasses.dataclass(frozen=True)
class LatentOptions:
    """Stage 5: the game in latent space."""

    share: float = 0.7
    """Share of the budget (--steps or --minutes)."""
    objective: str = "wgan-gp"
    """wgan-gp, wgan, non-saturating, least-squares, hinge, relativistic, or package.module:Name."""
    objective_options: dict[str, float] = dataclasses.field(default_factory=dict)
    """Arguments of the objective."""
    hidden: int = 64
    """Features an atom, in generator and critic."""
    layers: int = 3
    """Transformer blocks, in generator and critic."""
    heads: int = 4
    """Attention heads."""
    critic_hidden: int | None = None
    """Features an atom in the critic, where they are others than in the generator."""
    crystal_noise: int = 32
    """Noise numbers a crystal."""
    atom_noise: int = 16
    """Noise numbers an atom."""
    spectral_norm: bool = False
    """Divide the critic's weights by their largest singular value."""
    critic_steps: int = 3
    """Critic steps a generator step."""
    batch_size: int = 64
    """Crystals a step."""
    by_size: bool = False
    """Crystals of a batch are of like size, which saves padding."""
    learning_rate: float = 5e-4
    """Of the generator's Adam with betas (0.0, 0.9)."""
    critic_learning_rate: float = 5e-4
    """Of the critic's Adam with betas (0.0, 0.9)."""
    instance_noise: bool = False
    """Generated latents meet the critic with the noise that draws of real ones have: the generator makes means."""
    anchor: float = 0.0
    """Weight of the prior stage's loss in the generator's: all training crystals stay within reach."""
    ema_decay: float = 0.998
    """Of the generator that samples."""


@dataclasses.dataclass(frozen=True)
class GraphOptions:
    """Stage 6, off unless it has a share: fine-tuning generator and decoder against a critic of graph tensors."""

    share: float = 0.0
    """Share of the budget (--steps or --minutes)."""
    objective: str = "wgan-gp"
    """As in the latent stage."""
    objective_options: dict[str, float] = dataclasses.field(default_factory=dict)
    """Arguments of the objective."""
    hidden: int = 64
    """Features an atom of the critic."""
    layers: int = 2
    """Rounds of equivariant messages of the critic."""
    spectral_norm: bool = False
    """Divide the critic's weights by their largest singular value."""
    species: Literal["straight-through", "soft"] = "straight-through"
    """How generated species meet the critic: one-hot with the gradient of the softmax, or the softmax itself."""
    critic_steps: int = 3
    """Critic steps a generator step."""
    batch_size: int = 64
    """Crystals a step."""
    learning_rate: float = 3e-5
    """Of generator and decoder: they are good already."""
    critic_learning_rate: float = 3e-4
    """Of the critic."""
    ema_decay: float = 0.998
    """Of the generator and decoder that sample."""


@dataclasses.dataclass(frozen=True)
class Config(RunConfig):
    """A run on graph tensors: an autoencoder, the game in its latent space, and, if asked for, a generator that begins
    the game as a variational decoder, and the game of graphs."""

    encoding: EncodingOptions = dataclasses.field(default_factory=EncodingOptions)
    autoencoder: AutoencoderOptions = dataclasses.field(default_factory=AutoencoderOptions)
    prior: PriorOptions = dataclasses.field(default_factory=PriorOptions)
    mixture: MixtureOptions = dataclasses.field(default_factory=MixtureOptions)
    noise: NoiseOptions = dataclasses.field(default_factory=NoiseOptions)
    latent: LatentOptions = dataclasses.field(default_factory=LatentOptions)
    graph: GraphOptions = dataclasses.field(default_factory=GraphOptions)

    def __post_init__(self) -> None:
        super().__post_init__()
        channels = self.autoencoder.channels
        for name, field, heads in (
            ("autoencoder", "autoencoder.heads", self.autoencoder.heads),
            ("autoencoder", "autoencoder.channels", channels),
            ("latent", "latent.heads", self.latent.heads),
            ("noise", "latent.heads", self.latent.heads),
            ("graph", "autoencoder.channels", channels),
        ):
            if (hidden := getattr(self, name).hidden) % heads:
                raise ConfigError(f"{field} is {heads}, does not divide {name}.hidden {hidden}")
        if (self.latent.critic_hidden or 0) % self.latent.heads:
            raise ConfigError(
                f"latent.heads is {self.latent.heads}, does not divide latent.critic_hidden {self.latent.critic_hidden}"
            )
        for stage in ("mixture", "noise"):
            if getattr(self, stage).share and not self.prior.share:
                raise ConfigError(f"{stage}.share is set, and prior.share is 0: nothing has learned to read noise")
        shares = [getattr(self, stage).share for stage in STAGES]
        if shares[0] <= 0 or sum(shares[1:]) <= 0:
            raise ConfigError(f"shares are {shares}: the autoencoder and a game need more than 0, none less")

    @property
    def stages(self) -> dict[str, float]:
        shares = {stage: getattr(self, stage).share for stage in STAGES}
        return {stage: share / sum(shares.values()) for stage, share in shares.items() if share > 0}

    def batch_size(self, stage: str) -> int:
        return getattr(self, "prior" if stage == "mixture" else stage).batch_size
