"""The four numbers of matbench-genmetrics, from their definitions: validity, coverage, novelty, uniqueness.

Baird, Sayeed, Montoya and Sparks, matbench-genmetrics, J. Open Source Softw. 9, 5618 (2024),
doi:10.21105/joss.05618, version 0.6.5. The functions take fingerprints and class numbers as arrays and know no
model. Quirks of the published code are kept and named, so that its numbers can be compared with ours.

Two crystals match if the Euclidean distance of their composition fingerprints is at most 10 and that of their
structure fingerprints at most 0.4. The composition fingerprint there is the 132 Magpie features as they are: unlike
in CDVAE, whose cut-offs these are, it is *not* standardised, so that a kelvin of a melting point weighs as much as
a unit of electronegativity. The structure fingerprint is the mean over sites of the 61 CrystalNN "ops" features. A
crystal without a fingerprint is a row of nan: it matches nothing, not even itself, and counts in the denominators.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from graphgan.errors import UserError
from graphgan.metrics.properties import is_finite

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from pymatgen.core import Composition, Structure

CUTOFFS = (10.0, 0.4)
"""Largest distances, of composition and of structure fingerprints, at which two crystals match."""

_BLOCK = 2_000_000
"""Pairs whose distances are held at a time: 16 MB."""


class UnfitFingerprints(UserError):
    """Fingerprints whose shapes do not go together."""


def genmetrics_validity(
    space_groups_gen: Iterable[int | None],
    space_groups_real: Iterable[int | None],
    pettifor_gen: Mapping[int, float],
    pettifor_real: Mapping[int, float],
) -> float:
    """How much closer the generated set is to the real one than the number 1 alone is; 1 or less, can be negative.

    The mean of 1 - W(real, gen) / W(real, {1}) over two distributions: space-group numbers, and modified Pettifor
    numbers of the elements (`pettifor_histogram`). W is the first Wasserstein distance; "real" is train and test
    together. nan where a set is empty, or where the real one is the number 1 alone.

    Quirk: it judges two distributions and no crystal, so impossible crystals can score 1. None, for no space group
    found, counts as 1. `genmetrics_space_groups` gives the numbers with the published tolerances.
    """
    groups_gen = _counts(space_groups_gen)
    groups_real = _counts(space_groups_real)
    return 0.5 * (_closeness(groups_gen, groups_real) + _closeness(pettifor_gen, pettifor_real))


def genmetrics_coverage(
    comp_gen: ArrayLike,
    struct_gen: ArrayLike,
    comp_test: ArrayLike,
    struct_test: ArrayLike,
    *,
    cutoffs: tuple[float, float] = CUTOFFS,
) -> float:
    """Number of generated crystals that match a held-out crystal, divided by the number of held-out crystals.

    Fingerprints [n, features]. 0 or more; nan without held-out crystals. Quirk: generated crystals are counted,
    not the held-out ones that were found, so that many copies of one hit score well, and the number exceeds 1 where
    more are generated than held out.
    """
    gen, test = _pair(comp_gen, struct_gen), _pair(comp_test, struct_test)
    return _ratio(_num_matched(test, gen, cutoffs), len(test[0]))


def genmetrics_novelty(
    comp_gen: ArrayLike,
    struct_gen: ArrayLike,
    comp_train: ArrayLike,
    struct_train: ArrayLike,
    *,
    cutoffs: tuple[float, float] = CUTOFFS,
) -> float:
    """Share of the generated crystals that match no training crystal, in [0, 1]; nan without any.

    Fingerprints [n, features]. Quirk: a crystal without a fingerprint counts as novel.
    """
    gen, train = _pair(comp_gen, struct_gen), _pair(comp_train, struct_train)
    return 1.0 - _ratio(_num_matched(train, gen, cutoffs), len(gen[0]))


def genmetrics_uniqueness(
    comp_gen: ArrayLike, struct_gen: ArrayLike, *, cutoffs: tuple[float, float] = CUTOFFS
) -> float:
    """Share of the ordered pairs of generated crystals that do not match, in [0, 1]; nan for fewer than two crystals.

    Fingerprints [n, features]. Quirk: with pairs in the denominator, ten per cent of copies of one crystal cost only
    one per cent. Crystals without a fingerprint count as unlike all others.
    """
    gen = _pair(comp_gen, struct_gen)
    # Every crystal matches itself, unless it has no fingerprint.
    others = sum(int(np.clip(block.sum(axis=1) - 1, 0, None).sum()) for block in _match_blocks(gen, gen, cutoffs))
    size = len(gen[0])
    return 1.0 - _ratio(others, size * (size - 1))


def match_matrix(
    comp_a: ArrayLike,
    struct_a: ArrayLike,
    comp_b: ArrayLike,
    struct_b: ArrayLike,
    cutoffs: tuple[float, float] = CUTOFFS,
) -> np.ndarray:
    """Which crystals of a match which of b: booleans [num a, num b], a byte a pair.

    Both distances must be within `cutoffs`, (composition, structure), for one and the same pair; the coverage of
    CDVAE takes the two minima separately. The four numbers do not need this matrix and never hold it whole.

    Raises UnfitFingerprints for arrays that are not [n, features] with the numbers of crystals and features equal.
    """
    a, b = _pair(comp_a, struct_a), _pair(comp_b, struct_b)
    blocks = list(_match_blocks(a, b, cutoffs))
    return np.concatenate(blocks) if blocks else np.zeros((0, len(b[0])), dtype=bool)


def pettifor_histogram(crystals: Iterable[Structure | Composition | None]) -> dict[int, float]:
    """Weight of each modified Pettifor number (0 He to 102 H) in a set of crystals; the weights sum to 1.

    Every crystal adds its atomic fractions. Crystals that are None or have no atoms are skipped; an empty set gives
    an empty histogram. Isotopes count as their element; elements beyond Lr have the number 0 there too; a dummy
    species has no number and is left out. Glawe et al. (2016), doi:10.1088/1367-2630/18/9/093011.
    """
    scale = _pettifor_numbers()
    terms: dict[int, list[float]] = {}
    for crystal in crystals:
        amounts: dict[int, float] = {}
        composition: Any = getattr(crystal, "composition", crystal)
        for species, amount in composition.items() if composition is not None else ():
            if 1 <= species.Z <= 118:  # a dummy species has any number
                number = scale.get(species.Z, 0)
                amounts[number] = amounts.get(number, 0.0) + amount
        total = sum(amounts.values())
        for number, amount in amounts.items():
            terms.setdefault(number, []).append(amount / total)
    # Sums over sorted terms, so that rounding does not depend on the order of the crystals.
    weights = {number: sum(sorted(shares)) for number, shares in sorted(terms.items())}
    whole = sum(weights.values())
    return {number: weight / whole for number, weight in weights.items()}


def genmetrics_space_groups(crystals: Iterable[Structure | None]) -> list[int]:
    """Space-group numbers as matbench-genmetrics takes them: within 0.01 Å and 5°, and 1 where none is found.

    Crystals that are None are skipped. Most generated crystals are P1 at these tolerances, which pymatgen has by
    default; `space_group` has looser ones.
    """
    # spglib prints a line on stderr for every crystal that it gives up.
    os.environ.setdefault("SPGLIB_WARNING", "OFF")
    numbers = []
    for crystal in crystals:
        if crystal is None:
            continue
        if not is_finite(crystal):
            numbers.append(1)
            continue
        try:
            numbers.append(int(crystal.get_space_group_info()[1]))
        except Exception:  # of several kinds, by the version of spglib; the published code catches one of them
            numbers.append(1)
    return numbers


def _counts(numbers: Iterable[int | None]) -> dict[int, float]:
    counts: dict[int, float] = {}
    for number in numbers:
        key = 1 if number is None else int(number)
        counts[key] = counts.get(key, 0.0) + 1.0
    return counts


def _closeness(gen: Mapping[int, float], real: Mapping[int, float]) -> float:
    """1 - W(real, gen) / W(real, {1}) of two histograms."""
    from scipy.stats import wasserstein_distance

    if not sum(gen.values()) > 0 or not sum(real.values()) > 0:
        return float("nan")
    values, weights = list(real), list(real.values())
    dummy = wasserstein_distance(values, [1], weights, [1])
    if dummy == 0:
        return float("nan")
    return float(1.0 - wasserstein_distance(values, list(gen), weights, list(gen.values())) / dummy)


def _pair(comp: ArrayLike, struct: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Both fingerprints of a set as float arrays with a row a crystal."""
    arrays = np.asarray(comp, dtype=float), np.asarray(struct, dtype=float)
    for name, array in zip(("composition", "structure"), arrays, strict=True):
        if array.ndim != 2 and array.size:
            raise UnfitFingerprints(f"{name} fingerprints must be [n, features], not {list(array.shape)}")
    if len(arrays[0]) != len(arrays[1]):
        raise UnfitFingerprints(f"{len(arrays[0])} composition fingerprints, but {len(arrays[1])} of the structure")
    return arrays


