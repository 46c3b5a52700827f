"""Tables and lists of crystals: rows of CSV, and the shapes of JSON that hold structures; knows no file."""

import csv
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain, islice
from typing import Any

import numpy as np

from graphgan.data.crystals import Crystal, atomic_number, fractional, lattice_from_parameters
from graphgan.data.errors import DataError, EntryError, one_line
from graphgan.data.streams import Lines

ID_COLUMNS = ("material_id", "id", "mp_id", "jid", "mat_id")
STRUCTURE_COLUMNS = ("cif", "structure", "atoms")
_ROW_LINES = 100_000
"""More lines than any row has: an open quote must not read the rest of a large file."""


def csv_header(lines: Lines) -> tuple[list[str], int, str]:
    """The columns of a CSV table, how many lines they take, and what separates them; no line is taken."""
    separator = max(",;\t", key=(lines.peek() or "").count)
    header, length = _row(lines, separator)
    return [name.strip() for name in header], length, separator


def _is_crystal(cell: str) -> bool:
    return any(mark in cell for mark in ("_cell_", '"lattice"', "'lattice'"))


def csv_rows(
    lines: Lines,
    columns: Sequence[str] = STRUCTURE_COLUMNS,
    is_content: Callable[[str], bool] = _is_crystal,
    long: bool = True,
) -> Iterator[tuple[int, dict[str, str] | str]]:
    """(row number from 1, the row by column name, or the reason why it is damaged), for every row of a CSV
    table. Holds one row at a time.

    A quote left open would swallow all rows behind it: after a row with the wrong number of columns, reading
    starts again at the next line that begins a whole row with content in the first of `columns` that there is. Where
    content is not `long`, so too after a row in which lines are rows. Raises DataError without any of these columns.
    """
    csv.field_size_limit(2**31 - 1)
    header, length, separator = csv_header(lines)
    column = next((i for name in columns for i, have in enumerate(header) if have.lower() == name), None)
    if column is None:
        raise DataError(one_line(f"no column {columns[0]!r} (columns: {', '.join(header)})"))
    lines.take(length)
    number = 0
    while lines.peek() is not None:
        fields, length = _row(lines, separator)
        if not fields or (len(fields) == 1 < len(header) and not fields[0].strip()):
            lines.take(length)
            continue
        number += 1
        begins = partial(_begins_row, separator=separator, width=len(header), column=column, is_content=is_content)
        if len(fields) != len(header):
            yield number, f"row has {len(fields)} columns, the header has {len(header)}"
        elif not long and any(begins([line]) for line in islice(lines.ahead(length), 1, None)):
            yield number, "a quote is left open"
        else:
            lines.take(length)
            yield number, dict(zip(header, fields, strict=True))
            continue
        lines.take()
        # A row is a few thousand lines at most; the bound keeps the search short.
        while lines.peek() is not None and not begins(lines.ahead(5000)):
            lines.take()


def _row(lines: Lines, separator: str) -> tuple[list[str], int]:
    """The fields of the row that the next line begins, and how many lines it has."""
    reader = csv.reader(lines.ahead(_ROW_LINES), delimiter=separator)
    try:
        return next(reader), reader.line_num
    except csv.Error as error:
        return [str(error)], reader.line_num


def _begins_row(
    lines: Iterable[str], separator: str, width: int, column: int, is_content: Callable[[str], bool]
) -> bool:
    """Whether the first of some lines begins a whole row."""
    source = iter(lines)
    line = next(source, "")
    if width > 1 and separator not in line:
        return False
    fields = next(csv.reader(chain([line], source), delimiter=separator), [])
    return len(fields) == width and is_content(fields[column])


def json_records(text: str) -> list[tuple[str, Any]]:
    """(id or '', record) of every structure in JSON text; a record is what `crystal_of_record` takes, or
    None.

    Shapes: one structure, a list of structures or records, a mapping id -> structure, pandas' orient split or
    columns, JARVIS atoms, one record a line. Raises DataError for text that is no JSON or holds nothing of
    the kind.
    """
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        return _json_lines(text, error)
    if isinstance(data, dict):
        if _is_structure(data) or any(_is_content(data.get(name)) for name in STRUCTURE_COLUMNS):
            return [(_id_of(data), data)]
        if isinstance(data.get("columns"), list) and isinstance(data.get("data"), list):
            rows = [dict(zip(data["columns"], row, strict=False)) for row in data["data"]]
            index = data.get("index", [])
            return [(_id_of(row) or (str(index[i]) if i < len(index) else ""), row) for i, row in enumerate(rows)]
        if any(isinstance(data.get(name), dict) for name in STRUCTURE_COLUMNS):
            keys = next(data[name] for name in STRUCTURE_COLUMNS if isinstance(data.get(name), dict))
            rows = [
                {name: column.get(key) for name, column in data.items() if isinstance(column, dict)} for key in keys
            ]
            return [(_id_of(row) or key, row) for key, row in zip(keys, rows, strict=True)]
        return [(str(key), value) for key, value in data.items()]
    if isinstance(data, list):
        return [(_id_of(item), item) for item in data]
    raise DataError("JSON holds no structures")


