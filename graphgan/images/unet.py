"""UNet: an image and how noisy it is -> an image of the same side; what a diffusion asks at every step."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, scaled_dot_product_attention, silu

from graphgan.images.networks import Places, group_norm

FREQUENCIES = 16
"""Sines and cosines that a log signal-to-noise ratio is told in, of 0.02 to 2 radians a nat."""

ATTENTIONS = ("none", "linear", "full")


class UNet(nn.Module):
    """Images [B, channels_in, side, side] and noise levels [B, levels] -> [B, channels_out, side, side].

    Ronneberger et al. (2015), arXiv:1505.04597, with the parts of Ho et al. (2020), arXiv:2006.11239, and Saharia et
    al. (2022), arXiv:2205.11487. Level l has multipliers[l] * width features on a grid of side / (patch * 2^l), blocks
    [l] residual blocks down and as many up, each of which sees the output of one on the way down, and an attention
    after them: "none", "linear" or "full". A noise level is the log of a signal-to-noise ratio. Learned vectors of
    rows and columns are added to the first features. The output is 0 at birth.

    patch   squares of so many pixels a side enter and leave as one pixel of the finest grid
    levels  how many noise levels there are to tell
    dense   features of a branch that sees the images as one vector and adds to the output; 0 for none

    ValueError unless multipliers, blocks and attention have one entry a level.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        side: int,
        width: int = 64,
        multipliers: Sequence[int] = (1, 2),
        blocks: Sequence[int] = (2, 2),
        attention: Sequence[str] = ("none", "full"),
        heads: int = 4,
        head_width: int = 16,
        patch: int = 1,
        levels: int = 1,
        dense: int = 0,
    ) -> None:
        super().__init__()
        if not len(multipliers) == len(blocks) == len(attention) or not set(attention) <= set(ATTENTIONS):
            raise ValueError(
                f"multipliers {tuple(multipliers)}, blocks {tuple(blocks)} and attention {tuple(attention)}: expected"
                f" one entry a level in each, attention of {', '.join(ATTENTIONS)}"
            )
        unit = patch * 2 ** (len(multipliers) - 1)
        self.missing, self.side = -side % unit, side
        told = 4 * width
        self.tell = nn.Sequential(nn.Linear(2 * FREQUENCIES * levels, told), nn.SiLU(), nn.Linear(told, told))
        self.enter = nn.Sequential(nn.PixelUnshuffle(patch), nn.Conv2d(channels_in * patch**2, width, 3, padding=1))
        self.places = Places(width, (side + self.missing) // patch)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        here = width
        for level, (multiplier, count, kind) in enumerate(zip(multipliers, blocks, attention, strict=True)):
            wide, last = multiplier * width, level == len(multipliers) - 1
            below = wide if last else multipliers[level + 1] * width
            self.down.append(Stage(here, wide, count, told, kind, heads, head_width, skips=0, halve=level > 0))
            self.up.insert(0, Stage(below, wide, count, told, kind, heads, head_width, skips=wide, double=not last))
            here = wide
        self.middle = nn.ModuleList([TimedBlock(here, here, told) for _ in range(2)])
        self.between = Attention(here, heads, head_width) if "full" in attention else nn.Identity()
        self.norm = group_norm(width * multipliers[0])
        self.leave = zero_born(nn.Conv2d(width * multipliers[0], channels_out * patch**2, 3, padding=1))
        self.spread = nn.PixelShuffle(patch)
        pixels = side**2
        self.whole = DenseBranch(channels_in * pixels, dense, channels_out * pixels, told) if dense else None

    def forward(self, images: Tensor, noise: Tensor) -> Tensor:
        told = silu(self.tell(waves(noise).flatten(1)))
        h = self.places(self.enter(pad(images, (0, self.missing, 0, self.missing))))
        seen: list[Tensor] = []
        for stage in self.down:
            h = stage(h, told, seen, keep=True)
        h = self.middle[1](self.between(self.middle[0](h, told)), told)
        for stage in self.up:
            h = stage(h, told, seen, keep=False)
        out = self.spread(self.leave(silu(self.norm(h))))[..., : self.side, : self.side]
        return out if self.whole is None else out + self.whole(images.flatten(1), told).view_as(out)


class Stage(nn.Module):
    """One level on the way down (`keep`: the output of every block is laid on the pile `seen`) or up (each block takes
    one from it), and the change of grid before it."""

    def __init__(
        self,
        width_in: int,
        width: int,
        count: int,
        told: int,
        attention: str,
        heads: int,
        head_width: int,
        skips: int,
        halve: bool = False,
        double: bool = False,
    ) -> None:
        super().__init__()
        self.change: nn.Module = nn.Identity()
        if halve:
            self.change = nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(4 * width_in, width, 1))
        elif double:
            self.change = nn.Sequential(nn.Conv2d(width_in, 4 * width, 1), nn.PixelShuffle(2))
        here = width if halve or double else width_in
        self.blocks = nn.ModuleList([TimedBlock((width if i else here) + skips, width, told) for i in range(count)])
        kinds = {"none": nn.Identity, "linear": LinearAttention, "full": Attention}
        self.attention = kinds[attention](width, heads, head_width)

    def forward(self, h: Tensor, told: Tensor, seen: list[Tensor], keep: bool) -> Tensor:
        h = self.change(h)
        for block in self.blocks:
            h = block(h if keep else torch.cat([h, seen.pop()], 1), told)
            if keep:
                seen.append(h)
        return self.attention(h)


