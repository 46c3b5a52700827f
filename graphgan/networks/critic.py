"""Critics: how real does a crystal look? One for latents, one for graph tensors; both give one score a crystal."""

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm as with_spectral_norm

from graphgan.graph_tensor import GraphTensor
from graphgan.latents import Latents
from graphgan.networks.attention import SetTransformer, masked_mean
from graphgan.networks.equivariant import EquivariantTrunk


class LatentCritic(nn.Module):
    """Latents -> scores [B]; invariant to the order of atoms."""

    def __init__(
        self,
        latent_dim: int = 8,
        hidden: int = 128,
        layers: int = 3,
        heads: int = 4,
        condition_dim: int = 0,
        spectral_norm: bool = False,
    ) -> None:
        super().__init__()
        self.embed = nn.Linear(latent_dim, hidden)
        self.embed_crystal = nn.Linear(1 + condition_dim, hidden)
        self.transformer = SetTransformer(hidden, layers, heads)
        self.head = nn.Sequential(nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, 1))
        if spectral_norm:
            normalise_spectrum(self)

    def forward(self, latents: Latents) -> Tensor:
        h = self.embed(latents.values) + self.embed_crystal(latents.size)[:, None]
        return self.head(masked_mean(self.transformer(h, latents.mask), latents.mask))[:, 0]


class GraphCritic(nn.Module):
    """GraphTensor -> scores [B], with every symmetry of `EquivariantTrunk` and invariant to the order of atoms."""

    def __init__(self, num_species: int, hidden: int = 96, spectral_norm: bool = False, **trunk: float) -> None:
        super().__init__()
        self.trunk = EquivariantTrunk(num_species, hidden, **trunk)  # type: ignore[arg-type]
        self.head = nn.Sequential(nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, 1))
        if spectral_norm:
            normalise_spectrum(self)

    def forward(self, crystals: GraphTensor) -> Tensor:
        return self.head(masked_mean(self.trunk(crystals), crystals.mask))[:, 0]


def normalise_spectrum(network: nn.Module) -> None:
    """Divide the weight of every nn.Linear by its largest singular value; Miyato et al. (2018), arXiv:1802.05957.

    The channel mixing of equivariant features is left as it is.
    """
    for module in [m for m in network.modules() if isinstance(m, nn.Linear)]:
        with_spectral_norm(module)
