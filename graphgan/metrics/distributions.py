"""Distances between the distributions of a property among samples and among reference crystals.

Samples that are None are skipped here: a property of nothing has no value. Pass the structurally valid
samples to follow CDVAE (`evaluate` does), and read `structural_validity` for how many were left out. A
distance to or from an empty set is nan.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from graphgan.metrics.properties import (
    SYMPREC,
    cell_shape,
    density,
    element_fractions,
    nearest_neighbour_distances,
    nearest_neighbours,
    num_elements,
    space_group,
)

if TYPE_CHECKING:
    from pymatgen.core import Structure

NUM_DRAWS = 1000
"""Samples that enter a property distance in the CDVAE protocol."""
MIN_PAIR_COUNT = 20
"""Atoms of a pair of elements below which its bond lengths are not compared."""


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


def neighbour_pair_wasserstein(samples: Sequence[Structure | None], reference: Sequence[Structure]) -> float:
    """`pair_wasserstein` of the distances from every atom to its nearest neighbour, by the two elements; in Å."""
    ours = pair_distances(nearest_neighbours(s) for s in samples if s is not None)
    return pair_wasserstein(ours, pair_distances(map(nearest_neighbours, reference)))


PairDistances = dict[tuple[str, str], list[float]]


def pair_distances(crystals: Iterable[tuple[Iterable[float], Iterable[tuple[str, str]]]]) -> PairDistances:
    """Nearest-neighbour distances by pair of elements, from the distances and pairs of every crystal."""
    found: PairDistances = {}
    for distances, pairs in crystals:
        for distance, pair in zip(distances, pairs, strict=True):
            found.setdefault(pair, []).append(distance)
    return found


def pair_wasserstein(ours: PairDistances, theirs: PairDistances, *, min_count: int = MIN_PAIR_COUNT) -> float:
    """Wasserstein distance of bond lengths, in Å, averaged over pairs of elements by their frequency in `theirs`.

    This is whether Ti-O bonds are as long as Ti-O bonds: a set of samples may match the distances of all atoms pooled
    and know nothing of chemistry. Pairs with fewer than `min_count` atoms on either side are left out; nan if none is
    left.
    """
    shared = sorted(p for p in theirs if min(len(theirs[p]), len(ours.get(p, ()))) >= min_count)
    if not shared:
        return float("nan")
    weights = np.array([len(theirs[p]) for p in shared], float)
    distances = [wasserstein(ours[p], theirs[p]) for p in shared]
    return float(weights @ distances / weights.sum())


def cell_length_wasserstein(samples: Sequence[Structure | None], reference: Sequence[Structure]) -> float:
    """Wasserstein distance, in Å, of the edges of the Niggli cells, all three pooled; 0 or more."""
    ours, theirs = ((cell_shape(s)[0] for s in side if s is not None) for side in (samples, reference))
    return wasserstein(chain.from_iterable(ours), chain.from_iterable(theirs))


def cell_angle_wasserstein(samples: Sequence[Structure | None], reference: Sequence[Structure]) -> float:
    """Wasserstein distance, in degrees, of the angles of the Niggli cells, all three pooled; 0 or more."""
    ours, theirs = ((cell_shape(s)[1] for s in side if s is not None) for side in (samples, reference))
    return wasserstein(chain.from_iterable(ours), chain.from_iterable(theirs))


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


def shuffled(structures: Sequence[Structure | None], seed: int) -> list[int]:
    """A random order of crystals, as indices, that depends on what they are and not on how they are listed."""

    def content(index: int) -> tuple:
        structure = structures[index]
        if structure is None:
            return ()
        species = " ".join(site.species_string for site in structure)
        return (species, structure.lattice.matrix.tobytes(), structure.frac_coords.tobytes())

    by_content = sorted(range(len(structures)), key=content)
    return [by_content[i] for i in np.random.default_rng(seed).permutation(len(structures)).tolist()]


def draw(structures: Sequence[Structure], count: int | None, seed: int) -> Sequence[Structure]:
    """All structures, or `count` of them without replacement where there are more."""
    if count is None or len(structures) <= count:
        return structures
    return [structures[i] for i in shuffled(structures, seed)[:count]]


def element_histogram(fractions: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Sum of atomic fractions by element over crystals, from `element_fractions` of each."""
    # Sums are taken over sorted terms: floats added in another order would change the last digits.
    terms: dict[str, list[float]] = {}
    for crystal in fractions:
        for element, share in crystal.items():
            terms.setdefault(element, []).append(share)
    return {element: sum(sorted(shares)) for element, shares in sorted(terms.items())}
