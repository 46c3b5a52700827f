"""Many crystals in a few flat arrays: the layout of the embedded set, of cached sets and of users' .npz
files.
"""

import gc
import os
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from graphgan.data.crystals import SYMBOLS, Crystal, lattice_from_parameters
from graphgan.data.errors import DataError, EntryError, one_line

if TYPE_CHECKING:
    from pymatgen.core import Composition, Lattice, PeriodicSite, Structure

SPLITS = ("train", "val", "test")
_PROPERTY = "property_"
# All that numpy and zipfile were seen to raise on cut or altered archives.
_DAMAGE = (
    OSError,
    EOFError,
    zipfile.BadZipFile,
    zlib.error,
    ValueError,
    KeyError,
    SyntaxError,
    NotImplementedError,
)


@dataclass(frozen=True, eq=False)
class Packed:
    """B crystals with A atoms in all; the atoms of a crystal are contiguous.

    ids          [B]        text
    num_atoms    [B]        atoms per crystal
    numbers      [A]        atomic numbers
    frac_coords  [A, 3]     fractional coordinates
    lattice      [B, 3, 3]  rows are the lattice vectors, in Å
    properties   name -> [B] float64, NaN where unknown
    split        [B]        0 train, 1 val, 2 test; None when the set is not split
    skipped      (entry, reason) of what could not be used
    """

    ids: np.ndarray
    num_atoms: np.ndarray
    numbers: np.ndarray
    frac_coords: np.ndarray
    lattice: np.ndarray
    properties: dict[str, np.ndarray] = field(default_factory=dict)
    split: np.ndarray | None = None
    skipped: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        count, atoms = len(self.ids), int(self.num_atoms.sum())
        shapes = {
            "num_atoms": (self.num_atoms, (count,)),
            "numbers": (self.numbers, (atoms,)),
            "frac_coords": (self.frac_coords, (atoms, 3)),
            "lattice": (self.lattice, (count, 3, 3)),
            **{name: (values, (count,)) for name, values in self.properties.items()},
        }
        for name, (array, expected) in shapes.items():
            if array.shape != expected:
                raise DataError(f"{name} has shape {array.shape}, expected {expected}")

    def __len__(self) -> int:
        return len(self.ids)

    def crystals(self) -> Iterator[Crystal]:
        """The crystals one by one, as views."""
        ends = np.cumsum(self.num_atoms, dtype=np.int64)
        for row, (end, count) in enumerate(zip(ends.tolist(), self.num_atoms.tolist(), strict=True)):
            yield Crystal(self.lattice[row], self.frac_coords[end - count : end], self.numbers[end - count : end])

    def select(self, keep: np.ndarray, skipped: Sequence[tuple[str, str]] = ()) -> "Packed":
        """The crystals where the mask `keep` [B] is true; `skipped` joins what could not be used."""
        atoms = np.repeat(keep, self.num_atoms)
        return Packed(
            ids=self.ids[keep],
            num_atoms=self.num_atoms[keep],
            numbers=self.numbers[atoms],
            frac_coords=self.frac_coords[atoms],
            lattice=self.lattice[keep],
            properties={name: values[keep] for name, values in self.properties.items()},
            split=None if self.split is None else self.split[keep],
            skipped=(*self.skipped, *skipped),
        )

    def of_split(self, split: str) -> "Packed":
        """The crystals of train, val or test. Raises DataError when the set is not split."""
        if split not in SPLITS:
            raise DataError(f"unknown split {split!r}; there are {', '.join(SPLITS)}")
        if self.split is None:
            raise DataError(f"holds no split, so no {split!r} part of it")
        return self.select(self.split == SPLITS.index(split))


def pack(ids: Sequence[str], crystals: Sequence[Crystal], properties: dict[str, np.ndarray]) -> Packed:
    """Lists of crystals as flat arrays, in float64."""
    return Packed(
        ids=np.array(ids, dtype=str),
        num_atoms=np.array([len(crystal.numbers) for crystal in crystals], dtype=np.int64),
        numbers=np.concatenate([np.zeros(0, np.uint8), *(crystal.numbers for crystal in crystals)]),
        frac_coords=np.concatenate([np.zeros((0, 3)), *(crystal.frac_coords for crystal in crystals)]),
        lattice=np.array([crystal.lattice for crystal in crystals], dtype=float).reshape(-1, 3, 3),
        properties=properties,
    )


def save(packed: Packed, path: Path) -> None:
    """Write an .npz without pickled objects; the file appears whole or not at all."""
    arrays = {
        "id": packed.ids,
        "natoms": packed.num_atoms,
        "z": packed.numbers,
        "frac": packed.frac_coords,
        "cell": packed.lattice,
        **{_PROPERTY + name: values for name, values in packed.properties.items()},
        "skipped": np.array(packed.skipped, dtype=str).reshape(-1, 2),
    }
    if packed.split is not None:
        arrays["split"] = packed.split
    save_arrays(arrays, path)


