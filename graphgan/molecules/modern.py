"""The modern networks of molecules: an autoencoder with one latent vector a molecule, whose decoder is the generator.

Places are told apart by where they stand: readers give atoms in the order of canonical SMILES, so that equal molecules
come in equal order and a bond joins neighbours more often than not. Knows no chemistry.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from graphgan.draws import normal
from graphgan.molecule_tensor import MoleculeTensor
from graphgan.molecules.molgan import BatchStatistics, Logits, RelationalConvolution, adjacency_of
from graphgan.objectives import Loss


@dataclasses.dataclass(frozen=True, eq=False)
class MoleculePosterior:
    """What the encoder says of B molecules: a normal distribution of every latent vector, mean and log_variance
    [B, D]."""

    mean: Tensor
    log_variance: Tensor

    def sample(self, rng: torch.Generator) -> Tensor:
        """A draw [B, D], differentiable; Kingma & Welling (2014), arXiv:1312.6114."""
        noise = normal(*self.mean.shape, rng=rng, dtype=self.mean.dtype)
        return self.mean + torch.exp(0.5 * self.log_variance) * noise

    def kl(self) -> Tensor:
        """KL divergence from the standard normal in nats, mean over the molecules; scalar."""
        return 0.5 * (self.mean.square() + self.log_variance.exp() - 1 - self.log_variance).sum(-1).mean()


class MoleculeEncoder(nn.Module):
    """MoleculeTensor -> MoleculePosterior: relational convolutions, then all places side by side."""

    def __init__(
        self, places: int, num_kinds: int, num_orders: int, latent_dim: int = 48, hidden: int = 64, layers: int = 3
    ) -> None:
        super().__init__()
        self.embed = nn.Linear(num_kinds, hidden)
        self.places = nn.Parameter(torch.randn(places, hidden) / hidden**0.5)
        self.convolutions = nn.ModuleList(
            RelationalConvolution(hidden, hidden, num_orders, nn.SiLU()) for _ in range(layers)
        )
        self.head = nn.Sequential(
            nn.Linear(places * hidden, 4 * hidden), nn.SiLU(), nn.Linear(4 * hidden, 2 * latent_dim)
        )

    def forward(self, molecules: MoleculeTensor) -> MoleculePosterior:
        adjacency, h = adjacency_of(molecules.bonds), self.embed(molecules.atoms) + self.places
        for convolution in self.convolutions:
            h = h + convolution(h, adjacency)
        mean, log_variance = self.head(h.flatten(1)).chunk(2, -1)
        return MoleculePosterior(mean, log_variance.clamp(-12, 6))


class MoleculeDecoder(nn.Module):
    """Latent vectors [B, D] -> Logits: the generator of the modern networks, since latents of training are close to
    standard normal numbers.

    One trunk for the whole molecule; then a head for every place and one for every pair of places.
    """

    def __init__(
        self, places: int, num_kinds: int, num_orders: int, latent_dim: int = 48, width: int = 512, layers: int = 3
    ) -> None:
        super().__init__()
        self.noise = latent_dim
        self.trunk = nn.ModuleList(nn.Linear(latent_dim if layer == 0 else width, width) for layer in range(layers))
        self.atoms = nn.Linear(width, places * num_kinds)
        first, second = torch.triu_indices(places, places, 1)
        self.bonds = nn.Linear(width, len(first) * num_orders)
        self.shapes = (places, num_kinds), (len(first), num_orders)
        # Which pair stands at [i, j]; the diagonal means nothing.
        pairs = torch.zeros(places, places, dtype=torch.int64)
        pairs[first, second] = torch.arange(len(first))
        self.register_buffer("pairs", pairs + pairs.T, persistent=False)

    def forward(self, latents: Tensor) -> Logits:
        h = latents
        for layer in self.trunk:
            h = silu(layer(h))
        bonds = self.bonds(h).unflatten(1, self.shapes[1])
        return Logits(self.atoms(h).unflatten(1, self.shapes[0]), bonds[:, self.pairs])


@dataclasses.dataclass(frozen=True)
class MoleculeReconstruction:
    """What it costs to send molecules through latent vectors and back: cross-entropy of atoms and bonds in nats a
    molecule, and the KL divergence."""

    kl_weight: float = 0.05

    def __call__(self, encoder: nn.Module, decoder: nn.Module, real: MoleculeTensor, rng: torch.Generator) -> Loss:
        """(loss, stats) of a batch; the latent is one draw of the posterior by `rng`."""
        posterior = encoder(real)
        logits = decoder(posterior.sample(rng))
        atoms = -(logits.atoms.log_softmax(-1) * real.atoms).sum((1, 2)).mean()
        pairs = -(logits.bonds.log_softmax(-1) * real.bonds).sum(-1).triu(1)
        bonds, kl = pairs.sum((1, 2)).mean(), posterior.kl()
        stats = {"atom_loss": atoms, "bond_loss": bonds, "kl": kl}
        return atoms + bonds + self.kl_weight * kl, {name: value.detach() for name, value in stats.items()}


class MoleculeCritic(nn.Module):
    """MoleculeTensor -> numbers [B], invariant to the order of atoms: residual relational convolutions, a gated sum, a
    plain network. A critic, or a reward network, whose numbers are logits."""

    def __init__(
        self, num_kinds: int, num_orders: int, hidden: int = 64, layers: int = 2, batch_statistics: bool = False
    ) -> None:
        super().__init__()
        self.embed = nn.Linear(num_kinds, hidden)
        self.convolutions = nn.ModuleList(
            RelationalConvolution(hidden, hidden, num_orders, nn.SiLU()) for _ in range(layers)
        )
        seen, out = hidden + num_kinds, 2 * hidden
        self.gate, self.value = nn.Linear(seen, out), nn.Linear(seen, out)
        extra = hidden // 8 if batch_statistics else 0
        self.statistics = BatchStatistics(out, extra) if batch_statistics else nn.Identity()
        self.head = nn.Sequential(nn.Linear(out + extra, out), nn.SiLU(), nn.Linear(out, 1))

    def features(self, molecules: MoleculeTensor) -> Tensor:
        """What the last network is told of every molecule, [B, D]."""
        adjacency, h = adjacency_of(molecules.bonds), self.embed(molecules.atoms)
        for convolution in self.convolutions:
            h = h + convolution(h, adjacency)
        h = torch.cat([h, molecules.atoms], -1)
        return self.statistics((torch.sigmoid(self.gate(h)) * self.value(h)).sum(1))

    def forward(self, molecules: MoleculeTensor) -> Tensor:
        return self.head(self.features(molecules))[:, 0]
