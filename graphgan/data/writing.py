"""Crystals to CIF files, archives, tables and XYZ; every crystal is written in P1, exactly as it is.

The writers are our own: pymatgen's CifWriter takes a few milliseconds a crystal, and XYZ must not need ase. They take
Structures and, without importing pymatgen, bare arrays (`Crystal`), one at a time: what they hold does not grow.
"""

import enum
import itertools
import json
import math
import os
import re
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sized
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from graphgan.data.crystals import SYMBOLS, Crystal
from graphgan.data.errors import DataError
from graphgan.data.progress import with_bar

if TYPE_CHECKING:
    from pymatgen.core import Structure

    Crystals = Iterable[tuple[str, Structure | Crystal | None]]


class LeftOut(enum.Enum):
    """What stands for a crystal that gets no place in a file, though it has its number."""

    LEFT_OUT = "left out"


LEFT_OUT = LeftOut.LEFT_OUT

FAILED = "no crystal: decoding failed"
"""What stands where a crystal would stand when its decoding failed, in the forms that can hold a remark."""

_HEADER = """\
data_{name}
_symmetry_space_group_name_H-M   'P 1'
_cell_length_a   {0:.10f}
_cell_length_b   {1:.10f}
_cell_length_c   {2:.10f}
_cell_angle_alpha   {3:.10f}
_cell_angle_beta   {4:.10f}
_cell_angle_gamma   {5:.10f}
_symmetry_Int_Tables_number   1
_chemical_formula_structural   {formula}
_chemical_formula_sum   '{total}'
_cell_volume   {volume:.8f}
loop_
 _symmetry_equiv_pos_site_id
 _symmetry_equiv_pos_as_xyz
  1  'x, y, z'
loop_
 _atom_site_type_symbol
 _atom_site_label
 _atom_site_symmetry_multiplicity
 _atom_site_fract_x
 _atom_site_fract_y
 _atom_site_fract_z
 _atom_site_occupancy
"""


class _Sites(NamedTuple):
    """What a file says of a crystal, as plain numbers.

    lattice   rows in Å
    places    fractional coordinates, a row for each site
    contents  (symbol, occupancy) of all that shares a site, for each site
    """

    lattice: list[list[float]]
    places: list[list[float]]
    contents: list[list[tuple[str, float]]]


_ALONE = [[(symbol, 1.0)] for symbol in SYMBOLS]


def _sites(crystal: "Structure | Crystal") -> _Sites:
    if isinstance(crystal, Crystal):
        contents = [_ALONE[number] for number in crystal.numbers.tolist()]
        return _Sites(crystal.lattice.tolist(), crystal.frac_coords.tolist(), contents)
    contents = [[(kind.symbol, amount) for kind, amount in site.species.items()] for site in crystal]
    return _Sites(crystal.lattice.matrix.tolist(), crystal.frac_coords.tolist(), contents)


def cif_string(structure: "Structure | Crystal", comment: str | None = None, name: str | None = None) -> str:
    """CIF text of a structure in P1, lengths in Å and angles in degrees to ten decimals.

    `comment` goes above it, each line behind '# '; `name` becomes the name of the data block in place of the
    formula. Oxidation states are left out; a site shared by several elements gets a row for each.
    """
    lattice, places, contents = _sites(structure)
    rows: list[str] = []
    amounts: dict[str, float] = {}
    for number, ((x, y, z), content) in enumerate(zip(places, contents, strict=True)):
        for symbol, occupancy in content:
            amounts[symbol] = amounts.get(symbol, 0) + occupancy
            rows.append(f"  {symbol}  {symbol}{number}  1  {x:.10f}  {y:.10f}  {z:.10f}  {occupancy:g}\n")
    formula = "".join([symbol + (f"{amount:g}" if amount != 1 else "") for symbol, amount in amounts.items()])
    parameters, volume = _parameters(lattice)
    header = _HEADER.format(
        *parameters,
        name=formula if name is None else re.sub(r"[^!-~]", "_", name),
        formula=formula,
        total=" ".join([f"{symbol}{amount:g}" for symbol, amount in amounts.items()]),
        volume=volume,
    )
    return _comment_lines(comment) + header + "".join(rows)


