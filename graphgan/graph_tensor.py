"""GraphTensor: a frozen batch of crystals as graph tensors; knows torch and the torus, no chemistry and no files."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from graphgan.geometry import circular_mean, image_offsets, lattice_from_log_metric, log_metric, volume, wrap
from graphgan.reconstruction import directions_from_positions, positions_from_directions

if TYPE_CHECKING:
    import networkx
    from torch_geometric.data import Batch


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class GraphTensor:
    """B crystals, padded to N atoms, with weights over K elements; dense, so that every shape is static.

    species     [B, N, K]     weights over the elements; one-hot when real; rows sum to 1, 0 on padding
    directions  [B, 3, N, N]  directions[b, k, i, j] = where atom j is as seen from atom i along lattice axis k,
                              fractional, in [-1/2, 1/2); antisymmetric modulo 1; 0 on the diagonal and on padding
    lattice     [B, 3, 3]     rows a, b, c in Å
    num_atoms   [B]           int64; atoms are the first num_atoms rows
    condition   [B, C]        what to condition on, or None

    Frozen: new values by `replace`. Raises ValueError at birth when shapes disagree.
    """

    species: Tensor
    directions: Tensor
    lattice: Tensor
    num_atoms: Tensor
    condition: Tensor | None = None

    def __post_init__(self) -> None:
        if self.species.ndim != 3:
            raise ValueError(f"species has shape {tuple(self.species.shape)}, expected [B, N, K]")
        b, n, _ = self.species.shape
        expected = {"directions": (b, 3, n, n), "lattice": (b, 3, 3), "num_atoms": (b,)}
        for name, shape in expected.items():
            found = tuple(getattr(self, name).shape)
            if found != shape:
                raise ValueError(f"{name} has shape {found}, expected {shape}")
        if self.condition is not None and (self.condition.ndim != 2 or len(self.condition) != b):
            raise ValueError(f"condition has shape {tuple(self.condition.shape)}, expected ({b}, C)")

    @classmethod
    def from_positions(
        cls,
        species: Tensor,
        frac_coords: Tensor,
        lattice: Tensor,
        num_atoms: Tensor,
        condition: Tensor | None = None,
    ) -> GraphTensor:
        """Graph tensors with consistent directions of fractional coordinates [B, N, 3]."""
        mask = atom_mask(num_atoms, species.shape[1])
        directions = directions_from_positions(frac_coords, mask)
        return cls(species=species, directions=directions, lattice=lattice, num_atoms=num_atoms, condition=condition)

    # -- a batch ---------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.num_atoms)

    def __getitem__(self, index: Tensor | slice | Sequence[int]) -> GraphTensor:
        """The crystals of an index tensor, slice or list, as a batch with the same padding."""
        if isinstance(index, int):
            raise TypeError("index a GraphTensor with a slice, list or tensor; it stays a batch")
        return self._map(lambda t: t[index])

    def replace(self, **fields: Tensor | None) -> GraphTensor:
        """A copy with some fields replaced."""
        return dataclasses.replace(self, **fields)  # type: ignore[arg-type]

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> GraphTensor:
        """A copy on `device`, floating fields in `dtype`."""
        return self._map(lambda t: t.to(device=device, dtype=dtype if t.is_floating_point() else None))

    def detach(self) -> GraphTensor:
        """A copy without gradient history."""
        return self._map(Tensor.detach)

    def pad(self, num: int) -> GraphTensor:
        """The same crystals padded, or trimmed of padding, to `num` atoms; ValueError if atoms would be cut."""
        largest = int(self.num_atoms.max()) if len(self) else 0
        if num < largest:
            raise ValueError(f"cannot pad to {num} atoms: a crystal has {largest}")
        extra = num - self.species.shape[1]
        species = torch.nn.functional.pad(self.species, (0, 0, 0, extra))
        directions = torch.nn.functional.pad(self.directions, (0, extra, 0, extra))
        return self.replace(species=species, directions=directions)

    def trim(self) -> GraphTensor:
        """The same crystals with no more padding than the largest needs."""
        return self.pad(int(self.num_atoms.max()) if len(self) else 0)

    def permute(self, order: Tensor) -> GraphTensor:
        """The atoms of each crystal reordered by index [B, N]; padding must stay last."""
        batch = torch.arange(len(self), device=order.device)[:, None]
        species = self.species[batch, order]
        directions = self.directions[batch[:, :, None], :, order[:, :, None], order[:, None, :]]
        return self.replace(species=species, directions=directions.permute(0, 3, 1, 2))

    def _map(self, function) -> GraphTensor:
        given = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return self.replace(**{name: function(value) for name, value in given.items() if value is not None})

    @cached_property
    def mask(self) -> Tensor:
        """[B, N] true for atoms, false for padding."""
        return atom_mask(self.num_atoms, self.species.shape[1])

    @cached_property
    def frac_coords(self) -> Tensor:
        """[B, N, 3] positions by averaging what every atom says of the others, up to one translation a crystal."""
        return positions_from_directions(self.directions, self.mask)

    @property
    def volume(self) -> Tensor:
        """[B] cell volumes in Å^3."""
        return volume(self.lattice).abs()

    # -- a point of a manifold: what a game on graph tensors differentiates and interpolates ---------------------------

    def coordinates(self) -> tuple[Tensor, ...]:
        """The chart of a game: species [B, N, K], fractional coordinates [B, N, 3], log-metric [B, 6]."""
        return self.species, self.frac_coords, log_metric(self.lattice)

    def with_coordinates(self, species: Tensor, frac_coords: Tensor, log_metric_six: Tensor) -> GraphTensor:
        """The crystals at the given chart coordinates, with the same atom counts and condition."""
        lattice = lattice_from_log_metric(log_metric_six)
        return GraphTensor.from_positions(species, frac_coords, lattice, self.num_atoms, self.condition)

    def join(self, other: GraphTensor) -> GraphTensor:
        """Both batches as one."""
        return cat([self, other])

    def interpolate(self, other: GraphTensor, t: Tensor) -> GraphTensor:
        """The point a share t [B] of the way to `other`, by the shortest path: straight in species and log-metric,
        and on the torus after the translation that brings the two sets of positions closest in the circular mean.

        Pairs must share num_atoms; ValueError if they do not.
        """
        # Asked of the numbers only where it must be: on a GPU, the answer waits for all work given to it.
        if self.num_atoms is not other.num_atoms and not torch.equal(self.num_atoms, other.num_atoms):
            raise ValueError("interpolation needs pairs with equal num_atoms")
        (s0, x0, m0), (s1, x1, m1) = self.coordinates(), other.coordinates()
        atoms, t = self.mask[:, :, None].to(x0.dtype), t.to(x0.dtype)
        shift = circular_mean(x1 - x0, weights=atoms, dim=1)
        x = x0 + t[:, None, None] * wrap(x1 - x0 - shift[:, None]) * atoms
        s = torch.lerp(s0, s1, t[:, None, None])
        return self.with_coordinates(s, x, torch.lerp(m0, m1, t[:, None]))

    def dual_norm(self, gradients: Sequence[Tensor]) -> Tensor:
        """Norm [B] of a critic's gradient with respect to `coordinates()`.

        Dual to the metric d² = mean over atoms of (|dr / 1 Å|² + |dspecies|²) + |strain|², which does not depend on the
        orientation of the cell, nor on the number of atoms: a mean-pooled linear critic with species weights (3, 4) has
        norm 5 in every crystal.
        """
        d_species, d_frac, d_metric = gradients
        atoms = self.mask[:, :, None].to(d_frac.dtype)
        # r = f L, so the gradient with respect to r is (gradient with respect to f) L^-T.
        d_cartesian = torch.linalg.solve(self.lattice[:, None], d_frac[..., None])[..., 0] * atoms
        per_atom = d_cartesian.square().sum((1, 2)) + (d_species * atoms).square().sum((1, 2))
        # |strain|² is Frobenius: each off-diagonal number stands for two entries, so its dual counts half.
        weight = d_metric.new_tensor([1.0, 1.0, 1.0, 0.5, 0.5, 0.5])
        total = self.num_atoms * per_atom + (d_metric.square() * weight).sum(1)
        return torch.sqrt(total + 1e-12)

    # -- other people's graphs ---------------------------------------------------------------------------------------

    def to_pyg(self) -> Batch:
        """A torch_geometric Batch, one Data a crystal: x [n, K], edge_index [2, n(n-1)], edge_attr [.., 3] (fractional
        direction of the target as seen from the source), distance [..] in Å of the nearest image, lattice [1, 3, 3]."""
        from torch_geometric.data import Batch, Data

        graphs = []
        for b, n in enumerate(self.num_atoms.tolist()):
            source, target = torch.where(~torch.eye(n, dtype=torch.bool, device=self.species.device))
            direction = self.directions[b, :, source, target].T
            distance, _ = nearest_image(direction, self.lattice[b])
            graphs.append(
                Data(
                    x=self.species[b, :n],
                    edge_index=torch.stack([source, target]),
                    edge_attr=direction,
                    distance=distance,
                    lattice=self.lattice[b : b + 1],
                    num_nodes=n,
                )
            )
        return Batch.from_data_list(graphs)

    def to_networkx(self, elements: Sequence[str] | None = None) -> list[networkx.DiGraph]:
        """A directed graph a crystal; nodes carry `element` (a name if `elements` gives the vocabulary, else an index),
        edges carry `direction` (fractional), `distance` in Å and `image` (cell offset) of the nearest image."""
        import networkx

        graphs = []
        for b, n in enumerate(self.num_atoms.tolist()):
            kinds = self.species[b, :n].argmax(-1).tolist()
            graph = networkx.DiGraph(lattice=self.lattice[b].tolist())
            for i, kind in enumerate(kinds):
                graph.add_node(i, element=kind if elements is None else elements[kind])
            direction = self.directions[b].permute(1, 2, 0)[:n, :n]
            distance, image = nearest_image(direction, self.lattice[b])
            for i in range(n):
                for j in range(n):
                    if i != j:
                        graph.add_edge(
                            i,
                            j,
                            direction=direction[i, j].tolist(),
                            distance=float(distance[i, j]),
                            image=image[i, j].tolist(),
                        )
            graphs.append(graph)
        return graphs


def atom_mask(num_atoms: Tensor, num: int) -> Tensor:
    """[B, num] true where the column is below num_atoms [B]."""
    return torch.arange(num, device=num_atoms.device) < num_atoms[:, None]


def cat(batches: Sequence[GraphTensor]) -> GraphTensor:
    """One batch of several, padded to the largest of them."""
    if not batches:
        raise ValueError("cat needs at least one GraphTensor")
    num = max(g.species.shape[1] for g in batches)
    padded = [g.pad(num) for g in batches]
    fields = ("species", "directions", "lattice", "num_atoms")
    joined = {f: torch.cat([getattr(g, f) for g in padded]) for f in fields}
    conditions = [g.condition for g in padded if g.condition is not None]
    if conditions and len(conditions) != len(padded):
        raise ValueError("cannot cat batches with and without a condition")
    return GraphTensor(**joined, condition=torch.cat(conditions) if conditions else None)


def nearest_image(direction: Tensor, lattice: Tensor) -> tuple[Tensor, Tensor]:
    """Distance [...] in Å and cell offset [..., 3] of the nearest periodic image of fractional directions [..., 3] in
    one lattice [3, 3]; exact for Niggli-reduced cells."""
    offsets = image_offsets(direction.device, direction.dtype)
    distance = torch.linalg.vector_norm((direction[..., None, :] + offsets) @ lattice, dim=-1)
    best = distance.argmin(-1)
    return distance.gather(-1, best[..., None])[..., 0], offsets[best].long()
