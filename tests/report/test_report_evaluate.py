import csv
import json
import math

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from graphgan import metrics
from graphgan.report import evaluate
from graphgan.stability import Row, Stability

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
    samples[5] = Structure(Lattice.cubic(4), ["He", "Cl"], [[0, 0, 0], [0.5] * 3])  # no charge state of helium
    return samples, crystals(rng, 20), crystals(rng, 9)


SHARES = {
    "num_samples",
    "decode_failures",
    "structural_validity",
    "compositional_validity",
    "validity",
    "uniqueness",
    "uniqueness_mattergen",
}
AGAINST_TRAIN = {"novelty", "novelty_mattergen", "unique_novel_valid"}
COVERAGE = {
    "coverage_recall",
    "coverage_precision",
    "coverage_recall_paper",
    "coverage_precision_paper",
    "amsd_recall",
    "amsd_precision",
    "amcd_recall",
    "amcd_precision",
}
MISSING = {"missing_elements", "missing_spacegroups", "missing_prototypes"}


def test_numbers_equal_the_metrics_called_alone(sets):
    samples, reference, train = sets
    report = evaluate(samples, reference, train, seed=3, benchmark="perov_5")
    structural = [s if metrics.structurally_valid(s) else None for s in samples]
    valid = [s if metrics.compositionally_valid(s) else None for s in structural]
    expected = {
        "num_samples": 13,
        "decode_failures": 1 / 13,
        "structural_validity": 11 / 13,
        "compositional_validity": metrics.compositional_validity(samples),
        "validity": sum(s is not None for s in valid) / 13,
        "uniqueness": metrics.uniqueness(samples, seed=3),
        "uniqueness_mattergen": metrics.uniqueness(samples, seed=3, tolerances="mattergen"),
        "novelty": metrics.novelty(samples, train, seed=3),
        "novelty_mattergen": metrics.novelty(samples, train, seed=3, tolerances="mattergen"),
        "unique_novel_valid": metrics.unique_novel_valid(valid, train, seed=3),
        **metrics.coverage(samples, reference, cutoffs="perov_5").as_dict(),
    }
    paper = metrics.coverage(samples, reference, cutoffs="perov_5", protocol="paper")
    expected |= {"coverage_recall_paper": paper.recall, "coverage_precision_paper": paper.precision}
    for name in ("density_wasserstein", "num_elements_wasserstein"):
        expected[name] = getattr(metrics, name)(valid, reference)
    for name in (
        "nearest_neighbour_wasserstein",
        "cell_length_wasserstein",
        "cell_angle_wasserstein",
        "num_atoms_total_variation",
        "element_total_variation",
        "spacegroup_total_variation",
    ):
        expected[name] = getattr(metrics, name)(structural, reference)
        assert report.noise_floor[name] >= 0
    # Too few crystals for bond lengths by pair, and for learning.
    assert report.metrics.keys() - expected.keys() == {"wall_seconds", *MISSING}
    assert {name: report.metrics[name] for name in expected} == pytest.approx(expected)
    assert str(report).count("\n") >= len(expected)
    assert report.metrics["validity"] < report.metrics["structural_validity"]


def test_what_was_not_computed_is_absent(sets):
    samples, reference, train = sets
    assert set(evaluate(samples).metrics) == SHARES | {"wall_seconds"}
    assert set(evaluate(samples, train=train).metrics) == SHARES | AGAINST_TRAIN | {"wall_seconds"}
    found = set(evaluate(samples, reference, coverage=False).metrics)
    assert found.isdisjoint(COVERAGE) and found > SHARES | MISSING


def test_matbench_genmetrics_on_request(sets):
    samples, reference, train = sets
    found = evaluate(samples, reference, train, genmetrics=True).metrics
    assert {name for name in found if name.startswith("genmetrics_")} == {
        "genmetrics_validity",
        "genmetrics_coverage",
        "genmetrics_novelty",
        "genmetrics_uniqueness",
    }
    own = evaluate(train, reference, train, genmetrics=True).metrics
    assert own["genmetrics_novelty"] == 0
    assert own["genmetrics_validity"] > found["genmetrics_validity"] - 0.5


