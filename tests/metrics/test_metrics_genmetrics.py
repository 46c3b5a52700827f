import math

import numpy as np
import pytest
from pymatgen.core import Composition, DummySpecies, Element, Lattice, Structure

from graphgan.errors import UserError
from graphgan.metrics import genmetrics as gm
from graphgan.metrics.crystalnn import structure_fingerprints
from graphgan.metrics.magpie import composition_fingerprints


def fcc(a):
    return Lattice.from_parameters(*[a / 2**0.5] * 3, 60, 60, 60)


def bcc(a):
    return Lattice.from_parameters(*[a * 0.75**0.5] * 3, *[109.47122063449069] * 3)


def rocksalt(x, y, a):
    return Structure(fcc(a), [x, y], [[0, 0, 0], [0.5, 0.5, 0.5]])


def blende(x, y, a):
    return Structure(fcc(a), [x, y], [[0, 0, 0], [0.25, 0.25, 0.25]])


def cscl(x, y, a):
    return Structure(Lattice.cubic(a), [x, y], [[0, 0, 0], [0.5, 0.5, 0.5]])


def perovskite(a, b, x, size):
    positions = [[0.5] * 3, [0] * 3, [0.5, 0, 0], [0, 0.5, 0], [0, 0, 0.5]]
    return Structure(Lattice.cubic(size), [a, b, x, x, x], positions)


TRAIN = [
    rocksalt("Na", "Cl", 5.64),
    rocksalt("Mg", "O", 4.21),
    cscl("Cs", "Cl", 4.12),
    Structure(fcc(3.61), ["Cu"], [[0, 0, 0]]),
]
TEST = [rocksalt("K", "Cl", 6.29), blende("Zn", "S", 5.41), Structure(bcc(2.87), ["Fe"], [[0, 0, 0]])]
GEN = [
    rocksalt("Na", "Cl", 5.7),
    rocksalt("Na", "Cl", 5.5),
    blende("Zn", "S", 5.3),
    perovskite("Sr", "Ti", "O", 3.9),
    cscl("Ni", "Al", 2.89),
]


def fingerprints(phase):
    """Twelve crystals with fingerprints of three features each."""
    angle = np.arange(12)[:, None] * np.arange(1, 4)
    return 12 * np.sin(1.7 * angle + phase), 0.4 * np.cos(2.3 * angle + phase)


@pytest.fixture
def gen():
    """Number 5 is a copy of number 4; number 11 has no structure fingerprint."""
    comp, struct = fingerprints(0.0)
    comp[5], struct[5], struct[11] = comp[4], struct[4], np.nan
    return comp, struct


def test_validity_as_published():
    # matbench-genmetrics 0.6.5 on these crystals: 0.9587..., the mean of 0.9905... and 0.9268...
    groups = gm.genmetrics_space_groups(GEN), gm.genmetrics_space_groups(TRAIN + TEST)
    assert groups == ([225, 225, 216, 221, 221], [225, 225, 221, 225, 225, 216, 229])
    pettifor = gm.pettifor_histogram(GEN), gm.pettifor_histogram(TRAIN + TEST)
    assert gm.genmetrics_validity(*groups, *pettifor) == pytest.approx(0.9587023914044683, abs=1e-12)
    perfect = gm.genmetrics_validity(groups[1], groups[1], *pettifor)
    assert perfect == pytest.approx((1 + 0.9268980477223427) / 2, abs=1e-12)


def test_matches_as_published(gen):
    # Numbers of matbench-genmetrics 0.6.5 for these arrays.
    comp, struct = fingerprints(0.3)
    test, train = (comp[:4], struct[:4]), (comp[4:11], struct[4:11])
    assert gm.genmetrics_coverage(*gen, *test) == 1.25
    assert gm.genmetrics_novelty(*gen, *train) == pytest.approx(1 / 3)
    assert gm.genmetrics_uniqueness(*gen) == pytest.approx(0.9848484848484849)
    matches = gm.match_matrix(*test, *gen)
    assert matches.shape == (4, 12)
    assert matches.dtype == bool
    assert np.argwhere(matches).tolist() == [[0, 0], [1, 1], [2, 2], [2, 6], [3, 3]]


