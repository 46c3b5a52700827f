"""What every metric must do, whatever it measures."""

import math

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from graphgan import metrics

FCC = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])

SHARES = [metrics.decode_failures, metrics.structural_validity, metrics.uniqueness]
AGAINST_TRAIN = [metrics.novelty, metrics.unique_novel_valid]
DISTANCES = [
    metrics.density_wasserstein,
    metrics.num_elements_wasserstein,
    metrics.nearest_neighbour_wasserstein,
    metrics.num_atoms_total_variation,
    metrics.element_total_variation,
    metrics.spacegroup_total_variation,
]


def salts():
    """Four rock salts of rising edge; and iron, of another symmetry, size and number of elements."""
    names = [("Na", "Cl"), ("K", "Br"), ("Mg", "O"), ("Li", "F")]
    cubes = [
        Structure(Lattice.cubic(4.2 + 0.5 * i), [a] * 4 + [b] * 4, [*FCC, *(FCC + 0.5)])
        for i, (a, b) in enumerate(names)
    ]
    return [*cubes, Structure(Lattice.cubic(2.9), ["Fe", "Fe"], [[0, 0, 0], [0.5] * 3])]


@pytest.mark.parametrize("metric", DISTANCES)
def test_distance_of_a_set_from_itself_is_zero(metric):
    assert metric(salts(), salts()) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("metric", DISTANCES)
def test_distances_do_not_depend_on_order_nor_on_failures(metric):
    samples = [*salts()[:3], salts()[0]]
    expected = metric(samples, salts())
    assert expected > 0
    shuffled = [samples[i] for i in np.random.default_rng(0).permutation(4)]
    assert metric([None, *shuffled, None], salts()) == expected


@pytest.mark.parametrize("metric", DISTANCES)
def test_distance_of_nothing_is_not_a_number(metric):
    assert math.isnan(metric([None, None], salts()))
    assert math.isfinite(metric(salts()[:1], salts()[1:2]))


def test_shares_at_their_ends():
    failed = [None, None]
    assert [metric(failed) for metric in SHARES] == [1, 0, 0]
    assert [metric(failed, salts()) for metric in AGAINST_TRAIN] == [0, 0]
    assert [metric(salts()) for metric in SHARES] == [0, 1, 1]
    assert [metric(salts(), salts()) for metric in AGAINST_TRAIN] == [0, 0]
    assert [metric(salts()[:1]) for metric in SHARES] == [0, 1, 1]
    assert [metric(salts()[:1], salts()[1:]) for metric in AGAINST_TRAIN] == [1, 1]


@pytest.mark.parametrize("metric", SHARES)
def test_share_of_no_samples_is_not_a_number(metric):
    assert math.isnan(metric([]))
