"""Critics to measure against: the same crystals, hidden width and number of layers, other ways to pass messages.

All take the vector to the nearest image of a neighbour by fractional wrapping, 64 scalars and 16 vectors an atom, and
let every atom send to every atom. They are here for speed and have no other use.
"""

import math
from collections.abc import Callable

import torch
from e3nn import o3
from torch import Tensor, nn

from graphgan.graph_tensor import GraphTensor

CUTOFF, NUM_RADIAL = 6.0, 16
SCALARS, VECTORS = 64, 16


class PaiNN(nn.Module):
    """PaiNN-style layers with l <= 1 on a list of edges; Schütt et al. (2021), arXiv:2102.03150."""

    def __init__(self, num_species: int, layers: int = 3) -> None:
        super().__init__()
        self.embed = nn.Linear(num_species, SCALARS)
        self.layers = nn.ModuleList(self.layer() for _ in range(layers))
        self.head = nn.Sequential(nn.Linear(SCALARS, SCALARS), nn.SiLU(), nn.Linear(SCALARS, 1))

    def layer(self) -> nn.Module:
        return PaiNNLayer()

    def forward(self, crystals: GraphTensor) -> Tensor:
        vectors, source, target = edges_of(crystals)
        distance = torch.sqrt(vectors.square().sum(-1) + 1e-4)
        unit, radial = vectors / distance[:, None], radial_functions(distance)
        scalars = self.embed(crystals.species).flatten(0, 1)
        tensors = scalars.new_zeros(len(scalars), VECTORS, 3)
        for layer in self.layers:
            scalars, tensors = layer(scalars, tensors, radial, unit, source, target)
        return self.head(scalars).view(crystals.species.shape[:2]).mean(1)


def edges_of(crystals: GraphTensor) -> tuple[Tensor, Tensor, Tensor]:
    """Vectors [E, 3] in Å to the nearest image by wrapping, and the numbers of source and target atoms [E]."""
    num_crystals, num = crystals.species.shape[:2]
    vectors = (crystals.directions.permute(0, 2, 3, 1) @ crystals.lattice[:, None]).reshape(-1, 3)
    index = torch.arange(num_crystals * num, device=vectors.device).view(num_crystals, num)
    target = index[:, :, None].expand(-1, -1, num).reshape(-1)
    source = index[:, None, :].expand(-1, num, -1).reshape(-1)
    return vectors, source, target


def radial_functions(distance: Tensor) -> Tensor:
    """Sine basis under a polynomial envelope, [..., NUM_RADIAL]."""
    order = torch.arange(1, NUM_RADIAL + 1, device=distance.device) * math.pi / CUTOFF
    envelope = (1 - (distance / CUTOFF).square()).clamp_min(0) ** 3
    return torch.sin(distance[..., None] * order) * (envelope / distance)[..., None]


class PaiNNLayer(nn.Module):
    """Messages φ(s_j) ∘ W(r_ij), one for every edge; then the update of an atom by its own vectors."""

    def __init__(self) -> None:
        super().__init__()
        wide = SCALARS + 2 * VECTORS
        self.phi = nn.Sequential(nn.Linear(SCALARS, SCALARS), nn.SiLU(), nn.Linear(SCALARS, wide))
        self.filter = nn.Linear(NUM_RADIAL, wide)
        self.first, self.second = (nn.Linear(VECTORS, VECTORS, bias=False) for _ in range(2))
        self.update = nn.Sequential(nn.Linear(SCALARS + VECTORS, SCALARS), nn.SiLU(), nn.Linear(SCALARS, wide))

    def forward(
        self, scalars: Tensor, vectors: Tensor, radial: Tensor, unit: Tensor, source: Tensor, target: Tensor
    ) -> tuple[Tensor, Tensor]:
        message = self.phi(scalars)[source] * self.filter(radial)
        to_scalars, along, across = message.split([SCALARS, VECTORS, VECTORS], -1)
        scalars = scalars + torch.zeros_like(scalars).index_add(0, target, to_scalars)
        moved = along[..., None] * unit[:, None] + across[..., None] * vectors[source]
        return self.updated(scalars, vectors + torch.zeros_like(vectors).index_add(0, target, moved))

    def updated(self, scalars: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor]:
        first, second = self.first(vectors.mT).mT, self.second(vectors.mT).mT
        norm = torch.sqrt(second.square().sum(-1) + 1e-8)
        gates = self.update(torch.cat([scalars, norm], -1))
        own, scale, dot = gates.split([SCALARS, VECTORS, VECTORS], -1)
        invariant = nn.functional.pad(dot * (first * second).sum(-1), (0, SCALARS - VECTORS))
        return scalars + own + invariant, vectors + scale[..., None] * first


