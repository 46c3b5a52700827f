"""The numbers of a page: headline tiles, the table of all metrics under headings, and published rows beside ours."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from html import escape
from typing import TYPE_CHECKING

from graphgan.report.explanations import Explanation, Vocabulary
from graphgan.report.published import BENCHMARKS, COLUMNS, Published, published_rows

if TYPE_CHECKING:
    from graphgan.report.result import Outcome, Report

MAX_TILES_A_ROW = 5
AS_REAL = 1.5
"""Times what real crystals score against each other: up to here a distance counts as that of real crystals."""
MIN_AS_REAL = 100
"""Crystals on either side below which real crystals score so badly that the comparison says nothing."""
UNLISTED = "Evaluation"
"""The group of facts about the evaluation itself, which stand among the details of a page."""
_HEADS = {
    "structural_validity": "Validity, structural (%)",
    "compositional_validity": "Validity, compositional (%)",
    "coverage_recall": "COV-R (%)",
    "coverage_precision": "COV-P (%)",
    "density_wasserstein": "Density (g/cm³)",
    "num_elements_wasserstein": "Number of elements",
}
_ARROWS = {
    "higher": '&nbsp;<span title="higher is better">↑</span>',
    "lower": '&nbsp;<span title="lower is better">↓</span>',
    "": "",
}
_BADGE = '<span class="badge">as real</span>'
DASH = "–"


def tiles(report: Outcome) -> str:
    """The numbers to look at first, each with what real crystals score."""
    words, boxes = report.words, []
    for name in words.headlines:
        if name in report.metrics:
            about, floor = words.explanations[name], report.noise_floor.get(name)
            small = "" if floor is None else f"<small>real against real: {with_unit(words, name, floor)}</small>"
            unit = f" <i>{about.unit}</i>" if about.unit else ""
            value = words.shown(name, report.metrics[name]) + unit
            boxes.append(f'<div class="tile"><b>{value}</b><span>{escape(about.label)}</span>{small}</div>')
    if not boxes:
        return ""
    columns = math.ceil(len(boxes) / math.ceil(len(boxes) / MAX_TILES_A_ROW))
    return f'<div class="tiles" style="--columns: {columns}">{"".join(boxes)}</div>'


def metrics_table(report: Outcome) -> str:
    """Every metric under the heading of its group; groups without one are left out."""
    floors = _floors(report)
    groups = {heading: list(group) for heading, group in report.words.groups.items()}
    groups["Other"] = [name for name in report.metrics if name not in report.words.explanations]
    bodies = []
    for heading, names in groups.items():
        rows = [_metric(name, report, floors) for name in names if name in report.metrics]
        if rows and heading != UNLISTED:
            head = f'<tr class="group"><th colspan="4" scope="rowgroup">{escape(heading)}</th></tr>'
            bodies.append(f"<tbody>{head}{''.join(rows)}</tbody>")
    return (
        '<div class="scroll"><table class="metrics"><thead><tr><th>Metric</th><th class="number">Samples</th>'
        '<th class="number">Real against real</th><th class="meaning">In words</th></tr></thead>'
        f"{''.join(bodies)}</table></div>{_metrics_note(report, any(_BADGE in body for body in bodies))}"
    )


def _metric(name: str, report: Outcome, floors: Mapping[str, str]) -> str:
    about = report.words.explanations.get(name, Explanation(name, "", "number", ""))
    badge = _BADGE if _as_real(name, report) else ""
    return (
        f'<tr><th scope="row">{metric_head(report.words, name)}</th>'
        f'<td class="number">{badge}{with_unit(report.words, name, report.metrics[name])}</td>'
        f'<td class="number">{floors.get(name, "")}</td>'
        f'<td class="meaning">{escape(about.meaning)} <code>{escape(name)}</code></td></tr>'
    )


def _floors(report: Outcome) -> dict[str, str]:
    """What real crystals score, as text: noise floors, the classes they would miss by chance, and the error of a
    regressor among them."""
    floors = {name: with_unit(report.words, name, value) for name, value in report.noise_floor.items()}
    for name, found in report.details.get("missing", {}).items():
        floors[f"missing_{name}"] = f"{found['expected']:.1f}"
    if "real_volume_mae" in report.metrics:
        shown = with_unit(report.words, "real_volume_mae", report.metrics["real_volume_mae"])
        floors |= {"gan_train_volume_mae": shown, "gan_test_volume_mae": shown}
    return floors


def _as_real(name: str, report: Outcome) -> bool:
    if name not in report.noise_floor:
        return False
    sizes = (report.settings.get(key) or 0 for key in ("num_valid", "num_reference"))
    return min(sizes) >= MIN_AS_REAL and report.metrics[name] <= AS_REAL * report.noise_floor[name]


def _metrics_note(report: Outcome, any_badge: bool) -> str:
    sentences = [report.words.shares]
    if report.noise_floor:
        sentences.append(report.words.distances)
    if report.details.get("missing"):
        sentences.append("Of what is never made, it is the number that as many real crystals miss by chance.")
    if any_badge:
        sentences.append(
            f"{_BADGE} marks distances of at most {AS_REAL:g} times real against real, which is within the noise."
        )
    return f'<p class="note after">{" ".join(sentences)} ↑ higher is better, ↓ lower is better.</p>'


def metric_head(words: Vocabulary, name: str) -> str:
    """The label of a metric, with the direction in which a good model moves."""
    about = words.explanations.get(name, Explanation(name, "", "number", ""))
    return f"{escape(about.label)}{_ARROWS[about.better]}"


def with_unit(words: Vocabulary, name: str, value: float) -> str:
    """A metric as text, with its unit."""
    unit = words.explanations[name].unit if name in words.explanations else ""
    # A degree sign stands next to its number.
    return words.shown(name, value) + (unit if unit == "°" else f" {unit}" if unit else "")


def published_table(report: Report) -> str:
    """Published rows of the report's benchmark, ours last; nothing without a benchmark."""
    benchmark = report.settings.get("benchmark")
    if benchmark not in BENCHMARKS:
        return ""
    rows = published_rows(benchmark)
    return side_by_side(report, rows, {name: _HEADS[name] for name in COLUMNS}, _provenance(report, rows))