def test_whole_path_as_published():
    # matbench-genmetrics 0.6.5 with its own fingerprints of these crystals.
    def both(crystals):
        return composition_fingerprints([c.composition for c in crystals]), np.array(structure_fingerprints(crystals))

    gen = both(GEN)
    assert gm.genmetrics_coverage(*gen, *both(TEST)) == pytest.approx(1 / 3)
    assert gm.genmetrics_novelty(*gen, *both(TRAIN)) == pytest.approx(0.6)
    assert gm.genmetrics_uniqueness(*gen) == pytest.approx(0.9)


def test_blocks_change_nothing(gen, monkeypatch):
    known = fingerprints(0.3)
    whole = gm.match_matrix(*known, *gen)
    numbers = gm.genmetrics_coverage(*gen, *known), gm.genmetrics_novelty(*gen, *known), gm.genmetrics_uniqueness(*gen)
    for block in (1, 25, 40):
        monkeypatch.setattr(gm, "_BLOCK", block)
        assert (gm.match_matrix(*known, *gen) == whole).all()
        again = gm.genmetrics_coverage(*gen, *known), gm.genmetrics_novelty(*gen, *known)
        assert (*again, gm.genmetrics_uniqueness(*gen)) == numbers


def test_order_changes_nothing(gen):
    known = fingerprints(0.3)
    shuffled = np.random.default_rng(0).permutation(12)
    mixed = gen[0][shuffled], gen[1][shuffled]
    assert gm.genmetrics_coverage(*mixed, *known) == gm.genmetrics_coverage(*gen, *known)
    assert gm.genmetrics_novelty(*mixed, *known) == gm.genmetrics_novelty(*gen, *known)
    assert gm.genmetrics_uniqueness(*mixed) == gm.genmetrics_uniqueness(*gen)


def test_both_distances_must_be_within_the_cutoffs():
    # Cut-offs belong to the match: 10 and 0.4 exactly.
    comp, struct = np.array([[0.0], [0.0], [0.0], [0.0]]), np.zeros((4, 1))
    others = np.array([[10.0], [10.000001], [10.0], [0.0]]), np.array([[0.4], [0.0], [0.400001], [0.0]])
    assert gm.match_matrix(comp[:1], struct[:1], *others).tolist() == [[True, False, False, True]]
    assert gm.match_matrix(comp[:1], struct[:1], *others, cutoffs=(20, 1)).all()
    # The two nearest neighbours may not be different crystals, as they may in the coverage of CDVAE.
    far = np.array([[0.0], [100.0]]), np.array([[5.0], [0.0]])
    assert gm.genmetrics_coverage(comp[:1], struct[:1], *far) == 0


def test_quirks_of_counting():
    one = np.zeros((1, 2))
    ten = np.zeros((10, 2))
    assert gm.genmetrics_coverage(ten, ten, one, one) == 10  # ten copies of one hit
    assert gm.genmetrics_novelty(ten, ten, one, one) == 0
    assert gm.genmetrics_uniqueness(ten, ten) == 0
    apart = np.arange(10.0)[:, None] * 100
    apart[9] = apart[8]  # two of ten are the same: two of ninety ordered pairs
    assert gm.genmetrics_uniqueness(apart, np.zeros((10, 1))) == pytest.approx(1 - 2 / 90)


def test_crystals_without_fingerprint_stay_in_the_denominator():
    comp, struct = np.zeros((4, 2)), np.zeros((4, 2))
    struct[1:] = np.nan
    assert gm.genmetrics_coverage(comp, struct, comp[:2], struct[:2]) == 0.5
    assert gm.genmetrics_novelty(comp, struct, comp[:1], struct[:1]) == 0.75
    assert gm.genmetrics_uniqueness(comp, struct) == 1.0


