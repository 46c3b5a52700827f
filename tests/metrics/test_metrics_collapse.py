"""What is missing, and what size costs: tables made by hand."""

import math

import pytest

from graphgan import metrics


def test_missing_classes():
    reference = [{"Na", "Cl"}, {"Na", "F"}, {"K", "Cl"}, {"He"}]
    found = metrics.missing_classes([{"Na", "Cl"}, {"Cl"}], reference)
    assert found.classes == (("F", 0.25), ("He", 0.25), ("K", 0.25))
    assert len(found) == 3 and found.total == 5
    assert found.share == 3 / 4
    # Na and Cl are in half of the crystals, three others in a quarter; two samples.
    assert found.expected == pytest.approx(2 * 0.5**2 + 3 * 0.75**2)


def test_nothing_is_missing_from_the_reference_itself():
    reference = [{225}, {221}, {225}]
    found = metrics.missing_classes(reference, reference)
    assert (len(found), found.share) == (0, 0)


def test_no_samples_miss_everything():
    found = metrics.missing_classes([], [{1}, {2}])
    assert len(found) == found.expected == 2
    assert found.share == 1
    assert math.isnan(metrics.missing_classes([], []).share)


def test_most_frequent_first():
    found = metrics.missing_classes([], [{1}, {2}, {2}, {3}, {3}, {3}])
    assert [label for label, _ in found.classes] == [3, 2, 1]


def test_validity_by_size():
    found = metrics.validity_by_size([1, 4, 5, 8, 21, 30, 20], [True, False, True, True, False, False, True])
    assert found == {
        "1-4": {"count": 2, "validity": 0.5},
        "5-8": {"count": 2, "validity": 1.0},
        "17-20": {"count": 1, "validity": 1.0},
        "21+": {"count": 2, "validity": 0.0},
    }
    assert list(found) == ["1-4", "5-8", "17-20", "21+"]