def _parameters(lattice: list[list[float]]) -> tuple[list[float], float]:
    """a, b, c in Å with alpha, beta, gamma in degrees, and the volume in Å^3. In plain numbers: for one cell numpy
    takes ten times as long."""
    a, b, c = lattice
    lengths = [math.sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]) for v in lattice]
    angles = []
    for i, j in ((1, 2), (0, 2), (0, 1)):
        (x, y, z), (u, v, w) = lattice[i], lattice[j]
        cosine = (x * u + y * v + z * w) / (lengths[i] * lengths[j])
        angles.append(math.degrees(math.acos(max(-1.0, min(1.0, cosine)))))
    across = (a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0])
    return lengths + angles, abs(across[0] * c[0] + across[1] * c[1] + across[2] * c[2])


def write_structures(
    structures: "Iterable[Structure | Crystal | LeftOut | None]",
    out: str | Path,
    *,
    comment: str | None = None,
    progress: bool = False,
    overwrite: bool = False,
    first: int = 0,
    total: int | None = None,
) -> Path:
    """Write structures in the form that the name of `out` asks for, and return its path.

    No suffix: a folder of 000000.cif, 000001.cif and so on; .zip: an archive of these; .csv: columns
    material_id and cif; .json: a list of pymatgen dicts; .extxyz or .xyz: extended XYZ. `comment` (model,
    seed) goes with each. None, a crystal whose decoding failed, keeps its place and is read back as a skipped
    entry, so that it stays in every metric's denominator. LEFT_OUT takes a number and nothing else.

    `structures` may be a generator: nothing is kept, and none is asked for before `out` is known to be free. A file
    appears under its name only when it is whole, and so do all in a folder; what is overwritten stays until then.
    The first is number `first`; `total` is for the bar.

    Raises DataError where `out` exists and is not empty, unless `overwrite`, and where the suffix is unknown.
    """
    path = Path(out).expanduser()
    writers: dict[str, Callable[[Crystals, IO[bytes], str | None], None]] = {
        ".zip": _write_zip,
        ".csv": _write_csv,
        ".json": _write_json,
        ".extxyz": _write_xyz,
        ".xyz": _write_xyz,
    }
    folder = path.is_dir() or not re.fullmatch(r"\.[a-zA-Z]\w*", path.suffix)
    if not folder and path.suffix not in writers:
        raise DataError(
            f"{path}: unknown form {path.suffix!r}; there are {', '.join(writers)} and a folder (no suffix)"
        )
    check_free(path, overwrite)
    if total is None and isinstance(structures, Sized):
        total = len(structures)
    named = ((f"{number:06d}", structure) for number, structure in zip(itertools.count(first), structures))
    shown = with_bar(named, f"Writing {path.name}", total, progress)
    crystals = ((name, structure) for name, structure in shown if not isinstance(structure, LeftOut))
    try:
        if folder:
            _write_folder(crystals, path, comment)
        else:
            write_whole(path, lambda file: writers[path.suffix](crystals, file, comment))
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None
    return path


def check_free(path: Path, overwrite: bool) -> None:
    """Raise DataError where something stands that is not to be overwritten: a file or folder that is not empty."""
    occupied = any(path.iterdir()) if path.is_dir() else path.exists() and path.stat().st_size > 0
    if occupied and not overwrite:
        raise DataError(f"{path}: exists and is not empty")


