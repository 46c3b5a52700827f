"""Which molecules a page draws and why: the first valid ones, the best, the most repeated, failures, and real ones."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from html import escape
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from graphgan.report.gallery import subscripts
from graphgan.report.molecule_drawings import drawing
from graphgan.report.molecule_rows import kind_of_failure

if TYPE_CHECKING:
    from graphgan.report.molecule_result import MoleculeReport

NUM_FIRST, NUM_RANKED, NUM_FAILED = 18, 12, 12
NOTE = (
    "The first ones are not picked. “Best” and “most repeated” show every molecule once. Of failures, some of each "
    "kind; the atoms that RDKit complains of are marked."
)


@dataclass(frozen=True)
class Card:
    """A molecule to draw; `facts` and `complaint` are short lines about it, not yet escaped."""

    smiles: str
    facts: list[str]
    complaint: str = ""


def render(report: MoleculeReport) -> str:
    """The groups of cards as HTML; nothing where there is nothing to draw."""
    parts = []
    for heading, cards in _groups(report):
        drawn = [html for card in cards if (html := _card(card)) is not None]
        if drawn:
            parts += [f'<h3 class="kind">{escape(heading)}</h3>', *drawn]
    return f'<div class="cards still">{"".join(parts)}</div>' if parts else ""


def _groups(report: MoleculeReport) -> Iterator[tuple[str, Iterable[Card]]]:
    rows = report.per_molecule
    valid = [row for row in rows if row["valid"]]
    copies = Counter(row["smiles"] for row in valid)
    yield "The first valid samples", (_sample(row, copies) for row in valid[:NUM_FIRST])
    distinct = {row["smiles"]: row for row in reversed(valid) if row["qed"] != ""}
    best = sorted(distinct.values(), key=lambda row: (-row["qed"], row["smiles"]))
    if len(distinct) > NUM_RANKED:
        yield "Best by QED", (_sample(row, copies) for row in best[:NUM_RANKED])
    # Ties by name, so that the order of the samples decides nothing.
    often = sorted(((-count, text) for text, count in copies.items() if count > 1))
    yield (
        "Most repeated",
        (
            Card(text, [f"{-count:,} times", f"{-100 * count / len(rows):.2g} % of the samples"])
            for count, text in often[:NUM_RANKED]
        ),
    )
    yield "Failures", (Card(row["smiles"], [f"sample {row['id']}"], row["failure"]) for row in _failures(rows))
    drawn = np.random.default_rng(report.settings["seed"]).permutation(len(report.reference))[:NUM_RANKED].tolist()
    yield "Real molecules, drawn at random", (Card(report.reference[i], []) for i in drawn)


def _sample(row: dict[str, Any], copies: Counter) -> Card:
    facts = []
    if row["qed"] != "":
        # No minus before a zero.
        facts = [f"QED {row['qed']:.2f}, SA {row['sa']:.1f}", f"logP {round(row['log_p'], 1) + 0.0:.1f}"]
    if row["novel"] is True:
        facts.append("novel")
    if copies[row["smiles"]] > 1:
        facts.append(f"made {copies[row['smiles']]:,} times")
    return Card(row["smiles"], [*facts, f"sample {row['id']}"])


def _failures(rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Failures with something to draw: one of each kind, the most frequent kind first, then the next of each."""
    kinds: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        if not row["valid"] and row["smiles"]:
            kinds[kind_of_failure(row["failure"])].append(row)
    ranked = sorted(kinds.items(), key=lambda kind: (-len(kind[1]), kind[0]))
    turns = (
        (place, kind, row) for kind, (_, found) in enumerate(ranked) for place, row in enumerate(found[:NUM_FAILED])
    )
    return islice((row for _, _, row in sorted(turns, key=lambda turn: turn[:2])), NUM_FAILED)


def _card(card: Card) -> str | None:
    picture = drawing(card.smiles, escape(card.smiles))
    if picture is None:
        return None
    lines = "".join(f"<span>{escape(fact)}</span>" for fact in card.facts)
    complaint = f'<span class="bad">{escape(card.complaint)}</span>' if card.complaint else ""
    formula = _formula(card.smiles)
    name = f"<b>{subscripts(formula)}</b>" if formula else ""
    return f'<div class="card">{picture}{name}{lines}{complaint}<code>{escape(card.smiles)}</code></div>'


def _formula(smiles: str) -> str:
    """The sum formula; "" for what RDKit refuses."""
    from rdkit import Chem
    from rdkit.Chem.rdMolDescriptors import CalcMolFormula

    mol = Chem.MolFromSmiles(smiles)
    return "" if mol is None else CalcMolFormula(mol)
