"""The two pairs of networks that CrysTens was published with, made anew: Alverson et al. (2024), Digital Discovery,
doi:10.1039/D3DD00137G; layers as in https://github.com/michaeldalverson/CrysTens (MIT), there in Keras.

An image is a volume [B, 1, 64, 64, 4] to them: the channels of an image are its depth, and convolutions are in three
dimensions, all without padding. A transposed one of size 3 and stride 1 lets every side grow by 2 (16 to 32 and 4 to 20
in eight), one of size 2 and stride 2 doubles (64 and 40), and one of size and stride (1, 1, 10) leaves 64, 64 and 4. So
they exist for that shape alone; ValueError for another. Weights start as in Keras: uniform after Glorot & Bengio
(2010), biases 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm, layer_norm

from graphgan.draws import Dropout
from graphgan.image_tensor import ImageTensor
from graphgan.images.networks import SLOPE, Draw, normalise_spectrum, pixels_of

CHANNELS, SIDE, NOISE = 4, 64, 128
EPSILON = 1e-3
"""Added to variances, as Keras does."""

Layer = tuple[int, tuple[int, int, int], tuple[int, int, int]]
"""Filters, size and stride of a convolution."""


def _plain(filters: Sequence[int], size: tuple[int, int, int]) -> list[Layer]:
    return [(count, size, (1, 1, 1)) for count in filters]


class _Generator(nn.Module):
    """Noise [B, 128] -> images [B, 4, 64, 64] in (0, 1)."""

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        _check(channels, side)
        self.noise = NOISE

    def sample(self, draw: Draw) -> Tensor:
        """Images [B, 4, 64, 64] of the next numbers of each crystal; differentiable in the weights."""
        return self(draw(self.noise))


class CrystensGanGenerator(_Generator):
    """A dense layer of 1024 as 16 x 16 x 4, grown by transposed convolutions of 256, 128, 128 | 128, 64, 64 | 64, 64 |
    32 filters; after each group a square from a chain of dense layers of 484, 484 | 784, 784, 784 | 1024, 1024 | 4096
    (22, 28, 32 and 64 a side) is added to all depths and filters. Batch norm and rectifiers throughout.

    Batch norm goes by the batch while the generator moves, and by running averages (momentum 0.99) while the critic
    does, as it did where fakes came from Keras's `predict`.
    """

    def __init__(self, channels: int = CHANNELS, side: int = SIDE) -> None:
        super().__init__(channels, side)
        groups: list[tuple[list[Layer], list[int]]] = [
            (_plain((256, 128, 128), (3, 3, 3)), [484, 484]),
            (_plain((128, 64, 64), (3, 3, 3)), [784, 784, 784]),
            (_plain((64, 64), (3, 3, 3)), [1024, 1024]),
            ([(32, (2, 2, 2), (2, 2, 2))], [4096]),
        ]
        self.start = _dense(NOISE, [1024], BatchNorm, nn.ReLU)
        self.grow, self.squares = nn.ModuleList(), nn.ModuleList()
        filters, features = 1, NOISE
        for convolutions, widths in groups:
            self.grow.append(_convolve(nn.ConvTranspose3d, filters, convolutions, BatchNorm, nn.ReLU))
            self.squares.append(_dense(features, widths, BatchNorm, nn.ReLU))
            filters, features = convolutions[-1][0], widths[-1]
        self.pixels = nn.Conv3d(filters, 1, (1, 1, 10), stride=(1, 1, 10))
        _start_as_keras(self)

    def forward(self, noise: Tensor) -> Tensor:
        volume, square = self.start(noise).view(-1, 1, 16, 16, 4), noise
        for grow, lay in zip(self.grow, self.squares, strict=True):
            volume, square = grow(volume), lay(square)
            volume = volume + _square(square, volume.shape[2])
        return _image(self.pixels(volume), noise.dtype)


class CrystensGanCritic(nn.Module):
    """Convolutions of 32 (1, 1, 1), 32, 32, 32, 64 (3, 3, 1) and four of 64 (7, 7, 1) filters, to which the 32 x 32
    square of four dense layers of 1024 of all pixels is added; then 128 (5, 5, 2), stride (5, 5, 1), and 256 (2, 2, 2),
    stride 2, to which a 3 x 3 square of the dense chain is added; dropout of a quarter; one linear layer.

    Batch norm and leaky rectifiers (0.2) throughout. Scores are logits: the published sigmoid and cross-entropy are
    `NonSaturating`. The published critic moved on a batch of real and then on one of fake crystals, each with
    statistics of its own; here both are judged in one pass and share them. While the generator moves, batch norm
    goes by running averages, as in Keras, where a frozen layer does.
    """

    def __init__(self, channels: int = CHANNELS, side: int = SIDE, seed: int = 0) -> None:
        super().__init__()
        _check(channels, side)
        layers = [*_plain((32,), (1, 1, 1)), *_plain((32, 32, 32, 64), (3, 3, 1)), *_plain((64,) * 4, (7, 7, 1))]
        last: list[Layer] = [(128, (5, 5, 2), (5, 5, 1)), (256, (2, 2, 2), (2, 2, 2))]
        self.fine = _convolve(nn.Conv3d, 1, layers, BatchNorm, _leaky)
        self.coarse = _convolve(nn.Conv3d, 64, last, BatchNorm, _leaky)
        self.all = _dense(CHANNELS * SIDE**2, [1024] * 4, BatchNorm, _leaky)
        self.few = _dense(1024, [9], BatchNorm, _leaky)
        self.dropout = Dropout(0.25, seed)
        self.head = nn.Linear(256 * 9, 1)
        _start_as_keras(self)

    def forward(self, images: ImageTensor) -> Tensor:
        volume = _volume(images)
        square = self.all(volume.flatten(1))
        h = self.coarse(self.fine(volume) + _square(square, 32))
        h = h + _square(self.few(square), 3)
        return self.head(self.dropout(h.flatten(1)))[:, 0]


class CrystensWganGenerator(_Generator):
    """A dense layer of 1024 as 16 x 16 x 4, then transposed convolutions of 128, 128, 64, 64, 32, 32, 32, 32 filters
    (3, 3, 3) and 32 (2, 2, 2), stride 2, then one of (1, 1, 10) and a sigmoid.

    Spectral norm, layer norm over the filters of a place, leaky rectifiers (0.2). Spectral norm divides by the largest
    singular value in every pass; TensorFlow Addons wrote the divided weights back.
    """

    def __init__(self, channels: int = CHANNELS, side: int = SIDE) -> None:
        super().__init__(channels, side)
        layers = _plain((128, 128, 64, 64, 32, 32, 32, 32), (3, 3, 3))
        self.start = _dense(NOISE, [1024], FilterNorm, _leaky)
        self.grow = _convolve(nn.ConvTranspose3d, 1, [*layers, (32, (2, 2, 2), (2, 2, 2))], FilterNorm, _leaky)
        self.pixels = nn.Conv3d(32, 1, (1, 1, 10), stride=(1, 1, 10))
        _start_as_keras(self)
        normalise_spectrum(self)

    def forward(self, noise: Tensor) -> Tensor:
        volume = self.grow(self.start(noise).view(-1, 1, 16, 16, 4))
        return _image(self.pixels(volume), noise.dtype)


class CrystensWganCritic(nn.Module):
    """Convolutions of 16, 16 (1, 1, 1), 16, 16, 16, 16 (3, 3, 1), 32, 32, 32, 64 (7, 7, 1), 64 (5, 5, 2), stride
    (5, 5, 1), and 128 (2, 2, 2), stride 2, filters; dropout of a quarter of the 1152 features; one linear layer.

    Spectral norm and layer norm as in `CrystensWganGenerator`; published with a gradient penalty of weight 10 besides.
    """

    def __init__(self, channels: int = CHANNELS, side: int = SIDE, seed: int = 0) -> None:
        super().__init__()
        _check(channels, side)
        layers = [
            *_plain((16, 16), (1, 1, 1)),
            *_plain((16,) * 4, (3, 3, 1)),
            *_plain((32, 32, 32, 64), (7, 7, 1)),
            (64, (5, 5, 2), (5, 5, 1)),
            (128, (2, 2, 2), (2, 2, 2)),
        ]
        self.layers = _convolve(nn.Conv3d, 1, layers, FilterNorm, _leaky)
        self.dropout = Dropout(0.25, seed)
        self.head = nn.Linear(128 * 9, 1)
        _start_as_keras(self)
        normalise_spectrum(self)

    def forward(self, images: ImageTensor) -> Tensor:
        return self.head(self.dropout(self.layers(_volume(images)).flatten(1)))[:, 0]


class BatchNorm(nn.BatchNorm3d):
    """Batch norm [B, F, ...] with Keras's constants; by running averages where its weights are frozen, as there."""

    def __init__(self, features: int) -> None:
        super().__init__(features, eps=EPSILON, momentum=0.01)

    def forward(self, x: Tensor) -> Tensor:
        by_batch = self.training and bool(self.weight.requires_grad)
        averages = self.running_mean, self.running_var
        return batch_norm(x, *averages, self.weight, self.bias, by_batch, self.momentum or 0.0, self.eps)


