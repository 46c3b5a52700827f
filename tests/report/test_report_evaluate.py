import csv
import json
import math

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from graphgan import metrics
from graphgan.report import evaluate

FCC = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
ELEMENTS = [("Na", "Cl"), ("K", "Br"), ("Mg", "O"), ("Li", "F"), ("Rb", "I"), ("Ca", "S"), ("Fe", "Al")]


def crystals(rng, count):
    """Cesium chlorides and rock salts of random elements and edges."""
    made = []
    for _ in range(count):
        first, second = ELEMENTS[rng.integers(len(ELEMENTS))]
        lattice = Lattice.cubic(rng.uniform(4, 6))
        if rng.random() < 0.8:
            made.append(Structure(lattice, [first, second], [[0, 0, 0], [0.5] * 3]))
        else:
            made.append(Structure(lattice, [first] * 4 + [second] * 4, [*FCC, *(FCC + 0.5)]))
    return made


@pytest.fixture(scope="module")
def sets():
    rng = np.random.default_rng(0)
    samples = [*crystals(rng, 12), None]
    samples[3] = Structure(Lattice.cubic(4), ["Na", "Cl"], [[0, 0, 0], [0.05, 0, 0]])
    return samples, crystals(rng, 20), crystals(rng, 9)


def test_numbers_equal_the_metrics_called_alone(sets):
    samples, reference, train = sets
    report = evaluate(samples, reference, train, seed=3)
    valid = [s if metrics.structurally_valid(s) else None for s in samples]
    expected = {
        "num_samples": 13,
        "decode_failures": 1 / 13,
        "structural_validity": 11 / 13,
        "uniqueness": metrics.uniqueness(samples, seed=3),
        "novelty": metrics.novelty(samples, train, seed=3),
        "unique_novel_valid": metrics.unique_novel_valid(samples, train, seed=3),
    }
    for name in (
        "density_wasserstein",
        "num_elements_wasserstein",
        "nearest_neighbour_wasserstein",
        "num_atoms_total_variation",
        "element_total_variation",
        "spacegroup_total_variation",
    ):
        expected[name] = getattr(metrics, name)(valid, reference)
        assert report.noise_floor[name] >= 0
    assert report.metrics.keys() - expected.keys() == {"wall_seconds"}
    assert {name: report.metrics[name] for name in expected} == pytest.approx(expected)
    assert str(report).count("\n") >= len(expected)


def test_what_was_not_computed_is_absent(sets):
    samples = sets[0]
    assert set(evaluate(samples).metrics) == {
        "num_samples",
        "decode_failures",
        "structural_validity",
        "uniqueness",
        "wall_seconds",
    }


def test_order_changes_nothing(sets):
    samples, reference, train = sets
    first = evaluate(samples, reference, train).metrics
    second = evaluate(samples[::-1], reference, train).metrics
    assert {k: v for k, v in first.items() if k != "wall_seconds"} == {
        k: v for k, v in second.items() if k != "wall_seconds"
    }


def test_all_failed_and_one_crystal(sets):
    _, reference, train = sets
    failed = evaluate([None, None], reference, train)
    assert failed.metrics["decode_failures"] == 1
    assert failed.metrics["unique_novel_valid"] == 0
    assert "density_wasserstein" not in failed.metrics
    assert any("no sample" in warning for warning in failed.warnings)
    single = evaluate(reference[:1], reference[1:2], train)
    assert all(math.isfinite(value) for value in single.metrics.values())


def test_a_row_for_every_sample(sets):
    samples, reference, train = sets
    report = evaluate(samples, reference, train, ids=[f"s{i}" for i in range(13)])
    assert [row["id"] for row in report.per_structure] == [f"s{i}" for i in range(13)]
    broken, failed = report.per_structure[3], report.per_structure[12]
    assert broken["formula"] == "NaCl"
    assert broken["min_distance"] == pytest.approx(0.2)
    assert broken["structurally_valid"] is failed["structurally_valid"] is False
    assert failed["formula"] == failed["density"] == failed["spacegroup"] == ""
    assert sum(row["unique"] for row in report.per_structure) == round(13 * report.metrics["uniqueness"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([],), "samples"),
        (([None], []), "reference"),
        (([None], None, []), "train"),
    ],
)
def test_empty_sets_are_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        evaluate(*arguments)


def test_ids_must_fit():
    with pytest.raises(ValueError, match="2 ids for 1 samples"):
        evaluate([None], ids=["a", "b"])


def test_files(sets, tmp_path):
    samples, reference, train = sets
    report = evaluate(samples, reference, train)
    report.save(tmp_path / "new" / "folder")
    written = json.loads((tmp_path / "new" / "folder" / "metrics.json").read_text())
    assert written["structural_validity"] == report.metrics["structural_validity"]
    assert written["settings"]["tolerances"]["stol"] == 0.5
    with open(tmp_path / "new" / "folder" / "per_structure.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 13
    assert rows[0]["structurally_valid"] == "True"
    assert rows[12]["novel"] == "False"