def test_a_set_against_itself():
    rng = np.random.default_rng(5)
    real = crystals(rng, 40)
    found = evaluate(real, real, real, benchmark="perov_5")
    assert found.metrics["coverage_recall"] == found.metrics["coverage_precision"] == 1
    assert found.metrics["novelty"] == found.metrics["unique_novel_valid"] == 0
    assert [found.metrics[name] for name in MISSING] == [0, 0, 0]
    distances = [value for name, value in found.metrics.items() if name.endswith(("wasserstein", "variation"))]
    assert len(distances) >= 8
    assert max(distances) == pytest.approx(0, abs=1e-9)
    assert found.details["validity_by_size"].keys() == {"1-4", "5-8"}
    deviations = [row["bond_deviation"] for row in found.per_structure if row["bond_deviation"] != ""]
    assert len(deviations) == 40 and 0 <= min(deviations) < 0.1 < max(deviations)


def test_oxidation_states_can_be_chosen(sets):
    report = evaluate(sets[0], table="smact-4.0.2-icsd24")
    assert report.settings["oxidation_states"] == "smact-4.0.2-icsd24"
    with pytest.raises(ValueError, match=r"smact-2\.2\.1"):
        evaluate(sets[0], table="smact")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"benchmark": "perov5"}, "perov_5"),
        ({"tolerances": "loose"}, "mattergen"),
        ({"seed": -1}, "seed is -1"),
        ({"train": [None]}, "train holds None"),
    ],
)
def test_mistakes_are_told_before_the_work(options, message, sets, monkeypatch):
    monkeypatch.setattr("graphgan.report.evaluation.find_out", lambda *_: pytest.fail("worked before it looked"))
    with pytest.raises(ValueError, match=message):
        evaluate(sets[0], **options)


def test_sets_of_one_element_get_distances():
    rng = np.random.default_rng(7)
    carbon = [
        Structure(Lattice.from_parameters(*rng.uniform(2.5, 4.5, 3), *rng.uniform(70, 110, 3)), ["C"] * 4, x)
        for x in rng.random((12, 4, 3))
    ]
    found = evaluate([*carbon[:6], None], carbon[6:], carbon[:3]).metrics
    assert 0 < found["amd_to_train"] < 5
    assert found["amd_between_samples"] > 0
    assert evaluate(carbon[:3], train=carbon).metrics["amd_to_train"] == 0
    assert "amd_to_train" not in evaluate([Structure(Lattice.cubic(3), ["Po"], [[0] * 3])] * 2 + carbon[:2]).metrics


def test_stability_enters_rows_and_shares(sets):
    samples, reference, train = sets
    rows = [Row(e_above_hull=e, energy_per_atom=-3.0, steps=4) for e in np.linspace(-0.05, 0.3, 12)]
    found = Stability((*rows, Row(reason="no crystal")), "toy 1", fmax=0.1, max_steps=50, num_hull=9, notes=("toy",))
    report = evaluate(samples, reference, train, stability=found)
    assert report.metrics["stable"] == 2 / 13
    assert report.metrics["stability_failures"] == 1 / 13
    flags = [(row["unique"] and row["novel"]) for row in report.per_structure]
    assert report.metrics["sun"] == sum(flags[:2]) / 13
    assert report.per_structure[0]["e_above_hull"] == -0.05
    assert report.per_structure[12]["stability_failure"] == "no crystal"
    assert report.settings["stability"]["num_hull"] == 9 and "toy" in report.warnings
    with pytest.raises(ValueError, match="stability of 13"):
        evaluate(samples[:2], stability=found)


def test_order_changes_nothing(sets):
    samples, reference, train = sets
    energies = [0.01 * i for i in range(-6, 7)]

    def judged(order):
        rows = tuple(Row(e_above_hull=energies[i]) for i in range(13))[::order]
        stability = Stability(rows, "toy 1", fmax=0.1, max_steps=50, num_hull=9)
        report = evaluate(
            samples[::order], reference[::order], train[::order], stability=stability, benchmark="perov_5"
        ).as_dict()
        del report["wall_seconds"], report["settings"]["num_comparisons"]  # what it took, not what was found
        return report

    assert judged(1) == judged(-1)
    assert {"sun", "noise_floor", "missing", "bond_lengths"} <= judged(1).keys()


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
