"""`read`: any DATA to pymatgen structures with ids, properties and the list of what was skipped."""

import csv
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from graphgan.data import cache as cached
from graphgan.data import packed, sources
from graphgan.data.cards import Card, downloaded, find_card, list_datasets
from graphgan.data.crystals import Crystal
from graphgan.data.entries import Entry, Options
from graphgan.data.entries import parsed as entry_parsed
from graphgan.data.errors import DataError, EntryError
from graphgan.data.packed import SPLITS, Packed
from graphgan.data.progress import Extent, with_bar
from graphgan.processes import in_order

if TYPE_CHECKING:
    from pymatgen.core import Structure

WORTH_CACHING = 200
"""Inputs of more entries than this are kept in the cache."""
_TABLE_SUFFIXES = (".csv", ".csv.gz", ".json", ".json.gz", ".extxyz", ".npz")


@dataclass(frozen=True)
class Skipped:
    """An entry that was not used, as users find it ('a.cif', 'train.csv:row 17 (mp-149)'), and why, in one
    line.
    """

    entry: str
    reason: str


@dataclass(frozen=True, eq=False)
class ReadResult:
    """What an input held.

    structures  ordered crystals, in the order of the input
    ids         a name for each
    properties  name -> [len(structures)] float64, NaN where missing
    skipped     the entries not used
    source      the file, folder or data set read
    """

    structures: "list[Structure]"
    ids: list[str]
    properties: dict[str, np.ndarray]
    skipped: list[Skipped]
    source: str

    def write_skipped(self, path: Path) -> None:
        """Write the skipped entries as a table with columns entry and reason."""
        write_skipped(self.skipped, path)


