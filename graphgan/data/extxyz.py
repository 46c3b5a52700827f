"""Extended XYZ text to crystals, frame by frame; knows no file and needs no ase.

Format: https://github.com/libAtoms/extxyz. Only what makes a crystal is read: Lattice, Properties (species
and pos), pbc, and the scalars of the comment line as properties.
"""

import re
from collections.abc import Iterator

import numpy as np

from graphgan.data.crystals import SYMBOLS, Crystal, atomic_number, check_crystal, fractional
from graphgan.data.errors import EntryError
from graphgan.data.streams import Lines

_PAIR = re.compile(r"""([A-Za-z_][\w-]*)\s*=\s*("(?:[^"\\]|\\.)*"|'[^']*'|\{[^}]*\}|\[[^\]]*\]|\S+)""")


def frames(lines: Lines) -> Iterator[tuple[dict[str, str], list[str] | str]]:
    """Comment items and atom lines of every frame, or items and the reason why the frame is damaged. Holds one frame at
    a time.

    After damage the next line that holds only a number, followed by a line with a Lattice, begins the next
    frame.
    """
    while (header := lines.peek()) is not None:
        header = header.strip()
        if not header:
            lines.take()
            continue
        if not header.isdecimal():
            yield {}, f"line {lines.number} should hold the number of atoms and holds {header[:40]!r}"
            lines.take()
            while lines.peek() is not None and not _begins_frame(lines, 0):
                lines.take()
            continue
        info = comment_items(lines.peek(1) or "")
        count, found = int(header), 0
        while found < count and lines.peek(2 + found) is not None and not _begins_frame(lines, 2 + found):
            found += 1
        atoms = lines.take(2 + found)[2:]
        yield info, atoms if found == count else f"announces {count} atoms and has {found}"


def _begins_frame(lines: Lines, offset: int) -> bool:
    line, comment = lines.peek(offset), lines.peek(offset + 1)
    return line is not None and line.strip().isdecimal() and comment is not None and "Lattice" in comment


def comment_items(line: str) -> dict[str, str]:
    """The key=value pairs of a comment line; quotes and brackets are taken off."""
    return {key: value.strip("\"'{}[]") if len(value) > 1 else value for key, value in _PAIR.findall(line)}


def parse_frame(info: dict[str, str], lines: list[str], check: bool = True, max_atoms: int | None = None) -> Crystal:
    """The crystal of one frame; raises EntryError."""
    if not lines:
        raise EntryError("no atoms")
    if "Lattice" not in info:
        raise EntryError("no Lattice: a molecule, not a crystal")
    periodic = re.split(r"[\s,]+", info.get("pbc", "T T T").strip())
    if any(flag[:1].lower() in ("f", "0") for flag in periodic):
        raise EntryError(f"not periodic in three directions: pbc is {info['pbc']!r}")
    try:
        lattice = np.array([float(word) for word in re.split(r"[\s,\[\]]+", info["Lattice"].strip()) if word]).reshape(
            3, 3
        )
    except ValueError:
        raise EntryError("Lattice is not nine numbers") from None
    columns, width = _columns(info.get("Properties", "species:S:1:pos:R:3"))
    rows = [line.split() for line in lines]
    short = next((number for number, row in enumerate(rows, 1) if len(row) < width), None)
    if short is not None:
        raise EntryError(f"atom {short} has {len(rows[short - 1])} columns of {width}")
    start = columns["pos"]
    try:
        positions = np.array([[float(word) for word in row[start : start + 3]] for row in rows])
    except ValueError as error:
        raise EntryError(f"positions: {error}") from None
    if "species" in columns:
        numbers = [_species(row[columns["species"]]) for row in rows]
    else:
        numbers = [_species(row[columns["Z"]]) for row in rows]
    crystal = Crystal(lattice, fractional(positions, lattice), np.array(numbers, dtype=np.uint8))
    return check_crystal(crystal, check, max_atoms)


def _species(word: str) -> int:
    if word.isdigit():
        if not 0 < int(word) < len(SYMBOLS):
            raise EntryError(f"unknown species {word!r}")
        return int(word)
    return atomic_number(word)


def _columns(text: str) -> tuple[dict[str, int], int]:
    """First column of each property, and the number of columns; `text` as in species:S:1:pos:R:3."""
    parts = text.split(":")
    columns, width = dict[str, int](), 0
    try:
        for name, _, count in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
            columns[name] = width
            width += int(count)
    except ValueError:
        raise EntryError(f"Properties {text!r} is not understood") from None
    if "pos" not in columns or not {"species", "Z"} & set(columns):
        raise EntryError("Properties name no species or no pos")
    return columns, width
