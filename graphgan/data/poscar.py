"""POSCAR and CONTCAR text to one crystal; knows no file. Format: VASP 5 and 6,
https://www.vasp.at/wiki/POSCAR.
"""

import numpy as np

from graphgan.data.crystals import Crystal, atomic_number, check_crystal, fractional
from graphgan.data.errors import EntryError


def parse_poscar(text: str, check: bool = True, max_atoms: int | None = None) -> Crystal:
    """The crystal of a POSCAR. Raises EntryError, also for VASP 4 files that name no element: a guess is no
    datum.
    """
    lines = text.lstrip("\n").splitlines()
    if not text.strip():
        raise EntryError("empty")
    if len(lines) < 8:
        raise EntryError(f"POSCAR ends after {len(lines)} lines")
    lattice = _lattice(lines[1], lines[2:5])
    position = 5
    symbols: list[str] = []
    while position < len(lines) and not _is_counts(lines[position]):
        # VASP 6.4 adds the potential's name and hash, as in Mg_pv/f474ac0d.
        symbols += [word.split("/")[0].split("_")[0] for word in lines[position].split()]
        position += 1
    counts: list[int] = []
    while position < len(lines) and _is_counts(lines[position]):
        counts += [int(word) for word in lines[position].split()]
        position += 1
    if position + 1 >= len(lines):
        raise EntryError("POSCAR has no line of atom counts, or nothing after it")
    if lines[position].strip()[:1].lower() == "s":  # selective dynamics
        position += 1
    cartesian = lines[position].strip()[:1].lower() in ("c", "k")
    total = sum(counts)
    rows = [line.split() for line in lines[position + 1 : position + 1 + total]]
    if len(rows) < total or any(len(row) < 3 for row in rows):
        raise EntryError(f"POSCAR announces {total} atoms and has {sum(len(row) >= 3 for row in rows)}")
    if symbols and len(symbols) != len(counts):
        raise EntryError(f"POSCAR has {len(symbols)} symbols for {len(counts)} counts")
    names = (
        [name for name, count in zip(symbols, counts, strict=True) for _ in range(count)] if symbols else _names(rows)
    )
    try:
        coordinates = np.array([[float(word) for word in row[:3]] for row in rows]).reshape(-1, 3)
    except ValueError as error:
        raise EntryError(f"POSCAR coordinates: {error}") from None
    if cartesian:
        coordinates = fractional(coordinates * _scale(lines[1], lines[2:5]), lattice)
    numbers = np.array([atomic_number(name) for name in names], dtype=np.uint8)
    return check_crystal(Crystal(lattice, coordinates, numbers), check, max_atoms)


def _is_counts(line: str) -> bool:
    words = line.split()
    return bool(words) and all(word.isdigit() for word in words)


def _names(rows: list[list[str]]) -> list[str]:
    """Elements written behind the coordinates, the only place where a VASP 4 file can name them."""
    names = [row[-1] if len(row) > 3 and row[-1][0].isalpha() and row[-1] not in ("T", "F") else "" for row in rows]
    if not all(names):
        raise EntryError("POSCAR of VASP 4: it names no elements")
    return names


def _vectors(rows: list[str]) -> np.ndarray:
    try:
        return np.array([[float(word) for word in row.split()[:3]] for row in rows]).reshape(3, 3)
    except ValueError:
        raise EntryError("POSCAR lattice vectors are not three rows of three numbers") from None


def _scale(line: str, rows: list[str]) -> np.ndarray:
    """The factors [3] on the Cartesian axes: one number, three numbers, or minus the volume in Å^3."""
    try:
        values = np.array([float(word) for word in line.split()[:3]])
    except ValueError:
        values = np.zeros(0)
    if len(values) not in (1, 3) or not values.all():
        raise EntryError(f"POSCAR scale is {line.strip()!r}")
    if len(values) == 1 and values[0] < 0:
        volume = abs(float(np.linalg.det(_vectors(rows))))
        if not volume > 0:
            raise EntryError("cell has no volume")
        values = (-values / volume) ** (1 / 3)
    return np.broadcast_to(values, 3)


def _lattice(scale: str, rows: list[str]) -> np.ndarray:
    return _vectors(rows) * _scale(scale, rows)
