"""Many molecules in a few flat arrays: what reading collects, and the layout of cached sets."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from graphgan.data import packed
from graphgan.data.errors import DataError
from graphgan.data.molecules import Molecule


class MoleculeRow(NamedTuple):
    """One molecule on its way from another process: the bytes of its arrays and its canonical SMILES."""

    numbers: bytes
    charges: bytes
    orders: bytes
    smiles: str


@dataclass(frozen=True, eq=False)
class MoleculeTable:
    """B molecules with A atoms in all; the atoms of a molecule are contiguous.

    ids        [B]       text
    smiles     [B]       canonical SMILES
    num_atoms  [B]       atoms of each
    numbers    [A]       atomic numbers, uint8
    charges    [A]       formal charges, int8
    orders     [sum of num_atoms²]  orders of bonds, row by row, uint8
    skipped    (entry, reason) of what could not be used
    """

    ids: list[str]
    smiles: list[str]
    num_atoms: np.ndarray
    numbers: np.ndarray
    charges: np.ndarray
    orders: np.ndarray
    skipped: list[tuple[str, str]]

    def __post_init__(self) -> None:
        sizes = self.num_atoms.astype(np.int64)
        lengths = (len(self.ids), len(self.smiles), len(self.numbers), len(self.charges), len(self.orders))
        if lengths != (len(sizes), len(sizes), sizes.sum(), sizes.sum(), (sizes**2).sum()):
            raise DataError(f"arrays of {lengths} entries disagree")

    def __len__(self) -> int:
        return len(self.ids)

    def molecules(self) -> list[Molecule]:
        """The molecules one by one, as views."""
        molecules, atom, pair = [], 0, 0
        for count in self.num_atoms.tolist():
            orders = self.orders[pair : pair + count * count].reshape(count, count)
            molecules.append(Molecule(self.numbers[atom : atom + count], self.charges[atom : atom + count], orders))
            atom += count
            pair += count * count
        return molecules

    def select(self, keep: np.ndarray, skipped: Sequence[tuple[str, str]] = ()) -> "MoleculeTable":
        """The molecules where the mask `keep` [B] is true; `skipped` joins what could not be used."""
        atoms, pairs = np.repeat(keep, self.num_atoms), np.repeat(keep, self.num_atoms**2)
        rows = np.flatnonzero(keep).tolist()
        return MoleculeTable(
            ids=[self.ids[row] for row in rows],
            smiles=[self.smiles[row] for row in rows],
            num_atoms=self.num_atoms[keep],
            numbers=self.numbers[atoms],
            charges=self.charges[atoms],
            orders=self.orders[pairs],
            skipped=[*self.skipped, *skipped],
        )


def table_of(named: Iterable[tuple[str, MoleculeRow]], skipped: list[tuple[str, str]]) -> MoleculeTable:
    """The table of rows by id; `skipped` is taken as it is when the rows have ended."""
    ids: list[str] = []
    rows: list[MoleculeRow] = []
    for name, row in named:
        ids.append(name)
        rows.append(row)
    return MoleculeTable(
        ids=ids,
        smiles=[row.smiles for row in rows],
        num_atoms=np.array([len(row.numbers) for row in rows], dtype=np.int64),
        numbers=np.frombuffer(b"".join(row.numbers for row in rows), dtype=np.uint8),
        charges=np.frombuffer(b"".join(row.charges for row in rows), dtype=np.int8),
        orders=np.frombuffer(b"".join(row.orders for row in rows), dtype=np.uint8),
        skipped=skipped,
    )


def save(table: MoleculeTable, path: Path) -> None:
    """Write an .npz without pickled objects; the file appears whole or not at all."""
    packed.save_arrays(
        {
            "ids": _as_bytes(table.ids),
            "smiles": _as_bytes(table.smiles),
            "num_atoms": table.num_atoms,
            "numbers": table.numbers,
            "charges": table.charges,
            "orders": table.orders,
            "entries": _as_bytes([entry for entry, _ in table.skipped]),
            "reasons": _as_bytes([reason for _, reason in table.skipped]),
        },
        path,
    )


def load(path: Path) -> MoleculeTable:
    """What `save` wrote. Raises DataError for anything else, OSError where there is nothing."""
    arrays = packed.load_arrays(path)
    try:
        return MoleculeTable(
            ids=_as_text(arrays["ids"]),
            smiles=_as_text(arrays["smiles"]),
            num_atoms=arrays["num_atoms"],
            numbers=arrays["numbers"],
            charges=arrays["charges"],
            orders=arrays["orders"],
            skipped=list(zip(_as_text(arrays["entries"]), _as_text(arrays["reasons"]), strict=True)),
        )
    except (KeyError, ValueError, TypeError) as error:
        raise DataError(f"not a table of molecules: {error}") from None


def _as_bytes(lines: list[str]) -> np.ndarray:
    """Text as bytes, a line for each: as an array of text every one of them would be as long as the longest."""
    text = "".join(f"{line}\n" for line in lines)
    return np.frombuffer(text.encode("utf-8", "surrogatepass"), dtype=np.uint8)


def _as_text(array: np.ndarray) -> list[str]:
    return array.tobytes().decode("utf-8", "surrogatepass").split("\n")[:-1]
