"""report.html: one file with everything in it, from a Report."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from html import escape
from importlib.resources import files
from itertools import chain
from string import Template
from typing import TYPE_CHECKING, Any, TypeVar

from graphgan.metrics.distributions import element_histogram
from graphgan.report import charts, gallery
from graphgan.report.crystals import space_group_symbol
from graphgan.report.explanations import EXPLANATIONS, Explanation
from graphgan.report.result import format_value

if TYPE_CHECKING:
    from graphgan.report.result import Report

T = TypeVar("T")

VIEWER_VERSION = "2.5.5"
HEADLINES = (
    "structural_validity",
    "validity",
    "uniqueness",
    "novelty",
    "unique_novel_valid",
    "density_wasserstein",
    "element_total_variation",
)
MAX_SPACE_GROUPS = 12


def render(
    report: Report,
    *,
    title: str,
    log: Sequence[Mapping[str, Any]] | None = None,
    details: Mapping[str, str] | None = None,
) -> str:
    """The page as text. Everything that a user named is escaped."""
    cards = gallery.choose(report)
    sections = {
        "Warnings": _warnings(report.warnings),
        "Metrics": _tiles(report) + _section("Metrics", _metrics_table(report)),
        "Crystals": _section("Crystals", gallery.render(cards), gallery.NOTE) if cards else "",
        "Distributions": _section("Distributions", _distributions(report), _distributions_note(report)),
        "Training": _section("Training", _training(log)) if log else "",
        "Details": _section("Details", _details(report, details)),
    }
    present = {name: html for name, html in sections.items() if html}
    links = (f'<a href="#{name.lower()}">{name}</a>' for name in present if name != "Warnings")
    return Template(_file("template.html")).substitute(
        title=escape(title),
        subtitle=_subtitle(report),
        style=_file("style.css"),
        gradients=gallery.gradients(cards),
        navigation=" ".join(links),
        sections="\n".join(present.values()),
        crystals=gallery.data(cards),
        viewer=_file("vendor/3Dmol-min.js"),
        viewer_version=VIEWER_VERSION,
        script=_file("gallery.js"),
    )


def _file(name: str) -> str:
    return files("graphgan.report").joinpath(name).read_text(encoding="utf-8")


def _section(name: str, body: str, note: str = "") -> str:
    lead = f'<p class="note">{note}</p>' if note else ""
    return f'<section id="{name.lower()}"><h2>{name}</h2>{lead}{body}</section>'


def _subtitle(report: Report) -> str:
    parts = [f"{int(report.metrics['num_samples']):,} samples"]
    if report.settings.get("num_reference"):
        parts.append(f"compared with {report.settings['num_reference']:,} real crystals")
    if report.settings.get("num_train"):
        parts.append(f"novelty against {report.settings['num_train']:,} training crystals")
    return " · ".join(parts)


def _warnings(warnings: Sequence[str]) -> str:
    if not warnings:
        return ""
    items = "".join(f"<li>{escape(warning)}</li>" for warning in warnings)
    return f'<section class="warnings" id="warnings"><h2>Read this first</h2><ul>{items}</ul></section>'


def _explained(name: str) -> Explanation:
    return EXPLANATIONS.get(name, Explanation(name, "", "number", ""))


def _with_unit(name: str, value: float) -> str:
    unit = _explained(name).unit
    return format_value(name, value) + (f" {unit}" if unit else "")


def _tiles(report: Report) -> str:
    tiles = []
    for name in HEADLINES:
        if name in report.metrics:
            floor = report.noise_floor.get(name)
            small = "" if floor is None else f"<small>real against real: {_with_unit(name, floor)}</small>"
            value, unit = format_value(name, report.metrics[name]), _explained(name).unit
            label = f"<span>{_explained(name).label}</span>"
            tiles.append(f'<div class="tile"><b>{value} <i>{unit}</i></b>{label}{small}</div>')
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _metrics_table(report: Report) -> str:
    arrow = {"higher": "↑", "lower": "↓", "": ""}
    spoken = {"higher": "higher is better", "lower": "lower is better", "": ""}
    rows = []
    for name, value in report.metrics.items():
        about = _explained(name)
        floor = report.noise_floor.get(name)
        direction = f'<span title="{spoken[about.better]}">{arrow[about.better]}</span>'
        rows.append(
            f'<tr><th scope="row">{escape(about.label)} {direction}<br><code>{escape(name)}</code></th>'
            f'<td class="number">{_with_unit(name, value)}</td>'
            f'<td class="number">{"" if floor is None else _with_unit(name, floor)}</td>'
            f'<td class="meaning">{escape(about.meaning)}</td></tr>'
        )
    return (
        '<div class="scroll"><table class="metrics"><thead><tr><th>Metric</th><th class="number">Samples</th>'
        '<th class="number">Real against real</th><th class="meaning">In words</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
        '<p class="note">Shares are of the samples asked for, failures included. Distances are over the '
        "structurally valid samples. “Real against real” is the distance of as many real crystals from the "
        "other real crystals: what a perfect model scores. ↑ higher is better, ↓ lower is better.</p>"
    )


def _distributions_note(report: Report) -> str:
    compared = " against the real crystals" if "reference" in report.distributions else ""
    return f"Structurally valid samples{compared}; each histogram is scaled to 100 %."


def _distributions(report: Report) -> str:
    ours = report.distributions.get("generated", {})
    theirs = report.distributions.get("reference")
    if not ours or not ours["density"]:
        return "<p>No valid sample to draw.</p>"

    def both(column: str, function: Callable[[list], T]) -> tuple[T, T | None]:
        return function(ours[column]), None if theirs is None else function(theirs[column])

    near, real_near = both("nearest_neighbours", lambda atoms: list(chain(*atoms)))
    density, real_density = both("density", list)
    figures = [
        _figure("Density", charts.histogram(density, real_density, "density (g/cm³)")),
        _figure("Nearest neighbours", charts.histogram(near, real_near, "nearest neighbour of each atom (Å)")),
        _counts("Atoms per cell", "number of atoms", *both("num_atoms", Counter)),
        _counts("Elements per crystal", "number of elements", *both("num_elements", Counter)),
        _elements(*both("elements", element_histogram)),
        _space_groups(*both("spacegroup", Counter)),
    ]
    return f'<div class="charts">{"".join(figures)}</div>'


def _figure(caption: str, svg: str, wide: bool = False) -> str:
    kind = ' class="wide"' if wide else ""
    return f"<figure{kind}><figcaption>{escape(caption)}</figcaption>{svg}</figure>"


def _counts(caption: str, label: str, ours: Counter, theirs: Counter | None) -> str:
    seen = {*ours, *(theirs or ())}
    return _figure(caption, charts.bars(ours, theirs, label, classes=range(min(seen), max(seen) + 1)))


def _elements(ours: Mapping[str, float], theirs: Mapping[str, float] | None) -> str:
    from pymatgen.core import Element

    present = sorted({*ours, *(theirs or ())}, key=lambda symbol: Element(symbol).Z)
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
    label = "space group (number), most frequent first"
    return _figure("Symmetry", charts.bars(ours, theirs, label, classes=classes, names=names, wide=True), True)


def _training(log: Sequence[Mapping[str, Any]]) -> str:
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


def _details(report: Report, details: Mapping[str, str] | None) -> str:
    rows = {str(k): str(v) for k, v in (details or {}).items()}
    rows |= {f"evaluation: {k.replace('_', ' ')}": _plain(v) for k, v in report.settings.items()}
    body = "".join(f'<tr><th scope="row">{escape(k)}</th><td>{escape(v)}</td></tr>' for k, v in rows.items())
    return f'<div class="scroll"><table><tbody>{body}</tbody></table></div>'


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {v}" for k, v in value.items())
    return "none given" if value is None else json.dumps(value) if not isinstance(value, str) else value
