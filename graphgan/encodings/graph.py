"""Structures <-> graph tensors: the vocabulary of elements, the number of atoms, cells in one convention."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from graphgan.errors import UserError
from graphgan.graph_tensor import GraphTensor

if TYPE_CHECKING:
    from pymatgen.core import Structure


class EncodingError(UserError):
    """Structures that cannot be encoded; the message names the first of them and the cause."""


@dataclasses.dataclass
class GraphEncoding:
    """Structure <-> GraphTensor.

    max_atoms  atoms that a padded crystal can hold
    primitive  take the primitive cell first (an atom and its translated copy look the same from everywhere, so no
               network could tell them apart)
    elements   the vocabulary, symbols in order of atomic number; found by `fit`
    atom_counts  how often each number of atoms 0 ... max_atoms came up in `fit`: the prior of sampling
    """

    max_atoms: int = 20
    primitive: bool = True
    elements: list[str] = dataclasses.field(default_factory=list)
    atom_counts: list[int] = dataclasses.field(default_factory=list)

    def fit(self, structures: Sequence[Structure]) -> GraphEncoding:
        """Take vocabulary and atom counts of a training set; EncodingError if nothing fits into max_atoms."""
        cells = [s for s in self._cells(structures) if len(s) <= self.max_atoms]
        if not cells:
            raise EncodingError(f"none of {len(structures)} crystals has at most {self.max_atoms} atoms")
        self._take_vocabulary(cells)
        return self

    def fit_encode(self, structures: Sequence[Structure]) -> tuple[GraphTensor, list[int]]:
        """`fit`, then `encode` of the structures that fit into max_atoms; their indices beside."""
        cells = self._cells(structures)
        kept = [i for i, s in enumerate(cells) if len(s) <= self.max_atoms]
        if not kept:
            raise EncodingError(f"none of {len(structures)} crystals has at most {self.max_atoms} atoms")
        self._take_vocabulary([cells[i] for i in kept])
        return self._tensor([cells[i] for i in kept]), kept

    def encodable(self, structures: Sequence[Structure]) -> list[int]:
        """Indices of the structures that `encode` takes: known elements, at most max_atoms in the cell used."""
        known = set(self.elements)
        cells = self._cells(structures)
        return [
            i
            for i, s in enumerate(cells)
            if len(s) <= self.max_atoms and all(e.symbol in known for e in s.composition.elements)
        ]

    def encode(self, structures: Sequence[Structure]) -> GraphTensor:
        """A GraphTensor padded to max_atoms, float32; EncodingError for a crystal with too many atoms or an element
        outside the vocabulary."""
        return self._tensor(self._cells(structures))

    def decode(self, crystals: GraphTensor) -> list[Structure | None]:
        """Structures with the heaviest species of each atom; None where the cell or a coordinate is no number or the
        volume is below 0.1 Å^3."""
        from pymatgen.core import Element, Lattice, Structure

        elements = [Element(e) for e in self.elements]
        kinds = crystals.species.argmax(-1).cpu().numpy()
        # float64 before the matrix meets a file: the parameters a, b, c, alpha ... of a float32 cell lose digits.
        frac_coords = crystals.frac_coords.double().cpu().numpy()
        lattices = crystals.lattice.double().cpu().numpy()
        structures: list[Structure | None] = []
        for n, kind, x, lattice in zip(crystals.num_atoms.tolist(), kinds, frac_coords, lattices, strict=True):
            x = x[:n]
            finite = np.isfinite(lattice).all() and np.isfinite(x).all()
            if n < 1 or not finite or abs(np.linalg.det(lattice)) < 0.1:
                structures.append(None)
                continue
            structures.append(Structure(Lattice(lattice), [elements[k] for k in kind[:n]], x % 1.0))
        return structures

    def state_dict(self) -> dict[str, Any]:
        """Plain data that rebuilds the encoding: `GraphEncoding(**state)`."""
        return dataclasses.asdict(self)

    # -- tensors on disk: for machines without pymatgen ---------------------------------------------------------------

    def save(self, path: Path | str, crystals: GraphTensor) -> None:
        """Write encoding and crystals to one .npz (arrays only, no pickle)."""
        np.savez_compressed(
            path,
            graphgan_encoding=np.array("graph"),
            elements=np.array(self.elements),
            primitive=np.array(self.primitive),
            atom_counts=np.array(self.atom_counts),
            species=crystals.species.argmax(-1).cpu().numpy().astype(np.int16),
            frac_coords=crystals.frac_coords.cpu().numpy(),
            lattice=crystals.lattice.cpu().numpy(),
            num_atoms=crystals.num_atoms.cpu().numpy(),
        )

    @classmethod
    def load(cls, path: Path | str) -> tuple[GraphEncoding, GraphTensor]:
        """What `save` wrote; EncodingError if the file is something else."""
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            species = torch.from_numpy(arrays["species"].astype(np.int64))
        except (OSError, ValueError, KeyError) as error:
            raise EncodingError(f"{path}: not an encoded set of graph tensors ({error})") from None
        elements = arrays["elements"].tolist()
        num_atoms = torch.from_numpy(arrays["num_atoms"])
        encoding = cls(species.shape[1], bool(arrays["primitive"]), elements, arrays["atom_counts"].tolist())
        return encoding, GraphTensor.from_positions(
            _one_hot(species, num_atoms, len(elements)),
            torch.from_numpy(arrays["frac_coords"]),
            torch.from_numpy(arrays["lattice"]),
            num_atoms,
        )

    def _cells(self, structures: Sequence[Structure]) -> list[Structure]:
        from graphgan.cells import standard_cell

        return [standard_cell(s, primitive=self.primitive) for s in structures]

    def _take_vocabulary(self, cells: Sequence[Structure]) -> None:
        from pymatgen.core import Element

        symbols = {e.symbol for s in cells for e in s.composition.elements}
        self.elements = sorted(symbols, key=lambda symbol: Element(symbol).Z)
        self.atom_counts = np.bincount([len(s) for s in cells], minlength=self.max_atoms + 1).tolist()

    def _tensor(self, cells: Sequence[Structure]) -> GraphTensor:
        if not self.elements:
            raise EncodingError("fit the encoding before encoding with it")
        index = {symbol: i for i, symbol in enumerate(self.elements)}
        species = torch.zeros(len(cells), self.max_atoms, dtype=torch.long)
        frac_coords = torch.zeros(len(cells), self.max_atoms, 3, dtype=torch.float64)
        lattice = torch.zeros(len(cells), 3, 3, dtype=torch.float64)
        for row, cell in enumerate(cells):
            if len(cell) > self.max_atoms:
                raise EncodingError(f"crystal {row} ({cell.formula}) has {len(cell)} atoms, at most {self.max_atoms}")
            for atom, site in enumerate(cell):
                symbol = site.specie.symbol
                if symbol not in index:
                    raise EncodingError(
                        f"crystal {row} ({cell.formula}): {symbol} is not among the {len(index)} elements"
                    )
                species[row, atom] = index[symbol]
            frac_coords[row, : len(cell)] = torch.from_numpy(np.array(cell.frac_coords))
            lattice[row] = torch.from_numpy(np.array(cell.lattice.matrix))
        num_atoms = torch.tensor([len(c) for c in cells], dtype=torch.long)
        # Directions from float64 coordinates: a difference of float32 numbers would lose two digits.
        return GraphTensor.from_positions(
            _one_hot(species, num_atoms, len(index)).double(), frac_coords, lattice, num_atoms
        ).to(dtype=torch.float32)


def _one_hot(species: Tensor, num_atoms: Tensor, num_species: int) -> Tensor:
    """[B, N] -> float [B, N, K], 0 on padding."""
    atoms = torch.arange(species.shape[1]) < num_atoms[:, None]
    return torch.nn.functional.one_hot(species, num_species).float() * atoms[..., None]
