"""Separations: atoms that averaging left too near to one another move apart, as far as elements do in real crystals.

What atoms say of one another may be a blur of several crystals: nearly all of it right, and here and there two atoms in
one place. So the averaged positions x move downhill, by gradient descent, towards where no two atoms are nearer than
their elements a and b are in the training set,
    E(x) = 1/2 Σ over pairs and their images  max(0, r_ab - distance)²,
as far as the cell has room, and no further: lattice and elements stay, and so does a crystal in which nothing is too
near. r_ab is a quantile, over the training crystals that have both, of the shortest distance between an a and a b;
pairs that are rare there borrow from radii fitted to all pairs, r_a + r_b. Minimum separations of pairs of elements,
taken from known crystals, are what random structure searching begins with: Pickard & Needs (2011),
doi:10.1088/0953-8984/23/5/053201.

Distances are to the 27 nearest cells. Shapes: positions [B, N, 3] fractional; species [B, N] integers below K; lattice
[B, 3, 3] with rows in Å; mask [B, N] true for atoms.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from graphgan.geometry import image_offsets, wrap
from graphgan.graph_tensor import GraphTensor
from graphgan.reconstruction import directions_from_positions

LISTS = 5
"""Lists of neighbours that the descent takes; what still overlaps after the last mostly has no room in its cell."""
STEPS = 20
"""Of the descent with every list."""
SKIN = 0.5
"""Å beyond their separation at which atoms and images are still on a list."""
RATE = 0.25
"""Å that each of two atoms moves a step for every Å that they are too near."""
BORROWED = 10.0
"""Crystals' worth of the fitted radii in the separation of each pair of elements."""
FITTED = 50
"""Crystals of one pair beyond which more of them say no more about its elements' radii."""
_COINCIDENT = 1e-6
"""Å below which a distance counts as this: what coincides has no direction to move in."""


class Separations(nn.Module):
    """How near to one another elements may be; learns from a training set without training.

    share  of the training crystals that have both of two elements: in so many, they are nearer than they may be

    Buffer: `shortest` [K, K], symmetric, in Å; 0 before `learn`, which moves nothing.
    """

    shortest: Tensor

    def __init__(self, num_species: int, share: float) -> None:
        super().__init__()
        self.share = share
        self.register_buffer("shortest", torch.zeros(num_species, num_species))

    def learn(self, batches: Iterable[GraphTensor]) -> None:
        """Take the separations of a training set, given in batches."""
        pairs, distances = zip(*map(shortest_distances, batches), strict=True)
        self.shortest.copy_(found_separations(torch.cat(pairs), torch.cat(distances), len(self.shortest), self.share))

    def forward(self, crystals: GraphTensor) -> GraphTensor:
        """The same crystals with atoms apart, and with the gradients of those given. Equivariant to rotation and the
        order of atoms; what has nothing too near is the same to the last bit."""
        kinds, positions = crystals.species.argmax(-1), crystals.directions[:, :, 0].mT
        moves = self.moves(positions, kinds, crystals.lattice, crystals.mask).to(crystals.directions.dtype)
        return crystals.replace(directions=wrap(crystals.directions + directions_from_positions(moves, crystals.mask)))

    @torch.no_grad()
    def moves(self, positions: Tensor, species: Tensor, lattice: Tensor, mask: Tensor) -> Tensor:
        """Fractional coordinates [B, N, 3] from where atoms are to where the descent ends, in float32 or better."""
        dtype = torch.promote_types(lattice.dtype, torch.float32)
        positions, lattice, num = positions.to(dtype), lattice.to(dtype), mask.shape[1]
        i, j = torch.triu_indices(num, num, offset=1, device=mask.device)
        least = (self.shortest[species[:, i], species[:, j]] * (mask[:, i] & mask[:, j])).to(dtype)  # [B, pairs]
        cells = image_offsets(lattice.device, dtype) @ lattice
        inverse = torch.linalg.inv_ex(lattice).inverse  # of a flat cell too: sampling goes on, and gives no crystal
        atoms = start = positions @ lattice
        for _ in range(LISTS):
            # Few of all pairs and images can meet in the next steps: a list of m of them, as in molecular dynamics.
            across = atoms[:, j] - atoms[:, i]
            between = wrap(across @ inverse) @ lattice
            distances = distances_to_images(between, cells)
            crowded = (distances < least[..., None]).any(2).any(1)
            reach = torch.where(crowded[:, None] & (least > 0), least + SKIN, 0.0)
            batch, pair, image = (distances < reach[..., None]).nonzero().unbind(1)
            if not len(batch):
                break
            image_of = ((between - across)[batch, pair] + cells[batch, image]).mT.contiguous()
            first, second, near = batch * num + i[pair], batch * num + j[pair], least[batch, pair]
            flat = atoms.flatten(0, 1).mT.contiguous()  # [3, B N]: rows of three are slow to gather and to add to
            for _ in range(STEPS):
                vector = flat.index_select(1, second) - flat.index_select(1, first) + image_of  # [3, m] in Å
                distance = vector.square().sum(0).sqrt().clamp_min(_COINCIDENT)
                push = RATE * (near / distance - 1).clamp_min(0) * vector
                flat = flat.index_add(1, second, push).index_add(1, first, push, alpha=-1)
            atoms = flat.mT.view_as(atoms)
        return (atoms - start) @ inverse


