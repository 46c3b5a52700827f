"""The 3-D gallery of a page: which crystals, their cards, and the data that the viewer draws."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from graphgan.report import thumbnails
from graphgan.report.crystals import EDGES, Scene, scene, space_group_symbol

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from graphgan.report.result import Report

NUM_GENERATED, NUM_REAL = 12, 4
NOTE = (
    "Drawn at random, not picked; the cells are shown as given. Choose a crystal, drag to turn it, scroll or "
    "pinch to zoom. Atoms on the boundary of the cell are repeated on the opposite side. Bonds are a drawing "
    "aid: contacts within 15 % of the tightest one of both atoms, in units of covalent radii."
)


@dataclass(frozen=True)
class Card:
    """One crystal of the gallery; `facts` are short lines about it, not yet escaped."""

    kind: str
    name: str
    formula: str
    facts: list[str]
    complaint: str
    scene: Scene


def choose(report: Report) -> list[Card]:
    """Random samples, valid or not, then random reference crystals; the report's seed decides."""
    rng = np.random.default_rng(report.settings.get("seed", 0))
    drawable = [i for i, s in enumerate(report.samples) if s is not None and _drawable(s)]
    chosen = sorted(rng.permutation(drawable)[:NUM_GENERATED].tolist()) if drawable else []
    cards = [_generated(report.samples[i], report.per_structure[i]) for i in chosen]
    real = rng.permutation(len(report.reference))[:NUM_REAL]
    return cards + [_real(report.reference[i]) for i in sorted(real.tolist())]


def _drawable(structure: Structure) -> bool:
    finite = np.isfinite(structure.lattice.matrix).all() and np.isfinite(structure.frac_coords).all()
    return bool(finite) and len(structure) > 0 and structure.lattice.volume > 1e-3


def _generated(structure: Structure | None, row: dict[str, Any]) -> Card:
    assert structure is not None
    valid = row["structurally_valid"]
    facts = _facts(structure, row["spacegroup"] or None)
    if row["novel"] is True:
        facts.append("not in the training set")
    return Card(
        "generated",
        f"sample {row['id']}",
        structure.composition.reduced_formula,
        facts,
        "" if valid else "not valid: atoms too close or cell too flat",
        scene(structure),
    )


def _real(structure: Structure) -> Card:
    from graphgan.metrics import space_group

    facts = _facts(structure, space_group(structure))
    return Card("real", "real crystal", structure.composition.reduced_formula, facts, "", scene(structure))


def _facts(structure: Structure, number: int | None) -> list[str]:
    facts = [f"{len(structure)} atoms, {structure.density:.2f}\N{NO-BREAK SPACE}g/cm³"]
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
        if index == 0 or card.kind != cards[index - 1].kind:
            parts.append(f'<h3 class="kind">{"Generated" if card.kind == "generated" else "Real"}</h3>')
        parts.append(_card(index, card))
    return (
        '<div class="gallery"><div class="stage"><div id="viewer"></div><p id="facts" aria-live="polite"></p>'
        f'<div class="legend" id="legend"></div></div><div class="cards">{"".join(parts)}</div></div>'
    )


def _card(index: int, card: Card) -> str:
    lines = "".join(f"<span>{escape(fact)}</span>" for fact in card.facts)
    complaint = f'<span class="bad">{escape(card.complaint)}</span>' if card.complaint else ""
    picture = thumbnails.thumbnail(card.scene, escape(f"{card.kind} {card.formula}"))
    return (
        f'<button type="button" class="card" data-index="{index}" aria-pressed="false">{picture}'
        f'<span class="facts"><b>{_subscripts(card.formula)}</b>{lines}{complaint}'
        f"<span>{escape(card.name)}</span></span></button>"
    )


def _subscripts(formula: str) -> str:
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