def _json_lines(text: str, error: json.JSONDecodeError) -> list[tuple[str, Any]]:
    lines = [line for line in text.splitlines() if line.strip()]
    records: list[tuple[str, Any]] = []
    for line in lines:
        try:
            item = json.loads(line)
            records.append((_id_of(item), item))
        except json.JSONDecodeError as damage:
            records.append(("", EntryError(f"not valid JSON: {damage}")))
    if not any(isinstance(record, dict) for _, record in records):
        raise DataError(f"not valid JSON: {error}")
    return records


def _is_structure(data: Any) -> bool:
    return isinstance(data, dict) and (("lattice" in data and "sites" in data) or "lattice_mat" in data)


def _is_content(value: Any) -> bool:
    return isinstance(value, str) or _is_structure(value)


def _id_of(record: Any) -> str:
    if not isinstance(record, Mapping):
        return ""
    return next((str(record[name]) for name in ID_COLUMNS if record.get(name) not in (None, "")), "")


def content_of(record: Any) -> str | dict:
    """The CIF text or structure dict of a record; raises EntryError when there is none."""
    if isinstance(record, EntryError):
        raise record
    if _is_structure(record):
        return record
    if isinstance(record, Mapping):
        lower = {str(name).lower(): value for name, value in record.items()}
        record = next((lower[name] for name in STRUCTURE_COLUMNS if lower.get(name)), None)
    if isinstance(record, str) and record.lstrip()[:1] == "{":
        try:
            record = json.loads(record)
        except json.JSONDecodeError as error:
            raise EntryError(f"not valid JSON: {error}") from None
    if record is None or record == "":
        raise EntryError("empty: no crystal")
    if not _is_content(record):
        raise EntryError("neither a structure nor CIF text")
    return record


def numeric_values(record: Any) -> dict[str, float]:
    """The numbers of a record by name; NaN for text that is no number; True and False count as 1 and 0."""
    if not isinstance(record, Mapping) or _is_structure(record):
        return {}
    skip = {*ID_COLUMNS, *STRUCTURE_COLUMNS, "", "index"}
    return {
        str(name): _as_number(value)
        for name, value in record.items()
        if str(name).lower() not in skip and not isinstance(value, dict | list)
    }


def _as_number(value: Any) -> float:
    if isinstance(value, str):
        value = {"true": 1, "false": 0}.get(value.strip().lower(), value)
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def crystal_of_dict(data: Mapping) -> Crystal:
    """The crystal of pymatgen's `Structure.as_dict` or of JARVIS atoms; raises EntryError."""
    try:
        if "lattice_mat" in data:
            lattice = np.array(data["lattice_mat"], dtype=float).reshape(3, 3)
            coordinates = np.array(data["coords"], dtype=float).reshape(-1, 3)
            frac_coords = fractional(coordinates, lattice) if data.get("cartesian") else coordinates
            species = [str(symbol) for symbol in data["elements"]]
        else:
            lattice = _lattice_of_dict(data["lattice"])
            species = [_species_of_site(site, number) for number, site in enumerate(data["sites"], 1)]
            frac_coords = np.array([site["abc"] for site in data["sites"]], dtype=float).reshape(-1, 3)
    except KeyError as error:
        raise EntryError(f"structure has no {error.args[0]!r}") from None
    except (TypeError, ValueError, AttributeError) as error:
        if isinstance(error, EntryError):
            raise
        raise EntryError(f"structure is damaged: {one_line(error)}") from None
    if len(species) != len(frac_coords):
        raise EntryError(f"{len(species)} species and {len(frac_coords)} coordinates")
    return Crystal(lattice, frac_coords, np.array([atomic_number(name) for name in species], dtype=np.uint8))


def _lattice_of_dict(data: Mapping) -> np.ndarray:
    if "matrix" in data:
        return np.array(data["matrix"], dtype=float).reshape(3, 3)
    names = ("a", "b", "c", "alpha", "beta", "gamma")
    cell = [float(data[name]) for name in names]
    return lattice_from_parameters(cell[:3], cell[3:])


def _species_of_site(site: Mapping, number: int) -> str:
    species = site["species"]
    if len(species) != 1 or abs(float(species[0]["occu"]) - 1) > 1e-3:
        shown = ", ".join(f"{part['element']} {float(part['occu']):g}" for part in species) or "vacant"
        raise EntryError(f"site {number} is occupied by {shown}: not an ordered crystal")
    return str(species[0]["element"])