def distances_to_images(between: Tensor, images: Tensor) -> Tensor:
    """|between + image| in Å [B, pairs, 27] of vectors [B, pairs, 3] and offsets of cells [B, 27, 3], both in Å."""
    squared = between.square().sum(-1, keepdim=True) + images.square().sum(-1)[:, None] + 2 * between @ images.mT
    return squared.clamp_min(_COINCIDENT**2).sqrt()


def shortest_distances(crystals: GraphTensor) -> tuple[Tensor, Tensor]:
    """For every pair of elements a <= b that a crystal has, the number a K + b and the shortest distance in Å between
    the two, images included: [m] and [m], on the CPU."""
    batch, num, kinds = crystals.species.shape
    species, lattice = crystals.species.argmax(-1), crystals.lattice
    between = crystals.directions.permute(0, 2, 3, 1).flatten(1, 2) @ lattice  # [B, N², 3]
    distances = distances_to_images(between, image_offsets(lattice.device, lattice.dtype) @ lattice)
    distances = distances.view(batch, num, num, 27)
    distances.diagonal(dim1=1, dim2=2)[:, 13] = torch.inf  # an atom is no neighbour of itself, but of its images
    nearest = distances.amin(-1).masked_fill(~(crystals.mask[:, :, None] & crystals.mask[:, None]), torch.inf)
    pair = torch.minimum(species[:, :, None], species[:, None]) * kinds
    pair = pair + torch.maximum(species[:, :, None], species[:, None])
    table = nearest.new_full((batch, kinds**2), torch.inf)
    table.scatter_reduce_(1, pair.flatten(1), nearest.flatten(1), "amin")
    found = table.isfinite()
    return found.nonzero()[:, 1].cpu(), table[found].cpu()


def found_separations(pairs: Tensor, distances: Tensor, num_species: int, share: float) -> Tensor:
    """Separations [K, K] in Å of distances [m] by pair of elements a K + b, a <= b [m]: the quantile `share` of each,
    with BORROWED crystals of what the radii of its elements add up to.

    Radii are fitted to the mean of every pair, which few crystals tell without bias, and then made smaller until
    `share` of all distances are below their sum.
    """
    order = distances.argsort()
    order = order[pairs[order].argsort(stable=True)]  # by pair, then by distance
    pairs, distances = pairs[order], distances[order].double()
    found, which, counts = pairs.unique(return_inverse=True, return_counts=True)
    place = counts.cumsum(0) - counts + share * (counts - 1).double()
    below, above = place.floor().long(), place.ceil().long()
    quantile = torch.lerp(distances[below], distances[above], place - below)

    a, b = found // num_species, found % num_species
    mean = torch.zeros(len(found), dtype=torch.float64).index_add(0, which, distances) / counts
    rows = nn.functional.one_hot(a, num_species).double() + nn.functional.one_hot(b, num_species)
    weighted = rows * counts.clamp_max(FITTED)[:, None]
    little = 1e-6  # towards half the mean, for elements that nothing else decides
    normal = weighted.mT @ rows + little * torch.eye(num_species)
    radii = torch.linalg.solve(normal, weighted.mT @ mean + little * mean.mean() / 2).clamp_min(0)
    sums = radii[:, None] + radii
    ratios = distances / sums[a, b].clamp_min(_COINCIDENT)[which]
    table = sums * ratios.quantile(share)

    own = (counts * quantile + BORROWED * table[a, b]) / (counts + BORROWED)
    table[a, b] = own
    table[b, a] = own
    return table.float()
