"""MolGAN as published: a generator that is a plain network, a critic and a reward network that are relational ones.

De Cao & Kipf (2018), arXiv:1805.11973. Molecules are `graphgan.molecule_tensor.MoleculeTensor`; knows no chemistry.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from graphgan.draws import Dropout
from graphgan.molecule_tensor import MoleculeTensor
from graphgan.molecules.discrete import Discretisation

GROUP = 16
"""Molecules that share their statistics."""


class Logits(NamedTuple):
    """What a network says of B molecules before anything is decided.

    atoms  [B, N, K]     logits of kinds of atoms, kind 0 is no atom
    bonds  [B, N, N, R]  logits of kinds of bonds, symmetric in the places; its diagonal means nothing
    """

    atoms: Tensor
    bonds: Tensor


class MolganGenerator(nn.Module):
    """Noise [B, Z] -> Logits, in no symmetry: three layers with tanh, then one for atoms and one for bonds."""

    def __init__(
        self, places: int, num_kinds: int, num_orders: int, noise: int = 8, widths: Sequence[int] = (128, 256, 512)
    ) -> None:
        super().__init__()
        self.noise, self.shapes = noise, ((places, num_kinds), (places, places, num_orders))
        self.trunk = _layers([noise, *widths])
        self.atoms = nn.Linear(widths[-1], places * num_kinds)
        self.bonds = nn.Linear(widths[-1], places * places * num_orders)

    def forward(self, noise: Tensor) -> Logits:
        seen = self.trunk(noise)
        bonds = self.bonds(seen).unflatten(1, self.shapes[1])
        return Logits(self.atoms(seen).unflatten(1, self.shapes[0]), 0.5 * (bonds + bonds.transpose(1, 2)))


class RelationalConvolution(nn.Module):
    """What neighbours send along each kind of bond, and the atom itself; Schlichtkrull et al. (2018), arXiv:1703.06103.

    h_i -> activation(self h_i + sum over kinds r of bonds, no bond left out, and over j of bonds_ijr W_r h_j).
    """

    def __init__(self, features: int, out: int, num_orders: int, activation: nn.Module) -> None:
        super().__init__()
        self.out, self.itself = out, nn.Linear(features, out)
        self.neighbours = nn.Linear(features, (num_orders - 1) * out)
        self.activation = activation

    def forward(self, h: Tensor, adjacency: Tensor) -> Tensor:
        """h [B, N, features], adjacency [B, N, (R - 1) N] of `adjacency_of`."""
        messages = self.neighbours(h).unflatten(-1, (-1, self.out)).transpose(1, 2).flatten(1, 2)
        return self.activation(self.itself(h) + adjacency @ messages)


def adjacency_of(bonds: Tensor) -> Tensor:
    """The adjacency matrices of all kinds of bonds side by side: [B, N, N, R] -> [B, N, (R - 1) N]. One product with
    them adds up the messages of all kinds."""
    return bonds[..., 1:].transpose(2, 3).flatten(2)


class GatedSum(nn.Module):
    """One vector of all atoms: tanh of the sum of gate x value; Li et al. (2016), arXiv:1511.05493."""

    def __init__(self, features: int, out: int) -> None:
        super().__init__()
        self.gate, self.value = nn.Linear(features, out), nn.Linear(features, out)

    def forward(self, h: Tensor) -> Tensor:
        return torch.tanh((torch.sigmoid(self.gate(h)) * torch.tanh(self.value(h))).sum(1))


class BatchStatistics(nn.Module):
    """What a group of molecules has in common, beside each of them: against collapse, after Salimans et al. (2016),
    arXiv:1606.03498, in the learned form of MolGAN.

    Groups are neighbours in the batch; Karras et al. (2018), arXiv:1710.10196. Objectives judge real and generated
    molecules in one pass, one after the other: these share no group where the group divides the number of either. A
    batch that does not divide into groups is one group.
    """

    def __init__(self, features: int, out: int, group: int = GROUP) -> None:
        super().__init__()
        self.group = group
        self.each = nn.Sequential(nn.Linear(features, out), nn.Tanh())
        self.all = nn.Sequential(nn.Linear(out, out), nn.Tanh())

    def forward(self, h: Tensor) -> Tensor:
        size = self.group if len(h) % self.group == 0 else len(h)
        common = self.all(self.each(h).unflatten(0, (-1, size)).mean(1))
        return torch.cat([h, common.repeat_interleave(size, 0)], -1)


class MolganCritic(nn.Module):
    """MoleculeTensor -> numbers [B]: two relational convolutions, a gated sum, a plain network. Invariant to the order
    of atoms. With `bounded` it is the reward network, whose numbers are in [0, 1].

    The same network is asked for `features` [B, D] by feature matching. `seed` is that of the dropout.
    """

    def __init__(
        self,
        num_kinds: int,
        num_orders: int,
        convolutions: Sequence[int] = (128, 64),
        aggregate: int = 128,
        widths: Sequence[int] = (128, 64),
        dropout: float = 0.0,
        batch_statistics: bool = False,
        bounded: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.bounded = bounded
        # Every convolution sees the kinds of the atoms too.
        before = [0, *convolutions[:-1]]
        self.convolutions = nn.ModuleList(
            RelationalConvolution(num_kinds + width, out, num_orders, nn.Tanh())
            for width, out in zip(before, convolutions, strict=True)
        )
        self.aggregate = GatedSum(convolutions[-1] + num_kinds, aggregate)
        self.dropout = Dropout(dropout, seed) if dropout else nn.Identity()
        extra = widths[-1] // 8 if batch_statistics else 0
        self.statistics = BatchStatistics(aggregate, extra) if batch_statistics else nn.Identity()
        self.layers = _layers([aggregate + extra, *widths])
        self.head = nn.Linear(widths[-1], 1)

    def features(self, molecules: MoleculeTensor) -> Tensor:
        """What the last layer is told of every molecule, [B, D]."""
        adjacency, h = adjacency_of(molecules.bonds), molecules.atoms
        for convolution in self.convolutions:
            h = torch.cat([self.dropout(convolution(h, adjacency)), molecules.atoms], -1)
        return self.layers(self.statistics(self.aggregate(h)))

    def forward(self, molecules: MoleculeTensor) -> Tensor:
        found = self.head(self.features(molecules))[:, 0]
        return torch.sigmoid(found) if self.bounded else found


def decided(
    logits: Logits, how: Discretisation, atoms: Tensor | None = None, bonds: Tensor | None = None
) -> MoleculeTensor:
    """The molecules of logits: `how` decides, and what cannot be a bond is none.

    `atoms`, `bonds`: uniform numbers of the shapes of the logits, where `how` asks for them. No place is bound to
    itself, and bonds are decided once for both ends.
    """
    kinds = how(logits.atoms, atoms)
    n = kinds.shape[1]
    upper = torch.ones(n, n, dtype=torch.bool, device=kinds.device).triu(1)[..., None]
    orders = how(logits.bonds, bonds) * upper
    orders = orders + orders.transpose(1, 2)
    nothing = torch.zeros_like(orders[..., :1, :])
    nothing[..., 0] = 1
    itself = torch.eye(n, dtype=torch.bool, device=kinds.device)[..., None]
    return MoleculeTensor(kinds, torch.where(itself, nothing, orders))


def _layers(widths: Sequence[int]) -> nn.Sequential:
    pairs = itertools.pairwise(widths)
    return nn.Sequential(*(layer for i, o in pairs for layer in (nn.Linear(i, o), nn.Tanh())))
