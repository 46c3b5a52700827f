"""per_molecule.csv: what is known of every sample, in a row, and why a failure is one."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from graphgan.data.molecules import complaint
from graphgan.metrics.molecule_properties import is_sanitised, is_valid, num_fragments

if TYPE_CHECKING:
    from rdkit.Chem import Mol

COLUMNS = (
    "index",
    "id",
    "smiles",
    "valid",
    "sanitised",
    "fragments",
    "unique",
    "novel",
    "num_atoms",
    "num_rings",
    "weight",
    "log_p",
    "qed",
    "sa",
    "failure",
)
"""Columns of per_molecule.csv before those of the rewards; a cell is empty where the quantity does not exist."""
PIECES = "several fragments"


def failure_of(mol: Mol | None, raw: str, reason: str) -> str:
    """Why a sample is not valid, in one line; "" for one that is. `raw` is its SMILES and `reason` what is known
    already, "" where there is none."""
    from rdkit import Chem

    if is_valid(mol):
        return ""
    if mol is not None and is_sanitised(mol):
        count = num_fragments(mol)
        return f"{count} fragments" if count > 1 else "a dummy atom"
    if reason:
        return reason
    if mol is not None:
        return complaint(mol, "") if mol.GetNumAtoms() else "no atoms"
    return complaint(Chem.MolFromSmiles(raw, sanitize=False), "not a SMILES") if raw else "no molecule"


def kind_of_failure(failure: str) -> str:
    """The failure without the numbers of atoms: N of valence 4."""
    if re.fullmatch(r"\d+ fragments(?:,.*)?", failure):
        return PIECES
    if valence := re.fullmatch(r"Explicit valence for atom # \d+ (\w+), (\d+), is greater than permitted", failure):
        return f"{valence[1]} of valence {valence[2]}"
    if failure.startswith("Can't kekulize mol"):
        return "an aromatic ring without a Kekulé form"
    return re.sub(r" ?# \d+", "", failure)


def failures_by_kind(failures: Iterable[str]) -> dict[str, int]:
    """How many samples failed in each way, the most frequent first."""
    counts = Counter(kind_of_failure(failure) for failure in failures if failure)
    return dict(sorted(counts.items(), key=lambda kind: (-kind[1], kind[0])))


def row_of(index: int, name: Any, facts: dict[str, Any], rewards: dict[str, float]) -> dict[str, Any]:
    """A row with the keys of COLUMNS, an empty cell for what is None or absent, and the rewards."""
    row = {"index": index, "id": name, **{c: facts.get(c) for c in COLUMNS[2:]}}
    return {key: "" if value is None else value for key, value in {**row, **rewards}.items()}