class TimedBlock(nn.Module):
    """x + two 3 x 3 convolutions, the second of features scaled and shifted by what is told of the noise."""

    def __init__(self, width_in: int, width: int, told: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width_in, width, 3, padding=1)
        self.second = zero_born(nn.Conv2d(width, width, 3, padding=1))
        self.norm_first, self.norm_second = group_norm(width_in), group_norm(width)
        self.tell = nn.Linear(told, 2 * width)
        self.skip = nn.Identity() if width_in == width else nn.Conv2d(width_in, width, 1)

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        scale, shift = self.tell(told)[:, :, None, None].chunk(2, 1)
        h = self.first(silu(self.norm_first(x)))
        h = self.second(silu(self.norm_second(h) * (1 + scale) + shift))
        return self.skip(x) + h


class DenseBranch(nn.Module):
    """[B, width_in] -> [B, width_out]: two residual linear layers, scaled and shifted by what is told of the noise."""

    def __init__(self, width_in: int, width: int, width_out: int, told: int) -> None:
        super().__init__()
        self.enter, self.leave = nn.Linear(width_in, width), zero_born(nn.Linear(width, width_out))
        self.norms = nn.ModuleList([nn.LayerNorm(width) for _ in range(2)])
        self.tell = nn.ModuleList([nn.Linear(told, 2 * width) for _ in range(2)])
        self.layers = nn.ModuleList([nn.Linear(width, width) for _ in range(2)])

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        h = self.enter(x)
        for norm, tell, layer in zip(self.norms, self.tell, self.layers, strict=True):
            scale, shift = tell(told).chunk(2, 1)
            h = h + layer(silu(norm(h) * (1 + scale) + shift))
        return self.leave(silu(h))


class Attention(nn.Module):
    """Every place attends to every other, then two linear layers for each place; Vaswani et al. (2017),
    arXiv:1706.03762."""

    def __init__(self, width: int, heads: int, head_width: int) -> None:
        super().__init__()
        self.heads, inner = heads, heads * head_width
        self.norm, self.norm_after = group_norm(width), group_norm(width)
        self.query_key_value, self.out = nn.Linear(width, 3 * inner), zero_born(nn.Linear(inner, width))
        self.after = nn.Sequential(nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        parts = self.query_key_value(self.norm(x).flatten(2).mT).unflatten(2, (3, self.heads, -1))
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        mixed = self.mix(query, key, value).transpose(1, 2).flatten(2)
        x = x + self.out(mixed).mT.unflatten(2, x.shape[2:])
        return x + self.after(self.norm_after(x).flatten(2).mT).mT.unflatten(2, x.shape[2:])

    def mix(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """[B, heads, places, head_width] three times -> once."""
        return scaled_dot_product_attention(query, key, value)


class LinearAttention(Attention):
    """Attention whose cost grows with the number of places, not its square; Shen et al. (2018), arXiv:1812.01243."""

    def mix(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return query.softmax(-1) @ (key.softmax(-2).mT @ value) * query.shape[-1] ** -0.5


def zero_born(layer: nn.Conv2d | nn.Linear) -> nn.Module:
    """The layer with weights 0: what it is added to is at first as without it."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def waves(noise: Tensor) -> Tensor:
    """Sines and cosines [..., 2 FREQUENCIES] of log signal-to-noise ratios."""
    exponents = torch.linspace(math.log(0.02), math.log(2.0), FREQUENCIES, device=noise.device, dtype=noise.dtype)
    angles = noise[..., None] * exponents.exp()
    return torch.cat([angles.sin(), angles.cos()], -1)
