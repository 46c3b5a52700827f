"""Charts as inline SVG in one style: real data in grey, generated in blue. Figures only, never pyplot."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

REAL, GENERATED, INK, GRID = "#9aa5b4", "#1f6feb", "#333d4a", "#e6e9ee"
MAX_POINTS = 400
"""A longer curve is drawn as the mean of bins, over the band from their lowest to their highest value."""


def histogram(generated: Sequence[float], reference: Sequence[float] | None, label: str, *, bins: int = 41) -> str:
    """Two normalised histograms on shared bins; the outermost 0.5 % of values are gathered in the end bins. An odd
    number of bins keeps the middle of a range, the 90 of angles from 60 to 120, in one of them."""
    pooled = np.concatenate([np.asarray(v, float) for v in (generated, reference or []) if len(v)])
    low, high = np.percentile(pooled, [0.5, 99.5])
    edges = np.linspace(low, high, bins + 1) if high > low else np.linspace(low - 0.5, low + 0.5, bins + 1)
    figure, axes = _figure(4.6, 2.7)
    for values, style in _styles(generated, reference):
        if len(values):
            share = np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0] / len(values)
            axes.stairs(100 * share, edges, **style)
    axes.set_xlabel(label)
    axes.set_ylabel("share (%)")
    _legend(axes, reference)
    return to_svg(figure)


def bars(
    generated: Mapping[Any, float],
    reference: Mapping[Any, float] | None,
    label: str,
    *,
    classes: Sequence[Any],
    names: Sequence[str] | None = None,
    wide: bool = False,
) -> str:
    """Two histograms over classes as pairs of bars, in percent of each total."""
    shown = list(names if names is not None else map(str, classes))
    if wide and len(shown) > 45:  # two rows of labels, or they would overlap
        shown = [name if i % 2 == 0 else f"\n{name}" for i, name in enumerate(shown)]
    two_rows = any("\n" in name for name in shown)
    figure, axes = _figure(9.6 if wide else 4.6, 2.7, bottom=0.56 if two_rows else 0.44)
    places = np.arange(len(classes))
    both = reference is not None
    for counts, colour, name, shift in (
        (reference, REAL, "real", -0.2),
        (generated, GENERATED, "generated", 0.2 if both else 0.0),
    ):
        if counts is not None:
            total = sum(counts.values()) or 1
            heights = [100 * counts.get(c, 0) / total for c in classes]
            axes.bar(places + shift, heights, 0.4 if both else 0.7, color=colour, label=name)
    # Thin out numbers that would overlap.
    step = 1 if wide else max(1, len(shown) // 16)
    axes.set_xticks(places[::step], shown[::step], fontsize=7.5 if wide else 8)
    # A single class must not become one giant bar.
    room = max(0.7, 2 - len(classes) / 2)
    axes.set_xlim(-room, len(classes) - 1 + room)
    axes.set_xlabel(label)
    axes.set_ylabel("share (%)")
    _legend(axes, reference)
    return to_svg(figure)


def curve(steps: Sequence[float], values: Sequence[float], label: str) -> str:
    """One training quantity against the step."""
    figure, axes = _figure(3.1, 2.0)
    x, y = np.asarray(steps, float), np.asarray(values, float)
    if len(x) > MAX_POINTS:
        parts = np.array_split(np.arange(len(x)), MAX_POINTS)
        low, high = ([float(f(y[p])) for p in parts] for f in (np.min, np.max))
        x, y = (np.array([a[p].mean() for p in parts]) for a in (x, y))
        axes.fill_between(x, low, high, color=GENERATED, alpha=0.18, linewidth=0)
    axes.plot(x, y, color=GENERATED, linewidth=1.3, marker="o" if len(x) == 1 else None, markersize=3)
    if _spans_decades(y):
        axes.set_yscale("log")
    axes.set_title(label, fontsize=9, color=INK, loc="left")
    axes.set_xlabel("step")
    return to_svg(figure)


def _spans_decades(values: np.ndarray) -> bool:
    if values.min() <= 0:
        return False
    low, high = np.percentile(values, [5, 95])
    return bool(high / low > 100)


def _styles(generated: Sequence[float], reference: Sequence[float] | None) -> list[tuple[Sequence[float], dict]]:
    ours = (generated, {"color": GENERATED, "linewidth": 1.6, "label": "generated"})
    if reference is None:
        return [ours]
    return [(reference, {"color": REAL, "fill": True, "alpha": 0.55, "label": "real"}), ours]


def _figure(width: float, height: float, bottom: float = 0.44) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    # Fixed margins in inches: charts line up, and matplotlib's own layout would take half of the time of a
    # page.
    left, right, top = 0.52, 0.16, 0.26
    figure = Figure(figsize=(width, height))
    box = (left / width, bottom / height, 1 - (left + right) / width, 1 - (top + bottom) / height)
    axes = figure.add_axes(box)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GRID)
    axes.tick_params(colors=INK, labelsize=8, length=0)
    axes.xaxis.label.set(color=INK, fontsize=9)
    axes.yaxis.label.set(color=INK, fontsize=9)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.margins(x=0.02)
    return figure, axes


def _legend(axes: Axes, reference: object) -> None:
    if reference is not None:
        axes.legend(
            frameon=False,
            fontsize=8,
            labelcolor=INK,
            handlelength=1.2,
            loc="lower right",
            bbox_to_anchor=(1, 1),
            ncols=2,
            borderaxespad=0,
        )


def to_svg(figure: Figure) -> str:
    """The figure as an <svg> element that scales with its container, its text kept as text."""
    import matplotlib

    buffer = io.StringIO()
    # A fixed salt makes the identifiers, and so the file, the same in every run.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "graphgan"}):
        figure.savefig(
            buffer,
            format="svg",
            transparent=True,
            metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")),
        )
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    # Inside a page, a width in points would not shrink, a <style> would reach beyond this picture, ids of
    # groups would repeat, and a font list would override the page's.
    svg = re.sub(r' (?:width|height)="[\d.]+pt"', "", svg)
    svg = re.sub(r"<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    prefix = "c" + hashlib.sha256(svg.encode()).hexdigest()[:8] + "-"
    svg = re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{prefix}", svg)
    svg = re.sub(r"font-family: [^;\"]*;? ?", "", svg)
    return re.sub(r"\s+", " ", svg)
