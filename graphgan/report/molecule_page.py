"""report.html of molecules, from a MoleculeReport."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from graphgan.metrics.molecule_profiles import pooled
from graphgan.report import charts, molecule_gallery, tables
from graphgan.report.histograms import counts, figure, gathered, histogram, most_frequent
from graphgan.report.page import facts, filled, section, training
from graphgan.report.published import MOLECULE_BENCHMARKS, MOLECULE_COLUMNS, Published, published_rows

if TYPE_CHECKING:
    from graphgan.report.molecule_result import MoleculeReport

MAX_KINDS = 12
"""Kinds of failures that a page names."""
MAX_GROUPS = 14
_BONDS = ("single", "double", "triple", "aromatic")
_HEADS = dict(zip(MOLECULE_COLUMNS, ("Valid (%)", "Unique (%)", "Novel (%)"), strict=True))


def render(
    report: MoleculeReport,
    *,
    title: str,
    log: Sequence[Mapping[str, Any]] | None = None,
    details: Mapping[str, str] | None = None,
) -> str:
    """The page as text. Everything that a user named is escaped."""
    drawn = molecule_gallery.render(report)
    sections = {
        "Metrics": tables.tiles(report) + section("Metrics", tables.metrics_table(report)),
        "Published results": section("Published results", _published(report)),
        "Molecules": section("Molecules", drawn, molecule_gallery.NOTE),
        "Failures": section("Failures", _failures(report)),
        "Distributions": section("Distributions", _distributions(report), _distributions_note(report)),
        "Training": section("Training", training(log or [])),
        "Details": section("Details", facts(report, details)),
    }
    return filled(report, sections, title=title, drawn_with="RDKit (BSD-3-Clause licence)")


def _published(report: MoleculeReport) -> str:
    benchmark = report.settings.get("benchmark")
    if benchmark not in MOLECULE_BENCHMARKS:
        return ""
    rows = published_rows(benchmark)
    return tables.side_by_side(report, rows, _HEADS, _provenance(report, rows))


def _provenance(report: MoleculeReport, rows: Sequence[Published]) -> str:
    name, trained = MOLECULE_BENCHMARKS[report.settings["benchmark"]], report.settings["num_train"]
    novelty = "" if trained is None else f", novelty against {trained:,} training molecules"
    return (
        f"Published rows are of models of {name} trained without rewards. Valid is what RDKit sanitises, in pieces or "
        "not; unique and novel are of the valid ones. “These samples” are "
        f"{report.metrics['num_samples']:,.0f}, counted in the same way{novelty}: unique falls with the number of "
        f"samples, and novel with the number of training molecules. Bold is the best of a column. Sources: "
        f"{tables.sources_of(rows)}."
    )


def _failures(report: MoleculeReport) -> str:
    """Why samples are not valid, the most frequent reason first; nothing where all are."""
    found, total = report.details.get("failures", {}), report.metrics["num_samples"]
    if not found:
        return ""
    rows = "".join(
        f'<tr><th scope="row">{escape(kind)}</th><td class="number">{count:,}</td>'
        f'<td class="number">{100 * count / total:.2g} %</td></tr>'
        for kind, count in list(found.items())[:MAX_KINDS]
    )
    left = len(found) - MAX_KINDS
    more = "" if left <= 0 else f'<p class="note after">{left} more kinds are in <code>metrics.json</code>.</p>'
    return (
        '<div class="scroll"><table class="failures"><thead><tr><th>Reason</th><th class="number">Samples</th>'
        f'<th class="number">Of all</th></tr></thead><tbody>{rows}</tbody></table></div>{more}'
    )


def _distributions(report: MoleculeReport) -> str:
    ours, theirs = (report.distributions.get(side) for side in ("generated", "reference"))
    if not ours or not ours["qed"]:
        return ""

    def numbers(column: str) -> tuple[list[float], list[float] | None]:
        return ours[column], None if theirs is None else theirs[column]

    def classes(column: str) -> tuple[Counter, Counter | None]:
        return pooled(ours[column]), None if theirs is None else pooled(theirs[column])

    figures = [
        histogram("logP", "octanol-water partition, logP", *numbers("log_p")),
        histogram("QED", "drug-likeness, QED", *numbers("qed")),
        histogram("SA", "synthetic accessibility, 1 easy to 10 hard", *numbers("sa")),
        histogram("Weight", "molecular weight (g/mol)", *numbers("weight")),
        counts("Heavy atoms", "number of heavy atoms", *classes("num_atoms")),
        counts("Rings", "number of rings", *classes("num_rings")),
        _bars("Atoms", "element and charge, of all heavy atoms", *classes("atoms")),
        _bars("Bonds", "kind, of all bonds", *classes("bonds"), order=_BONDS),
        _ring_sizes(*classes("rings")),
        _groups(*classes("groups")),
    ]
    return f'<div class="charts">{"".join(figures)}</div>'


def _distributions_note(report: MoleculeReport) -> str:
    against = " against the real molecules" if "reference" in report.distributions else ""
    return f"Valid samples{against}, repetitions included; each histogram is scaled to 100 %."


def _bars(caption: str, label: str, ours: Counter, theirs: Counter | None, order: Sequence[str] = ()) -> str:
    """Classes in the given order, then the most frequent first; nothing where there is one."""
    total = {name: _share(ours, name) + _share(theirs, name) for name in {*ours, *(theirs or ())}}
    ranked = sorted(total, key=lambda name: (order.index(name) if name in order else len(order), -total[name], name))
    return figure(caption, charts.bars(ours, theirs, label, classes=ranked)) if len(ranked) > 1 else ""


def _share(histogram: Counter | None, name: str) -> float:
    return 0.0 if not histogram else histogram[name] / histogram.total()


def _ring_sizes(ours: Counter, theirs: Counter | None) -> str:
    return counts("Ring sizes", "atoms of a ring, of all rings", ours, theirs) if ours or theirs else ""


def _groups(ours: Counter, theirs: Counter | None) -> str:
    if len({*ours, *(theirs or ())}) < 2:
        return ""
    shown, rest, (ours, theirs) = gathered(ours, theirs, MAX_GROUPS)
    names = [name.replace(" ", "\n", 1) for name in shown]
    label = "functional group, by molecules that have one, most frequent first"
    return most_frequent("Functional groups", label, ours, theirs, shown, names, rest)
