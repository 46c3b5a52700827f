"""Noise encoder: the latents of a crystal -> the crystal noise from which a generator would make it."""

import torch
from torch import Tensor, nn

from graphgan.latents import Latents, Posterior
from graphgan.networks.attention import SetTransformer, masked_mean


class NoiseEncoder(nn.Module):
    """Latents -> a normal distribution [B, 1, crystal_noise] of the generator's crystal noise, one vector a crystal.

    Invariant to the order of atoms.
    """

    def __init__(
        self,
        latent_dim: int,
        crystal_noise: int,
        hidden: int = 64,
        layers: int = 2,
        heads: int = 4,
        condition_dim: int = 0,
    ) -> None:
        super().__init__()
        self.embed = nn.Linear(latent_dim, hidden)
        self.embed_crystal = nn.Linear(1 + condition_dim, hidden)
        self.transformer = SetTransformer(hidden, layers, heads)
        last = nn.Linear(2 * hidden, 2 * crystal_noise)
        self.head = nn.Sequential(nn.Linear(2 * hidden, 2 * hidden), nn.SiLU(), last)
        # As the encoder of graph tensors: from much noise the first steps learn only to lower it.
        nn.init.constant_(last.bias[crystal_noise:], -3.0)

    def forward(self, latents: Latents) -> Posterior:
        h = self.embed(latents.values) + self.embed_crystal(latents.size)[:, None]
        h = self.transformer(h, latents.mask)
        most = h.masked_fill(~latents.mask[..., None], torch.finfo(h.dtype).min).amax(1)
        found: Tensor = self.head(torch.cat([masked_mean(h, latents.mask), most], dim=-1))
        mean, log_variance = found.to(latents.values.dtype)[:, None].chunk(2, dim=-1)
        return Posterior(
            mean=mean, log_variance=log_variance.clamp(-12.0, 4.0), num_atoms=torch.ones_like(latents.num_atoms)
        )
