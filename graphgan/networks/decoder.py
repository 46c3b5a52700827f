"""Decoder: per-atom latents -> graph tensors, with every atom's directions averaged into positions on the way."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from graphgan.agreement import Agreement
from graphgan.geometry import TAU, lattice_from_log_metric
from graphgan.graph_tensor import GraphTensor
from graphgan.latents import Latents, Posterior
from graphgan.networks.attention import SetTransformer, masked_mean
from graphgan.reconstruction import positions_from_directions
from graphgan.separations import Separations

if TYPE_CHECKING:
    from graphgan.networks.encoder import Encoder


@dataclasses.dataclass(frozen=True, eq=False)
class Proposal:
    """What the atoms say before they are averaged.

    species_logits  [B, N, K]
    phases          [B, 3, N, N, 2]  cosine and sine of 2π D, of any length; (1, 0) on diagonal and padding
    log_metric      [B, 6]           of the lattice in Å
    """

    species_logits: Tensor
    phases: Tensor
    log_metric: Tensor

    @property
    def directions(self) -> Tensor:
        """[B, 3, N, N] in [-1/2, 1/2], antisymmetric modulo 1."""
        return torch.atan2(self.phases[..., 1], self.phases[..., 0]) / TAU


class Decoder(nn.Module):
    """Latents -> GraphTensor, equivariant to the order of atoms.

    A set transformer; then a species head, a pair head and a lattice head on the mean atom, whose six numbers are in
    units of the training set's mean and standard deviation (`set_scale`) of the log-metric per atom.

    The pair head gives every direction D_ij as a phase: a cosine that is symmetric in i and j, a sine that is
    antisymmetric. A head that gives D_ij itself, antisymmetric, has to choose between 1/2 and -1/2 wherever an atom
    sits half a cell away, which in real crystals is most of the time, and learns next to nothing from such pairs.

    With `agreement` more than 0, the atoms of a crystal agree on a formula (`graphgan.agreement`) while they are
    averaged; it is the weight of what the training set says of formulas (`self.agreement.learn`). With `separations`
    more than 0, atoms that averaging left too near to one another move apart (`graphgan.separations`); it is the share
    of training crystals in which elements are nearer than they may be (`self.separations.learn`).
    """

    log_metric_mean: Tensor
    log_metric_std: Tensor
    latent_shift: Tensor
    latent_scale: Tensor

    def __init__(
        self,
        num_species: int,
        latent_dim: int = 8,
        hidden: int = 96,
        layers: int = 3,
        heads: int = 4,
        rounds: int = 3,
        condition_dim: int = 0,
        agreement: float = 0.0,
        max_atoms: int = 0,
        separations: float = 0.0,
    ) -> None:
        super().__init__()
        self.rounds = rounds
        self.agreement = Agreement(num_species, max_atoms, agreement) if agreement else None
        self.separations = Separations(num_species, separations) if separations else None
        self.embed = nn.Linear(latent_dim, hidden)
        self.embed_crystal = nn.Linear(1 + condition_dim, hidden)
        self.transformer = SetTransformer(hidden, layers, heads)
        self.species = nn.Linear(hidden, num_species)
        self.source, self.target = nn.Linear(hidden, hidden), nn.Linear(hidden, hidden, bias=False)
        self.pair = nn.Sequential(nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, 6))
        self.lattice = nn.Sequential(nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, 6))
        self.register_buffer("log_metric_mean", torch.zeros(6))
        self.register_buffer("log_metric_std", torch.ones(6))
        self.register_buffer("latent_shift", torch.zeros(latent_dim))
        self.register_buffer("latent_scale", torch.ones(latent_dim))

    def set_scale(self, log_metric: Tensor, num_atoms: Tensor) -> None:
        """Take mean and standard deviation of the training set's log-metrics [n, 6]."""
        per_atom = log_metric - _log_size(num_atoms, log_metric.dtype)
        self.log_metric_mean.copy_(per_atom.mean(0))
        self.log_metric_std.copy_(per_atom.std(0, unbiased=False).clamp_min(1e-2))

    def normalise(self, log_metric: Tensor, num_atoms: Tensor) -> Tensor:
        """log-metrics [B, 6] in units of the lattice head."""
        return (log_metric - _log_size(num_atoms, log_metric.dtype) - self.log_metric_mean) / self.log_metric_std

    def propose(self, latents: Latents) -> Proposal:
        """Species, directions as the pair head gives them, and lattice; nothing averaged yet."""
        mask = latents.mask
        values = self.latent_shift + self.latent_scale * latents.values
        h = self.embed(values) + self.embed_crystal(latents.size)[:, None]
        h = self.transformer(h, mask)
        seen = self.pair(self.source(h)[:, :, None] + self.target(h)[:, None]).permute(0, 3, 1, 2)
        cosine, sine = seen.chunk(2, dim=1)
        itself = torch.eye(mask.shape[1], dtype=torch.bool, device=mask.device)
        pairs = (mask[:, :, None] & mask[:, None, :] & ~itself)[:, None]
        cosine = torch.where(pairs, 0.5 * (cosine + cosine.mT), 1.0)
        sine = torch.where(pairs, 0.5 * (sine - sine.mT), 0.0)
        # Far outside any real cell: keeps the exponential of an unlucky latent finite.
        units = self.lattice(masked_mean(h, mask)).clamp(-12.0, 12.0)
        size = _log_size(latents.num_atoms, units.dtype)
        return Proposal(
            species_logits=self.species(h),
            phases=torch.stack([cosine, sine], dim=-1),
            log_metric=self.log_metric_mean + self.log_metric_std * units + size,
        )

    def average(self, proposal: Proposal, latents: Latents) -> GraphTensor:
        """The graph tensor of a proposal: directions averaged to positions, softmax species, of the formula agreed on
        where atoms agree."""
        mask, logits = latents.mask, proposal.species_logits
        if self.agreement is not None:
            logits = self.agreement(logits, mask)
        positions = positions_from_directions(proposal.directions, mask, self.rounds)
        species = logits.softmax(-1) * mask[..., None]
        lattice = lattice_from_log_metric(proposal.log_metric)
        return GraphTensor.from_positions(species, positions, lattice, latents.num_atoms, latents.condition)

    def settle(self, crystals: GraphTensor) -> GraphTensor:
        """The same crystals, with atoms apart where they keep separations."""
        return crystals if self.separations is None else self.separations(crystals)

    def forward(self, latents: Latents) -> GraphTensor:
        return self.settle(self.average(self.propose(latents), latents))


def _log_size(num_atoms: Tensor, dtype: torch.dtype) -> Tensor:
    """What the atom count alone adds to a log-metric, [B, 6]: log(n) / 3 on the diagonal."""
    diagonal = torch.tensor([1.0, 1.0, 1.0, 0.0, 0.0, 0.0], device=num_atoms.device, dtype=dtype)
    return torch.log(num_atoms.to(dtype))[:, None] / 3 * diagonal


@torch.no_grad()
def standardise(encoder: Encoder, decoder: Decoder, posterior: Posterior) -> None:
    """Give the latents mean 0 and variance 1 over `posterior`, what the encoder says of a training set.

    The variance is that of draws, noise included: numbers that the autoencoder found no use for are all noise, which
    would be blown up to any size if only means counted. The encoder divides, the decoder multiplies, and what they do
    together stays as it is.
    """
    values, noise = posterior.mean[posterior.mask], posterior.log_variance[posterior.mask].exp()
    mean = values.mean(0)
    std = (values.var(0, unbiased=False) + noise.mean(0)).sqrt().clamp_min(1e-3)
    for shift, scale in ((encoder.shift, encoder.scale), (decoder.latent_shift, decoder.latent_scale)):
        shift.add_(scale * mean)
        scale.mul_(std)
