"""What filters do to a report: the raw samples stay the headline, and beside them stand those that were kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from graphgan.report.tables import DASH, metric_head, with_unit
from graphgan.sampling.filters import Filters, Tally

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from graphgan.report.result import Report

SHOWN = (
    "structural_validity",
    "compositional_validity",
    "coverage_recall",
    "coverage_precision",
    "density_wasserstein",
    "num_elements_wasserstein",
    "nearest_neighbour_wasserstein",
    "element_total_variation",
    "uniqueness",
    "novelty",
    "unique_novel_valid",
)
"""Metrics of the kept crystals, where the raw ones have them."""


def with_filtered(
    report: Report,
    samples: Sequence[Structure | None],
    residuals: Sequence[float] | None,
    filters: Filters,
    judge: Callable[[Sequence[Structure | None]], Report],
) -> Report:
    """The report of raw `samples`, with one entry more in its details, "filtered": the rules, how many crystals were
    drawn, kept and left out by which rule first, and the metrics SHOWN of those kept, as `judge` finds them.

    Shares are of the crystals kept. FilterError where a rule needs `residuals` and there are none.
    """
    tally = Tally()
    each = [None] * len(samples) if residuals is None else residuals
    kept = [s for s, residual in zip(samples, each, strict=True) if tally.add(filters.broken(s, residual))]
    metrics = judge(kept).metrics if kept else {}
    found = {
        "rules": list(filters.rules),
        "drawn": tally.drawn,
        "kept": tally.kept,
        "acceptance": tally.acceptance,
        "left_out": dict(tally.left_out),
        "metrics": {name: metrics[name] for name in SHOWN if name in metrics},
    }
    return dataclasses.replace(report, details=report.details | {"filtered": found})


def filtered_table(report: Report) -> str:
    """Raw numbers beside those of the crystals kept; nothing without filters."""
    found = report.details.get("filtered")
    if found is None:
        return ""
    names = [name for name in SHOWN if name in report.metrics]
    body = "".join(
        f'<tr><th scope="row">{metric_head(report.words, name)}</th>'
        f'<td class="number">{with_unit(report.words, name, report.metrics[name])}</td>'
        f'<td class="number">{_kept(report, found["metrics"], name)}</td></tr>'
        for name in names
    )
    return (
        '<div class="scroll"><table class="metrics"><thead><tr><th>Metric</th><th class="number">Raw</th>'
        f'<th class="number">Kept</th></tr></thead><tbody>{body}</tbody></table></div>'
    )


def filtered_note(report: Report) -> str:
    """What was asked, and how many met it."""
    found = report.details.get("filtered")
    return "" if found is None else escape(_summary(found))


def filtered_lines(report: Report) -> list[str]:
    """The same for a terminal."""
    found = report.details.get("filtered")
    if found is None:
        return []
    words, width = report.words, max(map(len, SHOWN))
    lines = ["", _summary(found), f"{'metric':<{width}}  {'raw':>9}  {'kept':>9}"]
    for name in (name for name in SHOWN if name in report.metrics):
        kept = found["metrics"].get(name)
        shown = "" if kept is None else words.shown(name, kept)
        lines.append(f"{name:<{width}}  {words.shown(name, report.metrics[name]):>9}  {shown:>9}")
    return lines


def _kept(report: Report, metrics: dict[str, float], name: str) -> str:
    return with_unit(report.words, name, metrics[name]) if name in metrics else DASH


def _summary(found: dict[str, Any]) -> str:
    rules = ", ".join(found["rules"])
    said = f"Filtered by: {rules}. {found['kept']:,} of {found['drawn']:,} crystals kept"
    left = "; ".join(f"{count:,} for not: {rule}" for rule, count in found["left_out"].items())
    return f"{said} (acceptance {100 * found['acceptance']:.1f} %)" + (f"; left out first {left}." if left else ".")
