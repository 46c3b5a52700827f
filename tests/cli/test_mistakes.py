"""What users get wrong with flags, folders and files: one line on stderr and exit code 2, before any long work."""

import csv
import errno
import json
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from graphgan.cli import main
from graphgan.cli.parsing import parse
from graphgan.data import DataError, read, write_structures

CSCL = Structure(Lattice.cubic(4.12), ["Cs", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
LARGE = Structure(Lattice.cubic(6), ["C"] * 4, [[0, 0, 0], [0.31, 0.1, 0], [0.2, 0.7, 0.4], [0.6, 0.5, 0.8]])


@pytest.fixture
def data(tmp_path):
    return write_structures([CSCL, CSCL, LARGE, None], tmp_path / "d.csv")


def error_of(words, capsys):
    """The one line that a mistake gives."""
    assert main([str(word) for word in words]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert "Traceback" not in "".join(lines)
    assert lines[-1].startswith("graphgan: error: ")
    return lines[-1].removeprefix("graphgan: error: ")


@pytest.mark.parametrize("tolerance", ["nan", "inf", "0", "-1"])
def test_a_tolerance_that_is_none_is_refused_before_the_model_is_looked_for(tolerance, tmp_path, capsys):
    words = ["sample", tmp_path / "nowhere", "--out", tmp_path / "s", "--symmetrize", tolerance]
    assert error_of(words, capsys) == f"--symmetrize is {tolerance}, expected more than 0 Å and finite"


@pytest.mark.parametrize("seed", ["-1", str(2**63)])
@pytest.mark.parametrize("command", ["sample", "evaluate"])
def test_a_seed_outside_the_range_is_refused(command, seed, tmp_path, capsys):
    words = [command, tmp_path / "nowhere", "--out", tmp_path / "s", "--seed", seed]
    assert error_of(words, capsys) == f"--seed is {seed}, expected 0 or more and below 2**63"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--steps 0", "steps is 0, expected at least 1"),
        ("--minutes nan", "minutes is nan, expected more than 0 and finite"),
        ("--seed -1", "seed is -1, expected 0 or more"),
        ("--autoencoder.heads 5", "autoencoder.heads is 5, does not divide autoencoder.hidden 96"),
        ("--latent.batch-size 0", "latent.batch_size is 0, expected at least 1"),
        ("--graph.learning-rate nan", "graph.learning_rate is nan, expected more than 0 and finite"),
        ("--encoding.max-atoms 0", "encoding.max_atoms is 0, expected at least 1"),
        ("--latent.objective-options penalty_weight nan", "latent.objective_options.penalty_weight is nan"),
    ],
)
def test_wrong_values_of_flags_of_every_depth_are_one_line(flags, message, data, tmp_path, capsys):
    assert message in error_of(["train", data, "--out", tmp_path / "r", *flags.split()], capsys)
    assert not (tmp_path / "r").exists()


def config_of(*words):
    return parse([str(word) for word in ("train", "x", *words)]).options


def test_steps_as_a_flag_win_over_the_minutes_of_a_file_or_a_resumed_run(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_text("minutes: 5\nsteps: 70\n")
    file = ("--config", run / "config.yaml", "--out", "y")
    assert (config_of(*file).minutes, config_of(*file).steps) == (5, 70)
    for base in (file, ("--resume", "--out", run)):
        for flag in (("--steps", "10"), ("--steps=10",)):
            assert (config_of(*base, *flag).minutes, config_of(*base, *flag).steps) == (None, 10)
        assert config_of(*base, "--steps", "10", "--minutes", "2").minutes == 2
        assert config_of(*base, "--seed", "1").minutes == 5


def test_evaluate_makes_its_folder_first(data, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("graphgan.data.read", lambda *_, **__: pytest.fail("read before the folder was there"))
    file = tmp_path / "file"
    file.write_text("kept")
    for out in (file, file / "x"):
        assert error_of(["evaluate", data, "--out", out], capsys) == f"--out {out}: {file} is a file, expected a folder"
    assert file.read_text() == "kept"


@pytest.mark.parametrize("form", ["cifs", "c.zip", "c.csv", "c.json", "c.extxyz"])
def test_samples_that_are_all_failures_are_judged(form, tmp_path):
    samples = write_structures([None, None, None], tmp_path / form)
    found = read(samples, check=False)
    assert found.structures == [] and found.ids == [] and len(found.skipped) == 3
    with pytest.raises(DataError, match="no usable crystal"):
        read(samples)
    real = write_structures([CSCL, LARGE], tmp_path / "real.json")
    out = tmp_path / "report"
    words = ["evaluate", samples, "--out", out, "--reference", real, "--train", real]
    assert main([str(word) for word in words]) == 0
    numbers = json.loads((out / "metrics.json").read_text())
    assert numbers["num_samples"] == 3 and numbers["structural_validity"] == 0
    assert (out / "report.html").is_file()
    assert len(list(csv.DictReader((out / "skipped.csv").open()))) == 3


@pytest.mark.parametrize(("name", "content"), [("e.csv", ""), ("rows.csv", "material_id,cif\n"), ("l.json", "[]")])
def test_without_any_entry_there_is_nothing_to_judge(name, content, tmp_path, capsys):
    (tmp_path / name).write_text(content)
    assert name in error_of(["evaluate", tmp_path / name, "--out", tmp_path / "r"], capsys)


def test_encode_lists_what_it_left_out_and_replaces_nothing_unasked(data, tmp_path, capsys):
    out = tmp_path / "t.npz"
    words = ["encode", str(data), "--out", str(out), "--max-atoms", "2"]
    assert main(words) == 0
    rows = list(csv.DictReader((tmp_path / "t.skipped.csv").open()))
    assert len(rows) == 2 and rows[0] == {"entry": "d.csv:row 3 (000002)", "reason": "more than 2 atoms in the cell"}
    assert "000003" in rows[1]["entry"] and rows[1]["reason"]
    assert np.load(out)["ids"].tolist() == ["000000", "000001"]
    before = out.read_bytes()
    assert error_of(words, capsys) == f"{out}: exists; add --overwrite to replace it"
    assert out.read_bytes() == before
    good = write_structures([CSCL], tmp_path / "good.csv")
    assert main(["encode", str(good), "--out", str(out), "--overwrite"]) == 0
    assert np.load(out)["ids"].tolist() == ["000000"] and not (tmp_path / "t.skipped.csv").exists()
    assert error_of(["encode", data, "--out", tmp_path / "u.npz", "--max-atoms", "0"], capsys).startswith("--max-atoms")


@pytest.mark.parametrize("command", ["decode", "train"])
def test_a_damaged_encoded_set_is_one_line(command, data, tmp_path, capsys):
    out = tmp_path / "t.npz"
    assert main(["encode", str(data), "--out", str(out)]) == 0
    arrays = dict(np.load(out))
    np.savez(out, **(arrays | {"lattice": arrays["lattice"] * np.nan}))
    message = error_of([command, out, "--out", tmp_path / "x"], capsys)
    assert message == f"{out}: damaged set of graph tensors: lattice holds numbers that are not finite"


def test_errors_of_the_system_name_file_and_cause(data, tmp_path, capsys, monkeypatch):
    (tmp_path / "file").write_text("")
    message = error_of(["train", data, "--out", tmp_path / "file" / "r", "--steps", "1"], capsys)
    assert str(tmp_path / "file") in message and "directory" in message
    if Path("/proc/self").is_dir():  # Linux: a place where nobody can make a folder
        message = error_of(["encode", data, "--out", "/proc/nowhere/t.npz"], capsys)
        assert message == "/proc/nowhere: No such file or directory"

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("numpy.savez_compressed", full)
    out = tmp_path / "t.npz"
    assert error_of(["encode", data, "--out", out], capsys) == f"{out}: No space left on device"
    assert not out.exists() and not list(tmp_path.glob(".*"))


def test_a_named_set_stands_for_its_part_val_as_a_reference_and_train_as_training_crystals(tmp_path, monkeypatch):
    import graphgan.data

    asked = {}

    def note(data, split=None, **_):
        asked[data] = split
        return graphgan.data.ReadResult([CSCL], ["a"], {}, [], str(data))

    monkeypatch.setattr(graphgan.data, "read", note)
    samples = str(write_structures([CSCL], tmp_path / "s.csv"))
    words = ["evaluate", samples, "--out", str(tmp_path / "r")]
    for reference, split in (("default", "val"), ("carbon-24", "val"), (samples, None)):
        assert main([*words, "--reference", reference]) == 0
        assert asked[reference] == split
    assert main([*words, "--reference", "default", "--reference-split", "test"]) == 0
    assert asked["default"] == "test"
    assert main([*words, "--train", "default"]) == 0
    assert asked["default"] == "train"
