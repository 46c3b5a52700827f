"""The equivariant trunk: graph tensors -> per-atom features; e3nn irreps on periodic Cartesian edge vectors.

Directions are along lattice axes, distances are in space, so the trunk reads both: Fourier features of the fractional
directions, and for every pair an expansion of where the periodic images of the other atom sit in space,
    E_ij[r, l] = Σ over images  window · radial_r(|v|) · Y_l(v / |v|),
which is periodic and smooth. Features with l > 0 turn with the crystal; they come back to numbers through their norms
and, for l = 1, through their components along a, b and c: one channel per axis, as the direction matrices have.

Speed comes from what is never built. Of the 27 images of a pair only those within the cutoff are expanded, and of the
pairs (i, j) and (j, i), which see opposite vectors, only one. A layer makes no message of its own for every pair: pairs
carry a few attention weights, and everything else is a product of an N x N matrix with per-atom vectors.
"""

import math
from typing import Any

import torch
from e3nn import o3
from torch import Tensor, nn
from torch.nn.functional import silu

from graphgan.geometry import TAU, image_offsets, image_window, lengths_and_cosines, volume, wrap
from graphgan.graph_tensor import GraphTensor


class PeriodicEdges(nn.Module):
    """Pairs of atoms -> one tensor a degree: [B, num_radial, 1, N, N] for l = 0, [B, num_shells, 2l+1, N, N] above.

    Gaussians of width cutoff / num_radial on [0, cutoff] Å under a smooth envelope; for l > 0 they are added up in
    `num_shells` groups of neighbours, since angles need less resolution than bond lengths. Y_l is e3nn's, in component
    normalisation, of v / sqrt(v² + (0.1 Å)²), so that atoms on top of each other leave it smooth.
    """

    centers: Tensor

    def __init__(self, num_radial: int = 8, num_shells: int = 4, lmax: int = 2, cutoff: float = 6.0) -> None:
        super().__init__()
        if num_radial % num_shells:
            raise ValueError(f"{num_radial} radial functions do not divide into {num_shells} shells")
        self.num_shells, self.cutoff = num_shells, cutoff
        self.irreps = o3.Irreps.spherical_harmonics(lmax)[1:]
        self.register_buffer("centers", torch.linspace(0.0, cutoff, num_radial + 1)[1:] - 0.5 * cutoff / num_radial)

    def forward(self, directions: Tensor, lattice: Tensor, mask: Tensor) -> list[Tensor]:
        num = directions.shape[-1]
        first, second = torch.triu_indices(num, num, device=directions.device)
        delta = wrap(directions.flatten(2).index_select(2, first * num + second).mT)  # [B, P, 3]
        pair, vectors, fractional = self._near_images(delta, lattice, mask[:, first] & mask[:, second])
        radial, harmonics = self._expansion(vectors, fractional)

        pair_of = directions.new_zeros(num, num, dtype=torch.long)
        pair_of[first, second] = pair_of[second, first] = torch.arange(len(first), device=pair_of.device)

        def summed(values: Tensor) -> Tensor:
            """Numbers of the images [X, n] -> sums over the images of every pair [B, X, N, N]."""
            sums = values.new_zeros(delta.shape[:2].numel(), len(values)).index_add(0, pair, transposed(values))
            sums = sums.view(*delta.shape[:2], len(values)).mT
            return sums.index_select(2, pair_of.flatten()).unflatten(2, (num, num))

        shells = radial.unflatten(0, (self.num_shells, -1)).sum(1)
        opposite = 1.0 - 2.0 * directions.new_ones(num, num).tril(-1)  # -1 where j sees i as i sees j, mirrored
        edges = [summed(radial)[:, :, None]]
        for part, degree in zip(harmonics.split(dims(self.irreps)), self.irreps.ls, strict=True):
            edge = summed((shells[:, None] * part).flatten(0, 1)).unflatten(1, (self.num_shells, -1))
            edges.append(edge * opposite if degree % 2 else edge)
        return edges

    def _near_images(self, delta: Tensor, lattice: Tensor, real: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Images of pairs within the cutoff: the pair's number [n], vector [n, 3] in Å, fractional vector [n, 3]."""
        offsets = image_offsets(delta.device, delta.dtype)
        inside, shifts = delta @ lattice, offsets @ lattice  # [B, P, 3], [B, 27, 3]
        with torch.no_grad():
            squares = inside.square().sum(-1)[:, :, None] + shifts.square().sum(-1)[:, None]
            near = torch.baddbmm(squares, inside, shifts.mT, alpha=2.0) < self.cutoff**2
            index = torch.nonzero((near & real[:, :, None]).flatten())[:, 0]
            pair, image = index // len(offsets), index % len(offsets)
            crystal = pair // delta.shape[1]
        # index_select: the gradient of [...] by an index is several times slower.
        shift = shifts.flatten(0, 1).index_select(0, crystal * len(offsets) + image)
        vectors = inside.flatten(0, 1).index_select(0, pair) + shift
        return pair, vectors, delta.flatten(0, 1).index_select(0, pair) + offsets[image]

    def _expansion(self, vectors: Tensor, fractional: Tensor) -> tuple[Tensor, Tensor]:
        """Radial functions [num_radial, n] under the envelope, and Y_l of all l > 0 [(lmax + 1)² - 1, n]."""
        squared = vectors.square().sum(-1)
        distance = torch.sqrt(squared + 1e-4)
        width = self.cutoff / len(self.centers)
        envelope = (1 - squared / self.cutoff**2).clamp_min(0.0) ** 3 * image_window(fractional)
        radial = torch.exp(-((distance - self.centers[:, None]) / width).square()) * envelope
        unit = vectors / torch.sqrt(squared + 1e-2)[:, None]
        harmonics = o3.spherical_harmonics(self.irreps, unit, normalize=False, normalization="component")
        return radial, transposed(harmonics)


class _Transposed(torch.autograd.Function):
    """A transposed copy whose gradients, of any order, are transposed copies too, not views."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.T.contiguous()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return transposed(gradient)


def transposed(x: Tensor) -> Tensor:
    """[a, b] -> [b, a] in memory. What is done to every one of n images is several times faster with n innermost."""
    return _Transposed.apply(x)


class EquivariantLayer(nn.Module):
    """One round of messages between all pairs of atoms.

    scalars [B, N, hidden] and tensors, one [B, 2l+1, N, channels] a degree l > 0. Every channel is a head: attention
    weights silu(source_i + target_j + pair_ij), not normalised, carry the neighbours' scalars and tensors; new tensors
    come from the edges' irreps, weighted by a number of the neighbour and by learned radial functions, as in tensor
    field networks (Thomas et al. 2018, arXiv:1802.08219) and PaiNN (Schütt et al. 2021, arXiv:2102.03150).
    """

    def __init__(self, hidden: int, channels: int, lmax: int, num_shells: int) -> None:
        super().__init__()
        if hidden % channels:
            raise ValueError(f"{hidden} features do not divide into {channels} channels")
        self.hidden, self.channels = hidden, channels
        self.irreps = o3.Irreps.spherical_harmonics(lmax)[1:]
        self.norm = nn.LayerNorm(hidden)
        self.ends = nn.Linear(hidden, 2 * channels)
        self.values = nn.Linear(hidden, hidden + channels, bias=False)
        self.radial_mix = nn.Parameter(torch.randn(lmax, num_shells, 1, channels) / num_shells**0.5)
        self.mix = nn.Parameter(torch.randn(lmax, channels, channels) / channels**0.5)
        num_invariants = (lmax + 3) * channels
        self.update = nn.Sequential(
            nn.Linear(2 * hidden + channels + num_invariants, hidden), nn.SiLU(), nn.Linear(hidden, hidden)
        )

    def forward(
        self, scalars: Tensor, tensors: list[Tensor], pairs: Tensor, edges: list[Tensor], axes: Tensor, share: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        """pairs [B, channels, N, N]; edges, one [B, (2l+1) N, num_shells N] a degree; axes [B, 3, 3]; share [B, N, 1],
        an atom's weight in a mean: 1 / num_atoms, 0 on padding."""
        h = self.norm(scalars)
        source, target = self.ends(h).mT.chunk(2, dim=1)
        weights = silu(pairs + source[..., None] + target[:, :, None])
        values, charges = (self.values(h) * share).split([self.hidden, self.channels], dim=-1)
        sent = [  # each [B, channels, N, numbers of a head]
            values.unflatten(-1, (self.channels, -1)).transpose(1, 2),
            *((t * share[:, None]).permute(0, 3, 2, 1) for t in tensors),
            share[:, None].expand(-1, self.channels, -1, -1),
        ]
        received = weights @ torch.cat(sent, dim=-1)  # [B, channels, N, hidden / channels + irreps + 1]
        messages, *carried, total = received.split([s.shape[-1] for s in sent], dim=-1)
        new, numbers = [], [messages.transpose(1, 2).flatten(2), total[..., 0].mT]
        for index, (own, other, edge) in enumerate(zip(tensors, carried, edges, strict=True)):
            seen = edge @ (charges[:, None] * self.radial_mix[index]).flatten(1, 2)
            turned = (own + other.permute(0, 3, 2, 1) + seen.view_as(own)) @ self.mix[index]
            new.append(turned)
            numbers.append(turned.square().mean(1))
            if index == 0:  # l = 1: components along a, b, c
                numbers.append((axes @ turned.flatten(2)).view_as(turned).transpose(1, 2).flatten(2))
        return scalars + self.update(torch.cat([h, *numbers], dim=-1)), new


class EquivariantTrunk(nn.Module):
    """GraphTensor -> per-atom features [B, N, hidden].

    Invariant to rotation and inversion of space, to translation on the torus and to the choice of periodic image;
    equivariant to the order of the atoms. Not invariant to the choice of lattice basis: cells enter Niggli-reduced.
    `channels`, of every degree up to lmax, are the heads of attention too and divide `hidden`.
    """

    frequencies: Tensor

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
        self.channels = channels
        self.edges = PeriodicEdges(num_radial, num_radial // 2, lmax, cutoff)
        self.register_buffer("frequencies", TAU * torch.arange(1.0, num_frequencies + 1), persistent=False)
        # The invariants of pairs, cos, sin and radial functions, for the heads of all layers at once.
        sizes = [3 * num_frequencies, 3 * num_frequencies, num_radial]
        self.pairs = nn.ParameterList(torch.randn(layers * channels, n) / (3 * sum(sizes)) ** 0.5 for n in sizes)
        self.embed_species = nn.Linear(num_species, hidden)
        self.embed_crystal = nn.Linear(7 + condition_dim, hidden)
        self.layers = nn.ModuleList(EquivariantLayer(hidden, channels, lmax, num_radial // 2) for _ in range(layers))
        self.norm = nn.LayerNorm(hidden)

    def forward(self, crystals: GraphTensor) -> Tensor:
        return self.features(crystals)[0]

    def features(self, crystals: GraphTensor) -> tuple[Tensor, list[Tensor]]:
        """Scalars [B, N, hidden] and, for every degree l > 0, tensors [B, 2l+1, N, channels] that turn with space."""
        directions, lattice, num = crystals.directions, crystals.lattice, crystals.species.shape[1]
        with torch.autocast(lattice.device.type, enabled=False):  # bond lengths need all their digits
            radial, *edges = self.edges(directions, lattice, crystals.mask)
        pairs = self._pair_weights(directions, radial[:, :, 0])
        edges = [e.permute(0, 2, 3, 1, 4).flatten(3).flatten(1, 2) for e in edges]  # [B, (2l+1) N, num_shells N]
        mask = crystals.mask.to(lattice.dtype)[:, :, None]
        share = mask / crystals.num_atoms[:, None, None]
        axes = lattice / volume(lattice).abs().pow(1 / 3)[:, None, None]
        scalars = self.embed_species(crystals.species) + self.embed_crystal(crystal_features(crystals))[:, None]
        tensors = [scalars.new_zeros(len(crystals), d, num, self.channels) for d in dims(self.edges.irreps)]
        for layer, pair in zip(self.layers, pairs, strict=True):
            scalars, tensors = layer(scalars, tensors, pair, edges, axes, share)
        return self.norm(scalars) * mask, tensors

    def _pair_weights(self, directions: Tensor, radial: Tensor) -> tuple[Tensor, ...]:
        """What the heads of every layer make of the pairs, each [B, channels, N, N]: linear in Fourier features of the
        directions and in the radial functions [B, num_radial, N, N]."""
        angles = (directions[:, :, None] * self.frequencies[:, None, None]).flatten(1, 2).flatten(2)
        of_cos, of_sin, of_radial = self.pairs
        weights = of_cos @ torch.cos(angles) + of_sin @ torch.sin(angles) + of_radial @ radial.flatten(2)
        return weights.unflatten(2, directions.shape[2:]).unflatten(1, (-1, self.channels)).unbind(1)


def dims(irreps: o3.Irreps) -> list[int]:
    """2l + 1 of every irrep."""
    return [2 * degree + 1 for degree in irreps.ls]


def crystal_features(crystals: GraphTensor) -> Tensor:
    """Numbers of the whole cell [B, 7 + C]: log lengths per cube root of the atom count, cosines of angles, log count,
    condition."""
    lengths, cosines = lengths_and_cosines(crystals.lattice)
    log_count = torch.log(crystals.num_atoms.to(lengths.dtype))[:, None]
    parts = [torch.log(lengths / 3.0) - log_count / 3, cosines, log_count / math.log(20)]
    if crystals.condition is not None:
        parts.append(crystals.condition)
    return torch.cat(parts, dim=-1)