def _match_blocks(
    a: Sequence[np.ndarray], b: Sequence[np.ndarray], cutoffs: tuple[float, float]
) -> Iterator[np.ndarray]:
    """Rows of the match matrix of a and b, a few at a time, so that memory does not grow with the sets."""
    from scipy.spatial.distance import cdist

    if not len(a[0]) or not len(b[0]):
        yield np.zeros((len(a[0]), len(b[0])), dtype=bool)
        return
    for name, ours, theirs in zip(("composition", "structure"), a, b, strict=True):
        if ours.shape[1] != theirs.shape[1]:
            raise UnfitFingerprints(f"{name} fingerprints of {ours.shape[1]} and of {theirs.shape[1]} features")
    rows = max(1, _BLOCK // len(b[0]))
    for start in range(0, len(a[0]), rows):
        part = slice(start, start + rows)
        # A distance of nan is not within the cut-off.
        matches = cdist(a[1][part], b[1]) <= cutoffs[1]
        if matches.any():
            matches &= cdist(a[0][part], b[0]) <= cutoffs[0]
        yield matches


def _num_matched(known: Sequence[np.ndarray], gen: Sequence[np.ndarray], cutoffs: tuple[float, float]) -> int:
    """Number of generated crystals that match at least one known crystal."""
    return sum(int(block.any(axis=1).sum()) for block in _match_blocks(gen, known, cutoffs))


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")


@functools.cache
def _pettifor_numbers() -> dict[int, int]:
    """Modified Pettifor number by atomic number, 1 to 103."""
    import tomllib
    from importlib.resources import files

    from pymatgen.core import Element

    text = files("graphgan.metrics").joinpath("tables", "pettifor.toml").read_text(encoding="utf-8")
    return {Element(symbol).Z: number for symbol, number in tomllib.loads(text)["modified_pettifor"].items()}
