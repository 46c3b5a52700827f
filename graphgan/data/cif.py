"""CIF text to crystals, exactly as written: nothing is merged, rescaled or rounded; knows no file and no
pymatgen.

A parser of our own, because the usual ones repair silently what a training set must not contain: they scale
occupancies, merge near atoms, read '.' as 0 and drop sites without coordinates. It is also about ten times as
fast.
"""

import re

import numpy as np

from graphgan.data.crystals import (
    SYMBOLS,
    Crystal,
    atomic_number,
    check_crystal,
    lattice_from_parameters,
    number_of_label,
)
from graphgan.data.errors import EntryError, one_line
from graphgan.data.symmetry import Operations, operations, operations_of_group, orbit

Block = dict[str, list[str]]
"""The items of one data block: tag in lower case -> its values, unquoted (one for an item outside a loop)."""

_TOKEN = re.compile(
    r"""^;.*?^;(?=\s|\Z)                 # a text field between lines that begin with ;
      | '(?:[^'\n]|'(?=\S))*'(?=\s|\Z)   # quoted: ends at a quote before white space
      | "(?:[^"\n]|"(?=\S))*"(?=\s|\Z)
      | \#[^\n]*
      | \S+""",
    re.MULTILINE | re.DOTALL | re.VERBOSE,
)
_KEYWORD = re.compile(r"_|loop_|data_|save_|global_|stop_", re.IGNORECASE)
_CELL = tuple(
    f"_cell_{name}" for name in ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
)
_COORDINATES = ("_atom_site_fract_x", "_atom_site_fract_y", "_atom_site_fract_z")
_OPERATIONS = ("_symmetry_equiv_pos_as_xyz", "_space_group_symop_operation_xyz")
_GROUP_NAMES = ("_symmetry_space_group_name_h-m", "_space_group_name_h-m_alt", "_space_group_name_h-m_ref")
_DAMAGE = "damage"
_GROUP_NUMBERS = ("_symmetry_int_tables_number", "_space_group_it_number")


def parse_cif(text: str, check: bool = True, max_atoms: int | None = None) -> list[tuple[str, Crystal | str]]:
    """The crystals of a CIF text: (block name, crystal or the reason why there is none) for every block with
    a cell.

    Blocks without cell and atoms (journals' global blocks) are passed over when another block has them.
    Raises EntryError where the text holds no crystal at all.
    """
    if "\0" in text:
        raise EntryError("binary data, not text")
    blocks = [
        (name, block)
        for name, block in _blocks(text)
        if any(tag.startswith(("_cell_", "_atom_site_")) for tag in block)
    ]
    if not blocks:
        remarks = [line.strip("# \t") for line in text.splitlines() if line.strip("# \t")]
        raise EntryError(f"no CIF data ({remarks[-1][:60]!r})" if remarks else "empty")
    found: list[tuple[str, Crystal | str]] = []
    for name, block in blocks:
        try:
            found.append((name, check_crystal(_crystal(block, check), check, max_atoms)))
        except EntryError as error:
            found.append((name, one_line(error)))
    return found


def _blocks(text: str) -> list[tuple[str, Block]]:
    tokens = [token for token in _TOKEN.findall(text) if token[0] != "#"]
    name, block = "", dict[str, list[str]]()
    blocks = [(name, block)]
    position, end = 0, len(tokens)
    while position < end:
        token = tokens[position]
        keyword = token.lower()
        position += 1
        if keyword.startswith("data_"):
            name, block = token[5:], {}
            blocks.append((name, block))
        elif keyword == "loop_":
            position = _read_loop(tokens, position, block)
        elif token[0] == "_":
            bare = position == end or _KEYWORD.match(tokens[position])
            block[_tag(token)] = ["?"] if bare else [_value(tokens[position])]
            position += 0 if bare else 1
        # Anything else is a stray word, as in an unquoted chemical name; it belongs to no item.
    return blocks


def _read_loop(tokens: list[str], position: int, block: Block) -> int:
    """Put the loop that begins at `position` into the block; returns the position after it."""
    end = len(tokens)
    first = position
    while position < end and tokens[position][0] == "_":
        position += 1
    tags = [_tag(token) for token in tokens[first:position]]
    first = position
    while position < end and not _KEYWORD.match(tokens[position]):
        position += 1
    values = [_value(token) for token in tokens[first:position]]
    if not tags:
        return position
    if len(values) % len(tags):
        if any(tag in _OPERATIONS or tag.startswith("_atom_site_fract") for tag in tags):
            block[_DAMAGE] = [f"loop of {len(tags)} columns has {len(values)} values: cut off or damaged"]
        return position  # elsewhere (bibliography and the like) nothing that is read here is lost
    for column, tag in enumerate(tags):
        block[tag] = values[column :: len(tags)]
    return position


def _tag(token: str) -> str:
    return token.lower().replace(".", "_")


