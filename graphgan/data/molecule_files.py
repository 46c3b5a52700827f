"""`read_molecules`: any file, folder or data set of molecules to bare arrays with ids, SMILES and what was skipped."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from graphgan.data import cache as cached
from graphgan.data import molecule_sources as sources
from graphgan.data import molecule_table
from graphgan.data.cards import Card, find_card
from graphgan.data.entries import Entry, Options
from graphgan.data.errors import DataError, EntryError, one_line
from graphgan.data.molecule_table import MoleculeRow, MoleculeTable
from graphgan.data.molecule_writing import write_molecules
from graphgan.data.molecules import Molecule, canonical, molecule_of, parse_block, parse_smiles, rdkit
from graphgan.data.progress import Extent, with_bar
from graphgan.data.reading import WORTH_CACHING, Skipped, locate, naming, nothing_usable, write_skipped
from graphgan.processes import in_order

__all__ = ["MoleculeReadResult", "holds_molecules", "read_molecules", "write_molecules"]

_TENTHS = ("train",) * 8 + ("val", "test")
"""The part of each tenth of a shipped set."""
_CHUNK = 500
"""Molecules that another process is sent at a time: each takes a fifth of a millisecond."""


@dataclass(frozen=True, eq=False)
class MoleculeReadResult:
    """What an input held.

    molecules  in the order of the input
    smiles     canonical SMILES of each, without stereo
    ids        a name for each
    skipped    the entries not used
    source     the file, folder or data set read
    """

    molecules: list[Molecule]
    smiles: list[str]
    ids: list[str]
    skipped: list[Skipped]
    source: str

    def write_skipped(self, path: Path) -> None:
        """Write the skipped entries as a table with columns entry and reason."""
        write_skipped(self.skipped, path)


def holds_molecules(data: str | Path) -> bool:
    """Whether `read_molecules` is meant for what `read` takes too: a name of a data set, a file or a folder.

    By names and headers alone, without RDKit. False for what does not exist and what cannot be opened.
    """
    card, path = find_card(str(data)), Path(data).expanduser()
    try:
        if (card is None or card.file is None) and path.exists():
            return sources.holds_molecules(path)
    except OSError:
        return False
    return card is not None and card.kind == "molecules"


def read_molecules(
    data: str | Path,
    *,
    split: str | None = None,
    max_atoms: int | None = None,
    check: bool = True,
    progress: bool = False,
    workers: int | None = None,
    cache: bool = True,
) -> MoleculeReadResult:
    """Read a data set of molecules by name, or any of `MOLECULE_FORMATS`.

    `split` picks train, val or test of a set that is divided. Refused and listed in `skipped`: what RDKit cannot read
    or sanitise, isotopes, radicals, bonds that are not single, double or triple (`molecule_of`), more than `max_atoms`
    heavy atoms, and with `check` more than one fragment. Hydrogens and stereo are dropped, doubles stay. `workers` is
    the number of processes, all cores by default. Large inputs are parsed once and then come from the cache folder
    unless `cache` is false.

    Raises DataError, in one line, where nothing can be used; without `check`, for judging generated samples, only
    where there are no entries at all. DataError also where RDKit is missing.
    """
    rdkit()
    path, card = locate(str(data), split, "molecules", sources.PARTS)
    shown = str(data) if card else str(path)
    with naming(shown):
        if card is not None and card.file == path:
            table = _shipped(path, card, split, max_atoms, progress, workers, cache)
        else:
            table = _parsed(path, Options(check, max_atoms), progress, workers, cache)
    if not len(table) and (check or not table.skipped):
        raise nothing_usable(shown, len(table.skipped), next(iter(table.skipped), None), "molecule")
    skipped = [Skipped(entry, reason) for entry, reason in table.skipped]
    return MoleculeReadResult(table.molecules(), table.smiles, table.ids, skipped, shown)


def _shipped(
    path: Path, card: Card, split: str | None, max_atoms: int | None, progress: bool, workers: int | None, cache: bool
) -> MoleculeTable:
    """A part of a set that comes with the package."""
    table = _parsed(path, Options(True, None), progress, workers, cache)
    keep = np.ones(len(table), dtype=bool)
    if split is not None:
        with path.open("rb") as file:
            lines = [entry.content for entry in sources.file_entries(path.name, file)]
        # Molecules are named by their lines; one that this RDKit refuses is not among them.
        parts = parts_of([lines[int(known) - 1] for known in table.ids], table.smiles)
        keep = np.array([part == split for part in parts])
    small = keep if max_atoms is None else keep & (table.num_atoms <= max_atoms)
    reason = "{} atoms, more than {}".format
    large = np.flatnonzero(keep & ~small).tolist()
    reasons = [(f"{card.name}:{table.ids[row]}", reason(table.num_atoms[row], max_atoms)) for row in large]
    return table if small.all() else table.select(small, reasons)


def parts_of(lines: Sequence[str], smiles: Sequence[str]) -> list[str]:
    """train, val or test, 8:1:1, for every line of a file, by the sha256 of the line: the same whatever the version of
    RDKit. A line that has the canonical `smiles` of one before it goes where that went.

    The first eight bytes of the hash, as a whole number, big end first, modulo 10: 8 is val, 9 is test.
    """
    first: dict[str, str] = {}
    chosen = [first.setdefault(same, line) for line, same in zip(lines, smiles, strict=True)]
    digests = (hashlib.sha256(line.encode()).digest() for line in chosen)
    return [_TENTHS[int.from_bytes(digest[:8], "big") % 10] for digest in digests]


def _parsed(path: Path, options: Options, progress: bool, workers: int | None, cache: bool) -> MoleculeTable:
    """What a file or folder holds, from the cache if it is there. Raises DataError, EntryError and OSError."""
    if not path.is_dir() and sources.kind_of(path.name) is None:
        raise DataError("of no known format; see graphgan.data.MOLECULE_FORMATS")
    files = sources.files_of_folder(path) if path.is_dir() else [(path.name, path)]
    if not files:
        raise DataError("no molecules in it (.smi, .smiles, .csv with a column smiles, .sdf)")
    key = cached.key_of(files, ("molecules", options)) if cache else None
    if key is not None and (known := cached.lookup(key, molecule_table.load)) is not None:
        return known
    entries, total = _entries(path, files)
    outcomes = in_order(partial(_understood, options=options), entries, workers=workers, chunk=_CHUNK)
    table = _collect(with_bar(outcomes, f"Reading {path.name}", total, progress))
    if key is not None and len(table) + len(table.skipped) > WORTH_CACHING:
        cached.store(key, table, molecule_table.save)
    return table


def _entries(path: Path, files: list[tuple[str, Path]]) -> tuple[Iterator[Entry], Extent]:
    """The entries of an input, and how much of it there is."""
    if path.is_dir():
        return sources.folder_entries(files), None
    file, size = path.open("rb"), max(path.stat().st_size, 1)
    return sources.file_entries(path.name, file), lambda: 1.0 if file.closed else file.tell() / size


def _understood(entry: Entry, options: Options) -> tuple[str, MoleculeRow | str]:
    """The id and the molecule of an entry, or its name and the reason why it cannot be used. Never raises: one strange
    entry must not end the reading of ten thousand."""
    try:
        return entry.id, _row(entry, options)
    except EntryError as error:
        return entry.name, one_line(error)
    except Exception as error:
        return entry.name, one_line(f"not understood: {type(error).__name__}: {error}")


def _row(entry: Entry, options: Options) -> MoleculeRow:
    if entry.kind == "broken":
        raise EntryError(entry.content)
    if not entry.content:
        raise EntryError(sources.BLANK)
    rdkit()
    mol = parse_smiles(entry.content) if entry.kind == "smiles" else parse_block(entry.content)
    smiles = canonical(mol)
    molecule = molecule_of(mol, fragments=not options.check, copy=False)
    if options.max_atoms is not None and len(molecule.numbers) > options.max_atoms:
        raise EntryError(f"{len(molecule.numbers)} atoms, more than {options.max_atoms}")
    numbers, charges, orders = (array.tobytes() for array in molecule)
    return MoleculeRow(numbers, charges, orders, smiles)


def _collect(outcomes: Iterable[tuple[str, MoleculeRow | str]]) -> MoleculeTable:
    skipped: list[tuple[str, str]] = []

    def rows() -> Iterator[tuple[str, MoleculeRow]]:
        for name, outcome in outcomes:
            if isinstance(outcome, str):
                skipped.append((name, outcome))
            else:
                yield name, outcome

    return molecule_table.table_of(rows(), skipped)