def write_skipped(skipped: Iterable[Skipped], path: Path) -> None:
    """Write skipped entries as a table with columns entry and reason."""
    with open(path, "w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        table = csv.writer(file)
        table.writerow(("entry", "reason"))
        table.writerows((item.entry, item.reason) for item in skipped)


def read(
    data: str | Path,
    *,
    split: str | None = None,
    max_atoms: int | None = None,
    check: bool = True,
    progress: bool = False,
    workers: int | None = None,
    cache: bool = True,
) -> ReadResult:
    """Read a data set by name, or any of `FORMATS`.

    `split` picks train, val or test of a set that is divided. `check` refuses doubled atoms, flat cells and
    files whose formula names atoms that no site holds; without it, for judging generated samples, these stay,
    and nothing is ever merged. Partial occupancy, unknown species, numbers that are not finite and more than
    `max_atoms` atoms are refused either way. `workers` is the number of processes, all cores by default.
    Large inputs are parsed once and then come from the cache folder unless `cache` is false.

    Raises DataError, in one line, where nothing can be used; without `check`, only where there are no entries at
    all, since a set of samples that are all failures can be judged too.
    """
    path, card = locate(str(data), split)
    shown = str(data) if card else str(path)
    options = Options(check, max_atoms)
    with naming(shown):
        if card is not None and card.file == path:
            parsed = _shipped(path, card, split, max_atoms)
        else:
            inner = split if kind_of_path(path) == "npz" else None
            parsed = _parsed(path, options, inner, progress, workers, cache)
    if not len(parsed) and (check or not parsed.skipped):
        raise nothing_usable(shown, len(parsed.skipped), next(iter(parsed.skipped), None))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        structures = packed.to_structures(parsed)
    return ReadResult(
        structures=structures,
        ids=parsed.ids.tolist(),
        properties=parsed.properties,
        skipped=[Skipped(entry, reason) for entry, reason in parsed.skipped],
        source=shown,
    )


def read_structures(data: str | Path, **options: Any) -> "list[Structure]":
    """The structures alone; the options and errors of `read`."""
    return read(data, **options).structures


def load_dataset(name: str = "default", split: str | None = None) -> "list[Structure]":
    """The structures of a data set, whole or its part train, val or test. Raises DataError."""
    if find_card(name) is None:
        raise DataError(_unknown(name))
    return read(name, split=split).structures


@dataclass(frozen=True, eq=False)
class EntryStream:
    """The entries of an input one after the other, for work on more than fits into memory.

    entries  not understood yet; `graphgan.data.entries.parse_entry` does that. Raises DataError
    total    how many, as far as one can tell
    source   the file, folder or data set read
    """

    entries: Iterator[Entry]
    total: Extent
    source: str


def stream(data: str | Path, *, split: str | None = None) -> EntryStream:
    """The entries of what `read` takes, as they are asked for: of a table or of frames one at a time, of a folder or
    archive one file at a time. JSON and .npz are read whole. Raises DataError."""
    path, card = locate(str(data), split)
    shown = str(data) if card else str(path)
    with naming(shown):
        if card is not None and card.file == path:
            shipped = _shipped(path, card, split, None)
            return EntryStream(sources.npz_entries(card.name, shipped), len(shipped), shown)
        kind, files = _kind_and_files(path)
        entries, total = _entries(path, kind, files, split if kind == "npz" else None)
    return EntryStream(_named(entries, shown), total, shown)


def _named(entries: Iterator[Entry], shown: str) -> Iterator[Entry]:
    with naming(shown):
        yield from entries


@contextmanager
def naming(shown: str) -> Iterator[None]:
    """Whatever makes an input useless becomes a DataError that begins with its name."""
    try:
        yield
    except (EntryError, DataError) as error:
        raise DataError(f"{shown}: {error}") from None
    except OSError as error:
        raise DataError(f"{shown}: {error.strerror or error}") from None


def nothing_usable(shown: str, count: int, first: tuple[str, str] | None, what: str = "crystal") -> DataError:
    """What to say of an input all of whose `count` entries were skipped, the `first` (entry, reason) among them."""
    if first is None:
        return DataError(f"{shown}: no {what}s in it")
    entry, reason = first
    if count == 1:
        return DataError(f"{shown}: no usable {what}: {reason}")
    return DataError(f"{shown}: no usable {what}; all {count} entries skipped, the first ({entry}) because: {reason}")


def _unknown(name: str) -> str:
    names = ", ".join(card.name for card in list_datasets())
    return f"{name}: no such file, folder or data set (data sets: {names})"


def locate(
    data: str, split: str | None, kind: str = "crystals", suffixes: Sequence[str] = _TABLE_SUFFIXES
) -> tuple[Path, Card | None]:
    """The path to read and the card of a set of a kind called by name. A shipped set's name wins over a path, others'
    loses. `suffixes` are those of the files train, val and test of a folder. Raises DataError."""
    if split is not None and split not in SPLITS:
        raise DataError(f"unknown split {split!r}; there are {', '.join(SPLITS)}")
    card, path = find_card(data), Path(data).expanduser()
    if card is not None and card.kind != kind:
        raise DataError(f"{data}: holds {card.kind}, not {kind}")
    if card is not None and card.file is not None:
        return card.file, card
    if path.exists():
        return (path if split is None or kind_of_path(path) == "npz" else _part(path, split, suffixes)), None
    if card is None:
        raise DataError(_unknown(data) if path.parent == Path() else f"{data}: no such file or folder")
    folder = downloaded(card)
    if folder is None:
        raise DataError(f"{data}: not on this machine; {card.get}")
    return (folder if split is None else _part(folder, split, suffixes)), card


def kind_of_path(path: Path) -> str | None:
    """The kind in `FORMATS` of an existing path."""
    return "folder" if path.is_dir() else sources.kind_of(path.name)


def _part(path: Path, split: str, suffixes: Sequence[str]) -> Path:
    """The file train.csv, val.csv.gz ... of a folder. Raises DataError where there is none."""
    if not path.is_dir():
        raise DataError(f"{path}: holds no split, so no {split!r} part of it")
    for candidate in (path / f"{split}{suffix}" for suffix in suffixes):
        if candidate.is_file():
            return candidate
    if (path / split).is_dir():
        return path / split
    raise DataError(
        f"{path}: no {split!r} part: neither {split}{suffixes[0]} nor {split}{suffixes[1]} nor a folder {split}"
    )


def _shipped(path: Path, card: Card, split: str | None, max_atoms: int | None) -> Packed:
    """A set that comes with the package: checked when it was built, so only its size is judged here."""
    parsed = packed.load(path)
    if split is not None:
        parsed = parsed.of_split(split)
    if max_atoms is None:
        return parsed
    keep = parsed.num_atoms <= max_atoms
    large = zip(parsed.ids[~keep].tolist(), parsed.num_atoms[~keep].tolist(), strict=True)
    return parsed.select(
        keep, [(f"{card.name}:{name}", f"{count} atoms, more than {max_atoms}") for name, count in large]
    )


def _kind_and_files(path: Path) -> tuple[str, list[tuple[str, Path]]]:
    """The kind of an input, and name and path of each of its files. Raises DataError if there is nothing to read."""
    kind = kind_of_path(path)
    if kind is None:
        raise DataError("of no known format; see graphgan.data.FORMATS")
    if kind == "folder" and (path / "frac_coords.npy").is_file():
        raise DataError("an encoded set, not crystals: `graphgan decode` turns it back")
    files = sources.files_of_folder(path) if kind == "folder" else [(path.name, path)]
    if not files:
        raise DataError("no structures in it (.cif, POSCAR, .vasp, .xyz, .csv, .json)")
    return kind, files


def _parsed(
    path: Path, options: Options, split: str | None, progress: bool, workers: int | None, cache: bool
) -> Packed:
    kind, files = _kind_and_files(path)
    key = None
    if cache and kind in ("folder", "zip", "csv", "json", "extxyz"):
        key = cached.key_of(files, options)
        if (known := cached.lookup(key, packed.load)) is not None:
            return known
    entries, total = _entries(path, kind, files, split)
    outcomes = in_order(partial(entry_parsed, options=options), entries, workers=workers)
    parsed = _collect(with_bar(outcomes, f"Reading {path.name}", total, progress))
    if key is not None and len(parsed) + len(parsed.skipped) > WORTH_CACHING:
        cached.store(key, parsed, packed.save)
    return parsed


def _entries(path: Path, kind: str, files: list[tuple[str, Path]], split: str | None) -> tuple[Iterator[Entry], Extent]:
    """The entries of an input, and how many they are, as far as one can tell."""
    if kind == "folder":
        return sources.folder_entries(files), len(files)
    if kind == "zip":
        return sources.zip_entries(path), None
    if kind == "db":
        return sources.database_entries(path), None
    if kind == "npz":
        arrays = packed.load(path)
        arrays = arrays if split is None else arrays.of_split(split)
        return sources.npz_entries(path.name, arrays), len(arrays)
    file, size = path.open("rb"), max(path.stat().st_size, 1)
    return sources.text_entries(path.name, file), lambda: 1.0 if file.closed else file.tell() / size


def _collect(outcomes: Iterable[tuple[Entry, list[tuple[str, Crystal | str]]]]) -> Packed:
    ids: list[str] = []
    crystals: list[Crystal] = []
    values: list[dict[str, float]] = []
    skipped: list[tuple[str, str]] = []
    for entry, outcome in outcomes:
        for suffix, crystal in outcome:
            tail = f":{suffix}" if suffix else ""
            if isinstance(crystal, str):
                skipped.append((entry.name + tail, crystal))
            else:
                ids.append(entry.id + tail)
                crystals.append(crystal)
                values.append(entry.values)
    collected = packed.pack(ids, crystals, _columns(values))
    return Packed(**{**collected.__dict__, "skipped": tuple(skipped)})


def _columns(values: list[dict[str, float]]) -> dict[str, np.ndarray]:
    """Properties by name; a column whose entries are mostly no numbers (a formula) is none."""
    names = dict.fromkeys(chain.from_iterable(values))
    columns = {name: np.array([row.get(name, np.nan) for row in values], dtype=float) for name in names}
    return {name: column for name, column in columns.items() if np.isfinite(column).any()}
