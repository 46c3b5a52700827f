"""Files and folders of molecules to entries; decides formats by name, and understands no molecule."""

import io
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from graphgan.data import sources
from graphgan.data.entries import Entry
from graphgan.data.errors import DataError, EntryError, one_line
from graphgan.data.records import STRUCTURE_COLUMNS, csv_header, csv_rows
from graphgan.data.streams import Lines, decompressed, text_lines

MOLECULE_FORMATS = {
    "smiles": "SMILES file (.smi, .smiles, .txt): one a line, a name behind it if any",
    "csv": "table (.csv) with a column smiles, and a column id if any",
    "sdf": "SDF or mol file (.sdf, .mol), V2000 or V3000",
    "folder": "folder, searched in depth, of any of these but .txt",
}
"""The forms of molecules by kind. Every file may be compressed (.gz, .bz2, .xz)."""
SMILES_COLUMNS = ("smiles", "canonical_smiles")
ID_COLUMNS = ("id", "name", "mol_id", "molecule_id", "zinc_id", "chembl_id")
PARTS = tuple(f".{form}{zipped}" for form in ("smi", "csv", "smiles", "sdf") for zipped in ("", ".gz", ".xz", ".bz2"))
"""How the files train, val and test of a folder may end."""
BLANK = "empty: no SMILES"

_SUFFIXES = {".smi": "smiles", ".smiles": "smiles", ".txt": "smiles", ".csv": "csv", ".sdf": "sdf", ".mol": "sdf"}


def kind_of(name: str) -> str | None:
    """The kind in `MOLECULE_FORMATS` of a file by its name alone; None for others. A table may yet be of crystals."""
    path = PurePosixPath(name)
    if path.suffix.lower() in (".gz", ".bz2", ".xz"):
        path = path.with_suffix("")
    return None if path.name.startswith(".") else _SUFFIXES.get(path.suffix.lower())


def holds_molecules(path: Path) -> bool:
    """Whether an existing file or folder holds molecules, by names and the headers of tables. Raises OSError."""
    if path.is_dir():
        names = [file.name for file in path.rglob("*") if file.is_file()]
        if any(sources.kind_of(name) in ("cif", "poscar", "extxyz", "json", "zip", "db") for name in names):
            return False
        return bool(files_of_folder(path))
    kind = kind_of(path.name)
    return _is_table(path) if kind == "csv" else kind is not None


def _is_table(path: Path) -> bool:
    """Whether a table has a column of SMILES, and none of crystals."""
    try:
        with path.open("rb") as file:
            raw: Any = decompressed(file) or file
            stream = io.BufferedReader(raw)
            lines = sources.filled(Lines(text_lines(stream, newline="\n", strict=False)))
            columns = [name.lower() for name in csv_header(lines)[0]]
    except EntryError:
        return False
    return not set(columns).isdisjoint(SMILES_COLUMNS) and set(columns).isdisjoint(STRUCTURE_COLUMNS)


def files_of_folder(folder: Path) -> list[tuple[str, Path]]:
    """(relative name, path) of the files that hold molecules, sorted; .txt files, which may say anything, do not."""
    named = sorted((path.relative_to(folder).as_posix(), path) for path in folder.rglob("*") if path.is_file())
    return [
        (name, path)
        for name, path in named
        if not any(part.startswith(".") for part in name.split("/"))
        and ".txt" not in path.suffixes
        and (kind := kind_of(name)) is not None
        and (kind != "csv" or _is_table(path))
    ]


def folder_entries(files: list[tuple[str, Path]]) -> Iterator[Entry]:
    """The entries of files in a folder; what makes a lone file useless is here one broken entry."""
    for name, path in files:
        try:
            with path.open("rb") as file:
                yield from file_entries(name, file)
        except OSError as error:
            yield Entry(name, name, "broken", error.strerror or "cannot be opened")
        except (DataError, EntryError) as error:
            yield Entry(name, name, "broken", one_line(error))


def file_entries(name: str, file: BinaryIO) -> Iterator[Entry]:
    """The entries of one file, read as they are asked for; the file is closed at the end. Raises DataError or
    EntryError, also on the way."""
    zipped = decompressed(file)
    raw: Any = zipped or file
    with file, io.BufferedReader(raw) as stream:
        kind = kind_of(name)
        if kind == "csv":
            binary = b"\0" in stream.peek(1024)[:1024]
            yield from _csv_entries(name, sources.filled(Lines(text_lines(stream, newline="\n", strict=binary))))
        elif kind == "sdf":
            yield from _sdf_entries(name, text_lines(stream))
        else:
            yield from _smiles_entries(name, text_lines(stream))
        if zipped and not zipped.whole:
            yield Entry(name, name, "broken", "compressed data ends early: the rest is lost")


def _smiles_entries(name: str, lines: Iterator[str]) -> Iterator[Entry]:
    """A blank line between others is an entry too: a sample that failed. A first line 'smiles' is a header."""
    count, blank = 0, []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            blank.append(number)
            continue
        # A tab may stand behind nothing: the SMILES of a molecule without atoms.
        smiles, _, known = line.partition("\t") if "\t" in line else line.strip().partition(" ")
        smiles, known = smiles.strip(), one_line(known)
        if count == 0:
            blank.clear()
            if smiles.startswith("#") or smiles.lower() in SMILES_COLUMNS:
                continue
        for empty in blank:
            count += 1
            yield Entry(f"{name}:line {empty}", str(count), "broken", BLANK)
        blank.clear()
        count += 1
        place = f"{name}:line {number}" + (f" ({one_line(known, 40)})" if known else "")
        yield Entry(place, known or str(count), "smiles", smiles)


def _csv_entries(name: str, lines: Lines) -> Iterator[Entry]:
    smiles, ids = None, None
    for number, row in csv_rows(lines, SMILES_COLUMNS, lambda cell: len(cell.split()) == 1, long=False):
        if isinstance(row, str):
            yield Entry(f"{name}:row {number}", str(number), "broken", row)
            continue
        if smiles is None:
            lower = {column.lower(): column for column in reversed(row)}
            smiles = next(lower[column] for column in SMILES_COLUMNS if column in lower)
            ids = next((lower[column] for column in ID_COLUMNS if column in lower), None)
        known = one_line(row[ids]) if ids is not None else ""
        place = f"{name}:row {number}" + (f" ({one_line(known, 40)})" if known else "")
        yield Entry(place, known or str(number), "smiles", row[smiles].strip())


def _sdf_entries(name: str, lines: Iterator[str]) -> Iterator[Entry]:
    number, block = 0, list[str]()
    for line in lines:
        if line.startswith("$$$$"):
            number += 1
            yield _block_entry(name, number, block)
            block = []
        else:
            block.append(line)
    if any(line.strip() for line in block):
        yield _block_entry(name, number + 1, block)


def _block_entry(name: str, number: int, block: list[str]) -> Entry:
    known = one_line(block[0]) if block else ""
    place = f"{name}:molecule {number}" + (f" ({one_line(known, 40)})" if known else "")
    if not any(line.startswith("M  END") for line in block):
        return Entry(place, known or str(number), "broken", "cut off: the mol block has no end")
    return Entry(place, known or str(number), "block", "".join(block))