def _value(token: str) -> str:
    if token[0] == ";" and len(token) > 1 and token[-1] == ";":
        return token[1:-1].strip()
    return token[1:-1] if token[0] in "'\"" and len(token) > 1 and token[-1] == token[0] else token


def _float(text: str, what: str) -> float:
    """A CIF number without its standard uncertainty; '?' and '.' are no numbers."""
    try:
        return float(text.split("(", 1)[0])
    except ValueError:
        over, slash, under = text.partition("/")
        if slash and over.strip("+-").isdigit() and under.isdigit() and int(under):
            return int(over) / int(under)
        raise EntryError(f"{what} is {text!r}") from None


def _crystal(block: Block, check: bool) -> Crystal:
    if _DAMAGE in block:
        raise EntryError(block[_DAMAGE][0])
    missing = [tag for tag in (*_CELL, *_COORDINATES) if tag not in block]
    if missing:
        what = "no cell" if missing[0] in _CELL else "no fractional coordinates"
        raise EntryError(f"{what}: {missing[0]} is missing")
    cell = [_float(block[tag][0], tag) for tag in _CELL]
    lattice = lattice_from_parameters(cell[:3], cell[3:])
    numbers, sites = _sites(block)
    symmetry = _symmetry(block)
    if symmetry is None:
        frac_coords = np.array(sites, dtype=float).reshape(-1, 3)
    else:
        orbits = [orbit(np.array(site), symmetry, lattice) for site in sites]
        numbers = [number for number, atoms in zip(numbers, orbits, strict=True) for _ in atoms]
        frac_coords = np.concatenate(orbits) if orbits else np.zeros((0, 3))
    if check:
        _check_formula(block, numbers)
    return Crystal(lattice, frac_coords, np.array(numbers, dtype=np.uint8))


def _sites(block: Block) -> tuple[list[int], list[list[float]]]:
    """Atomic numbers and fractional coordinates of the rows of the atom loop; refuses disorder."""
    columns = [block[tag] for tag in _COORDINATES]
    count = len(columns[0])
    unknown = ["?"] * count
    labels = block.get("_atom_site_label", unknown)
    symbols = block.get("_atom_site_type_symbol", labels)
    occupancies = block.get("_atom_site_occupancy")
    flags = block.get("_atom_site_calc_flag", unknown)
    if {len(column) for column in (*columns, labels, symbols, occupancies or labels, flags)} != {count}:
        raise EntryError("the columns of the atom sites differ in length")
    numbers, sites = [], []
    for row in range(count):
        label = labels[row] if labels[row] != "?" else f"site {row + 1}"
        if flags[row] == "dum":
            continue
        if occupancies and occupancies[row] not in ("1", "1.0", ".", "?"):
            occupancy = _float(occupancies[row], f"occupancy of {label}")
            if occupancy == 0:
                continue  # the file says that nothing is there
            if not abs(occupancy - 1) < 1e-3:
                raise EntryError(f"{label} has occupancy {occupancy:g}: not an ordered crystal")
        symbol = symbols[row]
        known = symbol not in ("?", ".") and symbols is not labels
        numbers.append(atomic_number(symbol) if known else number_of_label(labels[row]))
        sites.append([_float(column[row], f"coordinate of {label}") for column in columns])
    return numbers, sites


def _symmetry(block: Block) -> Operations | None:
    for tag in _OPERATIONS:
        texts = [text for text in block.get(tag, []) if text not in ("?", ".")]
        if texts:
            return None if texts in (["x, y, z"], ["x,y,z"]) else operations(texts)
    symbol = next((block[tag][0] for tag in _GROUP_NAMES if tag in block and block[tag][0] not in ("?", ".")), "")
    number = next((block[tag][0] for tag in _GROUP_NUMBERS if tag in block and block[tag][0].isdigit()), "")
    return operations_of_group(symbol, int(number) if number else None) if symbol or number else None


def _check_formula(block: Block, numbers: list[int]) -> None:
    """Sites against the formula that the file itself states: the sign of hydrogens never located, or of a cut
    file.
    """
    formula = block.get("_chemical_formula_sum", ["?"])[0]
    parts = re.findall(r"([A-Z][a-z]?)(\d*\.?\d*)", formula)
    if not parts or "".join(symbol + amount for symbol, amount in parts) != re.sub(r"\s", "", formula):
        return
    stated: dict[int, float] = {}
    try:
        for symbol, amount in parts:
            number = atomic_number(symbol)
            stated[number] = stated.get(number, 0) + float(amount or 1)
    except (EntryError, ValueError):
        return
    differing = set(stated) ^ set(numbers)
    if differing:
        names = ", ".join(SYMBOLS[number] for number in sorted(differing))
        where = "has no site" if differing <= set(stated) else "differs from the sites"
        raise EntryError(f"formula {formula!r}: {names} {where}")
    ratios = [numbers.count(number) / amount for number, amount in stated.items() if amount]
    if ratios and max(ratios) > 1.02 * min(ratios):
        raise EntryError(f"formula {formula!r} does not match the {len(numbers)} atoms of the cell")