def side_by_side(report: Outcome, rows: list[Published], heads: Mapping[str, str], note: str) -> str:
    """Published rows and ours below, of the metrics in `heads`, under these; `note` is text.

    The best value of a column is bold, compared as printed. A column that no paper fills is left out.
    """
    words = report.words
    columns = [c for c in heads if any(c in row.metrics for row in rows)]
    printed = [
        [_printed(words, c, values.get(c)) for c in columns] for values in [*(r.metrics for r in rows), report.metrics]
    ]
    best = [_best(words, c, column) for c, column in zip(columns, zip(*printed, strict=True), strict=True)]
    names = [*(row.model for row in rows), "These samples"]
    passes = [*("" if row.passes is None else f"{row.passes:,}" for row in rows), ""]
    body = "".join(
        _published_row(*row, best, ours=i == len(rows))
        for i, row in enumerate(zip(names, passes, printed, strict=True))
    )
    titles = "".join(f'<th class="number">{heads[c]}{_ARROWS[words.explanations[c].better]}</th>' for c in columns)
    return (
        '<div class="scroll"><table class="published"><thead><tr><th>Model</th>'
        f'<th class="number">Network passes a {words.one}</th>{titles}</tr></thead><tbody>{body}</tbody></table></div>'
        f'<p class="note after">{escape(note)}</p>'
    )


def _printed(words: Vocabulary, name: str, value: float | None) -> str:
    return "" if value is None else words.shown(name, value).removesuffix(" %")


def _best(words: Vocabulary, name: str, cells: Iterable[str]) -> str:
    """The best cell of a column as it is printed; none where it is the only one."""
    known = [cell for cell in cells if cell]
    if len(known) < 2:
        return ""
    return (max if words.explanations[name].better == "higher" else min)(known, key=float)


def _published_row(name: str, passes: str, cells: list[str], best: list[str], *, ours: bool) -> str:
    shown = [
        f"<b>{c}</b>" if c and float(c) == float(b or "nan") else c or DASH for c, b in zip(cells, best, strict=True)
    ]
    numbers = "".join(f'<td class="number">{cell}</td>' for cell in (passes or DASH, *shown))
    return f'<tr{" class=ours" if ours else ""}><th scope="row">{escape(name)}</th>{numbers}</tr>'


def _provenance(report: Report, rows: list[Published]) -> str:
    """Whose numbers these are, and what ours was measured on."""
    settings = report.settings
    count, references, trained = report.metrics["num_samples"], settings.get("num_reference"), settings.get("num_train")
    against = "without a reference" if references is None else f"against {references:,} real crystals"
    training = "" if trained is None else f", with {trained:,} training crystals given"
    return (
        "Published rows are of 10,000 samples against the official test split of "
        f"{BENCHMARKS[settings['benchmark']]}, by models trained on the whole training split. “These samples” are "
        f"{count:,.0f}, {against}{training}: compare them only as far as that is the same. Bold is the best of a "
        f"column. Sources: {sources_of(rows)}."
    )


def sources_of(rows: Iterable[Published]) -> str:
    """Which models are of which paper."""
    models: dict[str, list[str]] = {}
    for row in rows:
        models.setdefault(row.source, []).append(row.model)
    return "; ".join(f"{', '.join(names)}: {source}" for source, names in models.items())
