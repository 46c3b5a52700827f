"""CrystalSet: a whole data set held compactly, in memory or memory-mapped; gives graph tensors batch by batch.

A graph tensor of N atoms holds 3 N² directions and N weights for each of K elements; what they are made of, N positions
and N indices, takes a tenth of that or less. Knows torch, no chemistry and no files.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from graphgan.geometry import wrap
from graphgan.graph_tensor import GraphTensor, atom_mask

_CHUNK = 128
"""Crystals that are made into graph tensors at once where the whole set has to pass: few stay in the processor's cache,
and go twice as fast as a thousand."""


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class CrystalSet:
    """n crystals, padded to N atoms. `set[index]` is a GraphTensor, padded to the largest crystal of the batch.

    species      [n, N]     integers 0 ... K - 1, index of the element; any of them on padding
    frac_coords  [n, N, 3]  fractional; directions are computed in their precision and rounded to float32, so float64
                            gives directions that are right to the last digit
    lattice      [n, 3, 3]  float32, rows a, b, c in Å
    num_atoms    [n]        int64
    num_species  K, the number of elements
    condition    [n, C]     float32, or None
    rows         [n]        int64 on the CPU: which rows of the two large arrays, species and frac_coords, the set
                            stands for; None for all. `subset` copies neither, so both may be larger than memory

    Raises ValueError at birth when shapes disagree.
    """

    species: Tensor
    frac_coords: Tensor
    lattice: Tensor
    num_atoms: Tensor
    num_species: int
    condition: Tensor | None = None
    rows: Tensor | None = None
    sizes: Tensor = dataclasses.field(init=False)
    """num_atoms on the CPU, where looking at a number waits for no device."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "sizes", self.num_atoms.cpu())
        (stored, num), count = self.species.shape, len(self.num_atoms)
        if self.rows is None and stored != count:
            raise ValueError(f"species has shape {tuple(self.species.shape)}, expected ({count}, N)")
        expected = {"frac_coords": (stored, num, 3), "lattice": (count, 3, 3)}
        for name, shape in expected.items():
            found = tuple(getattr(self, name).shape)
            if found != shape:
                raise ValueError(f"{name} has shape {found}, expected {shape}")
        if self.condition is not None and (self.condition.ndim != 2 or len(self.condition) != count):
            raise ValueError(f"condition has shape {tuple(self.condition.shape)}, expected ({count}, C)")

    @classmethod
    def of(cls, crystals: GraphTensor) -> CrystalSet:
        """The set of given graph tensors: heaviest species, positions by averaging directions, so directions come back
        to about 1e-7."""
        return cls(
            species=crystals.species.argmax(-1).to(torch.uint8 if crystals.species.shape[2] < 256 else torch.int16),
            frac_coords=crystals.frac_coords,
            lattice=crystals.lattice,
            num_atoms=crystals.num_atoms,
            num_species=crystals.species.shape[2],
            condition=crystals.condition,
        )

    @property
    def max_atoms(self) -> int:
        """N, the padding of the whole set."""
        return self.species.shape[1]

    @property
    def device(self) -> torch.device:
        """Where the set lies, and its batches."""
        return self.lattice.device

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, index: Tensor | slice | Sequence[int]) -> GraphTensor:
        """The crystals of an index tensor (best on the CPU), slice or list, with no more padding than the largest
        needs; on the set's device, without waiting for it."""
        chosen = self._chosen(index)
        return self._batch(chosen, int(self.sizes[chosen].max()) if len(chosen) else 0)

    def subset(self, index: Tensor | slice | Sequence[int]) -> CrystalSet:
        """The crystals of an index as a set that shares the two large arrays with this one."""
        chosen = self._chosen(index)
        there = chosen.to(self.device)
        return dataclasses.replace(
            self,
            lattice=self.lattice[there],
            num_atoms=self.num_atoms[there],
            condition=None if self.condition is None else self.condition[there],
            rows=chosen if self.rows is None else self.rows[chosen],
        )

    def replace(self, **fields: Tensor | None) -> CrystalSet:
        """A copy with some fields replaced."""
        return dataclasses.replace(self, **fields)  # type: ignore[arg-type]

    def to(self, device: torch.device | str) -> CrystalSet:
        """The set on a device. Another device gets the rows of this set alone; on its own, nothing is copied."""
        target = torch.device(device)
        if target == self.device or (target.type == self.device.type and target.index is None):
            return self
        taken = slice(None) if self.rows is None else self.rows.to(self.device)
        return dataclasses.replace(
            self,
            species=self.species[taken].to(device),
            frac_coords=self.frac_coords[taken].to(device),
            lattice=self.lattice.to(device),
            num_atoms=self.num_atoms.to(device),
            condition=None if self.condition is None else self.condition.to(device),
            rows=None,
        )

    def graph_tensor(self) -> GraphTensor:
        """All crystals as one batch, padded to `max_atoms`."""
        return self._batch(torch.arange(len(self)), self.max_atoms)

    def all_species(self) -> Tensor:
        """The elements of all crystals [n, N], as they are stored."""
        return self.species if self.rows is None else self.species[self.rows.to(self.species.device)]

    def digest(self) -> str:
        """sha256 of species, directions and lattices, as hexadecimal digits: by it a resumed run knows its crystals.

        Of the padded graph tensors, so it does not depend on how or where the set is kept.
        """
        digest = hashlib.sha256()
        chunks = torch.arange(len(self)).split(_CHUNK)
        for chosen in chunks:
            stored = chosen if self.rows is None else self.rows[chosen]
            kinds = self.species[stored.to(self.device)].long()
            atoms = atom_mask(self.num_atoms[chosen.to(self.device)], self.max_atoms)
            digest.update((kinds * atoms).cpu().numpy().tobytes())
        for chosen in chunks:
            digest.update(self._batch(chosen, self.max_atoms).directions.cpu().numpy().tobytes())
        digest.update(self.lattice.cpu().numpy().tobytes())
        return digest.hexdigest()

    def _chosen(self, index: Tensor | slice | Sequence[int]) -> Tensor:
        """An index of any kind as int64 on the CPU."""
        if isinstance(index, int):
            raise TypeError("index a CrystalSet with a slice, list or tensor; it gives a batch")
        if isinstance(index, slice):
            return torch.tensor(range(*index.indices(len(self))), dtype=torch.int64)
        chosen = torch.as_tensor(index).cpu()
        return chosen.nonzero()[:, 0] if chosen.dtype == torch.bool else chosen.long()

    def _batch(self, chosen: Tensor, num: int) -> GraphTensor:
        """Crystals as graph tensors of `num` atoms. The shape is known beforehand, so no step waits for a device."""
        there = chosen.to(self.device, non_blocking=True)
        stored = there if self.rows is None else self.rows[chosen].to(self.device, non_blocking=True)
        lattice, num_atoms = self.lattice[there], self.num_atoms[there]
        atoms = atom_mask(num_atoms, num)
        kinds = self.species[stored, :num].long()[:, :, None]
        species = lattice.new_zeros(len(chosen), num, self.num_species)
        species.scatter_(2, kinds, atoms[:, :, None].to(lattice))
        x = self.frac_coords[stored, :num].mT.contiguous()
        directions = wrap(x[:, :, None, :] - x[:, :, :, None]).to(lattice)
        pairs = atoms[:, None, :, None] & atoms[:, None, None, :]
        return GraphTensor(
            species=species,
            directions=directions * pairs.to(lattice),
            lattice=lattice,
            num_atoms=num_atoms,
            condition=None if self.condition is None else self.condition[there],
        )
