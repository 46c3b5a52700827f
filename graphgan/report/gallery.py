"""The 3-D gallery of a page: its cards, and the data that the viewer draws."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from graphgan.metrics.validity import MIN_DISTANCE
from graphgan.report import picks, thumbnails
from graphgan.report.crystals import EDGES, Scene, scene, space_group_symbol

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from graphgan.report.result import Report

MAX_BONDED = 150
"""Drawn atoms above which a still picture leaves out the bonds, too fine to see there."""
NOTE = (
    "The random ones are not picked; the cells are shown as given. Choose a crystal, drag to turn it, scroll or pinch "
    "to zoom. Atoms on the boundary of the cell are repeated on the opposite side. Bonds are a drawing aid: contacts "
    "within 15 % of the tightest one of both atoms, in units of covalent radii."
)


@dataclass(frozen=True)
class Card:
    """One crystal of the gallery; `facts` are short lines about it, not yet escaped."""

    group: str
    name: str
    formula: str
    facts: list[str]
    complaint: str
    scene: Scene


def cards_of(report: Report) -> list[Card]:
    """The cards of a report, group by group."""
    measure = picks.measure_of(report)
    cards = []
    for group in picks.choose(report):
        for pick in group.picks:
            if pick.index is None:
                cards.append(_real(pick.structure, group.heading))
            else:
                cards.append(_generated(pick.structure, report.per_structure[pick.index], group.heading, measure))
    return cards


def note(report: Report) -> str:
    """What the reader of the cards has to know."""
    measure = picks.measure_of(report)
    return NOTE + (f" {measure.meaning}" if measure else "")


def _generated(structure: Structure, row: dict[str, Any], group: str, measure: picks.Measure | None) -> Card:
    facts = _facts(structure, row["spacegroup"] or None)
    value = None if measure is None else measure.of(row)
    if measure is not None and value is not None:
        facts.append(measure.line(value))
    if row["novel"] is True:
        facts.append("novel")
    return Card(
        group,
        f"sample {row['id']}",
        structure.composition.reduced_formula,
        facts,
        "" if row["structurally_valid"] else _complaint(row),
        scene(structure),
    )


def _complaint(row: dict[str, Any]) -> str:
    distance = row["min_distance"]
    if distance != "" and distance < MIN_DISTANCE:
        return f"not valid: atoms {distance:.2f}\N{NO-BREAK SPACE}Å apart"
    return "not valid: cell too flat"


def _real(structure: Structure, group: str) -> Card:
    from graphgan.metrics import space_group

    facts = _facts(structure, space_group(structure))
    return Card(group, "real crystal", structure.composition.reduced_formula, facts, "", scene(structure))


def _facts(structure: Structure, number: int | None) -> list[str]:
    from graphgan.metrics import density

    facts = [f"{len(structure)} atoms, {density(structure):.2f}\N{NO-BREAK SPACE}g/cm³"]
    if number is not None:
        facts.insert(0, f"{space_group_symbol(number)} ({number})")
    return facts


def gradients(cards: Sequence[Card]) -> str:
    """Definitions that the cards' pictures refer to."""
    return thumbnails.gradients(symbol for card in cards for symbol in card.scene.symbols)


def render(cards: Sequence[Card]) -> str:
    """Viewer and cards as HTML."""
    parts = []
    for index, card in enumerate(cards):
        if index == 0 or card.group != cards[index - 1].group:
            parts.append(f'<h3 class="kind">{escape(card.group)}</h3>')
        parts.append(_card(index, card))
    return (
        '<div class="gallery"><div class="stage"><div id="viewer"></div><p id="facts" aria-live="polite"></p>'
        f'<div class="legend" id="legend"></div></div><div class="cards">{"".join(parts)}</div></div>'
    )


def _card(index: int, card: Card) -> str:
    lines = "".join(f"<span>{escape(fact)}</span>" for fact in card.facts)
    complaint = f'<span class="bad">{escape(card.complaint)}</span>' if card.complaint else ""
    shown = card.scene if len(card.scene.symbols) <= MAX_BONDED else replace(card.scene, bonds=[])
    picture = thumbnails.thumbnail(shown, escape(f"{card.name}, {card.formula}"))
    return (
        f'<button type="button" class="card" data-index="{index}" aria-pressed="false">{picture}'
        f'<span class="facts"><b>{subscripts(card.formula)}</b>{lines}{complaint}'
        f"<span>{escape(card.name)}</span></span></button>"
    )


def subscripts(formula: str) -> str:
    """A sum formula as HTML."""
    return re.sub(r"(?<=[A-Za-z)])(\d+(?:\.\d+)?)", r"<sub>\1</sub>", escape(formula))


def data(cards: Sequence[Card]) -> str:
    """What the viewer draws, as JSON that is safe inside a <script> element."""
    text = json.dumps([_drawing(card.scene) for card in cards], separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c")


def _drawing(scene: Scene) -> dict[str, Any]:
    from graphgan.report.elements import element_colour

    kinds = sorted(set(scene.symbols))
    radius = dict(zip(scene.symbols, scene.radii.tolist(), strict=True))
    return {
        "elements": [
            {"symbol": kind, "colour": element_colour(kind), "radius": round(radius[kind], 3)} for kind in kinds
        ],
        "atoms": [
            [kinds.index(symbol), *np.round(position, 3).tolist()]
            for symbol, position in zip(scene.symbols, scene.positions, strict=True)
        ],
        "bonds": scene.bonds,
        "edges": [[np.round(scene.corners[i], 3).tolist() for i in edge] for edge in EDGES],
        "view": _quaternion(thumbnails.view_matrix()),
    }


def _quaternion(rotation: np.ndarray) -> list[float]:
    """Rotation as x, y, z, w, the order of the viewer."""
    from scipy.spatial.transform import Rotation

    return np.round(Rotation.from_matrix(rotation).as_quat(), 6).tolist()
