"""GAN-train and GAN-test tell good samples from bad ones."""

import math

import numpy as np
import pytest
from pymatgen.core import Composition, Lattice, Structure

from graphgan import metrics

HALIDES = [(a, b) for a in ("Li", "Na", "K", "Rb", "Cs") for b in ("F", "Cl", "Br", "I")]
RADII = {"Li": 0.9, "Na": 1.16, "K": 1.52, "Rb": 1.66, "Cs": 1.81, "F": 1.19, "Cl": 1.67, "Br": 1.82, "I": 2.06}


def side(rng, count, noise=0.02, formulas=HALIDES):
    chosen = [formulas[i] for i in rng.integers(len(formulas), size=count)]
    edges = [2 * (RADII[a] + RADII[b]) * (1 + noise * rng.normal()) for a, b in chosen]
    return [Composition({a: 1, b: 1}) for a, b in chosen], [edge**3 / 8 for edge in edges]


@pytest.fixture(scope="module")
def real():
    rng = np.random.default_rng(0)
    return side(rng, 60), side(rng, 60)


def test_real_crystals_as_samples_score_as_real(real):
    found = metrics.transfer(side(np.random.default_rng(1), 60), *real)
    assert found.gan_train == pytest.approx(found.real, rel=0.3)
    assert found.gan_test == pytest.approx(found.real, rel=0.3)
    assert found.real < 0.5 * found.spread


def test_volumes_that_do_not_belong_to_compositions_show_in_both(real):
    compositions, volumes = side(np.random.default_rng(1), 60)
    shuffled = list(np.random.default_rng(2).permutation(volumes))
    found = metrics.transfer((compositions, shuffled), *real)
    assert min(found.gan_train, found.gan_test) > 2 * found.real


def test_collapse_shows_in_gan_train_alone(real):
    found = metrics.transfer(side(np.random.default_rng(1), 60, formulas=HALIDES[:2]), *real)
    assert found.gan_train > 2 * found.real
    assert found.gan_test < 1.5 * found.real


def test_order_changes_nothing_and_structures_will_do(real):
    compositions, volumes = side(np.random.default_rng(1), 40)
    first = metrics.transfer((compositions, volumes), *real)
    assert metrics.transfer((compositions[::-1], volumes[::-1]), *real) == first

    def structures(pair):
        return [
            Structure(Lattice.cubic((2 * v) ** (1 / 3)), list(c.elements), [[0] * 3, [0.5] * 3])
            for c, v in zip(*pair, strict=True)
        ]

    same = metrics.volume_transfer(*map(structures, ((compositions, volumes), *real)))
    assert same.gan_train == pytest.approx(first.gan_train, rel=0.05)  # the last bits of volumes decide ties


def test_too_little_to_learn_from(real):
    few = side(np.random.default_rng(1), 5)
    assert math.isnan(metrics.transfer(few, *real).gan_train)
    carbon = ([Composition("C")] * 30, list(np.linspace(5, 6, 30)))
    assert math.isnan(metrics.transfer(carbon, carbon, carbon).real)