def write_whole(path: Path, write: Callable[[IO[bytes]], None]) -> None:
    """Let `write` fill a file that appears under its name only when it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def _write_folder(crystals: "Crystals", folder: Path, comment: str | None) -> None:
    # Inside a folder that is there already: its neighbours may be on another disk, or not ours to write to.
    there = folder.is_dir()
    near = folder if there else folder.parent
    near.mkdir(parents=True, exist_ok=True)
    unfinished = tempfile.mkdtemp(dir=near, prefix=f".{folder.name}-")
    try:
        for name, text in _cifs(crystals, comment):
            with open(f"{unfinished}/{name}.cif", "wb", buffering=0) as file:
                file.write(text.encode())
        if not there:
            os.chmod(unfinished, 0o777 & ~_umask())
            os.rename(unfinished, folder)
            return
        for stale in folder.glob("[0-9]*.cif"):  # of an earlier, longer sampling
            if re.fullmatch(r"\d{6,}\.cif", stale.name):
                stale.unlink()
        for file_name in os.listdir(unfinished):
            os.replace(f"{unfinished}/{file_name}", f"{folder}/{file_name}")
        os.rmdir(unfinished)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise


def _write_zip(crystals: "Crystals", file: IO[bytes], comment: str | None) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in _cifs(crystals, comment):
            # A fixed date: the same crystals give the same bytes.
            member = zipfile.ZipInfo(f"{name}.cif", date_time=(1980, 1, 1, 0, 0, 0))
            member.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(member, text)


def _write_csv(crystals: "Crystals", file: IO[bytes], comment: str | None) -> None:
    # The bytes of csv.writer, which looks at every character of a CIF and takes as long as making it.
    file.write(b"material_id,cif\r\n")
    for name, crystal in crystals:
        cell = "" if crystal is None else '"' + cif_string(crystal, comment).replace('"', '""') + '"'
        file.write(f"{name},{cell}\r\n".encode())


def _write_json(crystals: "Crystals", file: IO[bytes], comment: str | None) -> None:
    file.write(b"[")
    for number, (_, crystal) in enumerate(crystals):
        record = None if crystal is None else _record(crystal)
        if record is not None and comment is not None:
            record["properties"] = {**(record.get("properties") or {}), "comment": comment}
        file.write((",\n" if number else "\n").encode() + json.dumps(record, default=float).encode())
    file.write(b"\n]\n")


def _record(crystal: "Structure | Crystal") -> dict[str, Any]:
    """The dict of a pymatgen Structure."""
    if not isinstance(crystal, Crystal):
        return crystal.as_dict(verbosity=0)
    lattice, places, contents = _sites(crystal)
    sites = [
        {"species": [{"element": symbol, "occu": 1}], "abc": place, "properties": {}}
        for place, [(symbol, _)] in zip(places, contents, strict=True)
    ]
    return {
        "@module": "pymatgen.core.structure",
        "@class": "Structure",
        "charge": 0.0,
        "lattice": {"matrix": lattice, "pbc": [True, True, True]},
        "properties": {},
        "sites": sites,
    }


def _write_xyz(crystals: "Crystals", file: IO[bytes], comment: str | None) -> None:
    remark = "" if comment is None else f' comment="{_plain(comment)}"'
    for name, crystal in crystals:
        if crystal is None:
            file.write(f'0\nmaterial_id={name} failure="{FAILED}" pbc="F F F"{remark}\n'.encode())
            continue
        (a, b, c), places, contents = _sites(crystal)
        cell = " ".join([f"{value:.10f}" for value in (*a, *b, *c)])
        lines = [
            f"{len(places)}\n",
            f'Lattice="{cell}" Properties=species:S:1:pos:R:3 material_id={name} pbc="T T T"{remark}\n',
        ]
        for (u, v, w), ((symbol, _), *others) in zip(places, contents, strict=True):
            if others:
                raise DataError(f"crystal {name}: a site is shared by several elements, which XYZ cannot say")
            x, y, z = (u * a[k] + v * b[k] + w * c[k] for k in range(3))
            lines.append(f"{symbol:2} {x:16.10f} {y:16.10f} {z:16.10f}\n")
        file.write("".join(lines).encode())


def _cifs(crystals: "Crystals", comment: str | None) -> Iterator[tuple[str, str]]:
    for name, structure in crystals:
        if structure is None:
            yield name, _comment_lines(comment) + _comment_lines(FAILED)
        else:
            yield name, cif_string(structure, comment)


def _comment_lines(comment: str | None) -> str:
    return "".join(f"# {line}\n" for line in comment.splitlines()) if comment else ""


def _plain(comment: str) -> str:
    return " ".join(comment.replace('"', "'").replace("\\", "/").split())
