"""Files, folders and archives to entries; decides formats by name, and understands no crystal."""

import io
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import numpy as np

from graphgan.data import packed
from graphgan.data.crystals import fractional
from graphgan.data.entries import Entry, to_text
from graphgan.data.errors import DataError, EntryError, one_line
from graphgan.data.extxyz import frames
from graphgan.data.records import ID_COLUMNS, csv_rows, json_records, numeric_values
from graphgan.data.streams import GZIP, Lines, Unzipped, text_lines

FORMATS = {
    "cif": "CIF file (.cif), one or more blocks",
    "poscar": "VASP 5 or 6 POSCAR file (POSCAR*, CONTCAR*, .vasp, .poscar)",
    "extxyz": "extended XYZ file (.extxyz, .xyz) whose frames have a Lattice",
    "csv": "table (.csv) with a column cif, and columns material_id and properties if any",
    "json": "pymatgen dicts (.json, .jsonl): one, a list, a mapping, records, pandas tables; JARVIS atoms",
    "npz": "arrays (.npz): our layout, or frac_coords, num_atoms, atom_types, lengths, angles",
    "db": "ASE database (.db); needs ase",
    "zip": "archive (.zip) of any of the above but .npz and .db",
    "folder": "folder, searched in depth, of CIF, POSCAR and XYZ files; of tables when it has none of these",
}
"""The forms of DATA by kind. Every text file may be compressed with gzip (.gz)."""

_SUFFIXES = {
    ".cif": "cif",
    ".vasp": "poscar",
    ".poscar": "poscar",
    ".extxyz": "extxyz",
    ".xyz": "extxyz",
    ".csv": "csv",
    ".json": "json",
    ".jsonl": "json",
    ".npz": "npz",
    ".db": "db",
    ".zip": "zip",
}
_STRUCTURES = ("cif", "poscar", "extxyz")
_TABLES = ("csv", "json")


def kind_of(name: str) -> str | None:
    """The kind in `FORMATS` of a file by its name alone; None for a file that is no structure."""
    plain = PurePosixPath(name.removesuffix(".gz")).name
    if plain.startswith(".") or "__MACOSX" in name:
        return None
    if plain.upper().startswith(("POSCAR", "CONTCAR")):
        return "poscar"
    return _SUFFIXES.get(PurePosixPath(plain).suffix.lower())


def files_of_folder(folder: Path) -> list[tuple[str, Path]]:
    """(relative name, path) of the files that hold crystals, sorted; tables only without any other."""
    named = sorted((path.relative_to(folder).as_posix(), path) for path in folder.rglob("*") if path.is_file())
    hidden = [(name, path) for name, path in named if not any(part.startswith(".") for part in name.split("/"))]
    for kinds in (_STRUCTURES, _TABLES):
        if chosen := [(name, path) for name, path in hidden if kind_of(name) in kinds]:
            return chosen
    return []


def folder_entries(files: list[tuple[str, Path]]) -> Iterator[Entry]:
    """The entries of files in a folder; a file that cannot be opened is a broken entry."""
    for name, path in files:
        try:
            with path.open("rb") as file:
                yield from _member_entries(name, file)
        except OSError as error:
            yield Entry(name, name, "broken", error.strerror or "cannot be opened")


def zip_entries(path: Path) -> Iterator[Entry]:
    """The entries of a .zip. Raises DataError where it is no archive or holds no structures."""
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise DataError(f"not a readable .zip: {error}") from None
    with archive:
        names = sorted(name for name in archive.namelist() if not name.endswith("/"))
        chosen: list[str] = []
        for kinds in (_STRUCTURES, _TABLES):
            chosen = chosen or [name for name in names if kind_of(name) in kinds]
        if not chosen:
            raise DataError(f"archive of {len(names)} files holds no structures")
        for name in chosen:
            try:
                data = archive.read(name)
            except (
                zipfile.BadZipFile,
                zlib.error,
                OSError,
                EOFError,
                RuntimeError,
                NotImplementedError,
            ) as error:
                yield Entry(name, name, "broken", one_line(f"damaged in the archive: {error}"))
                continue
            yield from _member_entries(name, io.BytesIO(data))


def _member_entries(name: str, file: BinaryIO) -> Iterator[Entry]:
    """The entries of a file among others: what makes a lone file useless is here one broken entry."""
    try:
        yield from text_entries(name, file)
    except (DataError, EntryError) as error:
        yield Entry(name, name, "broken", one_line(error))


