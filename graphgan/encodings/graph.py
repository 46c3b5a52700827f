"""Structures <-> graph tensors: the vocabulary of elements, the number of atoms, cells in one convention."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from graphgan.crystal_set import CrystalSet
from graphgan.data.crystals import SYMBOLS
from graphgan.encodings.arrays import to_crystals, to_structures
from graphgan.encodings.stored import EncodingError, facts_of, read_arrays, write_arrays
from graphgan.graph_tensor import GraphTensor
from graphgan.processes import in_order

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from graphgan.cells import Cell

__all__ = ["EncodingError", "GraphEncoding"]


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

    def fit(self, structures: Sequence[Structure], *, workers: int | None = None) -> GraphEncoding:
        """Take vocabulary and atom counts of a training set; EncodingError if nothing fits into max_atoms.

        Here and below `workers` is the number of processes, all cores by default; it changes no number.
        """
        self._take_vocabulary(self._fitting(self._cells(structures, workers)))
        return self

    def fit_encode(
        self, structures: Sequence[Structure], *, progress: bool = False, workers: int | None = None
    ) -> tuple[CrystalSet, list[int]]:
        """`fit`, then `encode` of the structures that fit into max_atoms; their indices beside."""
        cells = self._cells(structures, workers, progress)
        fitting = self._fitting(cells)
        self._take_vocabulary(fitting)
        return self._set(fitting), [i for i, cell in enumerate(cells) if len(cell[2]) <= self.max_atoms]

    def encodable(self, structures: Sequence[Structure], *, workers: int | None = None) -> list[int]:
        """Indices of the structures that `encode` takes: known elements, at most max_atoms in the cell used."""
        known = {SYMBOLS.index(symbol) for symbol in self.elements}
        cells = enumerate(self._cells(structures, workers))
        return [i for i, cell in cells if len(cell[2]) <= self.max_atoms and known.issuperset(cell[2].tolist())]

    def encode(self, structures: Sequence[Structure], *, workers: int | None = None) -> CrystalSet:
        """A CrystalSet padded to max_atoms; EncodingError for a crystal with too many atoms or an element outside the
        vocabulary. Positions are float64: a difference of float32 numbers would lose two digits."""
        return self._set(self._cells(structures, workers))

    def decode(self, crystals: GraphTensor | CrystalSet) -> list[Structure | None]:
        """Structures with the heaviest species of each atom; None where the cell or a coordinate is no number or the
        volume is below 0.1 Å^3."""
        if isinstance(crystals, CrystalSet):
            crystals = crystals.graph_tensor()
        return to_structures(
            to_crystals(
                self.elements,
                crystals.species.argmax(-1).cpu().numpy(),
                crystals.frac_coords.cpu().numpy(),
                crystals.lattice.cpu().numpy(),
                crystals.num_atoms.cpu().numpy(),
            )
        )

    def state_dict(self) -> dict[str, Any]:
        """Plain data that rebuilds the encoding: `GraphEncoding(**state)`."""
        return dataclasses.asdict(self)

    # -- tensors on disk: for machines without pymatgen ---------------------------------------------------------------

    def save(self, path: Path | str, crystals: CrystalSet | GraphTensor, ids: Sequence[str] | None = None) -> None:
        """Write encoding, crystals and, if given, a name for each: to one .npz (arrays only, no pickle), or, under any
        other name, to a folder whose arrays are memory-mapped by `load`. `encode_to_disk` of
        `graphgan.encodings.streaming` writes sets that never were in memory.

        The set appears whole or not at all, and replaces a set that stands there. EncodingError before `fit` and for
        a folder that holds a set and anything else, ValueError for another number of ids than crystals.
        """
        if not self.elements or not self.atom_counts:
            raise EncodingError("fit the encoding before saving with it")
        if isinstance(crystals, GraphTensor):
            crystals = CrystalSet.of(crystals.pad(self.max_atoms))  # `load` takes max_atoms from the shape
        rows = slice(None) if crystals.rows is None else crystals.rows
        arrays = facts_of(self.elements, self.primitive, self.atom_counts) | {
            "species": crystals.species[rows].cpu().numpy(),
            "frac_coords": crystals.frac_coords[rows].cpu().numpy(),
            "lattice": crystals.lattice.cpu().numpy(),
            "num_atoms": crystals.sizes.numpy(),
        }
        if crystals.condition is not None:
            arrays["condition"] = crystals.condition.cpu().numpy()
        if ids is not None:
            if len(ids) != len(crystals):
                raise ValueError(f"{len(ids)} ids for {len(crystals)} crystals")
            arrays["ids"] = np.array(ids, dtype=str)
        write_arrays(Path(path), arrays)

    @classmethod
    def load(cls, path: Path | str) -> tuple[GraphEncoding, CrystalSet]:
        """What `save` or `encode_to_disk` wrote; a folder stays on disk, memory-mapped. EncodingError, one line, if the
        file is something else or damaged."""
        arrays = read_arrays(path)

        def tensor(name: str, kind: str) -> torch.Tensor:
            return torch.from_numpy(arrays[name].astype(kind, copy=False))

        elements, num = arrays["elements"].tolist(), arrays["species"].shape[1]
        encoding = cls(num, bool(arrays["primitive"]), elements, arrays["atom_counts"].tolist())
        # float32 positions, of sets written before, stay what they are, so that their directions do.
        digits = "f4" if arrays["frac_coords"].dtype.itemsize <= 4 else "f8"
        return encoding, CrystalSet(
            species=tensor("species", "u1"),
            frac_coords=tensor("frac_coords", digits),
            lattice=tensor("lattice", "f4"),
            num_atoms=tensor("num_atoms", "i8"),
            num_species=len(elements),
            condition=tensor("condition", "f4") if "condition" in arrays else None,
        )

    def _cells(self, structures: Sequence[Structure], workers: int | None, progress: bool = False) -> list[Cell]:
        """The standard cell of every structure, as arrays: Structures would cost more to send than to work on."""
        from graphgan.cells import cell_of, standard_cell_of
        from graphgan.data.progress import with_bar

        cells = map(cell_of, structures)
        reduced = in_order(partial(standard_cell_of, primitive=self.primitive), cells, workers=workers)
        return list(with_bar(reduced, "Encoding", len(structures), shown=progress))

    def _fitting(self, cells: Sequence[Cell]) -> list[Cell]:
        fitting = [cell for cell in cells if len(cell[2]) <= self.max_atoms]
        if not fitting:
            raise EncodingError(f"none of {len(cells)} crystals has at most {self.max_atoms} atoms")
        return fitting

    def _take_vocabulary(self, cells: Sequence[Cell]) -> None:
        numbers = np.unique(np.concatenate([cell[2] for cell in cells]))
        self.elements = [SYMBOLS[number] for number in numbers.tolist()]
        self.atom_counts = np.bincount([len(cell[2]) for cell in cells], minlength=self.max_atoms + 1).tolist()

    def _set(self, cells: Sequence[Cell]) -> CrystalSet:
        if not self.elements:
            raise EncodingError("fit the encoding before encoding with it")
        index = {SYMBOLS.index(symbol): i for i, symbol in enumerate(self.elements)}
        species = np.zeros((len(cells), self.max_atoms), np.uint8)
        frac_coords = np.zeros((len(cells), self.max_atoms, 3))
        for row, (_, positions, numbers) in enumerate(cells):
            n = len(numbers)
            if n > self.max_atoms:
                raise EncodingError(f"crystal {row} ({_formula(numbers)}) has {n} atoms, at most {self.max_atoms}")
            if strange := [number for number in numbers.tolist() if number not in index]:
                symbol = SYMBOLS[strange[0]]
                raise EncodingError(
                    f"crystal {row} ({_formula(numbers)}): {symbol} is not among the {len(index)} elements"
                )
            species[row, :n] = [index[number] for number in numbers.tolist()]
            frac_coords[row, :n] = positions
        return CrystalSet(
            species=torch.from_numpy(species),
            frac_coords=torch.from_numpy(frac_coords),
            lattice=torch.from_numpy(np.array([cell[0] for cell in cells], dtype=np.float32).reshape(-1, 3, 3)),
            num_atoms=torch.tensor([len(cell[2]) for cell in cells], dtype=torch.long),
            num_species=len(self.elements),
        )


def _formula(numbers: Iterable[int]) -> str:
    from pymatgen.core import Composition

    return Composition.from_dict(dict(Counter(SYMBOLS[number] for number in numbers))).formula
