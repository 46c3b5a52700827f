"""report.html: one file with everything in it, from a Report of crystals; and the parts that pages share."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING, Any

from graphgan.report import charts, filtering, gallery, histograms, shortfalls, tables
from graphgan.report.published import BENCHMARKS, MOLECULE_BENCHMARKS

if TYPE_CHECKING:
    from graphgan.report.result import Outcome, Report

VIEWER_VERSION = "2.5.5"


def render(
    report: Report,
    *,
    title: str,
    log: Sequence[Mapping[str, Any]] | None = None,
    details: Mapping[str, str] | None = None,
) -> str:
    """The page as text. Everything that a user named is escaped."""
    cards = gallery.cards_of(report)
    ours, theirs = (report.distributions.get(side) for side in ("generated", "reference"))
    sections = {
        "Metrics": tables.tiles(report) + section("Metrics", tables.metrics_table(report)),
        "Filtered": section("Filtered", filtering.filtered_table(report), filtering.filtered_note(report)),
        "Published results": section("Published results", tables.published_table(report)),
        "What is missing": section(
            "What is missing", shortfalls.missing(report.details.get("missing", {})), shortfalls.MISSING_NOTE
        ),
        "Sizes and bonds": section("Sizes and bonds", _sizes_and_bonds(report)),
        "Crystals": section("Crystals", gallery.render(cards) if cards else "", gallery.note(report)),
        "Distributions": section(
            "Distributions", histograms.render(ours or {}, theirs), _distributions_note(theirs is not None)
        ),
        "Training": section("Training", training(log or [])),
        "Details": section("Details", facts(report, details)),
    }
    return filled(
        report,
        sections,
        title=title,
        definitions=gallery.gradients(cards),
        drawn_with=f"3Dmol.js {VIEWER_VERSION} (Rego and Koes 2015, doi:10.1093/bioinformatics/btu829; BSD-3-Clause"
        " licence)",
        scripts=f'<script type="application/json" id="crystal-data">{gallery.data(cards)}</script>\n'
        f"<script>\n{_file('vendor/3Dmol-min.js')}\n</script>\n<script>\n{_file('gallery.js')}\n</script>",
    )


def filled(
    report: Outcome,
    sections: Mapping[str, str],
    *,
    title: str,
    drawn_with: str,
    definitions: str = "",
    scripts: str = "",
) -> str:
    """The template with the sections that are not empty, by name; all but `title` is HTML already.

    `definitions` are what pictures refer to, `scripts` what makes them move, `drawn_with` names what drew them.
    """
    present = {name: html for name, html in sections.items() if html}
    links = (f'<a href="#{_anchor(name)}">{name}</a>' for name in present)
    return Template(_file("template.html")).substitute(
        title=escape(title),
        subtitle=_subtitle(report),
        style=_file("style.css"),
        definitions=definitions,
        navigation=" ".join(links),
        sections="\n".join([_warnings(report.warnings), *present.values()]),
        one=report.words.one,
        rows_file=report.words.rows_file,
        drawn_with=drawn_with,
        scripts=scripts,
    )


def _file(name: str) -> str:
    return files("graphgan.report").joinpath(name).read_text(encoding="utf-8")


def section(name: str, body: str, note: str = "") -> str:
    """A section with a heading; nothing without a body."""
    if not body:
        return ""
    lead = f'<p class="note">{note}</p>' if note else ""
    return f'<section id="{_anchor(name)}"><h2>{name}</h2>{lead}{body}</section>'


def _anchor(name: str) -> str:
    return name.lower().replace(" ", "-")


def _subtitle(report: Outcome) -> str:
    parts, one = [f"{int(report.metrics['num_samples']):,} samples"], report.words.one
    if report.settings.get("num_reference"):
        parts.append(f"compared with {report.settings['num_reference']:,} real {one}s")
    if report.settings.get("num_train"):
        parts.append(f"novelty against {report.settings['num_train']:,} training {one}s")
    benchmarks = BENCHMARKS | MOLECULE_BENCHMARKS
    if report.settings.get("benchmark") in benchmarks:
        parts.append(f"benchmark {benchmarks[report.settings['benchmark']]}")
    return " · ".join(parts)


def _warnings(warnings: Sequence[str]) -> str:
    if not warnings:
        return ""
    items = "".join(f"<li>{escape(warning)}</li>" for warning in warnings)
    return f'<section class="warnings" id="warnings"><h2>Read this first</h2><ul>{items}</ul></section>'


def _sizes_and_bonds(report: Report) -> str:
    sizes = shortfalls.validity_by_size(report.details.get("validity_by_size", {}))
    bonds = shortfalls.bond_lengths(report.details.get("bond_lengths", []))
    parts = []
    if sizes:
        parts.append(f"<div><h3>Structural validity by number of atoms</h3>{sizes}</div>")
    if bonds:
        parts.append(f'<div><h3>Bond lengths</h3><p class="note">{shortfalls.BONDS_NOTE}</p>{bonds}</div>')
    return f'<div class="beside">{"".join(parts)}</div>' if parts else ""


def _distributions_note(compared: bool) -> str:
    against = " against the real crystals" if compared else ""
    return f"Structurally valid samples{against}; each histogram is scaled to 100 %."


def training(log: Sequence[Mapping[str, Any]]) -> str:
    """One row of small charts per stage, one chart per number that the stage logs."""
    stages: dict[str, list[Mapping[str, Any]]] = {}
    for record in log:
        stages.setdefault(str(record.get("stage", "training")), []).append(record)
    parts = []
    for stage, records in stages.items():
        names = dict.fromkeys(name for record in records for name in record)
        figures = []
        for name in names:
            if name in ("stage", "step", "seconds"):
                continue
            logged = [(i, record) for i, record in enumerate(records) if _is_number(record.get(name))]
            if logged:
                steps = [record.get("step", i) for i, record in logged]
                chart = charts.curve(steps, [record[name] for _, record in logged], name.replace("_", " "))
                figures.append(f"<figure>{chart}</figure>")
        parts.append(f'<h3>{escape(stage)}</h3><div class="charts small">{"".join(figures)}</div>')
    return "".join(parts)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def facts(report: Outcome, details: Mapping[str, str] | None) -> str:
    """A table of facts about the model and the evaluation."""
    rows = {str(k): str(v) for k, v in (details or {}).items()}
    if "wall_seconds" in report.metrics:
        rows["evaluation: time"] = f"{report.metrics['wall_seconds']:.3g} s"
    rows |= {f"evaluation: {k.replace('_', ' ')}": _plain(v) for k, v in report.settings.items()}
    body = "".join(f'<tr><th scope="row">{escape(k)}</th><td>{escape(v)}</td></tr>' for k, v in rows.items())
    return f'<div class="scroll"><table><tbody>{body}</tbody></table></div>'


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {v}" for k, v in value.items())
    return "none given" if value is None else json.dumps(value) if not isinstance(value, str) else value
