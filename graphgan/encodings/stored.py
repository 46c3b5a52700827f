"""Encoded sets on disk: one .npz, or a folder of .npy files that are memory-mapped; checks what it reads.

Knows arrays and files, no crystallography: for machines without pymatgen, and without torch.
"""

from __future__ import annotations

import contextlib
import csv
import json
import math
import os
import re
import shutil
import tokenize
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType

import numpy as np

from graphgan.data.crystals import SYMBOLS
from graphgan.errors import UserError

FACTS, IDS, SKIPPED = "encoding.json", "ids.txt", "skipped.csv"
"""Files of a folder beside the arrays: what is known of the whole set, a name a line, what was left out."""
ROWS = ("species", "frac_coords", "lattice", "num_atoms", "condition")
"""The arrays with a row for every crystal; .npy files in a folder."""
_FILES = frozenset((FACTS, IDS, SKIPPED, *(f"{name}.npy" for name in ROWS)))
_CHUNK = 65_536
CHECKED = "graphgan_encoding"
"""The first array or key of a set: the name of its encoding."""
_MARK = re.compile(rb'\{"' + CHECKED.encode() + rb'": "([a-z0-9]+)"')
# All that numpy, zipfile and json were seen to raise on cut or altered files.
DAMAGE = (
    OSError,
    EOFError,
    zipfile.BadZipFile,
    zlib.error,
    ValueError,
    TypeError,
    SyntaxError,
    tokenize.TokenError,
    NotImplementedError,
)


class EncodingError(UserError):
    """Structures that cannot be encoded, or a file of encoded ones that cannot be used; the message names the first of
    them, or the file, and the cause."""


def facts_of(
    elements: Sequence[str], primitive: bool, atom_counts: Sequence[int] | np.ndarray
) -> dict[str, np.ndarray]:
    """What is known of a whole set, as arrays; the first of them is the mark of a set."""
    return {
        CHECKED: np.array("graph"),
        "elements": np.array(elements),
        "primitive": np.array(primitive),
        "atom_counts": np.array(atom_counts),
    }


def is_stored(path: Path) -> bool:
    """Whether `write_arrays` or a SetWriter made what stands there, at a glance."""
    return stored_kind(path) == "graph"


def stored_kind(path: Path) -> str | None:
    """The encoding of the set that stands there, such as graph or crystens, at a glance; None for anything else."""
    if path.is_dir():
        facts = path / FACTS
        found = _MARK.match(facts.read_bytes()[:100]) if facts.is_file() else None
        return found[1].decode() if found else None
    if path.suffix != ".npz" or not zipfile.is_zipfile(path):
        return None
    with zipfile.ZipFile(path) as archive:
        if f"{CHECKED}.npy" not in archive.namelist():
            return None
        try:
            with archive.open(f"{CHECKED}.npy") as file:
                return str(np.lib.format.read_array(file, allow_pickle=False))
        except DAMAGE:
            return "graph"  # whose reader says what is wrong with it


