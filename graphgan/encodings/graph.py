"""Structures <-> graph tensors: the vocabulary of elements, the number of atoms, cells in one convention."""

from __future__ import annotations

import dataclasses
import os
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from graphgan.data.crystals import SYMBOLS
from graphgan.errors import UserError
from graphgan.graph_tensor import GraphTensor

if TYPE_CHECKING:
    from pymatgen.core import Structure


# All that numpy and zipfile were seen to raise on cut or altered archives.
_DAMAGE = (OSError, EOFError, zipfile.BadZipFile, zlib.error, ValueError, TypeError, SyntaxError, NotImplementedError)


class EncodingError(UserError):
    """Structures that cannot be encoded, or a file of encoded ones that cannot be used; the message names the first of
    them, or the file, and the cause."""


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

    def fit_encode(self, structures: Sequence[Structure], *, progress: bool = False) -> tuple[GraphTensor, list[int]]:
        """`fit`, then `encode` of the structures that fit into max_atoms; their indices beside."""
        cells = self._cells(structures, progress)
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

    def save(self, path: Path | str, crystals: GraphTensor, ids: Sequence[str] | None = None) -> None:
        """Write encoding, crystals and, if given, a name for each to one .npz (arrays only, no pickle).

        The file appears whole or not at all. EncodingError before `fit`, ValueError for another number of ids than
        crystals.
        """
        if not self.elements or not self.atom_counts:
            raise EncodingError("fit the encoding before saving with it")
        crystals = crystals.pad(self.max_atoms)  # `load` takes max_atoms from the shape
        arrays = {
            "graphgan_encoding": np.array("graph"),
            "elements": np.array(self.elements),
            "primitive": np.array(self.primitive),
            "atom_counts": np.array(self.atom_counts),
            "species": crystals.species.argmax(-1).cpu().numpy().astype(np.int16),
            "frac_coords": crystals.frac_coords.cpu().numpy(),
            "lattice": crystals.lattice.cpu().numpy(),
            "num_atoms": crystals.num_atoms.cpu().numpy(),
        }
        if crystals.condition is not None:
            arrays["condition"] = crystals.condition.cpu().numpy()
        if ids is not None:
            if len(ids) != len(crystals):
                raise ValueError(f"{len(ids)} ids for {len(crystals)} crystals")
            arrays["ids"] = np.array(ids, dtype=str)
        path = Path(path)
        unfinished = path.with_name(f".{path.name}.writing")
        try:
            with open(unfinished, "wb") as file:
                np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
            os.replace(unfinished, path)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise

    @classmethod
    def load(cls, path: Path | str) -> tuple[GraphEncoding, GraphTensor]:
        """What `save` wrote; EncodingError, one line, if the file is something else or damaged."""
        arrays = _read_arrays(path)
        if complaint := _wrong_layout(arrays) or _wrong_values(arrays):
            raise EncodingError(f"{path}: damaged set of graph tensors: {complaint}")
        elements = arrays["elements"].tolist()
        num_atoms = torch.from_numpy(arrays["num_atoms"].astype(np.int64))
        species = torch.from_numpy(arrays["species"].astype(np.int64))
        encoding = cls(species.shape[1], bool(arrays["primitive"]), elements, arrays["atom_counts"].tolist())
        return encoding, GraphTensor.from_positions(
            _one_hot(species, num_atoms, len(elements)),
            torch.from_numpy(arrays["frac_coords"]),
            torch.from_numpy(arrays["lattice"]),
            num_atoms,
            torch.from_numpy(arrays["condition"]) if "condition" in arrays else None,
        )

    def _cells(self, structures: Sequence[Structure], progress: bool = False) -> list[Structure]:
        from graphgan.cells import standard_cell
        from graphgan.data.progress import with_bar

        bar = with_bar(structures, "Encoding", len(structures), shown=progress)
        return [standard_cell(s, primitive=self.primitive) for s in bar]

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


def _read_arrays(path: Path | str) -> dict[str, np.ndarray]:
    """The arrays of an .npz that `GraphEncoding.save` wrote. EncodingError for any other file."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError) as error:
        raise EncodingError(f"{path}: {error.strerror}") from None
    except (*_DAMAGE, AttributeError) as error:  # AttributeError: a lone array, which has no names
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise EncodingError(f"{path}: not an encoded set of graph tensors ({reason})") from None
    if "graphgan_encoding" not in arrays:
        raise EncodingError(f"{path}: not an encoded set of graph tensors (no array graphgan_encoding)")
    return arrays


def _wrong_layout(arrays: dict[str, np.ndarray]) -> str | None:
    """Which array that `GraphEncoding.save` writes is missing or of the wrong type or shape; None if none is."""
    b, n = (*arrays.get("species", np.zeros((0, 0))).shape, 0, 0)[:2]
    any_number = arrays.get("condition", np.zeros(0)).shape[-1:]
    layout: dict[str, tuple[str, tuple[int, ...]]] = {
        "species": ("iu", (b, n)),
        "elements": ("U", arrays.get("elements", np.zeros(0)).shape[-1:]),
        "primitive": ("b", ()),
        "atom_counts": ("iu", (n + 1,)),
        "num_atoms": ("iu", (b,)),
        "frac_coords": ("f", (b, n, 3)),
        "lattice": ("f", (b, 3, 3)),
    }
    optional = {"condition": ("f", (b, *any_number)), "ids": ("U", (b,))}
    for name, (kinds, shape) in (layout | {k: v for k, v in optional.items() if k in arrays}).items():
        if name not in arrays:
            return f"no array {name}"
        if arrays[name].dtype.kind not in kinds:
            return f"{name} holds {arrays[name].dtype}"
        if arrays[name].shape != shape or 0 in shape:
            return f"{name} has shape {arrays[name].shape}"
    return None


def _wrong_values(arrays: dict[str, np.ndarray]) -> str | None:
    """What in arrays of the right layout no crystal can have, in a few words; None if nothing is."""
    species, num_atoms, elements = arrays["species"], arrays["num_atoms"], arrays["elements"].tolist()
    if len(set(elements)) < len(elements) or not set(elements) <= set(SYMBOLS[1:]):
        return "elements are no list of chemical symbols"
    if species.min() < 0 or species.max() >= len(elements):
        return f"species run from {species.min()} to {species.max()}, there are {len(elements)} elements"
    if num_atoms.min() < 1 or num_atoms.max() > species.shape[1]:
        return f"num_atoms run from {num_atoms.min()} to {num_atoms.max()}, expected 1 to {species.shape[1]}"
    if arrays["atom_counts"].min() < 0 or arrays["atom_counts"].sum() < 1:
        return "atom_counts count nothing"
    for name in ("frac_coords", "lattice", "condition"):
        if name in arrays and not np.isfinite(arrays[name]).all():
            return f"{name} holds numbers that are not finite"
    if not np.abs(np.linalg.det(arrays["lattice"].astype(float))).min() > 0:
        return "a lattice has no volume"
    return None
