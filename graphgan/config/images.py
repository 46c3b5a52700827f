"""The configuration of a run on images: which image, which networks, which game or diffusion; no networks, no torch.

A field's default here is the default everywhere. Those of an image are what was published; recipes say otherwise.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

from graphgan.config.run import RunConfig

DIFFUSION = "diffusion"
"""The objective that is no game."""


@dataclasses.dataclass(frozen=True)
class ImageOptions:
    """What of a crystal an image shows."""

    max_sites: int = 52
    """Crystals with more sites are left out; an image has 12 rows and columns more."""
    cell: Literal["given", "standard"] = "given"
    """The cell of the file, or the primitive and Niggli-reduced one, which graph tensors use."""
    order: Literal["given", "number"] = "given"
    """Sites as in the file, or by atomic number and then by coordinates."""
    origin: Literal["given", "first"] = "given"
    """Coordinates as in the file, or with the first site at 0."""


@dataclasses.dataclass(frozen=True)
class CrystensOptions:
    """The image of CrysTens."""

    normalisation: Literal["avg_std", "near_max", "fitted"] = "avg_std"
    """One of the two published tables of constants, or ranges of the training set."""
    sign: Literal[1, -1] = 1
    """1: row i, column j holds x_i - x_j; -1: where j is as seen from i."""
    wrapped: bool = False
    """Differences to the nearest periodic image."""
    site_tolerance: float = 0.2
    """A site whose α is off that of the first one by this share is none."""
    average: bool = True
    """Move sites towards where the others see them when decoding."""
    max_elements: int | None = None
    """Bring a decoded crystal of more elements down to so many by K-means; published: 3."""
    coordinate_clusters: int | None = None
    """Bring its coordinates down to so many values by K-means."""


@dataclasses.dataclass(frozen=True)
class Xtal2pngOptions:
    """The image of xtal2png."""

    fitted: bool = False
    """Ranges of the training set instead of the published ones."""
    bits: int | None = 8
    """Levels of a pixel are 2**bits; none leaves numbers as they are."""
    num_channels: int = 1
    """Equal channels of an image."""
    coordinates: Literal["bands", "distances"] = "bands"
    """Decode coordinates from their bands alone, or mend them by the distances."""
    count: Literal["published", "fitted"] = "published"
    """Decode the number of sites from its band of two sites, or from all bands that noise does not move."""


@dataclasses.dataclass(frozen=True)
class ImageGameOptions:
    """Generator and critic of images."""

    noise: int = 128
    """Noise numbers a crystal."""
    width: int = 32
    """Channels of the first convolutions."""
    spectral_norm: bool = False
    """Divide the critic's weights by their largest singular value."""
    critic_steps: int = 3
    """Critic steps a generator step."""
    batch_size: int = 64
    """Crystals a step."""
    learning_rate: float = 5e-4
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
class DiffusionOptions:
    """A denoiser of images, and its sampler."""

    width: int = 32
    """Channels of the first convolutions."""
    sampling_steps: int = 18
    """Steps from noise to an image; the network is called about twice a step."""
    batch_size: int = 64
    """Crystals a step."""
    learning_rate: float = 1e-3
    """Of Adam with betas (0.9, 0.99)."""
    ema_decay: float = 0.998
    """Of the denoiser that samples."""


@dataclasses.dataclass(frozen=True)
class ImageConfig(RunConfig):
    """A run on images of crystals, for comparison with graph tensors."""

    encoding: Literal["crystens", "xtal2png"] = "crystens"
    """The image."""
    objective: str = "wgan-gp"
    """diffusion, or a game: wgan-gp, wgan, non-saturating, least-squares, hinge, relativistic, package.module:Name."""
    objective_options: dict[str, float] = dataclasses.field(default_factory=dict)
    """Arguments of the game."""
    networks: Literal["modern", "published"] = "modern"
    """Residual convolutions and a U-Net, or the networks of the CrysTens paper, for 64 x 64 images of 4 channels."""
    image: ImageOptions = dataclasses.field(default_factory=ImageOptions)
    crystens: CrystensOptions = dataclasses.field(default_factory=CrystensOptions)
    xtal2png: Xtal2pngOptions = dataclasses.field(default_factory=Xtal2pngOptions)
    game: ImageGameOptions = dataclasses.field(default_factory=ImageGameOptions)
    diffusion: DiffusionOptions = dataclasses.field(default_factory=DiffusionOptions)

    @property
    def stages(self) -> dict[str, float]:
        return {"images": 1.0}

    def batch_size(self, stage: str) -> int:
        return (self.diffusion if self.objective == DIFFUSION else self.game).batch_size
