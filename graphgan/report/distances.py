"""The distances between distributions that a report shows, from profiles of the crystals, and their noise floors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from graphgan import metrics
from graphgan.metrics.distributions import NUM_DRAWS, element_histogram, pair_distances, pair_wasserstein
from graphgan.metrics.profiles import Profile

NUM_SPLITS = 10
"""Random splits of the reference whose mean gives the noise floor."""

Values = dict[str, list]
"""Column -> one value a crystal; the columns of symmetry may cover fewer crystals."""


class Distance(NamedTuple):
    """A distance: the column that it compares, how, and over which samples (`valid` or `structurally_valid`)."""

    column: str
    function: Callable[[list, list, int], float]
    population: str = "structurally_valid"


def _drawn(ours: list, theirs: list, seed: int) -> float:
    return metrics.wasserstein(ours, theirs, num_draws=NUM_DRAWS, seed=seed)


def _pooled(ours: list, theirs: list, seed: int) -> float:
    return metrics.wasserstein(chain(*ours), chain(*theirs))


def _histograms(ours: list, theirs: list, seed: int) -> float:
    return metrics.total_variation(Counter(ours), Counter(theirs))


def _elements(ours: list, theirs: list, seed: int) -> float:
    return metrics.total_variation(element_histogram(ours), element_histogram(theirs))


def _bonds(ours: list, theirs: list, seed: int) -> float:
    return pair_wasserstein(pair_distances(ours), pair_distances(theirs))


# The functions of graphgan.metrics of the same names give the same numbers.
DISTANCES: dict[str, Distance] = {
    "density_wasserstein": Distance("density", _drawn, "valid"),
    "num_elements_wasserstein": Distance("num_elements", _drawn, "valid"),
    "nearest_neighbour_wasserstein": Distance("nearest_neighbours", _pooled),
    "neighbour_pair_wasserstein": Distance("bonds", _bonds),
    "cell_length_wasserstein": Distance("cell_lengths", _pooled),
    "cell_angle_wasserstein": Distance("cell_angles", _pooled),
    "num_atoms_total_variation": Distance("num_atoms", _histograms),
    "element_total_variation": Distance("elements", _elements),
    "spacegroup_total_variation": Distance("spacegroup", _histograms),
}


def values_of(profiles: Sequence[Profile], with_symmetry: Sequence[Profile] | None = None) -> Values:
    """The columns that distances compare; symmetry is slow and may be known of fewer crystals."""
    symmetric = profiles if with_symmetry is None else with_symmetry
    return {
        "density": [p.density for p in profiles],
        "num_elements": [p.num_elements for p in profiles],
        "num_atoms": [p.num_atoms for p in profiles],
        "elements": [p.elements for p in profiles],
        "nearest_neighbours": [p.nearest_neighbours for p in profiles],
        "bonds": [(p.nearest_neighbours, p.neighbour_pairs) for p in profiles],
        "cell_lengths": [p.cell_lengths for p in profiles],
        "cell_angles": [p.cell_angles for p in profiles],
        "spacegroup": [p.spacegroup for p in symmetric],
        "prototype": [p.prototype for p in symmetric],
    }


def distances(
    ours: dict[str, Values], theirs: Values, seed: int, table: Mapping[str, Distance] = DISTANCES
) -> dict[str, float]:
    """Every distance of the samples, given by population, from the reference; nan where one side is empty."""
    return {
        name: distance.function(ours[distance.population][distance.column], theirs[distance.column], seed)
        for name, distance in table.items()
    }


def noise_floor(
    theirs: Values, num_samples: int, seed: int, table: Mapping[str, Distance] = DISTANCES
) -> dict[str, float]:
    """Mean distance of some of the reference, as many as there are samples, from the others of it.

    At most half of the reference plays the samples. A perfect model scores about this.
    """
    rng = np.random.default_rng(seed)
    floor: dict[str, float] = {}
    for name, distance in table.items():
        pool: list[Any] = theirs[distance.column]
        size = min(num_samples, len(pool) // 2)
        scores = []
        for _ in range(NUM_SPLITS if size else 0):
            order = rng.permutation(len(pool))
            ours, others = ([pool[i] for i in part] for part in (order[:size], order[size:]))
            scores.append(distance.function(ours, others, seed))
        finite = [score for score in scores if np.isfinite(score)]
        if finite:
            floor[name] = float(np.mean(finite))
    return floor
