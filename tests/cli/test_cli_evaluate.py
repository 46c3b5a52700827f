"""`graphgan evaluate` with all that it can be asked for."""

import csv
import json

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from graphgan.cli import main
from graphgan.data import read, write_structures
from graphgan.stability import Row, Stability

EDGES = {"Na": 5.64, "K": 6.29, "Li": 5.13, "Rb": 6.58}


def salts():
    """Primitive cells of rock salts."""
    cells = [Lattice(edge / 2 * (np.ones((3, 3)) - np.eye(3))) for edge in EDGES.values()]
    return [Structure(cell, [symbol, "Cl"], [[0] * 3, [0.5] * 3]) for symbol, cell in zip(EDGES, cells, strict=True)]


@pytest.fixture
def perov(tmp_path):
    """Real crystals under a name that speaks of a benchmark."""
    return write_structures(salts(), tmp_path / "perov_5.json")


def run(tmp_path, *words):
    code = main(["evaluate", *map(str, words), "--out", str(tmp_path / "report")])
    assert code == 0
    return json.loads((tmp_path / "report" / "metrics.json").read_text())


def error_of(words, capsys):
    assert main([str(word) for word in words]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    return lines[0]


def test_the_name_of_the_reference_tells_the_benchmark(perov, tmp_path, capsys):
    numbers = run(tmp_path, perov, "--reference", perov)
    assert "Perov-5" in capsys.readouterr().err
    assert numbers["settings"]["coverage_cutoffs"] == {"of": "perov_5", "structure": 0.2, "composition": 4.0}
    assert numbers["coverage_recall"] == numbers["coverage_precision"] == 1
    assert "CDVAE" in (tmp_path / "report" / "report.html").read_text()
    assert (
        "benchmark" not in run(tmp_path, perov, "--reference", perov, "--benchmark", "none")["settings"]["tolerances"]
    )
    assert run(tmp_path, perov, "--reference", perov, "--benchmark", "none")["settings"]["benchmark"] is None


def test_flags_reach_the_evaluation(perov, tmp_path):
    words = (perov, "--reference", perov, "--train", perov)
    numbers = run(tmp_path, *words, "--no-coverage", "--table", "smact-4.0.2-icsd24", "--tolerances", "mattergen")
    assert "coverage_recall" not in numbers
    assert numbers["settings"]["oxidation_states"] == "smact-4.0.2-icsd24"
    assert numbers["settings"]["tolerances"]["name"] == "mattergen"
    assert {"uniqueness_cdvae", "novelty_cdvae"} <= numbers.keys()
    assert run(tmp_path, *words, "--genmetrics")["genmetrics_novelty"] == 0


def test_arrays_of_the_relatives_of_cdvae_can_be_judged(perov, tmp_path):
    """The .npz that DiffCSP and others publish."""
    cells = salts()
    np.savez(
        tmp_path / "peer.npz",
        frac_coords=np.concatenate([s.frac_coords for s in cells]),
        num_atoms=[len(s) for s in cells],
        atom_types=np.concatenate([s.atomic_numbers for s in cells]),
        lengths=[s.lattice.abc for s in cells],
        angles=[s.lattice.angles for s in cells],
    )
    numbers = run(tmp_path, tmp_path / "peer.npz", "--reference", perov)
    assert numbers["num_samples"] == 4 and numbers["coverage_recall"] == 1


def test_stability_is_asked_of_samples_and_training_crystals(perov, tmp_path, monkeypatch):
    asked = {}

    def fake(samples, train, **options):
        asked.update(options, samples=len(samples), train=len(train))
        rows = tuple(Row(e_above_hull=0.02, structure=s) for s in samples)
        return Stability(rows, "toy 1", fmax=0.1, max_steps=9, num_hull=4)

    monkeypatch.setattr("graphgan.stability.stability", fake)
    numbers = run(tmp_path, perov, "--train", perov, "--stability", "chgnet", "--device", "cpu")
    assert (asked["potential"], asked["device"], asked["samples"], asked["train"]) == ("chgnet", "cpu", 4, 4)
    assert asked["folder"] == tmp_path / "report" / "stability"
    assert numbers["metastable"] == 1 and numbers["stable"] == numbers["msun"] == 0
    rows = list(csv.DictReader((tmp_path / "report" / "per_structure.csv").open()))
    assert [float(row["e_above_hull"]) for row in rows] == [0.02] * 4
    assert len(read(tmp_path / "report" / "relaxed.extxyz").structures) == 4


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--stability", "chgnet"], "--stability needs --train"),
        (["--genmetrics"], "--genmetrics needs --reference, --train and coverage"),
        (["--seed", "-1"], "--seed is -1"),
    ],
)
def test_what_does_not_go_together_is_one_line(flags, message, perov, tmp_path, capsys):
    assert message in error_of(["evaluate", perov, "--out", tmp_path / "r", *flags], capsys)