def test_empty_sets_are_not_numbers():
    some, none = np.zeros((3, 2)), np.zeros((0, 2))
    assert math.isnan(gm.genmetrics_coverage(some, some, none, none))
    assert gm.genmetrics_coverage(none, none, some, some) == 0
    assert math.isnan(gm.genmetrics_novelty([], [], some, some))
    assert gm.genmetrics_novelty(some, some, [], []) == 1
    assert math.isnan(gm.genmetrics_uniqueness(some[:1], some[:1]))
    assert math.isnan(gm.genmetrics_uniqueness([], []))
    assert gm.match_matrix(some, some, none, none).shape == (3, 0)
    assert gm.match_matrix(none, none, some, some).shape == (0, 3)
    assert math.isnan(gm.genmetrics_validity([], [2], {5: 1.0}, {5: 1.0}))
    assert math.isnan(gm.genmetrics_validity([2], [2], {}, {5: 1.0}))
    assert math.isnan(gm.genmetrics_validity([2], [1, 1, None], {5: 1.0}, {5: 1.0}))
    assert gm.pettifor_histogram([None]) == {}


def test_validity_of_simple_sets():
    here, there = {5: 1.0}, {9: 1.0}
    assert gm.genmetrics_validity([7, 3], [3, 7], here, here) == 1.0
    # Space group 1 alone, and number 1 alone, are the dummy: 0.
    assert gm.genmetrics_validity([1, None], [3, 7], {1: 2.0}, here) == 0.0
    # 4 is 4 steps away from 8, and the dummy 7; 9 is 4 steps away from 5, and the dummy 4.
    assert gm.genmetrics_validity([4], [8], there, here) == pytest.approx(0.5 * (3 / 7 + 0))
    assert gm.genmetrics_validity([200], [3], here, here) < 0
    # A histogram need not be normalised.
    assert gm.genmetrics_validity([4], [8], {9: 3.0}, {5: 0.1}) == pytest.approx(0.5 * 3 / 7)


def test_pettifor_numbers():
    salt = gm.pettifor_histogram([rocksalt("Na", "Cl", 5.6), None, Composition("Na3")])
    assert salt == pytest.approx({10: 0.75, 100: 0.25})
    assert gm.pettifor_histogram([Composition("He")]) == {0: 1.0}
    assert gm.pettifor_histogram([Composition("D2")]) == gm.pettifor_histogram([Composition("H2")]) == {102: 1.0}
    assert gm.pettifor_histogram([Composition("Rf")]) == {0: 1.0}
    assert gm.pettifor_histogram([Composition({DummySpecies("X"): 1, "Fe": 3})]) == {70: 1.0}
    # The scale is an order of the elements: every number from 0 to 102 once.
    every = gm.pettifor_histogram([Composition({Element.from_Z(z): 1 for z in range(1, 104)})])
    assert list(every) == list(range(103))


def test_space_groups_with_the_published_tolerances():
    near, far = rocksalt("Na", "Cl", 5.6), rocksalt("Na", "Cl", 5.6)
    near.translate_sites([1], [0.0005] * 3)  # 0.005 Å along [111]
    far.translate_sites([1], [0.005] * 3)  # 0.05 Å
    flat = Structure(Lattice([[2, 0, 0], [4, 0, 0], [0, 0, 2]]), ["H"], [[0, 0, 0]])
    assert gm.genmetrics_space_groups([near, None, far, flat]) == [225, 160, 1]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ([np.zeros(3), np.zeros((3, 2))], r"composition fingerprints must be \[n, features\], not \[3\]"),
        ([np.zeros((3, 2)), np.zeros((3, 2, 1))], r"structure fingerprints must be .* not \[3, 2, 1\]"),
        ([np.zeros((3, 2)), np.zeros((4, 2))], "3 composition fingerprints, but 4 of the structure"),
    ],
)
def test_shapes_that_do_not_fit(arrays, message):
    with pytest.raises(UserError, match=message):
        gm.genmetrics_uniqueness(*arrays)


def test_sets_that_do_not_fit():
    three, four = np.zeros((3, 3)), np.zeros((4, 4))
    with pytest.raises(UserError, match="composition fingerprints of 3 and of 4 features"):
        gm.genmetrics_novelty(three, three, four, four)
