"""Molecules to SMILES files, tables, SDF and pictures; what RDKit refuses is written as it is, and refused again when
it is read.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sized
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from graphgan.data.errors import DataError
from graphgan.data.molecules import Molecule, canonical, fragment_count, raw_smiles, rdkit, to_mol, unsanitised
from graphgan.data.progress import with_bar
from graphgan.data.writing import check_free, write_whole

if TYPE_CHECKING:
    from rdkit.Chem import Mol

PICTURED = 100
"""Molecules in a picture."""
_PANEL = 180
"""Side of a molecule's panel in pixels."""


class _Written(NamedTuple):
    """What a file says of a molecule.

    name    its number, six digits
    source  the arrays, None where there is no molecule
    mol     sanitised; None where RDKit refuses the arrays
    smiles  canonical, or of the arrays as they are; "" without atoms
    valid   sanitised, and in one piece
    """

    name: str
    source: Molecule | None
    mol: "Mol | None"
    smiles: str
    valid: bool


def write_molecules(
    molecules: Iterable[Molecule | None],
    path: str | Path,
    *,
    comment: str | None = None,
    overwrite: bool = False,
    progress: bool = False,
    first: int = 0,
    total: int | None = None,
) -> Path:
    """Write molecules in the form that the name asks for, and return the path.

    .smi: SMILES, tab, number; .csv: columns id, smiles, valid (1 where RDKit sanitises it and it is in one piece);
    .sdf: with 2D coordinates; .svg or .png: a picture of the first hundred, and no more are asked for. SMILES are
    canonical, without stereo. A failure keeps its place: its SMILES is that of the graph as it is, "" without atoms.
    `comment` (model, seed) stands above a .smi file and with every molecule of an .sdf.

    `molecules` may be a generator: nothing is kept, and none is asked for before `path` is known to be free. A file
    appears under its name only when it is whole. The first is number `first`; `total` is for the bar.

    Raises DataError where `path` exists and is not empty, unless `overwrite`, where the suffix is unknown, and without
    RDKit.
    """
    path = Path(path).expanduser()
    writers: dict[str, Callable[[Iterator[_Written], IO[bytes], str | None], None]] = {
        ".smi": _write_smiles,
        ".csv": _write_csv,
        ".sdf": _write_sdf,
        ".svg": partial(_write_picture, canvas="MolDraw2DSVG"),
        ".png": partial(_write_picture, canvas="MolDraw2DCairo"),
    }
    if path.suffix not in writers or path.is_dir():
        raise DataError(f"{path}: unknown form {path.suffix!r}; molecules are written to {', '.join(writers)}")
    rdkit()
    check_free(path, overwrite)
    if total is None and isinstance(molecules, Sized):
        total = len(molecules)
    if path.suffix in (".svg", ".png"):
        molecules, total = itertools.islice(molecules, PICTURED), min(total or PICTURED, PICTURED)
    named = (_written(f"{number:06d}", molecule) for number, molecule in zip(itertools.count(first), molecules))
    shown = with_bar(named, f"Writing {path.name}", total, progress)
    try:
        write_whole(path, lambda file: writers[path.suffix](shown, file, comment))
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None
    return path


def _written(name: str, molecule: Molecule | None) -> _Written:
    if molecule is None:
        return _Written(name, None, None, "", False)
    mol = to_mol(molecule)
    if mol is None:
        return _Written(name, molecule, None, raw_smiles(molecule), False)
    return _Written(name, molecule, mol, canonical(mol), fragment_count(mol) == 1)


def _write_smiles(molecules: Iterator[_Written], file: IO[bytes], comment: str | None) -> None:
    file.write("".join(f"# {line}\n" for line in (comment or "").splitlines()).encode())
    for molecule in molecules:
        file.write(f"{molecule.smiles}\t{molecule.name}\n".encode())


def _write_csv(molecules: Iterator[_Written], file: IO[bytes], comment: str | None) -> None:
    file.write(b"id,smiles,valid\r\n")  # SMILES hold nothing that a table would have to quote
    for molecule in molecules:
        file.write(f"{molecule.name},{molecule.smiles},{int(molecule.valid)}\r\n".encode())


def _write_sdf(molecules: Iterator[_Written], file: IO[bytes], comment: str | None) -> None:
    remark = " ".join(comment.split()) if comment else ""
    for molecule in molecules:
        fields = {"smiles": molecule.smiles, "valid": str(int(molecule.valid)), "comment": remark}
        data = "".join(f">  <{name}>\n{value}\n\n" for name, value in fields.items() if value)
        file.write(f"{_block(molecule)}{data}$$$$\n".encode())


def _block(molecule: _Written) -> str:
    from rdkit import Chem

    mol = _laid_out(molecule)
    mol.SetProp("_Name", molecule.name)
    return Chem.MolToMolBlock(mol, kekulize=molecule.mol is not None)


def _laid_out(molecule: _Written) -> "Mol":
    """The molecule with coordinates in the plane, unsanitised if it is a failure; without atoms where there is none."""
    from rdkit import Chem
    from rdkit.Chem.rdDepictor import Compute2DCoords

    mol = molecule.mol
    if mol is None:
        mol = Chem.Mol() if molecule.source is None else unsanitised(molecule.source)
        mol.UpdatePropertyCache(strict=False)
        Chem.FastFindRings(mol)
    Compute2DCoords(mol)
    return mol


def _drawable(failure: _Written) -> "Mol":
    """A failure laid out; without atoms where RDKit lays two of them on one spot and cannot draw their bond."""
    from rdkit import Chem
    from rdkit.Chem.Draw import rdMolDraw2D

    mol, drawer = _laid_out(failure), rdMolDraw2D.MolDraw2DSVG(2 * _PANEL, _PANEL, _PANEL, _PANEL)
    _as_they_are(drawer)
    try:
        drawer.DrawMolecules([mol, mol])  # alone in a picture it does not fail
    except RuntimeError:
        return Chem.Mol()
    return mol


def _as_they_are(drawer: Any) -> None:
    """Let failures be drawn, which RDKit would refuse to prepare."""
    drawer.drawOptions().prepareMolsBeforeDrawing = False


def _write_picture(molecules: Iterator[_Written], file: IO[bytes], comment: str | None, canvas: str) -> None:
    """A grid as square as can be; failures are drawn as they are, and an empty panel is one without atoms."""
    from rdkit.Chem.Draw import rdMolDraw2D

    shown = list(molecules)
    columns = max(1, math.ceil(math.sqrt(len(shown))))
    rows = max(1, math.ceil(len(shown) / columns))
    drawer = getattr(rdMolDraw2D, canvas)(columns * _PANEL, rows * _PANEL, _PANEL, _PANEL)
    legends = [molecule.name + ("" if molecule.valid else " not valid") for molecule in shown]
    _as_they_are(drawer)
    prepare = rdMolDraw2D.PrepareMolForDrawing
    drawn = [_drawable(molecule) if molecule.mol is None else prepare(molecule.mol) for molecule in shown]
    drawer.DrawMolecules(drawn, legends=legends)
    drawer.FinishDrawing()
    picture = drawer.GetDrawingText()
    file.write(picture.encode() if isinstance(picture, str) else picture)
