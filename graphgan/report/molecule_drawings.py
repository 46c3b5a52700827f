"""Structural formulas as inline SVG, of molecules and of what RDKit refuses; the atoms at fault are marked."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rdkit.Chem import Mol

WIDTH, HEIGHT = 160, 120
BOND = 24
"""Pixels of a bond, less where a molecule would not fit."""
MAX_ATOMS = 150
"""Atoms above which a picture of this size shows nothing."""
FAULT = (0.98, 0.72, 0.68)


def drawing(smiles: str, description: str) -> str | None:
    """The formula of a SMILES as an <svg> element that scales with its container; None where it cannot be drawn.

    `description` must be escaped already.
    """
    from rdkit import Chem

    mol, faults = Chem.MolFromSmiles(smiles), list[int]()
    if mol is None:
        mol = Chem.MolFromSmiles(smiles, sanitize=False)
        if mol is None:
            return None
        faults = _faults(mol)
        mol.UpdatePropertyCache(strict=False)
        Chem.FastFindRings(mol)
    if not 0 < mol.GetNumAtoms() <= MAX_ATOMS:
        return None
    try:
        return _element(_svg(mol, faults), description)
    except (RuntimeError, ValueError):  # what RDKit raises for graphs that it can lay out in no way
        return None


def _faults(mol: Mol) -> list[int]:
    """The atoms of which RDKit complains."""
    from rdkit import Chem

    found: list[int] = []
    for problem in Chem.DetectChemistryProblems(mol):
        if hasattr(problem, "GetAtomIndices"):
            found += problem.GetAtomIndices()
        elif hasattr(problem, "GetAtomIdx"):
            found.append(problem.GetAtomIdx())
    return found


def _svg(mol: Mol, faults: list[int]) -> str:
    from rdkit.Chem import rdDepictor
    from rdkit.Chem.Draw import rdMolDraw2D

    if not faults:
        mol = rdMolDraw2D.PrepareMolForDrawing(mol, kekulize=True, addChiralHs=False)
    rdDepictor.Compute2DCoords(mol)
    canvas = rdMolDraw2D.MolDraw2DSVG(WIDTH, HEIGHT)
    options: Any = canvas.drawOptions()
    options.clearBackground = False
    options.prepareMolsBeforeDrawing = False
    options.fixedBondLength = BOND
    options.bondLineWidth = 1.3
    options.padding = 0.06
    options.setHighlightColour(FAULT)
    canvas.DrawMolecule(mol, highlightAtoms=faults, highlightBonds=[])
    canvas.FinishDrawing()
    return canvas.GetDrawingText()


def _element(svg: str, description: str) -> str:
    """The drawing without header, names and defaults, which are half of its text."""
    body = svg[svg.index("<!-- END OF HEADER -->") + len("<!-- END OF HEADER -->") : svg.rindex("</svg>")]
    body = re.sub(r" class='[^']*'", "", body)
    body = re.sub(r"(?:fill-rule:evenodd|stroke-(?:linecap:butt|linejoin:miter|opacity:1|miterlimit:10));?", "", body)
    body = re.sub(r"\s+", " ", body.replace("#000000", "#333d4a"))
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{description}">{body.strip()}</svg>'
