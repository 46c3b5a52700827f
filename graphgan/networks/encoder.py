"""Encoder: graph tensors -> a normal distribution for every atom's latent vector."""

import torch
from torch import Tensor, nn

from graphgan.graph_tensor import GraphTensor
from graphgan.latents import Posterior
from graphgan.networks.equivariant import EquivariantTrunk


class Encoder(nn.Module):
    """GraphTensor -> Posterior of `latent_dim` numbers an atom, with the symmetries of `EquivariantTrunk`.

    The latents are (head - shift) / scale, with shift and scale [latent_dim] set once the autoencoder is fitted
    (`standardise`), so that every game, search or walk in latent space meets numbers of mean 0 and variance 1.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, num_species: int, latent_dim: int = 8, hidden: int = 96, **trunk: float) -> None:
        super().__init__()
        self.trunk = EquivariantTrunk(num_species, hidden, **trunk)  # type: ignore[arg-type]
        self.head = nn.Linear(hidden, 2 * latent_dim)
        # Start with little noise (sigma about 0.14): from sigma 1 the first thousand steps learn only to lower it.
        nn.init.constant_(self.head.bias[latent_dim:], -4.0)
        self.register_buffer("shift", torch.zeros(latent_dim))
        self.register_buffer("scale", torch.ones(latent_dim))

    def forward(self, crystals: GraphTensor) -> Posterior:
        mean, log_variance = self.head(self.trunk(crystals)).chunk(2, dim=-1)
        log_variance = log_variance.clamp(-12.0, 4.0) - 2 * torch.log(self.scale)
        atoms = crystals.mask[..., None]
        return Posterior(
            mean=(mean - self.shift) / self.scale * atoms,
            log_variance=log_variance * atoms,
            num_atoms=crystals.num_atoms,
            condition=crystals.condition,
        )