def text_entries(name: str, file: BinaryIO) -> Iterator[Entry]:
    """The entries of one CIF, POSCAR, XYZ, CSV or JSON file of this name. Tables and frames are read as they are asked
    for, the others whole; the file is closed at the end. Raises DataError or EntryError, also on the way."""
    zipped = Unzipped(file) if file.read(len(GZIP)) == GZIP else None
    file.seek(0)
    raw: Any = zipped or file
    with file, io.BufferedReader(raw) as stream:
        yield from _entries_by_kind(name, stream)
        if zipped and not zipped.whole:
            yield Entry(name, name, "broken", "compressed data ends early: the rest is lost")


def _entries_by_kind(name: str, stream: io.BufferedReader) -> Iterator[Entry]:
    kind = kind_of(name)
    stem = str(PurePosixPath(name.removesuffix(".gz")).with_suffix("")) if kind in ("cif", "extxyz") else name
    if kind == "extxyz":
        yield from _xyz_entries(name, stem, filled(Lines(text_lines(stream))))
        return
    if kind == "csv":
        binary = b"\0" in stream.peek(1024)[:1024]
        yield from _csv_entries(name, filled(Lines(text_lines(stream, newline="\n", strict=binary))))
        return
    data = stream.read()
    if not data.strip():
        raise EntryError("empty")
    if kind == "json":
        yield from _json_entries(name, to_text(data))
    elif kind in ("cif", "poscar"):
        yield Entry(name, stem.removesuffix(".vasp").removesuffix(".poscar"), kind, data)


def filled(lines: Lines) -> Lines:
    """The lines from the first that is not blank; EntryError if there is none."""
    while (line := lines.peek()) is not None:
        if line.strip():
            return lines
        lines.take()
    raise EntryError("empty")


def _xyz_entries(name: str, stem: str, lines: Lines) -> Iterator[Entry]:
    found = 0
    for found, (info, atoms) in enumerate(frames(lines), 1):
        number = next((info[key] for key in ID_COLUMNS if info.get(key)), "")
        place = f"{name}:frame {found}" + (f" ({number})" if number else "")
        values = {key: value for key, value in numeric_values(info).items() if value == value}
        content = (info, atoms)
        kind = "frame"
        if isinstance(atoms, str):
            kind, content = "broken", atoms  # type: ignore[assignment]
        yield Entry(place, number or f"{stem}:{found}", kind, content, values)
    if not found:
        raise DataError("no frames")


def _csv_entries(name: str, lines: Lines) -> Iterator[Entry]:
    for number, row in csv_rows(lines):
        if isinstance(row, str):
            yield Entry(f"{name}:row {number}", str(number), "broken", row)
            continue
        known = next((row[column] for column in ID_COLUMNS if row.get(column)), "")
        place = f"{name}:row {number}" + (f" ({one_line(known, 40)})" if known else "")
        yield Entry(place, known or str(number), "record", row, numeric_values(row))


def _json_entries(name: str, text: str) -> Iterator[Entry]:
    records = json_records(text)
    if not records:
        raise DataError("an empty list")
    for number, (known, record) in enumerate(records, 1):
        place = f"{name}:entry {number}" + (f" ({one_line(known, 40)})" if known else "")
        yield Entry(place, known or str(number), "record", record, numeric_values(record))


def npz_entries(name: str, arrays: packed.Packed) -> Iterator[Entry]:
    """The crystals of a user's .npz, to be checked like any other input."""
    for row, crystal in enumerate(arrays.crystals()):
        values = {key: float(column[row]) for key, column in arrays.properties.items()}
        known = str(arrays.ids[row])
        yield Entry(f"{name}:crystal {row + 1} ({known})", known, "arrays", tuple(crystal), values)


def database_entries(path: Path) -> Iterator[Entry]:
    """The rows of an ASE database. Raises DataError without ase, or where ase cannot read the file."""
    try:
        from ase.db import connect
    except ImportError:
        raise DataError("an ASE database needs ase: pip install ase") from None
    try:
        rows = connect(str(path), use_lock_file=False).select()
        for row in rows:
            pairs = {**row.key_value_pairs, **({"energy": row.energy} if "energy" in row else {})}
            known = next((str(pairs[key]) for key in ID_COLUMNS if key in pairs), str(row.id))
            values = {key: value for key, value in numeric_values(pairs).items() if value == value}
            place = f"{path.name}:row {row.id}"
            try:
                if not all(row.pbc):
                    raise EntryError("not periodic in three directions")
                lattice = np.asarray(row.cell, dtype=float).reshape(3, 3)
                content = (lattice, fractional(np.asarray(row.positions), lattice), row.numbers)
                yield Entry(place, known, "arrays", content, values)
            except EntryError as error:
                yield Entry(place, known, "broken", one_line(error))
    except (DataError, EntryError):
        raise
    except Exception as error:
        raise DataError(f"not a readable ASE database: {one_line(error)}") from None