def read_arrays(path: Path | str) -> dict[str, np.ndarray]:
    """The arrays of an encoded set, checked; those with a row for every crystal are memory-mapped if it is a folder.

    EncodingError, one line, if it is something else or damaged.
    """
    path = Path(path)
    try:
        arrays = _of_folder(path) if path.is_dir() else _of_archive(path)
    except (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError) as error:
        raise EncodingError(f"{error.filename or path}: {error.strerror}") from None
    except (*DAMAGE, AttributeError) as error:  # AttributeError: a lone array, which has no names
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise EncodingError(f"{path}: not an encoded set of graph tensors ({reason})") from None
    if CHECKED not in arrays:
        raise EncodingError(f"{path}: not an encoded set of graph tensors (no array {CHECKED})")
    if complaint := _wrong_layout(arrays) or _wrong_values(arrays):
        raise EncodingError(f"{path}: damaged set of graph tensors: {complaint}")
    return arrays


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write a set as an .npz, by its name, or else as a folder. It appears whole or not at all.

    EncodingError for a folder that holds an encoded set and anything else.
    """
    path = _place(path)
    unfinished = path.with_name(f".{path.name}.writing")
    try:
        if path.suffix == ".npz":
            with open(unfinished, "wb") as file:
                np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
            os.replace(unfinished, path)
            return
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        for name in ROWS:
            if name in arrays:
                np.save(unfinished / f"{name}.npy", arrays[name])
        if "ids" in arrays:
            lines = (f"{' '.join(name.split())}\n" for name in arrays["ids"].tolist())
            (unfinished / IDS).write_text("".join(lines), encoding="utf-8", errors="backslashreplace")
        _write_facts(unfinished, {name: array for name, array in arrays.items() if name not in (*ROWS, "ids")})
        _replace(unfinished, path)
    except BaseException:
        _remove(unfinished)
        raise


class _Rows:
    """An .npy file that grows row by row: numpy leaves room in its header for the count."""

    def __init__(self, path: Path, kind: str, shape: tuple[int, ...]) -> None:
        self.path, self._kind, self._shape = path, np.dtype(kind), shape
        self.file = open(path, "wb")  # noqa: SIM115
        self._write_header(0)

    def finish(self, count: int) -> None:
        """Close the file with its `count` rows."""
        end = self.file.tell()
        self.file.seek(0)
        self._write_header(count)
        row = self._kind.itemsize * math.prod(self._shape)
        if end != self.file.tell() + count * row:
            raise AssertionError(f"{self.path.name}: {end} bytes for {count} rows of {row}")
        self.file.close()

    def _write_header(self, count: int) -> None:
        header = {"descr": self._kind.str, "fortran_order": False, "shape": (count, *self._shape)}
        np.lib.format.write_array_header_1_0(self.file, header)


class SetWriter:
    """Writes a set crystal by crystal, holding none: `with SetWriter(out, 20) as writer`, `add`, and at last `finish`.
    Without `finish` nothing is left under the name `out`, nor, but for a kill, beside it. EncodingError for a folder
    that holds an encoded set and anything else.

    counts   crystals by number of atoms, [max_atoms + 1]
    skipped  how many entries were left out
    """

    def __init__(self, out: Path, max_atoms: int, *, primitive: bool = True) -> None:
        self.out, self.max_atoms, self.primitive = (out := _place(out)), max_atoms, primitive
        self.counts, self.skipped = np.zeros(max_atoms + 1, dtype=np.int64), 0
        self._seen: set[int] = set()
        self._folder = folder = out.with_name(f".{out.name}.parts")
        shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed
        folder.mkdir()
        shapes: dict[str, tuple[str, tuple[int, ...]]] = {
            "species": ("|u1", (max_atoms,)),
            "frac_coords": ("<f8", (max_atoms, 3)),
            "lattice": ("<f4", (3, 3)),
            "num_atoms": ("<i8", ()),
        }
        self._rows = {name: _Rows(folder / f"{name}.npy", *shape) for name, shape in shapes.items()}
        # A name of bytes that are no UTF-8 holds surrogates, which no UTF-8 file can.
        text = partial(open, mode="w", encoding="utf-8", errors="backslashreplace", newline="")
        self._ids, self._list = text(folder / IDS), text(folder / SKIPPED)
        self._table = csv.writer(self._list)
        self._table.writerow(("entry", "reason"))

    def __enter__(self) -> SetWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for file in (*(rows.file for rows in self._rows.values()), self._ids, self._list):
            with contextlib.suppress(OSError):  # of a full disk, which has been reported
                file.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __len__(self) -> int:
        return int(self.counts.sum())

    def add(self, name: str, lattice: np.ndarray, frac_coords: np.ndarray, numbers: np.ndarray) -> None:
        """A crystal of at most `max_atoms` atoms: lattice [3, 3] in Å, coordinates [N, 3], atomic numbers [N]."""
        count = len(numbers)
        padding = self.max_atoms - count
        row = {
            "species": numbers.astype("|u1").tobytes() + bytes(padding),
            "frac_coords": frac_coords.astype("<f8").tobytes() + bytes(24 * padding),
            "lattice": lattice.astype("<f4").tobytes(),
            "num_atoms": count.to_bytes(8, "little"),
        }
        for array, data in row.items():
            self._rows[array].file.write(data)
        self._ids.write(f"{' '.join(name.split())}\n")
        self.counts[count] += 1
        self._seen.update(numbers.tolist())

    def skip(self, entry: str, reason: str) -> None:
        """Something left out."""
        self._table.writerow((entry, reason))
        self.skipped += 1

    def finish(self) -> None:
        """Give the set its name: an .npz where `out` ends so, with NAME.skipped.csv beside it, else a folder."""
        for rows in self._rows.values():
            rows.finish(len(self))
        self._ids.close()
        self._list.close()
        elements = sorted(self._seen)
        self._number_elements(elements)
        facts = facts_of([SYMBOLS[number] for number in elements], self.primitive, self.counts)
        if self.out.suffix == ".npz":
            self._finish_archive(facts)
            return
        if not self.skipped:
            (self._folder / SKIPPED).unlink()
        _write_facts(self._folder, facts)
        _replace(self._folder, self.out)

    def _number_elements(self, elements: Sequence[int]) -> None:
        """Atomic numbers become indices into the vocabulary, which only now is known."""
        table = np.zeros(len(SYMBOLS), np.uint8)
        table[list(elements)] = np.arange(len(elements))
        path = self._rows["species"].path
        place = path.stat().st_size - len(self) * self.max_atoms  # the bytes behind the header
        with open(path, "r+b") as file:
            for start in range(place, place + len(self) * self.max_atoms, _CHUNK):
                file.seek(start)
                numbers = np.frombuffer(file.read(_CHUNK), np.uint8)
                file.seek(start)
                file.write(table[numbers].tobytes())

    def _finish_archive(self, facts: dict[str, np.ndarray]) -> None:
        arrays = {name: np.load(rows.path, mmap_mode="r") for name, rows in self._rows.items()}
        ids = (self._folder / IDS).read_text(encoding="utf-8").split("\n")[:-1]
        write_arrays(self.out, facts | arrays | {"ids": np.array(ids, dtype=str)})
        listed = skipped_file(self.out)
        listed.unlink(missing_ok=True)  # of what this one replaces
        if self.skipped:
            os.replace(self._folder / SKIPPED, listed)


def skipped_file(out: Path) -> Path:
    """Where a SetWriter lists what was left out of the set `out`."""
    return out.with_name(f"{out.stem}.skipped.csv") if out.suffix == ".npz" else out / SKIPPED


def _write_facts(folder: Path, facts: Mapping[str, np.ndarray]) -> None:
    plain = {name: array.tolist() for name, array in facts.items()}
    (folder / FACTS).write_text(json.dumps(plain) + "\n", encoding="utf-8")


def _place(out: Path) -> Path:
    """`out`, with a name of its own, where a set may be written: see `_check_contents`. What a kill amid `_replace`
    left aside is back in its place."""
    out = out if out.name not in ("", "..") else out.resolve()
    if not out.exists() and is_stored(_aside(out)):
        os.replace(_aside(out), out)
    _check_contents(out)
    return out


def _check_contents(out: Path) -> None:
    """EncodingError if an encoded set is not alone in its folder: what else lies there would be lost with it."""
    if not (out.is_dir() and is_stored(out)):
        return
    if strange := sorted(path.name for path in out.iterdir() if path.name not in _FILES or path.is_dir()):
        more = f" and {len(strange) - 1} more" if len(strange) > 1 else ""
        raise EncodingError(f"{out}: not replaced, since it holds {strange[0]!r}{more} beside the encoded set")


def _aside(out: Path) -> Path:
    return out.with_name(f".{out.name}.old")


def _replace(made: Path, out: Path) -> None:
    """Put a folder in the place of `out`, and of an encoded set that stands there."""
    old = _aside(out)
    _check_contents(out)
    if is_stored(out):
        _remove(old)
        os.replace(out, old)
    try:
        os.replace(made, out)  # a folder of something else stays, and is the error
    except BaseException:
        _place(out)
        raise
    _remove(old)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _of_archive(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _of_folder(path: Path) -> dict[str, np.ndarray]:
    facts = json.loads((path / FACTS).read_text(encoding="utf-8"))
    if not isinstance(facts, dict):
        raise ValueError(f"{FACTS} holds no table")
    arrays = {name: np.array(value) for name, value in facts.items()}
    # Mapped for writing in memory alone ("c"): torch takes no array that it may not write to.
    there = {name: path / f"{name}.npy" for name in ROWS if (path / f"{name}.npy").is_file()}
    return arrays | {name: np.load(file, mmap_mode="c", allow_pickle=False) for name, file in there.items()}


def _wrong_layout(arrays: dict[str, np.ndarray]) -> str | None:
    """Which array of a set is missing or of the wrong type or shape; None if none is."""
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
    elements = arrays["elements"].tolist()
    if len(set(elements)) < len(elements) or not set(elements) <= set(SYMBOLS[1:]):
        return "elements are no list of chemical symbols"
    if arrays["atom_counts"].min() < 0 or arrays["atom_counts"].sum() < 1:
        return "atom_counts count nothing"
    for start in range(0, len(arrays["species"]), _CHUNK):
        rows = {name: arrays[name][start : start + _CHUNK] for name in ROWS if name in arrays}
        if complaint := _wrong_rows(rows, len(elements)):
            return complaint
    return None


def _wrong_rows(rows: dict[str, np.ndarray], elements: int) -> str | None:
    species, num_atoms = rows["species"], rows["num_atoms"]
    if species.min() < 0 or species.max() >= elements:
        return f"species run from {species.min()} to {species.max()}, there are {elements} elements"
    if num_atoms.min() < 1 or num_atoms.max() > species.shape[1]:
        return f"num_atoms run from {num_atoms.min()} to {num_atoms.max()}, expected 1 to {species.shape[1]}"
    for name in ("frac_coords", "lattice", "condition"):
        if name in rows and not np.isfinite(rows[name]).all():
            return f"{name} holds numbers that are not finite"
    if not np.abs(np.linalg.det(rows["lattice"].astype(float))).min() > 0:
        return "a lattice has no volume"
    return None
