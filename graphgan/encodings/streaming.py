"""Any DATA to an encoded set on disk, in memory that does not grow with the number of crystals."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from graphgan.data.entries import Entry, Options, parse_entry
from graphgan.data.progress import with_bar
from graphgan.data.reading import nothing_usable, stream
from graphgan.encodings.stored import EncodingError, SetWriter
from graphgan.processes import in_order

READER_FACTOR = 16
"""The reader takes cells of so many times the atoms allowed: a cell given may be a large multiple of the primitive."""


class Written(NamedTuple):
    """Of an encoded set: crystals in it, entries that could not be read, crystals with too many atoms."""

    crystals: int
    skipped: int
    large: int


def encode_to_disk(
    data: str | Path,
    out: Path | str,
    *,
    max_atoms: int = 20,
    primitive: bool = True,
    split: str | None = None,
    workers: int | None = None,
    progress: bool = False,
) -> Written:
    """Read, reduce to standard cells and encode DATA of any size into `out`: a folder, or an .npz by its name.

    What stands there and is an encoded set is replaced, at the end and at once. A few hundred entries are in flight; an
    .npz, and JSON or .npz as DATA, are in memory whole. `workers` is the number of processes, all cores by default.
    Raises DataError or EncodingError where no crystal is usable, and EncodingError, before anything is read, where the
    folder of a set to be replaced holds anything else.
    """
    entries = stream(data, split=split)
    encode = partial(encoded, max_atoms=max_atoms, primitive=primitive)
    done = with_bar(in_order(encode, entries.entries, workers=workers), "Encoding", entries.total, progress)
    too_large, large, first = _too_large(max_atoms), 0, None
    with SetWriter(Path(out), max_atoms, primitive=primitive) as writer:
        for place, name, outcome in done:
            for suffix, cell in outcome:
                tail = f":{suffix}" if suffix else ""
                if isinstance(cell, str):
                    writer.skip(place + tail, cell)
                    first = first or (place + tail, cell)
                    large += cell == too_large
                else:
                    writer.add(name + tail, *cell)
        if not len(writer) and large:
            raise EncodingError(f"none of {large} crystals has at most {max_atoms} atoms")
        if not len(writer):
            raise nothing_usable(entries.source, writer.skipped, first)
        writer.finish()
    return Written(len(writer), writer.skipped - large, large)


Encoded = list[tuple[str, tuple[np.ndarray, np.ndarray, np.ndarray] | str]]
"""(suffix of the name, standard cell or the reason why there is none) for every crystal of an entry."""


def encoded(entry: Entry, *, max_atoms: int, primitive: bool) -> tuple[str, str, Encoded]:
    """Name and id of an entry, and its crystals in standard cells. Never raises: see `parse_entry`."""
    from graphgan.cells import standard_arrays

    cells: Encoded = []
    for suffix, crystal in parse_entry(entry.kind, entry.content, Options(True, READER_FACTOR * max_atoms)):
        if isinstance(crystal, str):
            cells.append((suffix, crystal))
            continue
        cell = standard_arrays(*crystal[:2], crystal.numbers.astype(np.int64), primitive=primitive)
        cells.append((suffix, cell if len(cell[2]) <= max_atoms else _too_large(max_atoms)))
    return entry.name, entry.id, cells


def _too_large(max_atoms: int) -> str:
    return f"more than {max_atoms} atoms in the cell"
