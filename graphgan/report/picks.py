"""Which crystals a page shows and why: random samples, the best and the worst of them, and real crystals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from graphgan.report.result import Report

NUM_RANDOM, NUM_RANKED, NUM_REAL = 12, 4, 4
MIN_SHOWN_VOLUME, MAX_SHOWN_EDGE, MAX_SHOWN_ATOMS = 1e-3, 1000.0, 400
"""Å³, Å and atoms of a cell; beyond these there is nothing to see, or too much for a page."""


@dataclass(frozen=True)
class Pick:
    """A crystal to show; `index` is its row in the report, None of a real one."""

    structure: Structure
    index: int | None


@dataclass(frozen=True)
class Group:
    """Crystals under one heading, which says how they were chosen."""

    heading: str
    picks: list[Pick]


@dataclass(frozen=True)
class Measure:
    """A column of per_structure rows that ranks samples, low is good; `fact` turns a value into a short line, and
    `meaning` says what it is."""

    column: str
    words: str
    fact: str
    meaning: str
    scale: float = 1.0

    def of(self, row: dict[str, Any]) -> float | None:
        """The value of a row; None where it has none."""
        return None if row[self.column] == "" else float(row[self.column])

    def line(self, value: float) -> str:
        """A value as the short line of a card."""
        return self.fact.format(value * self.scale)


HULL = Measure(
    "e_above_hull",
    "energy above the hull",
    "{:.3f} eV/atom above the hull",
    "The energy is that of the relaxed crystal above the hull of the training crystals; the sample is drawn as it was.",
)
BONDS = Measure(
    "bond_deviation",
    "deviation from real bond lengths",
    "bonds {:.1f} % off",
    "“Bonds … % off” is the mean over atoms of how far the distance to the nearest neighbour is from the median among "
    "real crystals, for the same two elements.",
    100.0,
)


def measure_of(report: Report) -> Measure | None:
    """The energy above the hull where it was computed, else the deviation of bond lengths, else nothing."""
    for measure in (HULL, BONDS):
        if any(measure.of(row) is not None for row in report.per_structure):
            return measure
    return None


def choose(report: Report) -> list[Group]:
    """Groups that hold a crystal each; the report's seed decides what is drawn at random.

    Best and worst are shown where the random ones are not all samples.
    """
    rng = np.random.default_rng(report.settings.get("seed", 0))
    drawn = _first(report.samples, rng.permutation(len(report.samples)).tolist(), NUM_RANDOM)
    groups = [Group("Drawn at random", sorted(drawn, key=lambda pick: pick.index or 0))]
    if len(report.samples) > NUM_RANDOM:
        groups += _ranked(report)
    real = _first(report.reference, rng.permutation(len(report.reference)).tolist(), NUM_REAL)
    groups.append(Group("Real crystals, drawn at random", [Pick(pick.structure, None) for pick in real]))
    return [group for group in groups if group.picks]


def _ranked(report: Report) -> list[Group]:
    """The best, one of each formula and prototype, then the worst: invalid ones with the closest atoms first."""
    rows, measure = report.per_structure, measure_of(report)
    values = {i: measure.of(row) for i, row in enumerate(rows) if row["structurally_valid"]} if measure else {}
    known = sorted((value, i) for i, value in values.items() if value is not None)
    kinds: dict[Any, int] = {}
    for _, i in known:
        kinds.setdefault((rows[i]["formula"], rows[i]["prototype"]), i)
    best = _first(report.samples, kinds.values(), NUM_RANKED)
    taken = {pick.index for pick in best}
    failed = (i for i, row in enumerate(rows) if row["formula"] and not row["structurally_valid"])
    broken = _first(report.samples, sorted(failed, key=lambda i: (_closest(rows[i]), i)), NUM_RANKED)
    left = (i for _, i in reversed(known) if i not in taken)
    worst = [*broken, *_first(report.samples, left, NUM_RANKED - len(broken))]
    by = ["invalid with the closest atoms"] if broken else []
    if measure is not None and len(worst) > len(broken):
        by.append(f"highest {measure.words}")
    return [
        Group(f"Best: lowest {measure.words}" if measure else "Best", best),
        Group(f"Worst: {', then '.join(by)}", worst),
    ]


def _closest(row: dict[str, Any]) -> float:
    return float(row["min_distance"]) if row["min_distance"] != "" else float("inf")


def _first(structures: Sequence[Structure | None], order: Iterable[int], count: int) -> list[Pick]:
    """The first `count` crystals that can be drawn."""
    picks = (Pick(s, i) for i in order if (s := structures[i]) is not None and drawable(s))
    return list(islice(picks, count))


def drawable(structure: Structure) -> bool:
    """Whether a picture can show it: finite, not flat, not huge."""
    matrix, positions = structure.lattice.matrix, structure.frac_coords
    if not (np.isfinite(matrix).all() and np.isfinite(positions).all()) or not 0 < len(structure) <= MAX_SHOWN_ATOMS:
        return False
    return bool(np.abs(matrix).max() <= MAX_SHOWN_EDGE and structure.lattice.volume > MIN_SHOWN_VOLUME)
