"""Two diffusions of images: one of few deterministic steps, and the cascade of two U-Nets that CrysTens was published
with.

Both learn by `loss(images, rng) -> (loss, stats)`, the loss of a player, and have `sample(draw)`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from graphgan.draws import normal, uniform
from graphgan.image_tensor import ImageTensor
from graphgan.images.networks import Draw, pixels_of
from graphgan.images.unet import UNet
from graphgan.objectives import Loss

SIGMA_DATA = 0.5
"""Standard deviation of the images inside `ElucidatedDiffusion`."""


class ElucidatedDiffusion(nn.Module):
    """Denoising at all levels of noise and 2 steps - 1 network calls a sample; Karras et al. (2022), arXiv:2206.00364.

    Their preconditioning, weights, log-normal noise levels and Heun's method of second order. No number is drawn but
    the first, so a crystal depends on its own noise alone. Inside, images are 2 v - 1 until `set_scale` has seen data.
    The U-Net's arguments are those of `UNet`.
    """

    centre: Tensor
    spread: Tensor

    def __init__(
        self,
        channels: int,
        side: int,
        width: int = 32,
        multipliers: Sequence[int] = (1, 2),
        blocks: Sequence[int] = (1, 1),
        attention: Sequence[str] = ("none", "full"),
        heads: int = 4,
        head_width: int = 16,
        patch: int = 2,
        dense: int = 512,
        steps: int = 18,
        sigma_min: float = 0.002,
        sigma_max: float = 80.0,
        rho: float = 7.0,
        p_mean: float = -1.2,
        p_std: float = 1.2,
    ) -> None:
        super().__init__()
        if steps < 2:
            raise ValueError(f"steps is {steps}, expected at least 2")
        self.shape = (channels, side, side)
        self.p_mean, self.p_std = p_mean, p_std
        low, high = sigma_min ** (1 / rho), sigma_max ** (1 / rho)
        self.sigmas = [(high + i / (steps - 1) * (low - high)) ** rho for i in range(steps)] + [0.0]
        shape = width, multipliers, blocks, attention, heads, head_width, patch
        self.network = UNet(channels, channels, side, *shape, dense=dense)
        self.register_buffer("centre", torch.full(self.shape, 0.5))
        self.register_buffer("spread", torch.tensor(0.25))

    @torch.no_grad()
    def set_scale(self, images: ImageTensor) -> None:
        """Measure the mean picture, and the standard deviation of all pixels about it: inside, images then have mean 0
        and the standard deviation 0.5 that the noise levels were chosen for. To be called once, before training."""
        values = pixels_of(images, self.shape)
        self.centre.copy_(values.mean(0))
        total = sum((part - self.centre).square().sum() for part in values.split(1024))
        self.spread.copy_((total / values.numel()).sqrt().clamp_min(1e-4))

    def loss(self, images: ImageTensor, rng: torch.Generator) -> Loss:
        """(loss, stats) of a batch: the weighted squared error of pixels at noise levels drawn for each image."""
        clean = (pixels_of(images, self.shape) - self.centre) * (SIGMA_DATA / self.spread)
        sigma = torch.exp(self.p_mean + self.p_std * normal(len(images), 1, 1, 1, rng=rng))
        found = self.denoise(clean + sigma * normal(*clean.shape, rng=rng), sigma)
        weight = (sigma.square() + SIGMA_DATA**2) / (sigma * SIGMA_DATA).square()
        loss = (weight * (found - clean).square()).mean()
        return loss, {"diffusion_loss": loss.detach()}

    def denoise(self, noisy: Tensor, sigma: Tensor) -> Tensor:
        """The images [B, C, S, S] expected behind noisy ones, of noise levels sigma [B, 1, 1, 1]; inside units."""
        total = sigma.square() + SIGMA_DATA**2
        found = self.network(noisy / total.sqrt(), 2 * torch.log(SIGMA_DATA / sigma).flatten(1)).to(noisy.dtype)
        return SIGMA_DATA**2 / total * noisy + sigma * SIGMA_DATA / total.sqrt() * found

    @torch.no_grad()
    def sample(self, draw: Draw) -> Tensor:
        """Images [B, C, S, S] in [0, 1] of one draw each."""

        def denoise(x: Tensor, sigma: float) -> Tensor:
            return self.denoise(x, x.new_full((len(x), 1, 1, 1), sigma))

        inside = heun(denoise, self.sigmas[0] * draw(*self.shape), self.sigmas)
        return (inside * (self.spread / SIGMA_DATA) + self.centre).clamp(0, 1)


def heun(denoise: Callable[[Tensor, float], Tensor], x: Tensor, sigmas: Sequence[float]) -> Tensor:
    """Solve dx / dsigma = (x - denoise(x, sigma)) / sigma from x at sigmas[0] to the last, which is 0.

    Heun's method, but for the last step, which is Euler's; Algorithm 1 of Karras et al. (2022), arXiv:2206.00364.
    """
    for now, then in pairwise(sigmas):
        slope = (x - denoise(x, now)) / now
        guess = x + (then - now) * slope
        if then > 0:
            slope = (slope + (guess - denoise(guess, then)) / then) / 2
            guess = x + (then - now) * slope
        x = guess
    return x


class CascadedDiffusion(nn.Module):
    """CrysTens's published diffusion, made anew: images of half the side, then of the whole, by ancestral sampling.

    Alverson et al. (2024), doi:10.1039/D3DD00137G, used imagen-pytorch (after Saharia et al. 2022, arXiv:2205.11487,
    and Ho et al. 2021, arXiv:2106.15282): two U-Nets of dim 256 and multipliers (1, 2, 4), 3 and (2, 4, 8) residual
    blocks beside the first of each level, 8 heads of 64, attention linear on the finest level of the first and full on
    the coarsest of both; noise prediction, cosine schedule (Nichol & Dhariwal 2021, arXiv:2102.09672), 1,000 steps,
    squared errors weighted by (1 + SNR)^-0.5 (Choi et al. 2022, arXiv:2204.00227), dynamic thresholds at the 95th
    percentile. The second sees the first's image through noise: of any strength while learning, at time 0.2 of its
    schedule after.

    Differs from it: this package's U-Net (no gates by global context, no tokens of time, learned rows and columns, one
    strength of noise for each image and not for the batch); both U-Nets learn in every step, by the sum of their
    losses, where the published ones learned one after the other, 250,000 steps of batch 4 each. They share no weights,
    so that is the same. A sample takes 2 timesteps network calls, each with numbers of its own from `draw`.

    percentile  of the pixels' absolute values by which an expected image is divided, if above 1; None clips at 1
    """

    def __init__(
        self,
        channels: int = 4,
        side: int = 64,
        width: int = 256,
        multipliers: Sequence[int] = (1, 2, 4),
        base_blocks: Sequence[int] = (4, 4, 4),
        upper_blocks: Sequence[int] = (3, 5, 9),
        heads: int = 8,
        head_width: int = 64,
        timesteps: int = 1000,
        low_noise: float = 0.2,
        percentile: float | None = 0.95,
    ) -> None:
        super().__init__()
        self.shape, self.low_shape = (channels, side, side), (channels, side // 2, side // 2)
        self.timesteps, self.low_noise, self.percentile = timesteps, low_noise, percentile
        coarser = len(multipliers) - 1
        attention = ("linear", *["full"] * coarser)
        self.base = UNet(channels, channels, side // 2, width, multipliers, base_blocks, attention, heads, head_width)
        attention = (*["none"] * coarser, "full")
        self.upper = UNet(
            2 * channels, channels, side, width, multipliers, upper_blocks, attention, heads, head_width, 2, levels=2
        )

    def loss(self, images: ImageTensor, rng: torch.Generator) -> Loss:
        """(loss, stats) of a batch: the weighted squared errors of both U-Nets, added."""
        clean = 2 * pixels_of(images, self.shape) - 1
        low = interpolate(clean, self.low_shape[1:])
        base = self._error(self.base, low, rng)
        time = uniform(len(images), rng)
        seen = _mixed(interpolate(low, self.shape[1:]), linear_log_snr(time), normal(*clean.shape, rng=rng))
        upper = self._error(self.upper, clean, rng, seen, linear_log_snr(time))
        loss = base + upper
        return loss, {"diffusion_loss": loss.detach(), "base_loss": base.detach(), "upper_loss": upper.detach()}

    @torch.no_grad()
    def sample(self, draw: Draw) -> Tensor:
        """Images [B, C, S, S] in [0, 1]."""
        low = ancestral(lambda x, level: self._expected(self.base, x, level), draw, self.low_shape, self.timesteps)
        told = linear_log_snr(low.new_full((len(low),), self.low_noise))
        seen = _mixed(interpolate(low, self.shape[1:]), told, draw(*self.shape))
        image = ancestral(
            lambda x, level: self._expected(self.upper, x, level, seen, told), draw, self.shape, self.timesteps
        )
        return ((image + 1) / 2).clamp(0, 1)

    def _error(self, unet: UNet, clean: Tensor, rng: torch.Generator, *condition: Tensor) -> Tensor:
        level = cosine_log_snr(uniform(len(clean), rng))
        noise = normal(*clean.shape, rng=rng)
        found = _noise_found(unet, _mixed(clean, level, noise), level, *condition)
        weight = torch.sigmoid(-level).sqrt()
        return (weight[:, None, None, None] * (found - noise).square()).mean()

    def _expected(self, unet: UNet, x: Tensor, level: float, *condition: Tensor) -> Tensor:
        """The image expected behind x, within [-1, 1]."""
        found = _noise_found(unet, x, x.new_full((len(x),), level), *condition)
        clean = (x - _sigma(level) * found) / _alpha(level)
        if self.percentile is None:
            return clean.clamp(-1, 1)
        bound = _quantile(clean.abs().flatten(1), self.percentile).clamp_min(1)[:, None, None, None]
        return torch.clamp(clean, -bound, bound) / bound


def ancestral(denoise: Callable[[Tensor, float], Tensor], draw: Draw, shape: tuple[int, ...], timesteps: int) -> Tensor:
    """Images [B, *shape] by `timesteps` steps of the cosine schedule, with new noise in all but the last; Ho et al.
    (2020), arXiv:2006.11239. `denoise(x, log_snr)` gives the images expected behind x."""
    times = torch.linspace(1, 0, timesteps + 1, dtype=torch.float64)
    x = draw(*shape)
    for step, (now, then) in enumerate(pairwise(cosine_log_snr(times).tolist()), start=1):
        share = -math.expm1(now - then)
        x = _alpha(then) * ((1 - share) / _alpha(now) * x + share * denoise(x, now))
        if step < timesteps:
            x = x + _sigma(then) * math.sqrt(share) * draw(*shape)
    return x


def cosine_log_snr(time: Tensor) -> Tensor:
    """Log of alpha^2 / sigma^2 where alpha = cos((time + 0.008) / 1.008 * pi / 2), from 8.8 at time 0 to -20.7 at
    time 1; Nichol & Dhariwal (2021), arXiv:2102.09672."""
    return -torch.tan((time + 0.008) / 1.008 * (math.pi / 2)).square().clamp(max=1e9).log()


def linear_log_snr(time: Tensor) -> Tensor:
    """Log of alpha^2 / sigma^2 where alpha^2 = exp(-1e-4 - 10 time^2): noise that grows linearly, in the limit of many
    steps; Ho et al. (2020), arXiv:2006.11239."""
    return -torch.log(torch.expm1(1e-4 + 10 * time.square()))


def _quantile(x: Tensor, share: float) -> Tensor:
    """That quantile of every row of [B, n], of any size: torch.quantile takes no more than 2^24 numbers."""
    below, rest = divmod(share * (x.shape[1] - 1), 1)
    ordered = x.sort(1).values
    return torch.lerp(ordered[:, int(below)], ordered[:, math.ceil(below + rest)], rest)


def _alpha(log_snr: float) -> float:
    return math.sqrt(1 / (1 + math.exp(-log_snr)))


def _sigma(log_snr: float) -> float:
    return _alpha(-log_snr)


def _mixed(clean: Tensor, log_snr: Tensor, noise: Tensor) -> Tensor:
    """alpha clean + sigma noise, with a log SNR for each image [B]."""
    level = log_snr[:, None, None, None]
    return torch.sigmoid(level).sqrt() * clean + torch.sigmoid(-level).sqrt() * noise


def _noise_found(
    unet: UNet, x: Tensor, level: Tensor, seen: Tensor | None = None, told: Tensor | None = None
) -> Tensor:
    if seen is None or told is None:
        return unet(x, level[:, None]).to(x.dtype)
    return unet(torch.cat([x, seen], 1), torch.stack([level, told], 1)).to(x.dtype)
