"""A picture of molecules and what they were turned into, side by side, as one SVG file."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from graphgan.report.molecule_drawings import HEIGHT, WIDTH, drawing

PICTURED = 24
"""Pairs in a picture."""
COLUMNS = 2
ARROW, CAPTION, MARGIN = 36, 20, 14


class Pair(NamedTuple):
    """Two molecules as SMILES, valid or not, and a line to stand below them."""

    given: str
    made: str
    caption: str


def pairs_picture(pairs: Sequence[Pair]) -> str:
    """The first PICTURED pairs as the text of an SVG file, an arrow between the two of each. RDKit's complaints about a
    failure are marked in its drawing; what has no atoms, or cannot be drawn, is an empty place."""
    shown = pairs[:PICTURED]
    wide, high = 2 * WIDTH + ARROW + 2 * MARGIN, HEIGHT + CAPTION + MARGIN
    columns = max(1, min(COLUMNS, len(shown)))
    cells = [_cell(pair, i % columns * wide, i // columns * high) for i, pair in enumerate(shown)]
    width, height = columns * wide, -(-len(shown) // columns) * high + MARGIN
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
    body = "\n".join(cells)
    return f'{head}\n<rect width="100%" height="100%" fill="#ffffff"/>\n{body}\n</svg>\n'


def _cell(pair: Pair, x: int, y: int) -> str:
    left, right = x + MARGIN, x + MARGIN + WIDTH + ARROW
    middle, start = y + MARGIN + HEIGHT // 2, left + WIDTH + 4
    parts = [
        _placed(pair.given, left, y + MARGIN),
        f'<path d="M{start} {middle}h{ARROW - 10}m-6 -4l6 4l-6 4" fill="none" stroke="#333d4a"/>',
        _placed(pair.made, right, y + MARGIN),
        f'<text x="{(left + right + WIDTH) // 2}" y="{y + MARGIN + HEIGHT + CAPTION - 6}" text-anchor="middle" '
        f'font-family="sans-serif" font-size="11" fill="#333d4a">{escape(pair.caption)}</text>',
    ]
    return "\n".join(part for part in parts if part)


def _placed(smiles: str, x: int, y: int) -> str:
    found = drawing(smiles, escape(smiles)) if smiles else None
    place = f'<svg x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" '
    return "" if found is None else found.replace("<svg ", place, 1)
