"""Still pictures of crystals as SVG: they need no script, print well and cost a few kilobytes each."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np

from graphgan.report.crystals import EDGES, Scene
from graphgan.report.elements import element_colour

SIZE = 200
MARGIN = 10
TURN, TILT = np.radians(-24), np.radians(14)


def view_matrix() -> np.ndarray:
    """Rotation [3, 3] from crystal to picture: x to the right, y up, z towards the reader; c points up."""
    upright = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
    turn = np.array([[np.cos(TURN), 0, np.sin(TURN)], [0, 1, 0], [-np.sin(TURN), 0, np.cos(TURN)]])
    tilt = np.array([[1, 0, 0], [0, np.cos(TILT), -np.sin(TILT)], [0, np.sin(TILT), np.cos(TILT)]])
    return tilt @ turn @ upright


def gradients(symbols: Iterable[str]) -> str:
    """One shaded-sphere gradient per element, shared by all pictures of a page."""
    stops = []
    for symbol in sorted(set(symbols)):
        colour = element_colour(symbol)
        stops.append(
            f'<radialGradient id="{_name(symbol)}" cx="35%" cy="32%" r="70%">'
            f'<stop offset="0" stop-color="#fff" stop-opacity=".9"/>'
            f'<stop offset=".35" stop-color="{colour}"/><stop offset="1" stop-color="{_darker(colour)}"/>'
            "</radialGradient>"
        )
    return f'<svg width="0" height="0" aria-hidden="true" class="defs"><defs>{"".join(stops)}</defs></svg>'


def thumbnail(scene: Scene, description: str) -> str:
    """The crystal seen from a fixed direction; far things first, so that near ones cover them.

    `description` must be escaped already; the page has to contain `gradients` of all its elements.
    """
    turned = scene.positions @ view_matrix().T
    corners = scene.corners @ view_matrix().T
    low = np.vstack([turned[:, :2] - scene.radii[:, None], corners[:, :2]]).min(axis=0)
    high = np.vstack([turned[:, :2] + scene.radii[:, None], corners[:, :2]]).max(axis=0)
    scale = (SIZE - 2 * MARGIN) / (high - low).max()
    middle = (high + low) / 2

    def flat(points: np.ndarray) -> np.ndarray:
        return SIZE / 2 + (points[..., :2] - middle) * scale * [1, -1]

    shapes: list[tuple[float, str]] = []
    for i, j in EDGES:
        depth = (corners[i, 2] + corners[j, 2]) / 2
        shapes.append((depth, _line(flat(corners[i]), flat(corners[j]), "#8b98a9", 1.0)))
    width = max(1.2, 0.17 * scale)
    for i, j in scene.bonds:
        # Half a bond in the colour of each end, starting at the surface of the sphere.
        for end, other in ((i, j), (j, i)):
            half = (turned[end] + turned[other]) / 2
            colour = _darker(element_colour(scene.symbols[end]), 0.9)
            depth = (turned[end, 2] + half[2]) / 2
            shapes.append((depth, _line(flat(turned[end]), flat(half), colour, width)))
    for symbol, position, radius in zip(scene.symbols, turned, scene.radii, strict=True):
        x, y = flat(position)
        circle = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius * scale:.1f}" fill="url(#{_name(symbol)})"/>'
        shapes.append((position[2] + 0.01, circle))
    shapes.sort(key=lambda shape: shape[0])
    body = "".join(shape for _, shape in shapes)
    return f'<svg viewBox="0 0 {SIZE} {SIZE}" role="img" aria-label="{description}">{body}</svg>'


def _name(symbol: str) -> str:
    """The id of an element's gradient; dummies may be called anything."""
    return "atom-" + re.sub(r"\W", "_", symbol)


def _line(start: np.ndarray, end: np.ndarray, colour: str, width: float) -> str:
    return (
        f'<line x1="{start[0]:.1f}" y1="{start[1]:.1f}" x2="{end[0]:.1f}" y2="{end[1]:.1f}" '
        f'stroke="{colour}" stroke-width="{width:.1f}" stroke-linecap="round"/>'
    )


def _darker(colour: str, factor: float = 0.62) -> str:
    channels = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round(channel * factor):02x}" for channel in channels)
