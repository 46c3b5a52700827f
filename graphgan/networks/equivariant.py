"""The equivariant trunk: graph tensors -> per-atom features; e3nn irreps on periodic Cartesian edge vectors.

Directions are along lattice axes, distances are in space, so the trunk reads both: Fourier features of the fractional
directions, and for every pair an expansion of where the periodic images of the other atom sit in space,
    E_ij[r, l] = Σ over images  window · radial_r(|v|) · Y_l(v / |v|),
which is periodic and smooth. Features with l > 0 turn with the crystal; they come back to numbers through their norms
and, for l = 1, through their components along a, b and c: one channel per axis, as the direction matrices have.
"""

import math

import torch
from e3nn import o3
from torch import Tensor, nn

from graphgan.geometry import fourier_features, image_offsets, image_window, lengths_and_cosines, wrap
from graphgan.graph_tensor import GraphTensor


class PeriodicEdges(nn.Module):
    """Pairs of atoms -> `num_radial` channels of every l <= lmax: a tensor [B, N, N, num_radial, (lmax + 1)²].

    Gaussians of width cutoff / num_radial on [0, cutoff] Å under a smooth envelope. Y_l is e3nn's, in component
    normalisation, of v / sqrt(v² + (0.1 Å)²), so that atoms on top of each other leave it smooth.
    """

    centers: Tensor

    def __init__(self, num_radial: int = 8, lmax: int = 2, cutoff: float = 6.0) -> None:
        super().__init__()
        self.cutoff = cutoff
        self.irreps = o3.Irreps.spherical_harmonics(lmax)
        self.register_buffer("centers", torch.linspace(0.0, cutoff, num_radial + 1)[1:] - 0.5 * cutoff / num_radial)

    def forward(self, directions: Tensor, lattice: Tensor) -> Tensor:
        delta = wrap(directions.permute(0, 2, 3, 1))  # [B, N, N, 3]
        fractional = delta[..., None, :] + image_offsets(delta.device, delta.dtype)  # [B, N, N, 27, 3]
        vectors = fractional @ lattice[:, None, None]
        squared = vectors.square().sum(-1)
        distance = torch.sqrt(squared + 1e-4)
        width = self.cutoff / len(self.centers)
        radial = torch.exp(-(((distance[..., None] - self.centers) / width) ** 2))
        envelope = (1 - squared / self.cutoff**2).clamp_min(0.0) ** 3
        radial = radial * (envelope * image_window(fractional))[..., None]
        unit = vectors / torch.sqrt(squared + 1e-2)[..., None]
        harmonics = o3.spherical_harmonics(self.irreps, unit, normalize=False, normalization="component")
        return radial.mT @ harmonics


