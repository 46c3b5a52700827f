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
        _histogram("Density", "density (g/cm³)", *both("density", list)),
        _histogram("Nearest neighbours", "nearest neighbour of each atom (Å)", *both("nearest_neighbours", _pooled)),
        _counts("Atoms per cell", "number of atoms", *both("num_atoms", Counter)),
        _counts("Elements per crystal", "number of elements", *both("num_elements", Counter)),
        _histogram("Cell edges", "edges of the Niggli cell (Å)", *both("cell_lengths", _pooled)),
        _histogram("Cell angles", "angles of the Niggli cell (°)", *both("cell_angles", _pooled)),
        *_bonds(*both("bonds", pair_distances)),
        _elements(*both("elements", element_histogram)),
        _space_groups(*both("spacegroup", Counter)),
    ]
    return f'<div class="charts">{"".join(figures)}</div>'


def _pooled(values: list) -> list[float]:
    return list(chain.from_iterable(values))


def _figure(caption: str, svg: str, wide: bool = False) -> str:
    kind = ' class="wide"' if wide else ""
    return f"<figure{kind}><figcaption>{escape(caption)}</figcaption>{svg}</figure>"


def _histogram(caption: str, label: str, ours: list[float], theirs: list[float] | None) -> str:
    return _figure(caption, charts.histogram(ours, theirs, label)) if ours or theirs else ""


def _counts(caption: str, label: str, ours: Counter, theirs: Counter | None) -> str:
    seen = {*ours, *(theirs or ())}
    if len(seen) == 1:
        return ""
    if max(seen) - min(seen) >= MAX_CLASSES:
        return _histogram(caption, label, list(ours.elements()), None if theirs is None else list(theirs.elements()))
    return _figure(caption, charts.bars(ours, theirs, label, classes=range(min(seen), max(seen) + 1)))


def _bonds(ours: dict, theirs: dict | None) -> list[str]:
    """Bond lengths of the pairs most frequent among real crystals, of those that both sides have."""
    leading = ours if theirs is None else theirs
    ranked = sorted(leading, key=lambda pair: (-len(leading[pair]), pair))
    enough = [pair for pair in ranked if min(len(leading[pair]), len(ours.get(pair, ()))) >= MIN_PAIR_COUNT]
    return [
        _histogram(
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
    return _figure("Elements", charts.bars(ours, theirs, label, classes=present, wide=True), wide=True)


def _space_groups(ours: Counter, theirs: Counter | None) -> str:
    weight: dict[int | None, float] = {}
    for counts in (c for c in (ours, theirs) if c):
        for number, count in counts.items():
            weight[number] = weight.get(number, 0.0) + count / counts.total()
    ranked = sorted(weight, key=lambda number: -weight[number])
    shown, rest = ranked[:MAX_SPACE_GROUPS], ranked[MAX_SPACE_GROUPS:]
    classes: list[Any] = [*shown]
    names = ["none\nfound" if n is None else f"{space_group_symbol(n)}\n({n})" for n in shown]
    if rest:
        classes.append("rest")
        names.append(f"{len(rest)}\nothers")
        for histogram in (c for c in (ours, theirs) if c):
            histogram["rest"] = sum(histogram[number] for number in rest)
            for number in rest:
                del histogram[number]
    label = "space group (number), most frequent first"
    return _figure("Symmetry", charts.bars(ours, theirs, label, classes=classes, names=names, wide=True), True)