def test_a_model_is_judged_raw_and_filtered(perov, tmp_path, capsys):
    plain = run(tmp_path, "perov-5", "-n", 40, "--reference", perov, "--no-coverage")
    assert "filtered" not in plain
    capsys.readouterr()
    rules = ("--keep.min-distance", 1.9, "--keep.max-residual", 0.02, "--keep.neutral")
    numbers = run(tmp_path, "perov-5", "-n", 40, "--reference", perov, "--no-coverage", *rules)
    found = numbers.pop("filtered")
    assert {k: v for k, v in numbers.items() if k != "wall_seconds"} == {
        k: v for k, v in plain.items() if k != "wall_seconds"
    }
    assert 0 < found["kept"] < found["drawn"] == 40
    assert found["acceptance"] == found["kept"] / 40
    assert sum(found["left_out"].values()) == 40 - found["kept"]
    assert found["metrics"]["compositional_validity"] == 1
    page = (tmp_path / "report" / "report.html").read_text()
    assert f"{found['kept']} of 40 crystals kept" in page
    assert f"{found['kept']} of 40 crystals kept" in capsys.readouterr().out
    # The crystals are those that `sample` makes of the same seed.
    assert main(["sample", "perov-5", "-n", "40", "--out", str(tmp_path / "raw.csv")]) == 0
    from_file = run(tmp_path, tmp_path / "raw.csv", "--reference", perov, "--no-coverage")
    assert from_file["density_wasserstein"] == pytest.approx(plain["density_wasserstein"], rel=1e-4)


def test_files_are_filtered_too_and_nothing_may_be_left(perov, tmp_path):
    found = run(tmp_path, perov, "--keep.min-distance", 2.7, "--no-coverage")["filtered"]
    # Half the edges of the salts: 2.82, 3.145, 2.565 and 3.29 Å.
    assert (found["kept"], found["acceptance"]) == (3, 0.75)
    nothing = run(tmp_path, perov, "--keep.min-distance", 9, "--no-coverage")["filtered"]
    assert (nothing["kept"], nothing["metrics"]) == (0, {})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("perov-5", "-n", 0), "-n is 0, expected at least 1"),
        (("nowhere", "-n", 3), "nowhere: neither a checkpoint nor a run folder"),
    ],
)
def test_no_model_or_no_number_is_one_line(words, message, tmp_path, capsys):
    assert message in error_of(["evaluate", *words, "--out", tmp_path / "r"], capsys)


def test_a_model_without_a_number_is_told_what_is_missing(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("GRAPHGAN_DATA", raising=False)
    out = ["--out", tmp_path / "r"]
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    weights = tmp_path / "run" / "checkpoints" / "last.pt"
    weights.touch()
    for model in (tmp_path / "run", weights):
        assert f"{model} is a model and holds no samples" in error_of(["evaluate", model, *out], capsys)
    line = error_of(["evaluate", "perov-5", *out], capsys)
    assert "not on this machine" in line and "give -n for crystals of the model of that name" in line
    assert "model" not in error_of(["evaluate", "carbon-24", *out], capsys)


def test_molecules_have_no_filters(tmp_path, capsys):
    (tmp_path / "m.smi").write_text("CCO\n")
    words = ["evaluate", tmp_path / "m.smi", "--keep.neutral", "--out", tmp_path / "r"]
    assert "--keep is for crystals" in error_of(words, capsys)


def test_a_residual_needs_a_model(perov, tmp_path, capsys):
    words = ["evaluate", perov, "--keep.max-residual", 0.1, "--out", tmp_path / "r"]
    assert "fresh from a model: give a model and -n" in error_of(words, capsys)