def save_arrays(arrays: Mapping[str, np.ndarray], path: Path) -> None:
    """Write arrays as an .npz; the file appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".writing-", suffix=".npz")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def load(file: Path | BinaryIO) -> Packed:
    """Read an .npz in our layout, or one of frac_coords, num_atoms, atom_types, lengths, angles as CDVAE and
    DiffCSP write.

    Raises DataError where the arrays are neither, disagree in shape or need pickle.
    """
    arrays = load_arrays(file)
    if {"natoms", "z", "frac", "cell"} <= set(arrays):
        return _from_own(arrays)
    if {"frac_coords", "num_atoms", "atom_types", "lengths", "angles"} <= set(arrays):
        return _from_sampled(arrays)
    raise DataError(f"arrays {', '.join(sorted(arrays))[:120]} are no known layout of crystals")


def load_arrays(file: Path | BinaryIO) -> dict[str, np.ndarray]:
    """The arrays of an .npz, by name. Raises DataError where it is damaged or needs pickle."""
    try:
        with np.load(file, allow_pickle=False) as archive:
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise DataError("an array, not an archive of named arrays")
            return {name: archive[name] for name in archive.files}
    except (DataError, PermissionError, FileNotFoundError):
        raise
    except _DAMAGE as error:
        raise DataError(f"not a readable .npz: {one_line(error)}") from None


def _from_own(arrays: dict[str, np.ndarray]) -> Packed:
    count = len(arrays["natoms"])
    return Packed(
        ids=arrays.get("id", np.arange(1, count + 1)).astype(str),
        num_atoms=arrays["natoms"].astype(np.int64),
        numbers=arrays["z"],
        frac_coords=arrays["frac"].astype(float),
        lattice=arrays["cell"].astype(float),
        properties={
            name.removeprefix(_PROPERTY): values.astype(float)
            for name, values in arrays.items()
            if name.startswith(_PROPERTY)
        },
        split=arrays.get("split"),
        skipped=tuple((str(entry), str(reason)) for entry, reason in arrays.get("skipped", ())),
    )


def _from_sampled(arrays: dict[str, np.ndarray]) -> Packed:
    """Arrays with any leading axes (CDVAE puts one for repeated sampling); cells that are none become NaN."""
    num_atoms = arrays["num_atoms"].reshape(-1).astype(np.int64)
    lengths, angles = arrays["lengths"].reshape(-1, 3), arrays["angles"].reshape(-1, 3)
    if not len(lengths) == len(angles) == len(num_atoms):
        raise DataError(f"{len(num_atoms)} num_atoms, {len(lengths)} lengths and {len(angles)} angles")
    lattice = np.full((len(num_atoms), 3, 3), np.nan)
    for row, (abc, alphas) in enumerate(zip(lengths.tolist(), angles.tolist(), strict=True)):
        try:
            lattice[row] = lattice_from_parameters(abc, alphas)
        except EntryError:
            continue  # stays NaN, and is reported with its number when the crystals are checked
    return Packed(
        ids=np.arange(1, len(num_atoms) + 1).astype(str),
        num_atoms=num_atoms,
        numbers=arrays["atom_types"].reshape(-1),
        frac_coords=arrays["frac_coords"].reshape(-1, 3).astype(float),
        lattice=lattice,
    )


def to_structures(packed: Packed) -> "list[Structure]":
    """Plain pymatgen Structures, made about ten times as fast as by their own constructor.

    Sites of one element share their Composition, the checks that reading has made are not made again, and the
    cyclic garbage collector rests: it would walk the growing list again and again.
    """
    from pymatgen.core import Composition, Lattice, Structure

    species = {number: Composition({SYMBOLS[number]: 1}) for number in np.unique(packed.numbers).tolist()}
    site = _site_factory()
    structures = []
    collecting = gc.isenabled()
    gc.disable()
    try:
        for crystal in packed.crystals():
            lattice = Lattice(crystal.lattice)
            structure = Structure(lattice, [], [])
            structure.sites = [
                site(species[number], position, lattice)
                for number, position in zip(crystal.numbers.tolist(), crystal.frac_coords.copy(), strict=True)
            ]
            structures.append(structure)
    finally:
        if collecting:
            gc.enable()
    return structures


def _site_factory() -> "Callable[[Composition, np.ndarray, Lattice], PeriodicSite]":
    """A function that makes sites: by filling their attributes, since each assignment costs pymatgen a
    microsecond.

    Where a version of pymatgen keeps other attributes than the ones known here, it is the constructor that
    makes them.
    """
    from pymatgen.core import Composition, Lattice, PeriodicSite

    def construct(species: Composition, position: np.ndarray, lattice: Lattice) -> PeriodicSite:
        return PeriodicSite(species, position, lattice, skip_checks=True)

    def fill(species: Composition, position: np.ndarray, lattice: Lattice) -> PeriodicSite:
        site = PeriodicSite.__new__(PeriodicSite)
        attributes = site.__dict__
        attributes["_lattice"] = lattice
        attributes["_frac_coords"] = position
        attributes["_species"] = species
        attributes["_coords"] = None
        attributes["properties"] = {}
        attributes["_label"] = None
        return site

    lattice, position, hydrogen = Lattice.cubic(1), np.zeros(3), Composition({"H": 1})
    filled, constructed = (vars(make(hydrogen, position, lattice)) for make in (fill, construct))
    return fill if filled.keys() == constructed.keys() else construct
