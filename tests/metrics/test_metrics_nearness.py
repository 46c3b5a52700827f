"""Coverage on fingerprints made by hand, then on crystals."""

import math

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from graphgan import metrics
from graphgan.metrics import Cutoffs, Fingerprints, coverage_of


class Prints(Fingerprints):
    """Fingerprints whose composition part is given as it is, without standardising."""

    composition = property(lambda self: self.magpie)


def prints(structure, composition):
    """One feature each: points on two lines."""
    return Prints(np.array(structure, float)[:, None], np.array(composition, float)[:, None])


CUTOFFS = Cutoffs(1.0, 10.0)


def test_hand_made_table():
    ours = prints([0, 5, 9], [0, 0, 100])
    theirs = prints([0.5, 7, 9.5, 20], [0, 0, 90, 0])
    found = coverage_of(ours, theirs, cutoffs=CUTOFFS)
    # Nearest structures at .5, 2, .5, 11; nearest compositions at 0, 0, 10, 0.
    assert found.recall == 2 / 4
    assert found.amsd_recall == pytest.approx((0.5 + 2 + 0.5 + 11) / 4)
    assert found.amcd_recall == pytest.approx(10 / 4)
    # Samples: nearest structures at .5, 2, .5; nearest compositions at 0, 0, 10.
    assert found.precision == pytest.approx(2 / 3)
    assert found.amsd_precision == pytest.approx(1)
    assert found.amcd_precision == pytest.approx(10 / 3)


def test_independent_minima_are_the_protocol_and_not_the_paper():
    """A crystal near one sample by structure and near another by composition."""
    ours, theirs = prints([0, 50], [100, 0]), prints([0], [0])
    assert coverage_of(ours, theirs, cutoffs=CUTOFFS).recall == 1
    assert coverage_of(ours, theirs, cutoffs=CUTOFFS, protocol="paper").recall == 0
    assert coverage_of(ours, theirs, cutoffs=CUTOFFS).precision == 0
    both = prints([0, 0.9], [100, 9])
    assert coverage_of(both, theirs, cutoffs=CUTOFFS, protocol="paper").recall == 1
    assert coverage_of(both, theirs, cutoffs=CUTOFFS, protocol="paper").precision == 1 / 2


def test_samples_without_fingerprints_count():
    ours = prints([0, 0], [0, 0])
    assert coverage_of(ours, ours, num_samples=8, cutoffs=CUTOFFS).precision == 1 / 4
    assert coverage_of(ours, ours, num_samples=8, cutoffs=CUTOFFS).recall == 1


def test_nothing_to_compare_is_not_a_number():
    empty = Fingerprints(np.empty((0, 61)), np.empty((0, 132)))
    assert math.isnan(coverage_of(empty, empty).recall)
    assert math.isnan(metrics.coverage([], salts()).precision)
    assert math.isnan(metrics.coverage(salts(), [oganesson]).recall)


def test_failures_cover_nothing():
    for failed in ([None], [oganesson, None]):
        found = metrics.coverage(failed, salts())
        assert found.recall == found.precision == 0
        assert math.isnan(found.amsd_recall)


def test_blocks_change_nothing(monkeypatch):
    rng = np.random.default_rng(0)
    ours, theirs = (prints(rng.normal(0, 9, n), rng.normal(0, 50, n)) for n in (23, 17))
    whole = {p: coverage_of(ours, theirs, cutoffs=CUTOFFS, protocol=p) for p in metrics.PROTOCOLS}
    monkeypatch.setattr("graphgan.metrics.nearness._BLOCK", 4)
    assert {p: coverage_of(ours, theirs, cutoffs=CUTOFFS, protocol=p) for p in metrics.PROTOCOLS} == whole


# Of no radius, hence without a fingerprint.
oganesson = Structure(Lattice.cubic(4), ["Og", "Og"], [[0] * 3, [0.5] * 3])


def salts():
    """Primitive cells of rock salts."""
    edges = {"Na": 5.64, "K": 6.29, "Li": 5.13}
    return [fcc(edge, [symbol, "Cl"], [[0] * 3, [0.5] * 3]) for symbol, edge in edges.items()]


def fcc(edge, species, frac):
    return Structure(Lattice(edge / 2 * (np.ones((3, 3)) - np.eye(3))), species, frac)


def test_a_set_covers_itself_and_not_what_is_unlike():
    own = metrics.coverage(salts(), salts(), cutoffs="perov_5")
    assert own.recall == own.precision == 1
    assert own.amsd_recall == pytest.approx(0, abs=1e-6)
    carbon = fcc(3.57, ["C", "C"], [[0] * 3, [0.25] * 3])
    other = metrics.coverage([carbon, None], salts())
    assert other.recall == other.precision == 0
    assert other.amsd_recall > 0.4
    assert set(other.as_dict()) == {
        "coverage_recall", "coverage_precision", "amsd_recall", "amsd_precision", "amcd_recall", "amcd_precision",
    }  # fmt: skip


def test_order_changes_nothing():
    samples = [*salts(), None]
    assert metrics.coverage(samples[::-1], salts()[:2]) == metrics.coverage(samples, salts()[1::-1])


@pytest.mark.parametrize(("options", "message"), [({"cutoffs": "mp20"}, "mp_20"), ({"protocol": "best"}, "paper")])
def test_unknown_names_are_told(options, message):
    with pytest.raises(ValueError, match=message):
        coverage_of(prints([0], [0]), prints([0], [0]), **options)
