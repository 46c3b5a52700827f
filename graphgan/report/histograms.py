"""The distributions of a page: what the values behind the distances look like, generated against real."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from html import escape
from itertools import chain
from typing import Any, TypeVar

from graphgan.metrics.distributions import MIN_PAIR_COUNT, element_histogram, pair_distances
from graphgan.report import charts
from graphgan.report.crystals import space_group_symbol
from graphgan.report.shortfalls import pair_name

T = TypeVar("T")

MAX_SPACE_GROUPS = 12
NUM_PAIRS = 2
"""Pairs of elements whose bond lengths are drawn."""
MAX_CLASSES = 60
"""Bars of a chart; a wider range is drawn as a histogram."""


def render(ours: Mapping[str, list], theirs: Mapping[str, list] | None) -> str:
    """All charts, without those of a single class; nothing where no sample is valid."""
    if not ours or not ours["density"]:
        return ""

    def both(column: str, function: Callable[[list], T]) -> tuple[T, T | None]:
        return function(ours[column]), None if theirs is None else function(theirs[column])

    figures = [
        histogram("Density", "density (g/cm³)", *both("density", list)),
        histogram("Nearest neighbours", "nearest neighbour of each atom (Å)", *both("nearest_neighbours", _pooled)),
        counts("Atoms per cell", "number of atoms", *both("num_atoms", Counter)),
        counts("Elements per crystal", "number of elements", *both("num_elements", Counter)),
        histogram("Cell edges", "edges of the Niggli cell (Å)", *both("cell_lengths", _pooled)),
        histogram("Cell angles", "angles of the Niggli cell (°)", *both("cell_angles", _pooled)),
        *_bonds(*both("bonds", pair_distances)),
        _elements(*both("elements", element_histogram)),
        _space_groups(*both("spacegroup", Counter)),
    ]
    return f'<div class="charts">{"".join(figures)}</div>'


def _pooled(values: list) -> list[float]:
    return list(chain.from_iterable(values))


def figure(caption: str, svg: str, wide: bool = False) -> str:
    """A chart under its caption."""
    kind = ' class="wide"' if wide else ""
    return f"<figure{kind}><figcaption>{escape(caption)}</figcaption>{svg}</figure>"


def histogram(caption: str, label: str, ours: list[float], theirs: list[float] | None) -> str:
    """A chart of numbers; nothing without any."""
    return figure(caption, charts.histogram(ours, theirs, label)) if ours or theirs else ""


def counts(caption: str, label: str, ours: Counter, theirs: Counter | None) -> str:
    """A chart of whole numbers; nothing where all are the same."""
    seen = {*ours, *(theirs or ())}
    if len(seen) == 1:
        return ""
    if max(seen) - min(seen) >= MAX_CLASSES:
        return histogram(caption, label, list(ours.elements()), None if theirs is None else list(theirs.elements()))
    return figure(caption, charts.bars(ours, theirs, label, classes=range(min(seen), max(seen) + 1)))


def _bonds(ours: dict, theirs: dict | None) -> list[str]:
    """Bond lengths of the pairs most frequent among real crystals, of those that both sides have."""
    leading = ours if theirs is None else theirs
    ranked = sorted(leading, key=lambda pair: (-len(leading[pair]), pair))
    enough = [pair for pair in ranked if min(len(leading[pair]), len(ours.get(pair, ()))) >= MIN_PAIR_COUNT]
    return [
        histogram(
            f"{pair_name(pair)} bonds",
            f"{pair_name(pair)} nearest neighbours (Å)",
            ours[pair],
            None if theirs is None else theirs[pair],
        )
        for pair in enough[:NUM_PAIRS]
    ]


def _elements(ours: Mapping[str, float], theirs: Mapping[str, float] | None) -> str:
    from pymatgen.core import Element

    # Dummies come first.
    number = {e.symbol: e.Z for e in Element}
    present = sorted({*ours, *(theirs or ())}, key=lambda symbol: number.get(symbol, 0))
    if len(present) == 1:
        return ""
    label = "element, by atomic number; every crystal adds its atomic fractions"
    return figure("Elements", charts.bars(ours, theirs, label, classes=present, wide=True), wide=True)


def _space_groups(ours: Counter, theirs: Counter | None) -> str:
    shown, rest, (ours, theirs) = gathered(ours, theirs, MAX_SPACE_GROUPS)
    names = ["none\nfound" if n is None else f"{space_group_symbol(n)}\n({n})" for n in shown]
    label = "space group (number), most frequent first"
    return most_frequent("Symmetry", label, ours, theirs, shown, names, rest)


def gathered(ours: Counter, theirs: Counter | None, most: int) -> tuple[list[Any], int, tuple[Counter, Counter | None]]:
    """The most frequent classes of both sides together; how many more there are; and the sides, these under "rest"."""
    weight: dict[Any, float] = {}
    for counts in (c for c in (ours, theirs) if c):
        for name, count in counts.items():
            weight[name] = weight.get(name, 0.0) + count / counts.total()
    ranked = sorted(weight, key=lambda name: -weight[name])
    kept = set(ranked[:most])

    def side(counts: Counter) -> Counter:
        found = Counter({name: count for name, count in counts.items() if name in kept})
        found["rest"] = counts.total() - found.total()
        return found

    return ranked[:most], len(ranked[most:]), (side(ours), None if theirs is None else side(theirs))


def most_frequent(
    caption: str, label: str, ours: Counter, theirs: Counter | None, shown: list, names: list[str], rest: int
) -> str:
    """A wide chart of what `gathered` gives, its classes under `names`."""
    classes, ticks = ([*shown, "rest"], [*names, f"{rest}\nothers"]) if rest else (shown, names)
    return figure(caption, charts.bars(ours, theirs, label, classes=classes, names=ticks, wide=True), wide=True)
