"""Structures to CIF files, archives, tables and XYZ; every crystal is written in P1, exactly as it is.

The writers are our own: pymatgen's CifWriter takes a few milliseconds a crystal, and XYZ must not need ase.
"""

import csv
import io
import json
import os
import re
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

from graphgan.data.errors import DataError
from graphgan.data.progress import with_bar

if TYPE_CHECKING:
    from pymatgen.core import Structure

    Crystals = Iterable[tuple[str, Structure | None]]

FAILED = "no crystal: decoding failed"
"""What stands where a crystal would stand when its decoding failed, in the forms that can hold a remark."""

_HEADER = """\
data_{formula}
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


def cif_string(structure: "Structure", comment: str | None = None, name: str | None = None) -> str:
    """CIF text of a structure in P1, lengths in Å and angles in degrees to ten decimals.

    `comment` goes above it, each line behind '# '; `name` becomes the name of the data block in place of the
    formula. Oxidation states are left out; a site shared by several elements gets a row for each.
    """
    rows: list[str] = []
    amounts: dict[str, float] = {}
    for number, (site, position) in enumerate(zip(structure, structure.frac_coords.tolist(), strict=True)):
        place = "  ".join(f"{value:.10f}" for value in position)
        for species, occupancy in site.species.items():
            symbol = species.symbol
            amounts[symbol] = amounts.get(symbol, 0) + occupancy
            rows.append(f"  {symbol}  {symbol}{number}  1  {place}  {occupancy:g}\n")
    formula = "".join(symbol + (f"{amount:g}" if amount != 1 else "") for symbol, amount in amounts.items())
    header = _HEADER.format(
        *structure.lattice.parameters,
        formula=formula,
        total=" ".join(f"{symbol}{amount:g}" for symbol, amount in amounts.items()),
        volume=structure.volume,
    )
    if name is not None:
        header = header.replace(f"data_{formula}", f"data_{re.sub(r'[^!-~]', '_', name)}", 1)
    return _comment_lines(comment) + header + "".join(rows)


def write_structures(
    structures: "Sequence[Structure | None]",
    out: str | Path,
    *,
    comment: str | None = None,
    progress: bool = False,
    overwrite: bool = False,
) -> Path:
    """Write structures in the form that the name of `out` asks for, and return its path.

    No suffix: a folder of 000000.cif, 000001.cif and so on; .zip: an archive of these; .csv: columns
    material_id and cif; .json: a list of pymatgen dicts; .extxyz or .xyz: extended XYZ. `comment` (model,
    seed) goes with each. None, a crystal whose decoding failed, keeps its place and is read back as a skipped
    entry, so that it stays in every metric's denominator.

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
    occupied = any(path.iterdir()) if path.is_dir() else path.exists() and path.stat().st_size > 0
    if occupied and not overwrite:
        raise DataError(f"{path}: exists and is not empty")
    named = ((f"{number:06d}", structure) for number, structure in enumerate(structures))
    crystals = with_bar(named, f"Writing {path.name}", len(structures), progress)
    try:
        if folder:
            _write_folder(crystals, path, comment)
        else:
            _write_file(path, lambda file: writers[path.suffix](crystals, file, comment))
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None
    return path


def _write_file(path: Path, write: Callable[[IO[bytes]], None]) -> None:
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
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob("[0-9]*.cif"):  # of an earlier, longer sampling
        if re.fullmatch(r"\d{6,}\.cif", stale.name):
            stale.unlink()
    for name, text in _cifs(crystals, comment):
        (folder / f"{name}.cif").write_text(text, encoding="utf-8")


def _write_zip(crystals: "Crystals", file: IO[bytes], comment: str | None) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in _cifs(crystals, comment):
            # A fixed date: the same crystals give the same bytes.
            member = zipfile.ZipInfo(f"{name}.cif", date_time=(1980, 1, 1, 0, 0, 0))
            member.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(member, text)


def _write_csv(crystals: "Crystals", file: IO[bytes], comment: str | None) -> None:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    table = csv.writer(text)
    table.writerow(("material_id", "cif"))
    for name, structure in crystals:
        table.writerow((name, "" if structure is None else cif_string(structure, comment)))
    text.flush()
    text.detach()


def _write_json(crystals: "Crystals", file: IO[bytes], comment: str | None) -> None:
    for number, (_, structure) in enumerate(crystals):
        record = None if structure is None else structure.as_dict(verbosity=0)
        if record is not None and comment is not None:
            record["properties"] = {**(record.get("properties") or {}), "comment": comment}
        file.write((",\n" if number else "[\n").encode() + json.dumps(record, default=float).encode())
    file.write(b"\n]\n")


def _write_xyz(crystals: "Crystals", file: IO[bytes], comment: str | None) -> None:
    remark = "" if comment is None else f' comment="{_plain(comment)}"'
    for name, structure in crystals:
        if structure is None:
            file.write(f'0\nmaterial_id={name} failure="{FAILED}" pbc="F F F"{remark}\n'.encode())
            continue
        lattice = " ".join(f"{value:.10f}" for value in structure.lattice.matrix.ravel().tolist())
        lines = [
            f"{len(structure)}\n",
            f'Lattice="{lattice}" Properties=species:S:1:pos:R:3 material_id={name} pbc="T T T"{remark}\n',
        ]
        for site, (x, y, z) in zip(structure, structure.cart_coords.tolist(), strict=True):
            lines.append(f"{site.specie.symbol:2} {x:16.10f} {y:16.10f} {z:16.10f}\n")
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
