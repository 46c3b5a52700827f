"""Molecules <-> molecular graph tensors: the kinds of atoms a training set has, the number of atoms, padding."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from graphgan.data.crystals import SYMBOLS
from graphgan.data.molecules import Molecule
from graphgan.encodings.stored import EncodingError
from graphgan.molecule_tensor import MoleculeSet, MoleculeTensor

if TYPE_CHECKING:
    from rdkit.Chem import Mol


@dataclasses.dataclass
class MoleculeEncoding:
    """Molecule <-> MoleculeTensor, after De Cao & Kipf (2018), arXiv:1805.11973, with charges as kinds of their own.

    max_atoms    places of a molecule
    kinds        of atoms, element and charge, such as "C", "N+1", "O-1", the most frequent first; found by `fit`
    num_orders   kinds of bonds: none, single, double, triple
    atom_counts  how many molecules had 0 ... max_atoms atoms in `fit`
    name         what configurations call the encoding; no other is taken

    Kind k of a tensor is kinds[k - 1], kind 0 is no atom; the kind of a bond is its order.
    """

    max_atoms: int = 9
    kinds: list[str] = dataclasses.field(default_factory=list)
    num_orders: int = 4
    atom_counts: list[int] = dataclasses.field(default_factory=list)
    name: dataclasses.InitVar[str] = "molecules"

    def __post_init__(self, name: str) -> None:
        if name != "molecules":
            raise EncodingError(f"{name!r} is not this encoding, 'molecules'")
        if self.max_atoms < 1:
            raise EncodingError(f"max_atoms is {self.max_atoms}, expected at least 1")
        if self.num_orders != 4:
            raise EncodingError(f"num_orders is {self.num_orders}, expected 4: none, single, double, triple")
        _codes(self.kinds)

    def fit(self, molecules: Sequence[Molecule]) -> MoleculeEncoding:
        """Take kinds and atom counts of a training set; EncodingError if none of it fits into max_atoms."""
        self._take(_Flat.of(molecules, self._fitting(molecules)))
        return self

    def fit_encode(self, molecules: Sequence[Molecule], progress: bool = False) -> tuple[MoleculeSet, list[int]]:
        """`fit`, then `encode` of the molecules that fit into max_atoms; their indices beside. There is no bar to show:
        a hundred thousand take a second."""
        kept = self._fitting(molecules)
        flat = _Flat.of(molecules, kept)
        self._take(flat)
        return self._set(flat), kept

    def encodable(self, molecules: Sequence[Molecule]) -> list[int]:
        """Indices of the molecules that `encode` takes: at most max_atoms atoms, of known kinds."""
        flat = _Flat.of(molecules, range(len(molecules)))
        strange = np.zeros(len(molecules), dtype=bool)
        strange[flat.rows[~np.isin(flat.codes, _codes(self.kinds))]] = True
        return np.flatnonzero((flat.sizes <= self.max_atoms) & ~strange).tolist()

    def encode(self, molecules: Sequence[Molecule]) -> MoleculeSet:
        """The molecules padded to max_atoms; EncodingError before `fit`, and for one with too many atoms or an atom
        that is of none of the kinds."""
        if not self.kinds:
            raise EncodingError("fit the encoding before encoding with it")
        flat = _Flat.of(molecules, range(len(molecules)))
        if (large := np.flatnonzero(flat.sizes > self.max_atoms)).size:
            raise EncodingError(f"molecule {large[0]} has {flat.sizes[large[0]]} atoms, at most {self.max_atoms}")
        if (strange := np.flatnonzero(~np.isin(flat.codes, _codes(self.kinds)))).size:
            kind = _kind_of(int(flat.codes[strange[0]]))
            raise EncodingError(f"molecule {flat.rows[strange[0]]}: {kind} is not among the {len(self.kinds)} kinds")
        return self._set(flat)

    def to_molecules(self, molecules: MoleculeTensor | MoleculeSet) -> list[Molecule]:
        """Bare arrays of the heaviest kinds; places without an atom are dropped, and their bonds, wherever they stand.

        Bonds are those above the diagonal. EncodingError where there are other kinds than those of the encoding.
        """
        if isinstance(molecules, MoleculeSet):
            sizes = molecules.num_kinds, molecules.num_orders
        else:
            sizes = molecules.atoms.shape[-1], molecules.bonds.shape[-1]
        if sizes != (len(self.kinds) + 1, self.num_orders):
            expected = f"{len(self.kinds) + 1} and {self.num_orders}"
            raise EncodingError(f"tensors of {sizes[0]} kinds of atoms and {sizes[1]} of bonds, expected {expected}")
        kinds = molecules.kinds.cpu().numpy()
        orders = np.triu(molecules.orders.cpu().numpy().astype(np.uint8), 1)
        orders = orders | orders.swapaxes(1, 2)
        # Atoms to the front, in their order, so that a molecule is a corner of its matrix.
        front = np.argsort(kinds == 0, axis=1, kind="stable")
        kinds = np.take_along_axis(kinds, front, 1)
        orders = np.take_along_axis(np.take_along_axis(orders, front[:, :, None], 1), front[:, None, :], 2)
        codes = np.array([0, *_codes(self.kinds)])
        numbers, charges = (codes & 255).astype(np.uint8)[kinds], (codes >> 8).astype(np.int8)[kinds]
        return [
            Molecule(numbers[row, :n], charges[row, :n], orders[row, :n, :n])
            for row, n in enumerate((kinds > 0).sum(1).tolist())
        ]

    def decode(self, molecules: MoleculeTensor | MoleculeSet) -> list[Mol | None]:
        """RDKit molecules; None where there is no atom or RDKit refuses the valences."""
        from graphgan.data.molecules import rdkit, to_mol

        rdkit()
        return [to_mol(molecule) for molecule in self.to_molecules(molecules)]

    def state_dict(self) -> dict[str, Any]:
        """Plain data that rebuilds the encoding: `MoleculeEncoding(**state)`."""
        return {"name": "molecules", **dataclasses.asdict(self)}

    def _fitting(self, molecules: Sequence[Molecule]) -> list[int]:
        kept = [row for row, molecule in enumerate(molecules) if len(molecule.numbers) <= self.max_atoms]
        if not kept:
            raise EncodingError(f"none of {len(molecules)} molecules has at most {self.max_atoms} atoms")
        return kept

    def _take(self, flat: _Flat) -> None:
        codes, counts = np.unique(flat.codes, return_counts=True)
        # Equally frequent ones by atomic number and charge, so that the order of the data does not matter.
        self.kinds = [_kind_of(int(code)) for code in codes[np.lexsort((codes >> 8, codes & 255, -counts))]]
        self.atom_counts = np.bincount(flat.sizes, minlength=self.max_atoms + 1).tolist()

    def _set(self, flat: _Flat) -> MoleculeSet:
        order = np.argsort(codes := _codes(self.kinds))
        kinds = np.zeros((len(flat.sizes), self.max_atoms), np.uint8)
        kinds[flat.rows, flat.places] = order[np.searchsorted(codes[order], flat.codes)] + 1
        orders = np.zeros((len(flat.sizes), self.max_atoms, self.max_atoms), np.uint8)
        for size in np.unique(flat.sizes).tolist():
            rows = np.flatnonzero(flat.sizes == size)
            orders[rows, :size, :size] = np.stack([flat.molecules[row].orders for row in rows.tolist()])
        return MoleculeSet(torch.from_numpy(kinds), torch.from_numpy(orders), len(self.kinds) + 1, self.num_orders)


@dataclasses.dataclass(frozen=True, eq=False)
class _Flat:
    """Molecules with the atoms of all behind one another.

    sizes  [n] atoms of each; codes, rows, places  [A] kind of each atom as a number, its molecule, its place in that
    """

    molecules: list[Molecule]
    sizes: np.ndarray
    codes: np.ndarray
    rows: np.ndarray
    places: np.ndarray

    @classmethod
    def of(cls, molecules: Sequence[Molecule], kept: Sequence[int]) -> _Flat:
        chosen = [molecules[row] for row in kept]
        sizes = np.array([len(molecule.numbers) for molecule in chosen], dtype=np.int64)
        numbers = np.concatenate([np.zeros(0, np.uint8), *(molecule.numbers for molecule in chosen)])
        charges = np.concatenate([np.zeros(0, np.int8), *(molecule.charges for molecule in chosen)])
        places = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        rows = np.repeat(np.arange(len(chosen)), sizes)
        return cls(chosen, sizes, numbers.astype(np.int64) + (charges.astype(np.int64) << 8), rows, places)


def _kind_of(code: int) -> str:
    number, charge = code & 255, code >> 8
    return SYMBOLS[number] + (f"{charge:+d}" if charge else "")


def _codes(kinds: Sequence[str]) -> np.ndarray:
    """Kinds as numbers: the atomic number, and 256 times the charge. EncodingError for what is no kind, and twice."""
    found = [re.fullmatch(r"([A-Z][a-z]?)([+-]\d+)?", kind) for kind in kinds]
    if wrong := [kind for kind, parts in zip(kinds, found, strict=True) if not parts or parts[1] not in SYMBOLS[1:]]:
        raise EncodingError(f"{wrong[0]!r} is no kind of atom; they are written C, N+1, O-1")
    codes = [SYMBOLS.index(parts[1]) + 256 * int(parts[2] or 0) for parts in found if parts]
    if len(set(codes)) < len(codes):
        raise EncodingError(f"a kind of atom is there twice: {', '.join(kinds)}")
    return np.array(codes, dtype=np.int64)