class LoopedPaiNN(PaiNN):
    """The same numbers as `PaiNN` by a Python loop over pairs of atoms."""

    def layer(self) -> nn.Module:
        return LoopedLayer()


class LoopedLayer(PaiNNLayer):
    """`PaiNNLayer`, a pair at a time (the pairs of all crystals with the same two numbers together)."""

    def forward(
        self, scalars: Tensor, vectors: Tensor, radial: Tensor, unit: Tensor, source: Tensor, target: Tensor
    ) -> tuple[Tensor, Tensor]:
        num = len(source) // len(scalars)
        rows = torch.arange(len(scalars), device=scalars.device).view(-1, num)
        edges = torch.arange(len(source), device=scalars.device).view(-1, num, num)
        new_scalars, new_vectors = scalars, vectors
        for i in range(num):
            for j in range(num):
                edge, sender, receiver = edges[:, i, j], rows[:, j], rows[:, i]
                message = self.phi(scalars[sender]) * self.filter(radial[edge])
                to_scalars, along, across = message.split([SCALARS, VECTORS, VECTORS], -1)
                moved = along[..., None] * unit[edge][:, None] + across[..., None] * vectors[sender]
                new_scalars = new_scalars.index_add(0, receiver, to_scalars)
                new_vectors = new_vectors.index_add(0, receiver, moved)
        return self.updated(new_scalars, new_vectors)


class TensorProductCritic(nn.Module):
    """e3nn layers: a tensor product of neighbours with Y_l of the edges (l <= 1), its weights from the distance.

    `connection` "uvu" is the depthwise product of NequIP-like networks; "fully connected" has its own weights for every
    pair of channels and every edge.
    """

    def __init__(self, num_species: int, connection: str, layers: int = 3) -> None:
        super().__init__()
        self.irreps = o3.Irreps(f"{SCALARS}x0e + {VECTORS}x1o")
        self.harmonics = o3.Irreps("0e + 1o")
        self.embed = nn.Linear(num_species, SCALARS)
        self.layers = nn.ModuleList(_TensorProductLayer(self.irreps, self.harmonics, connection) for _ in range(layers))
        self.head = nn.Sequential(nn.Linear(SCALARS, SCALARS), nn.SiLU(), nn.Linear(SCALARS, 1))

    def forward(self, crystals: GraphTensor) -> Tensor:
        vectors, source, target = edges_of(crystals)
        distance = torch.sqrt(vectors.square().sum(-1) + 1e-4)
        harmonics = o3.spherical_harmonics(self.harmonics, vectors / distance[:, None], normalize=False)
        features = nn.functional.pad(self.embed(crystals.species).flatten(0, 1), (0, 3 * VECTORS))
        for layer in self.layers:
            features = layer(features, radial_functions(distance), harmonics, source, target)
        return self.head(features[:, :SCALARS]).view(crystals.species.shape[:2]).mean(1)


class _TensorProductLayer(nn.Module):
    def __init__(self, irreps: o3.Irreps, harmonics: o3.Irreps, connection: str) -> None:
        super().__init__()
        if connection == "uvu":
            paths = [
                (i, j, out)
                for i, (_, a) in enumerate(irreps)
                for j, (_, b) in enumerate(harmonics)
                for out in a * b
                if out in irreps
            ]
            middle = o3.Irreps([(irreps[i].mul, out) for i, _, out in paths])
            instructions = [(i, j, k, "uvu", True) for k, (i, j, _) in enumerate(paths)]
            self.product = o3.TensorProduct(
                irreps, harmonics, middle, instructions, shared_weights=False, internal_weights=False
            )
        else:
            self.product = o3.FullyConnectedTensorProduct(irreps, harmonics, irreps, shared_weights=False)
        self.radial = nn.Sequential(
            nn.Linear(NUM_RADIAL, SCALARS), nn.SiLU(), nn.Linear(SCALARS, self.product.weight_numel)
        )
        self.mix = o3.Linear(self.product.irreps_out, irreps)

    def forward(self, features: Tensor, radial: Tensor, harmonics: Tensor, source: Tensor, target: Tensor) -> Tensor:
        messages = self.product(features[source], harmonics, self.radial(radial))
        received = messages.new_zeros(len(features), messages.shape[1]).index_add(0, target, messages)
        new = features + self.mix(received)
        return torch.cat([torch.tanh(new[:, :SCALARS]), new[:, SCALARS:]], -1)


BASELINES: dict[str, Callable[[int], nn.Module]] = {
    "PaiNN-style": PaiNN,
    "PaiNN-style, loop over pairs": LoopedPaiNN,
    "e3nn tensor product, uvu": lambda num_species: TensorProductCritic(num_species, "uvu"),
    "e3nn tensor product, fully connected": lambda num_species: TensorProductCritic(num_species, "fully connected"),
}