class EquivariantLayer(nn.Module):
    """One round of messages between all pairs of atoms.

    scalars [B, N, C] and tensors [B, N, irreps.dim] are updated from messages that see both atoms' scalars and the
    pair's invariants [B, N, N, F]; tensor messages are gated edge irreps and gated neighbours' tensors, mixed by
    o3.Linear. PaiNN-like (Schütt et al. 2021, arXiv:2102.03150) with irreps of any l.
    """

    def __init__(self, hidden: int, channels: int, lmax: int, num_pair: int, num_radial: int) -> None:
        super().__init__()
        self.channels = channels
        self.irreps = o3.Irreps([(channels, (degree, (-1) ** degree)) for degree in range(1, lmax + 1)])
        self.source, self.target = nn.Linear(hidden, hidden), nn.Linear(hidden, hidden, bias=False)
        self.pair = nn.Linear(num_pair, hidden, bias=False)
        self.message = nn.Sequential(nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU())
        # No bias: a gate must be 0 where the message is, on padding.
        self.edge_gates = nn.Linear(hidden, lmax * channels, bias=False)
        self.tensor_gates = nn.Linear(hidden, lmax * channels, bias=False)
        self.radial_mix = nn.Parameter(torch.randn(lmax, channels, num_radial) / num_radial**0.5)
        self.mix = o3.Linear(self.irreps, self.irreps)
        num_invariants = lmax * channels + 3 * channels
        self.update = nn.Sequential(
            nn.Linear(2 * hidden + num_invariants, hidden), nn.SiLU(), nn.Linear(hidden, hidden)
        )
        self.norm = nn.LayerNorm(hidden)

    def forward(
        self, scalars: Tensor, tensors: Tensor, invariants: Tensor, edges: Tensor, axes: Tensor, mean: Tensor
    ) -> tuple[Tensor, Tensor]:
        """`mean` [B, N, N] are the weights of neighbours j in atom i's mean: 1 / num_atoms, 0 on padding."""
        h = self.norm(scalars)
        messages = self.message(self.source(h)[:, :, None] + self.target(h)[:, None] + self.pair(invariants))
        messages = messages * mean[..., None]
        edge_gates = self.edge_gates(messages).unflatten(-1, (-1, self.channels))
        tensor_gates = self.tensor_gates(messages).unflatten(-1, (-1, self.channels))
        new, numbers = [], []
        for index, (part, degree) in enumerate(
            zip(self.irreps.slices(), self.irreps.ls[:: self.channels], strict=True)
        ):
            own = tensors[..., part].unflatten(-1, (self.channels, 2 * degree + 1))
            block = edges[..., degree**2 : (degree + 1) ** 2]  # [B, N, N, R, 2l+1]
            block = self.radial_mix[index] @ block
            received = (edge_gates[..., index, :, None] * block).sum(2)
            received = received + torch.einsum("bijc,bjcm->bicm", tensor_gates[..., index, :], own)
            new.append((own + received).flatten(-2))
        tensors = self.mix(torch.cat(new, dim=-1))
        for part, degree in zip(self.irreps.slices(), self.irreps.ls[:: self.channels], strict=True):
            own = tensors[..., part].unflatten(-1, (self.channels, 2 * degree + 1))
            numbers.append(own.square().mean(-1))
            if degree == 1:
                numbers.append((own @ axes[:, None].mT).flatten(-2))  # components along a, b, c
        scalars = scalars + self.update(torch.cat([h, messages.sum(2), *numbers], dim=-1))
        return scalars, tensors


class EquivariantTrunk(nn.Module):
    """GraphTensor -> per-atom features [B, N, hidden].

    Invariant to rotation and inversion of space, to translation on the torus and to the choice of periodic image;
    equivariant to the order of the atoms. Not invariant to the choice of lattice basis: cells enter Niggli-reduced.
    """

    def __init__(
        self,
        num_species: int,
        hidden: int = 96,
        layers: int = 3,
        channels: int = 16,
        lmax: int = 2,
        num_radial: int = 8,
        num_frequencies: int = 4,
        cutoff: float = 6.0,
        condition_dim: int = 0,
    ) -> None:
        super().__init__()
        self.num_frequencies = num_frequencies
        self.edges = PeriodicEdges(num_radial, lmax, cutoff)
        num_pair = 6 * num_frequencies + num_radial
        self.embed_species = nn.Linear(num_species, hidden)
        self.embed_crystal = nn.Linear(7 + condition_dim, hidden)
        self.layers = nn.ModuleList(
            EquivariantLayer(hidden, channels, lmax, num_pair, num_radial) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(hidden)

    def forward(self, crystals: GraphTensor) -> Tensor:
        directions, lattice = crystals.directions, crystals.lattice
        edges = self.edges(directions, lattice)
        fourier = fourier_features(directions.permute(0, 2, 3, 1), self.num_frequencies)
        invariants = torch.cat([fourier, edges[..., 0]], dim=-1)
        mask = crystals.mask.to(lattice.dtype)
        mean = mask[:, :, None] * mask[:, None, :] / crystals.num_atoms[:, None, None]
        axes = lattice / torch.linalg.det(lattice).abs().pow(1 / 3)[:, None, None]
        scalars = self.embed_species(crystals.species) + self.embed_crystal(crystal_features(crystals))[:, None]
        tensors = scalars.new_zeros(*scalars.shape[:2], self.layers[0].irreps.dim)
        for layer in self.layers:
            scalars, tensors = layer(scalars, tensors, invariants, edges, axes, mean)
        return self.norm(scalars) * mask[:, :, None]


def crystal_features(crystals: GraphTensor) -> Tensor:
    """Numbers of the whole cell [B, 7 + C]: log lengths per cube root of the atom count, cosines of angles, log count,
    condition."""
    lengths, cosines = lengths_and_cosines(crystals.lattice)
    log_count = torch.log(crystals.num_atoms.to(lengths.dtype))[:, None]
    parts = [torch.log(lengths / 3.0) - log_count / 3, cosines, log_count / math.log(20)]
    if crystals.condition is not None:
        parts.append(crystals.condition)
    return torch.cat(parts, dim=-1)
