"""A generator and a critic of images: residual convolutions in two dimensions that know row from row.

Everything depends on one image at a time, so that a crystal does not depend on its batch and a gradient penalty is
that of the image it is taken at.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, pad
from torch.nn.utils.parametrizations import spectral_norm as with_spectral_norm

from graphgan.image_tensor import ImageTensor

Draw = Callable[..., Tensor]
"""`draw(*shape) -> [B, *shape]`: the next standard normal numbers of each of B crystals."""

SLOPE = 0.2
"""Of the leaky rectifiers below 0."""


class ImageGenerator(nn.Module):
    """Noise [B, noise] -> images [B, channels, side, side] in (0, 1), for any side.

    A linear layer makes a map of a quarter of the side and 2 width features; `blocks` residual blocks follow there and,
    after doubling, at half the side with width features; sub-pixel convolutions double (Shi et al. 2016,
    arXiv:1609.05158), the last one to pixels. Normalisation is over groups of features of one image (Wu & He 2018,
    arXiv:1803.08494). Learned vectors of rows and columns tell places apart. A branch of linear layers with `dense`
    features adds to all pixels, under the sigmoid: what an image says once for a whole row is far for convolutions.
    """

    def __init__(
        self, channels: int, side: int, noise: int = 128, width: int = 16, blocks: int = 1, dense: int = 256
    ) -> None:
        super().__init__()
        self.noise, self.shape = noise, (channels, side, side)
        self.grid = quarter = math.ceil(side / 4)
        self.start = nn.Linear(noise, 2 * width * quarter**2)
        self.coarse = nn.Sequential(*[ResidualBlock(2 * width, normalised=True) for _ in range(blocks)])
        self.widen = nn.Sequential(nn.Conv2d(2 * width, 4 * width, 3, padding=1), nn.PixelShuffle(2))
        self.places = Places(width, 2 * quarter)
        self.fine = nn.Sequential(*[ResidualBlock(width, normalised=True) for _ in range(blocks)])
        self.norm = group_norm(width)
        self.pixels = nn.Sequential(nn.Conv2d(width, 4 * channels, 3, padding=1), nn.PixelShuffle(2))
        self.whole = dense_branch(noise, dense, channels * side**2)

    def forward(self, noise: Tensor) -> Tensor:
        h = self.start(noise).unflatten(1, (-1, self.grid, self.grid))
        h = self.fine(self.places(self.widen(self.coarse(h))))
        pixels = self.pixels(leaky_relu(self.norm(h), SLOPE))[..., : self.shape[1], : self.shape[2]]
        # Under autocast the pixels come in bfloat16; what a game measures distances between does not.
        return torch.sigmoid((pixels + self.whole(noise).view_as(pixels)).to(noise.dtype))

    def sample(self, draw: Draw) -> Tensor:
        """Images [B, C, S, S] of the next numbers of each crystal; differentiable in the weights."""
        return self(draw(self.noise))


class ImageCritic(nn.Module):
    """Images -> scores [B]: two strided convolutions, residual blocks after each, then a linear layer; a branch of
    linear layers that sees the image as one vector adds to the score.

    No normalisation; `spectral_norm` divides every weight by its largest singular value (Miyato et al. 2018,
    arXiv:1802.05957). Learned vectors of rows and columns tell where a pixel is, as coordinates do in Liu et al.
    (2018), arXiv:1807.03247. ValueError for images of another shape.
    """

    def __init__(
        self, channels: int, side: int, width: int = 16, blocks: int = 1, dense: int = 256, spectral_norm: bool = False
    ) -> None:
        super().__init__()
        self.shape = (channels, side, side)
        quarter = math.ceil(side / 4)
        self.missing = 4 * quarter - side
        self.halve = nn.Conv2d(channels, width, 4, stride=2, padding=1)
        self.places = Places(width, 2 * quarter)
        self.fine = nn.Sequential(*[ResidualBlock(width) for _ in range(blocks)])
        self.quarter = nn.Conv2d(width, 2 * width, 4, stride=2, padding=1)
        self.coarse = nn.Sequential(*[ResidualBlock(2 * width) for _ in range(blocks)])
        self.head = nn.Linear(2 * width * quarter**2, 1)
        self.whole = dense_branch(channels * side**2, dense, 1)
        if spectral_norm:
            normalise_spectrum(self)

    def forward(self, images: ImageTensor) -> Tensor:
        pixels = pixels_of(images, self.shape)
        h = self.fine(self.places(self.halve(pad(pixels, (0, self.missing, 0, self.missing)))))
        h = self.coarse(self.quarter(leaky_relu(h, SLOPE)))
        return (self.head(leaky_relu(h, SLOPE).flatten(1)) + self.whole(pixels.flatten(1)))[:, 0]


class ResidualBlock(nn.Module):
    """x + two 3 x 3 convolutions of it, each after a leaky rectifier; He et al. (2016), arXiv:1603.05027."""

    def __init__(self, width: int, normalised: bool = False) -> None:
        super().__init__()
        self.norms = nn.ModuleList([group_norm(width) if normalised else nn.Identity() for _ in range(2)])
        self.convolutions = nn.ModuleList([nn.Conv2d(width, width, 3, padding=1) for _ in range(2)])

    def forward(self, x: Tensor) -> Tensor:
        h = x
        for norm, convolution in zip(self.norms, self.convolutions, strict=True):
            h = convolution(leaky_relu(norm(h), SLOPE))
        return x + h


class Places(nn.Module):
    """Adds a learned vector of its row and one of its column to every pixel of [B, width, side, side]."""

    def __init__(self, width: int, side: int) -> None:
        super().__init__()
        self.rows = nn.Parameter(0.1 * torch.randn(width, side, 1))
        self.columns = nn.Parameter(0.1 * torch.randn(width, 1, side))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.rows + self.columns


def dense_branch(width_in: int, width: int, width_out: int) -> nn.Sequential:
    """Three linear layers [B, width_in] -> [B, width_out] that see an image as one vector."""
    bend = nn.LeakyReLU(SLOPE)
    return nn.Sequential(nn.Linear(width_in, width), bend, nn.Linear(width, width), bend, nn.Linear(width, width_out))


def group_norm(width: int) -> nn.GroupNorm:
    """Normalisation over groups of at least 8 features, at most 32 groups."""
    return nn.GroupNorm(max(1, math.gcd(width, 256) // 8), width)


def pixels_of(images: ImageTensor, shape: tuple[int, int, int]) -> Tensor:
    """The pixels [B, C, S, S], if C, S, S is `shape`; else ValueError."""
    found = tuple(images.values.shape[1:])
    if found != shape:
        raise ValueError(f"images have shape {found}, the network was made for {shape}")
    return images.values


def normalise_spectrum(network: nn.Module) -> None:
    """Divide the weight of every convolution and linear layer, as a matrix with a row for each index of its first
    dimension, by its largest singular value."""
    layers = (nn.Linear, nn.Conv2d, nn.Conv3d, nn.ConvTranspose3d)
    for module in [m for m in network.modules() if isinstance(m, layers)]:
        with_spectral_norm(module, dim=0)
