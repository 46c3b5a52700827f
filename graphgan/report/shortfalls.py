"""What the samples lack, as HTML: classes never made, validity by size, and bond lengths by pair of elements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from graphgan.metrics.distributions import MIN_PAIR_COUNT
from graphgan.report.crystals import space_group_symbol

MAX_NAMED = 10
"""Missing classes of a kind that are named."""
MAX_BONDS = 12
"""Pairs of elements in the table of bond lengths."""
SCATTERED = 2.0
"""Times the spread of real bonds from which generated ones are called scattered."""
_KINDS = {"elements": "Elements", "spacegroups": "Space groups", "prototypes": "Prototypes"}

MISSING_NOTE = (
    "Never made by a structurally valid sample. “By chance” is how many as many real crystals, drawn at random, would "
    "miss on average. A prototype is the type of formula, the number of the space group, and the site symmetries of "
    "each element."
)
BONDS_NOTE = (
    "Each atom’s distance to its nearest neighbour by the two elements, in Å: mean ± standard deviation, and number of "
    "atoms. <b>Short</b> or <b>long</b>: the mean is off by more than the spread of real bonds; <b>scattered</b>: more "
    f"than {SCATTERED:g} times that spread; said where there are at least {MIN_PAIR_COUNT} atoms."
)


def missing(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Elements, space groups and prototypes that real crystals have and samples lack; nothing if there are no kinds."""
    rows = "".join(_missing_row(kind, found[kind]) for kind in _KINDS if kind in found and found[kind]["of"])
    if not rows:
        return ""
    return (
        '<div class="scroll"><table class="missing"><thead><tr><th></th><th class="number">Never made</th>'
        '<th class="number">By chance</th><th class="number">Real crystals with one</th>'
        "<th>Most frequent, with their share of real crystals</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></div>"
    )


def _missing_row(kind: str, found: Mapping[str, Any]) -> str:
    named = found["most_frequent"][:MAX_NAMED]
    chips = [
        f'<span class="chip">{escape(_class_name(kind, label))} <i>{_percent(share)}</i></span>'
        for label, share in named
    ]
    if not named:
        chips = ['<span class="rest">none</span>']
    rest = found["missing"] - len(named)
    if rest > 0:
        chips.append(f'<span class="rest">and {rest:,} more</span>')
    return (
        f'<tr><th scope="row">{_KINDS[kind]}</th><td class="number">{found["missing"]:,} of {found["of"]:,}</td>'
        f'<td class="number">{found["expected"]:.1f}</td>'
        f'<td class="number">{_percent(found["share_of_reference"])}</td><td class="named">{" ".join(chips)}</td></tr>'
    )


def _class_name(kind: str, label: Any) -> str:
    return f"{space_group_symbol(int(label))} ({label})" if kind == "spacegroups" else str(label)


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.0f} %"


def validity_by_size(bins: Mapping[str, Mapping[str, Any]]) -> str:
    """Structural validity by number of atoms as bars; nothing without samples."""
    if not bins:
        return ""
    rows = "".join(
        f'<tr><th scope="row">{escape(name.replace("-", "–"))}</th>'
        f'<td class="bar"><span><i style="width: {100 * found["validity"]:.1f}%"></i></span></td>'
        f'<td class="number">{100 * found["validity"]:.1f} %</td><td class="number soft">{found["count"]:,}</td></tr>'
        for name, found in bins.items()
    )
    return (
        '<table class="sizes"><thead><tr><th>Atoms</th><th>Valid</th><th></th><th class="number">Samples</th></tr>'
        f"</thead><tbody>{rows}</tbody></table>"
    )


def bond_lengths(pairs: Sequence[Mapping[str, Any]]) -> str:
    """Bond lengths of the most frequent pairs of real crystals, those farthest off first; nothing without pairs."""
    if not pairs:
        return ""
    # Pairs that no sample has tell the least about lengths, so they come last.
    ranked = sorted(pairs, key=lambda pair: -pair.get("wasserstein", -1.0))
    rows = "".join(map(_bond_row, ranked[:MAX_BONDS]))
    left = len(ranked) - MAX_BONDS
    more = "" if left <= 0 else f'<p class="note after">{left} more pairs are in <code>metrics.json</code>.</p>'
    return (
        '<div class="scroll"><table class="bonds"><thead><tr><th>Pair</th><th class="number">Real</th>'
        '<th class="number count">Atoms</th><th class="number">Generated</th><th class="number count">Atoms</th>'
        f"<th></th></tr></thead><tbody>{rows}</tbody></table></div>{more}"
    )


def _bond_row(pair: Mapping[str, Any]) -> str:
    made = "–" if "mean" not in pair else _plus_minus(pair["mean"], pair["std"])
    mark = _verdict(pair)
    badge = f'<span class="badge off">{mark}</span>' if mark else ""
    return (
        f'<tr><th scope="row">{escape(pair_name(pair["pair"].split("-")))}</th>'
        f'<td class="number">{_plus_minus(pair["real_mean"], pair["real_std"])}</td>'
        f'<td class="number soft count">{pair["real_count"]:,}</td><td class="number">{made}</td>'
        f'<td class="number soft count">{pair["count"]:,}</td><td>{badge}</td></tr>'
    )


def _plus_minus(mean: float, std: float) -> str:
    return f"{mean:.2f} ± {std:.2f}"


def _verdict(pair: Mapping[str, Any]) -> str:
    if pair["count"] < MIN_PAIR_COUNT:
        return ""
    # Less than the last digit shown is no difference: bonds of one prototype have no spread.
    spread = max(pair["real_std"], 0.01)
    if abs(pair["mean"] - pair["real_mean"]) > spread:
        return "long" if pair["mean"] > pair["real_mean"] else "short"
    return "scattered" if pair["std"] > SCATTERED * spread else ""


def pair_name(pair: Sequence[str]) -> str:
    """Two elements as chemists order them, by Mendeleev number: Ti–O, O–H."""
    from pymatgen.core import Element

    def rank(symbol: str) -> float:
        # `data`, since the property warns where there is no number.
        return (Element(symbol).data.get("Mendeleev no") or 0) if Element.is_valid_symbol(symbol) else 0

    return "–".join(sorted(pair, key=rank))
