"""per_structure.csv: what is known of every sample, in a row."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from graphgan.metrics.profiles import Profile
from graphgan.report.findings import Findings

if TYPE_CHECKING:
    from graphgan.stability import Stability

COLUMNS = (
    "index",
    "id",
    "formula",
    "num_atoms",
    "spacegroup",
    "prototype",
    "density",
    "volume_per_atom",
    "min_distance",
    "bond_deviation",
    "structurally_valid",
    "compositionally_valid",
    "unique",
    "novel",
    "nearest_structure",
    "nearest_composition",
    "energy_per_atom",
    "e_above_hull",
    "relaxation_steps",
    "stability_failure",
)
"""Columns of per_structure.csv; a cell is empty where the quantity does not exist or was not computed."""

MIN_BONDS = 5
"""Atoms of a pair of elements in the reference below which their bond length is not taken as known."""

Medians = Mapping[tuple[str, str], float]


def bond_medians(reference: Sequence[Profile]) -> dict[tuple[str, str], float]:
    """Median nearest-neighbour distance in Å by pair of elements, of pairs that occur at least MIN_BONDS times."""
    found: dict[tuple[str, str], list[float]] = {}
    for crystal in reference:
        for distance, pair in zip(crystal.nearest_neighbours, crystal.neighbour_pairs, strict=True):
            found.setdefault(pair, []).append(distance)
    return {pair: median(distances) for pair, distances in found.items() if len(distances) >= MIN_BONDS}


def bond_deviation(crystal: Profile, medians: Medians) -> float | None:
    """Mean over atoms of |d - m| / m, d the distance to the nearest neighbour and m its median among real crystals with
    the same two elements; None where no pair is known."""
    known = [
        abs(distance / medians[pair] - 1)
        for distance, pair in zip(crystal.nearest_neighbours, crystal.neighbour_pairs, strict=True)
        if pair in medians
    ]
    return float(np.mean(known)) if known else None


def rows_of(
    findings: Findings, tolerances: str, ids: Sequence[str] | None, stability: Stability | None
) -> list[dict[str, Any]]:
    """One row a sample, with the keys of COLUMNS."""
    medians = bond_medians(findings.reference or [])
    comparison = findings.comparisons[tolerances]
    rows = []
    for index, crystal in enumerate(findings.profiles):
        facts: dict[str, Any] = {
            "index": index,
            "id": index if ids is None else ids[index],
            "structurally_valid": crystal is not None and crystal.structurally_valid,
            "compositionally_valid": crystal is not None and crystal.compositionally_valid,
            "unique": comparison.unique[index],
            "novel": None if comparison.novel is None else comparison.novel[index],
        }
        if crystal is not None:
            facts |= _of_crystal(crystal, medians)
        if findings.prints is not None:
            facts["nearest_structure"], facts["nearest_composition"] = findings.prints.nearest[index].tolist()
        if stability is not None:
            found = stability.rows[index]
            facts |= {
                "energy_per_atom": found.energy_per_atom,
                "e_above_hull": found.e_above_hull,
                "relaxation_steps": found.steps,
                "stability_failure": found.reason,
            }
        rows.append({column: _cell(facts.get(column)) for column in COLUMNS})
    return rows


def _of_crystal(crystal: Profile, medians: Medians) -> dict[str, Any]:
    return {
        "formula": crystal.formula,
        "num_atoms": crystal.num_atoms,
        "spacegroup": crystal.spacegroup,
        "prototype": crystal.prototype,
        "density": crystal.density,
        "volume_per_atom": crystal.volume_per_atom,
        "min_distance": crystal.min_distance,
        "bond_deviation": bond_deviation(crystal, medians),
    }


def _cell(value: Any) -> Any:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    return value
