"""Molecular graph tensors: a frozen batch for the games, and a compact data set for the trainer.

Which atom or bond a channel means is for an encoding to say (`graphgan.encodings.molecules`). Knows torch, no chemistry
and no files.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import one_hot


@dataclasses.dataclass(frozen=True, eq=False)
class MoleculeTensor:
    """B molecules as graphs of N places, in the layout of MolGAN; De Cao & Kipf (2018), arXiv:1805.11973.

    atoms  [B, N, K]     weights over kinds of atoms, kind 0 is no atom; rows sum to 1, one-hot when real
    bonds  [B, N, N, R]  weights over kinds of bonds, kind 0 is no bond; symmetric in the places, none on the diagonal

    Raises ValueError at birth for other shapes.
    """

    atoms: Tensor
    bonds: Tensor

    def __post_init__(self) -> None:
        atoms, bonds = tuple(self.atoms.shape), tuple(self.bonds.shape)
        if len(atoms) != 3 or len(bonds) != 4 or bonds[:3] != (*atoms[:2], atoms[1]):
            raise ValueError(f"atoms {atoms}, bonds {bonds}: expected [B, N, K] and [B, N, N, R]")

    @classmethod
    def of_kinds(cls, kinds: Tensor, orders: Tensor, num_kinds: int, num_orders: int) -> MoleculeTensor:
        """One-hot molecules of whole numbers: kinds [B, N] of atoms, orders [B, N, N] of bonds."""
        return cls(one_hot(kinds.long(), num_kinds).float(), one_hot(orders.long(), num_orders).float())

    def __len__(self) -> int:
        return len(self.atoms)

    def __getitem__(self, index: Tensor | slice | Sequence[int]) -> MoleculeTensor:
        return MoleculeTensor(self.atoms[index], self.bonds[index])

    @property
    def device(self) -> torch.device:
        """Where the molecules lie."""
        return self.atoms.device

    def to(self, device: torch.device | str) -> MoleculeTensor:
        """The molecules on a device."""
        return MoleculeTensor(self.atoms.to(device), self.bonds.to(device))

    def detach(self) -> MoleculeTensor:
        """The molecules without gradient history."""
        return MoleculeTensor(self.atoms.detach(), self.bonds.detach())

    @cached_property
    def kinds(self) -> Tensor:
        """The heaviest kind of every atom, int64 [B, N]."""
        return self.atoms.argmax(-1)

    @cached_property
    def orders(self) -> Tensor:
        """The heaviest kind of every bond, int64 [B, N, N]."""
        return self.bonds.argmax(-1)

    @cached_property
    def mask(self) -> Tensor:
        """[B, N] true where there is an atom."""
        return self.kinds > 0

    # -- what a game needs (`graphgan.objectives.SamplePoint`) ---------------------------------------------------------

    def coordinates(self) -> tuple[Tensor, ...]:
        """What a game differentiates: the weights of atoms and bonds."""
        return self.atoms, self.bonds

    def with_coordinates(self, atoms: Tensor, bonds: Tensor) -> MoleculeTensor:
        """Molecules of other weights."""
        return MoleculeTensor(atoms, bonds)

    def join(self, other: MoleculeTensor) -> MoleculeTensor:
        """Both batches as one."""
        return MoleculeTensor(torch.cat([self.atoms, other.atoms]), torch.cat([self.bonds, other.bonds]))

    def interpolate(self, other: MoleculeTensor, t: Tensor) -> MoleculeTensor:
        """The mixtures a share t [B] of the way to `other`, weight by weight."""
        t = t.to(self.atoms)
        return MoleculeTensor(
            torch.lerp(self.atoms, other.atoms, t[:, None, None]),
            torch.lerp(self.bonds, other.bonds, t[:, None, None, None]),
        )

    def dual_norm(self, gradients: Sequence[Tensor]) -> Tensor:
        """One joint norm [B] over atoms and bonds, dual to d² = sum of datoms² + sum over pairs i < j of dbonds_ij².

        A bond is one thing that stands in two places: what a critic makes of both counts together, once. The public
        MolGAN code takes norms over the last axis, for atoms and bonds apart, so that its critic is 1-Lipschitz in
        nothing.
        """
        on_atoms, on_bonds = gradients
        both = (on_bonds + on_bonds.transpose(1, 2)).square().flatten(1).sum(1)
        itself = (2 * on_bonds.diagonal(dim1=1, dim2=2)).square().flatten(1).sum(1)
        return torch.sqrt(on_atoms.square().flatten(1).sum(1) + 0.5 * (both - itself) + 1e-12)


@dataclasses.dataclass(frozen=True, eq=False)
class MoleculeSet:
    """A whole data set in whole numbers, a hundred times smaller than as `MoleculeTensor`; gives these by index.

    kinds       [n, N]     uint8, 0 where there is no atom; atoms come first
    orders      [n, N, N]  uint8, symmetric, 0 where there is no bond
    num_kinds   K with no atom, num_orders R with no bond

    Raises ValueError at birth for other shapes.
    """

    kinds: Tensor
    orders: Tensor
    num_kinds: int
    num_orders: int

    def __post_init__(self) -> None:
        kinds, orders = tuple(self.kinds.shape), tuple(self.orders.shape)
        if len(kinds) != 2 or orders != (*kinds, kinds[1]):
            raise ValueError(f"kinds {kinds}, orders {orders}: expected [n, N] and [n, N, N]")

    @classmethod
    def of(cls, molecules: MoleculeTensor) -> MoleculeSet:
        """The heaviest kinds of given molecules."""
        kinds, orders = molecules.kinds.to(torch.uint8), molecules.orders.to(torch.uint8)
        return cls(kinds, orders, molecules.atoms.shape[-1], molecules.bonds.shape[-1])

    def __len__(self) -> int:
        return len(self.kinds)

    def __getitem__(self, index: Tensor | slice | Sequence[int]) -> MoleculeTensor:
        """The molecules of an index, slice or list as one batch; an index on the CPU is taken to the set's device."""
        part = self.subset(index)
        return MoleculeTensor.of_kinds(part.kinds, part.orders, self.num_kinds, self.num_orders)

    def subset(self, index: Tensor | slice | Sequence[int]) -> MoleculeSet:
        """The molecules of an index as a set."""
        if isinstance(index, Tensor):
            index = index.to(self.device, non_blocking=True)
        return dataclasses.replace(self, kinds=self.kinds[index], orders=self.orders[index])

    @property
    def device(self) -> torch.device:
        """Where the set lies, and its batches."""
        return self.kinds.device

    @property
    def max_atoms(self) -> int:
        """N, the places of a molecule."""
        return self.kinds.shape[1]

    @property
    def num_atoms(self) -> Tensor:
        """Atoms of every molecule, int64 [n]."""
        return (self.kinds > 0).sum(1)

    def to(self, device: torch.device | str) -> MoleculeSet:
        """The set on a device."""
        return dataclasses.replace(self, kinds=self.kinds.to(device), orders=self.orders.to(device))

    def digest(self) -> str:
        """sha256 of all numbers, as hexadecimal digits: by it a resumed run knows its molecules."""
        digest = hashlib.sha256(f"{tuple(self.orders.shape)} {self.num_kinds} {self.num_orders}".encode())
        for part in (self.kinds, self.orders):
            digest.update(part.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()
