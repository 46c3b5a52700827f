"""Compositional validity: whether oxidation states can balance the charge of a composition.

The rule of CDVAE (Xie et al. 2022, arXiv:2110.06197), built on SMACT (Davies et al. 2019,
doi:10.21105/joss.01361), with the tables of the SMACT version that the published numbers come from. Published
code tries every combination of oxidation states, which takes seconds for seven elements. Here the Pauling test
becomes a choice of states per element, and neutrality a set of reachable charges: linear in the number of
elements, with the same answers.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import gcd, isfinite, lcm
from typing import TYPE_CHECKING, Any

from graphgan.errors import UserError

if TYPE_CHECKING:
    from pymatgen.core import Composition, Structure

OXIDATION_TABLES = ("smact-2.2.1", "smact-4.0.2-icsd24")
"""Tables by name. "smact-2.2.1": the one that CDVAE, DiffCSP, FlowMM and ADiT report. "smact-4.0.2-icsd24": what
`smact_validity` of SMACT 4.0.2 does by default. Their numbers must not be compared with each other."""

MAX_COUNT = 1_000_000
"""Atoms of one element in the reduced formula above which a composition counts as invalid."""

_MAX_DENOMINATOR = 100

Counts = tuple[tuple[int, int], ...]
"""(atomic number, number of atoms), ascending in the atomic number, without a common divisor."""


class UnknownTable(UserError):
    """A name that is not in OXIDATION_TABLES."""


@dataclass(frozen=True)
class _Element:
    """What a table says about one element; no electronegativity is None, no oxidation states is ()."""

    metal: bool
    electronegativity: float | None
    states: tuple[int, ...]


@dataclass(frozen=True)
class _Table:
    elements: Mapping[int, _Element]
    missing_fails: bool


def compositionally_valid(composition: Composition | Structure | None, table: str = "smact-2.2.1") -> bool:
    """Whether a composition passes the SMACT test as CDVAE applies it (Xie et al. 2022, arXiv:2110.06197).

    Valid is a composition of one element; one of metals only (79 elements, Ge, Sb and Po among them); and any
    other one for which there is one oxidation state per element such that the charges sum to 0 and every element
    with a positive state is less electronegative than every element with a negative state. Counts are divided
    by their greatest common divisor. All atoms of an element have the same state: Fe3O4 is invalid.

    An element without oxidation states makes a compound invalid. So does a missing electronegativity (Pm, Lr) with
    "smact-4.0.2-icsd24". With "smact-2.2.1" the published code then lets the first pair that it meets decide, in the
    order of atomic numbers: opposite signs pass the whole compound, equal signs fail the choice of states.

    Where published code crashes or cannot be asked, the answer is defined here. None, no atoms, a dummy species and
    Z > 103 are invalid. Isotopes and charge states count as their element. Fractional amounts are taken as fractions
    with a denominator of at most 100 and scaled to whole numbers. More than 10⁶ atoms of an element in the reduced
    formula are invalid. DiffCSP's code also calls invalid what has more than 10⁷ combinations of states, since it
    would take too long; that limit is not applied.

    Raises UnknownTable for a name that is not in OXIDATION_TABLES.
    """
    if table not in OXIDATION_TABLES:
        raise UnknownTable(f"unknown oxidation table {table!r}; known are {', '.join(OXIDATION_TABLES)}")
    counts = None if composition is None else _reduced_counts(composition)
    return counts is not None and _valid(counts, table)


def compositional_validity(samples: Sequence[Structure | None], table: str = "smact-2.2.1") -> float:
    """Share of the samples asked for that are `compositionally_valid`, in [0, 1]; nan without samples.

    Real crystals do not reach 1: MP-20 has about 0.90, Perov-5 0.99 with "smact-2.2.1". A share above that of
    the training set says that a generator leaves the data. Xie et al. (2022), arXiv:2110.06197.
    """
    flags = [compositionally_valid(sample, table) for sample in samples]
    return sum(flags) / len(flags) if flags else float("nan")


def _reduced_counts(given: Composition | Structure) -> Counts | None:
    """Numbers of atoms by element without a common divisor; None where they cannot be told."""
    amounts: dict[int, float] = defaultdict(float)
    for species, amount in _species(given):
        if not 1 <= species.Z <= 103:
            return None
        amounts[species.Z] += amount
    if not all(isfinite(amount) and amount >= 0 for amount in amounts.values()):
        return None
    counts = _whole({number: amount for number, amount in amounts.items() if amount > 0})
    if not counts:
        return None
    divisor = gcd(*counts.values())
    if max(counts.values()) > MAX_COUNT * divisor:
        return None
    return tuple((number, counts[number] // divisor) for number in sorted(counts))


def _species(given: Any) -> Iterator[tuple[Any, float]]:
    """Species and amounts of a composition, or of all sites of a structure."""
    # Composition objects of whole structures are three times as slow to make as this loop.
    compositions = (site.species for site in given) if hasattr(given, "lattice") else (given,)
    for composition in compositions:
        yield from composition.items()


def _whole(amounts: Mapping[int, float]) -> dict[int, int]:
    """Amounts as whole numbers in the same ratio; amounts that round to nothing are left out."""
    if all(amount == int(amount) for amount in amounts.values()):
        return {number: int(amount) for number, amount in amounts.items()}
    fractions = {number: Fraction(amount).limit_denominator(_MAX_DENOMINATOR) for number, amount in amounts.items()}
    scale = lcm(*(fraction.denominator for fraction in fractions.values()))
    return {number: int(fraction * scale) for number, fraction in fractions.items() if fraction}


@functools.lru_cache(maxsize=65536)
def _valid(counts: Counts, table: str) -> bool:
    known = _table(table)
    elements = [known.elements[number] for number, _ in counts]
    if len(elements) == 1 or all(element.metal for element in elements):
        return True
    if not all(element.states for element in elements):
        return False
    numbers = [count for _, count in counts]
    return any(_neutral(numbers, states) for states in _allowed_states(elements, known.missing_fails))


def _allowed_states(elements: Sequence[_Element], missing_fails: bool) -> Iterator[list[list[int]]]:
    """Lists of states per element such that whatever is chosen from them passes the Pauling test.

    Together the lists cover every choice that passes, apart from those of one sign only, which cannot be neutral.
    """
    electronegativities = [element.electronegativity for element in elements]
    known = [value for value in electronegativities if value is not None]
    if len(known) == len(elements):
        # All cations are less electronegative than all anions: a threshold between two values parts them.
        for highest_cation in sorted(set(known))[:-1]:
            yield [_of_sign(e, +1 if x <= highest_cation else -1) for e, x in zip(elements, known, strict=True)]
    elif not missing_fails:
        yield from _first_pair_decides(elements, electronegativities)


def _first_pair_decides(
    elements: Sequence[_Element], electronegativities: Sequence[float | None]
) -> Iterator[list[list[int]]]:
    """The choices that SMACT 2.2.1 and CDVAE pass where an electronegativity is missing.

    Pairs are met in the order (0, 1), (0, 2), ... The comparison of a missing number raises an error for a cation and
    an anion, which CDVAE takes as a pass, and fails for two of a sign. So the pair of the first element and the first
    one with a missing number ends the test, and only the pairs before it are compared.
    """
    first = electronegativities[0]
    last = 1 if first is None else electronegativities.index(None)
    for sign in (+1, -1):
        states = [_of_sign(elements[0], sign)]
        for element, other in zip(elements[1:last], electronegativities[1:last], strict=True):
            assert first is not None
            assert other is not None
            may_be_opposite = sign * (other - first) > 0
            states.append(list(element.states) if may_be_opposite else _of_sign(element, sign))
        states.append(_of_sign(elements[last], -sign))
        yield states + [list(element.states) for element in elements[last + 1 :]]


def _of_sign(element: _Element, sign: int) -> list[int]:
    return [state for state in element.states if state * sign > 0]


def _neutral(counts: Sequence[int], states: Sequence[Sequence[int]]) -> bool:
    """Whether one state per element can be chosen such that the sum of count times state is 0."""
    if not all(states):
        return False
    # Bit q of `reachable` says that the charge lowest + q can be reached.
    reachable, lowest = 1, 0
    for count, choices in zip(counts, states, strict=True):
        least = min(choices)
        lowest += count * least
        shifted = 0
        for state in choices:
            shifted |= reachable << count * (state - least)
        reachable = shifted
    return lowest <= 0 and bool(reachable >> -lowest & 1)


@functools.cache
def _table(name: str) -> _Table:
    import tomllib
    from importlib.resources import files

    from pymatgen.core import Element

    text = files("graphgan.metrics").joinpath("tables", "oxidation_states.toml").read_text(encoding="utf-8")
    facts = tomllib.loads(text)
    table, metals = facts[name], frozenset(facts["metals"].split())
    elements = {}
    for number in range(1, 104):
        symbol = Element.from_Z(number).symbol
        elements[number] = _Element(
            metal=symbol in metals,
            electronegativity=table["electronegativity"].get(symbol),
            states=tuple(table["oxidation_states"].get(symbol, ())),
        )
    return _Table(elements, missing_fails=table["missing_electronegativity"] == "fails")
