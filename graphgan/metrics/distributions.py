"""Distances between the distributions of a property among samples and among reference crystals.

Samples that are None are skipped here: a property of nothing has no value. Pass the structurally valid
samples to follow CDVAE (`evaluate` does), and read `structural_validity` for how many were left out. A
distance to or from an empty set is nan.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from graphgan.metrics.properties import (
    SYMPREC,
    density,
    element_fractions,
    nearest_neighbour_distances,
    num_elements,
    space_group,
)

if TYPE_CHECKING:
    from pymatgen.core import Structure

NUM_DRAWS = 1000
"""Samples that enter a property distance in the CDVAE protocol."""


def wasserstein(
    values: Iterable[float], reference: Iterable[float], *, num_draws: int | None = None, seed: int = 0
) -> float:
    """First Wasserstein distance of two sets of numbers, in their own unit; 0 or more; nan if either is
    empty.

    With `num_draws`, that many `values` are drawn without replacement; all of them enter where there are
    fewer. They are sorted before the draw, so that the answer depends on the set and the seed and not on the
    order.
    """
    ours, theirs = np.sort(np.fromiter(values, float)), np.sort(np.fromiter(reference, float))
    if not len(ours) or not len(theirs):
        return float("nan")
    if num_draws is not None and len(ours) > num_draws:
        ours = np.random.default_rng(seed).choice(ours, num_draws, replace=False)
    from scipy.stats import wasserstein_distance

    return float(wasserstein_distance(ours, theirs))


def total_variation(weights: Mapping[Any, float], reference: Mapping[Any, float]) -> float:
    """Half the summed difference of two histograms, each scaled to sum 1: in [0, 1]; nan if either is empty.

    It is the largest difference in probability that the two give to any set of classes. Finite samples of one
    and the same distribution do not give 0: compare with the noise floor of the report.
    """
    total, reference_total = sum(weights.values()), sum(reference.values())
    if not total or not reference_total:
        return float("nan")
    # Sorted, so that rounding does not depend on the order of the samples.
    classes = sorted({*weights, *reference}, key=str)
    gaps = (abs(weights.get(c, 0.0) / total - reference.get(c, 0.0) / reference_total) for c in classes)
    return 0.5 * sum(gaps)


def density_wasserstein(
    samples: Sequence[Structure | None],
    reference: Sequence[Structure],
    *,
    num_draws: int | None = NUM_DRAWS,
    seed: int = 0,
) -> float:
    """Wasserstein distance of the mass densities, in g/cm³; 0 or more.

    `num_draws` samples without replacement against the whole reference; Xie et al. (2022), arXiv:2110.06197
    (d_ρ).
    """
    ours = (density(s) for s in samples if s is not None)
    return wasserstein(ours, map(density, reference), num_draws=num_draws, seed=seed)


def num_elements_wasserstein(
    samples: Sequence[Structure | None],
    reference: Sequence[Structure],
    *,
    num_draws: int | None = NUM_DRAWS,
    seed: int = 0,
) -> float:
    """Wasserstein distance of the numbers of distinct elements per crystal; 0 or more.

    `num_draws` samples without replacement against the whole reference; Xie et al. (2022), arXiv:2110.06197
    (d_elem).
    """
    ours = (num_elements(s) for s in samples if s is not None)
    return wasserstein(ours, map(num_elements, reference), num_draws=num_draws, seed=seed)


def nearest_neighbour_wasserstein(samples: Sequence[Structure | None], reference: Sequence[Structure]) -> float:
    """Wasserstein distance, in Å, of the distances from every atom to its nearest neighbour; 0 or more.

    Atoms of all crystals are pooled with equal weight and periodic images of the atom itself count as
    neighbours.
    """
    ours = (d for s in samples if s is not None for d in nearest_neighbour_distances(s))
    theirs = (d for s in reference for d in nearest_neighbour_distances(s))
    return wasserstein(ours, theirs)


def element_total_variation(samples: Sequence[Structure | None], reference: Sequence[Structure]) -> float:
    """Total variation distance of the element histograms, in [0, 1].

    Every crystal adds its atomic fractions, so a large cell does not outweigh a small one.
    """
    ours = element_histogram(element_fractions(s) for s in samples if s is not None)
    return total_variation(ours, element_histogram(map(element_fractions, reference)))


def num_atoms_total_variation(samples: Sequence[Structure | None], reference: Sequence[Structure]) -> float:
    """Total variation distance of the numbers of atoms in the cell as given, in [0, 1]."""
    return total_variation(Counter(len(s) for s in samples if s is not None), Counter(map(len, reference)))


def spacegroup_total_variation(
    samples: Sequence[Structure | None],
    reference: Sequence[Structure],
    *,
    symprec: float = SYMPREC,
    num_reference: int | None = NUM_DRAWS,
    seed: int = 0,
) -> float:
    """Total variation distance of the space-group numbers that spglib finds within `symprec` Å, in [0, 1].

    At most `num_reference` reference crystals, drawn without replacement, since a search can take 50 ms.
    Crystals without an answer form a class of their own. Togo et al. (2024),
    doi:10.1080/27660400.2024.2384822.
    """
    ours = Counter(space_group(s, symprec) for s in samples if s is not None)
    drawn = draw(reference, num_reference, seed)
    return total_variation(ours, Counter(space_group(s, symprec) for s in drawn))


def draw(structures: Sequence[Structure], count: int | None, seed: int) -> Sequence[Structure]:
    """All structures, or `count` of them without replacement where there are more."""
    if count is None or len(structures) <= count:
        return structures
    return [structures[i] for i in np.random.default_rng(seed).choice(len(structures), count, replace=False)]


def element_histogram(fractions: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Sum of atomic fractions by element over crystals, from `element_fractions` of each."""
    # Sums are taken over sorted terms: floats added in another order would change the last digits.
    terms: dict[str, list[float]] = {}
    for crystal in fractions:
        for element, share in crystal.items():
            terms.setdefault(element, []).append(share)
    return {element: sum(sorted(shares)) for element, shares in sorted(terms.items())}