class FilterNorm(nn.LayerNorm):
    """Layer norm over the features F of [B, F, ...], at each place by itself."""

    def __init__(self, features: int) -> None:
        super().__init__(features, eps=EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        return layer_norm(x.movedim(1, -1), self.normalized_shape, self.weight, self.bias, self.eps).movedim(-1, 1)


def _leaky() -> nn.Module:
    return nn.LeakyReLU(SLOPE)


def _dense(
    features: int, widths: Sequence[int], norm: Callable[[int], nn.Module], bend: Callable[[], nn.Module]
) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in widths:
        layers += [nn.Linear(features, width), norm(width), bend()]
        features = width
    return nn.Sequential(*layers)


def _convolve(
    kind: Callable[..., nn.Module],
    filters: int,
    layers: Sequence[Layer],
    norm: Callable[[int], nn.Module],
    bend: Callable[[], nn.Module],
) -> nn.Sequential:
    made: list[nn.Module] = []
    for count, size, stride in layers:
        made += [kind(filters, count, size, stride=stride), norm(count), bend()]
        filters = count
    return nn.Sequential(*made)


def _start_as_keras(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, (nn.Linear, nn.Conv3d, nn.ConvTranspose3d)):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _check(channels: int, side: int) -> None:
    if (channels, side) != (CHANNELS, SIDE):
        raise ValueError(
            f"the published networks are for {CHANNELS} channels and side {SIDE}, not {channels} and {side}"
        )


def _volume(images: ImageTensor) -> Tensor:
    return pixels_of(images, (CHANNELS, SIDE, SIDE)).permute(0, 2, 3, 1)[:, None]


def _image(volume: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.sigmoid(volume.to(dtype))[:, 0].permute(0, 3, 1, 2)


def _square(features: Tensor, side: int) -> Tensor:
    """[B, side^2] as [B, 1, side, side, 1], to be added to all filters and depths."""
    return features.view(-1, 1, side, side, 1)
