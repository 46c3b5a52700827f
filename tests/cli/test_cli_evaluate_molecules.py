"""`graphgan evaluate` of molecules."""

import csv
import json
import sys

import pytest

pytest.importorskip("rdkit")

from graphgan.cli import main

# 3 ethanol in two spellings, a ketone, one in pieces, a carbon of valence 5, no SMILES at all, a blank line.
SAMPLES = ["CCO\ta", "OCC\tb", "CC(=O)C\tc", "C.CC\td", "CC(C)(C)(C)C\te", "nonsense\tf", "", "CCO\tg"]
TRAIN = ["CCO", "CC", "CN"]


@pytest.fixture
def files(tmp_path):
    for name, lines in {"samples.smi": SAMPLES, "qm9-train.smi": TRAIN, "reference.smi": ["CC", "CCC", "CO"]}.items():
        (tmp_path / name).write_text("\n".join(lines) + "\n")
    return tmp_path


def run(folder, *words):
    assert main(["evaluate", *map(str, words), "--out", str(folder / "report")]) == 0
    return json.loads((folder / "report" / "metrics.json").read_text())


def error_of(words, capsys):
    assert main([str(word) for word in words]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    return lines[0]


def test_numbers_of_a_file(files, capsys):
    words = ["--train", files / "qm9-train.smi", "--reference", files / "reference.smi"]
    numbers = run(files, files / "samples.smi", *words)
    assert numbers["num_samples"] == 8
    assert numbers["validity"] == 4 / 8 and numbers["validity_molgan"] == 5 / 8 and numbers["fragmented"] == 1 / 8
    assert numbers["uniqueness"] == 2 / 4 and numbers["novelty"] == 1 / 4 and numbers["unique_novel_valid"] == 1 / 8
    assert {"reward_qed", "reward_logp", "reward_sa", "weight_wasserstein", "group_total_variation"} <= numbers.keys()
    assert numbers["settings"]["benchmark"] == "qm9" and numbers["settings"]["rewards"] == "qed, logp, sa"
    assert numbers["failures"]["several fragments"] == 1 and numbers["failures"]["C of valence 5"] == 1
    output = capsys.readouterr()
    assert "50.00 %" in output.out and "3 of 8 entries are no molecules" in output.err
    page = (files / "report" / "report.html").read_text()
    assert "MolGAN" in page and "Evaluation of samples.smi" in page
    with open(files / "report" / "skipped.csv", newline="") as file:
        assert len(list(csv.reader(file))) == 4


def test_failures_keep_what_was_written(files):
    run(files, files / "samples.smi")
    with open(files / "report" / "per_molecule.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["smiles"] for row in rows] == [
        *("CCO", "CCO", "CC(C)=O", "C.CC", "CCO", "CC(C)(C)(C)C", "nonsense", "")
    ]
    assert [row["id"] for row in rows][:5] == ["a", "b", "c", "d", "g"]
    assert all(row["failure"] for row in rows[5:]) and rows[3]["failure"] == "2 fragments"
    assert "CC(C)(C)(C)C</code>" in (files / "report" / "report.html").read_text()


def test_a_table_and_a_folder_can_be_judged(files):
    table = files / "made.csv"
    table.write_text("id,smiles,valid\n1,CCO,True\n2,CC(C)(C)(C)C,False\n3,,False\n")
    assert run(files, table)["validity"] == 1 / 3
    folder = files / "folder"
    folder.mkdir()
    (folder / "one.smi").write_text("CCO\nCCC\n")
    (folder / "two.smi").write_text("CC(C)(C)(C)C\n")
    assert run(files, folder)["validity"] == 2 / 3
    assert "CC(C)(C)(C)C</code>" in (files / "report" / "report.html").read_text()


def test_rewards_can_be_chosen(files):
    words = ["--train", files / "qm9-train.smi", "--rewards", "qed", "novelty"]
    numbers = run(files, files / "samples.smi", *words)
    assert numbers["reward_novelty"] == 1 / 4 and "reward_sa" not in numbers
    assert "reward_qed" not in run(files, files / "samples.smi", "--rewards")


def test_all_failed_is_a_result(files):
    (files / "bad.smi").write_text("CC(C)(C)(C)C\nC1CC\n")
    numbers = run(files, files / "bad.smi", "--train", files / "qm9-train.smi", "--reference", files / "reference.smi")
    assert numbers["validity"] == 0 and numbers["unique_novel_valid"] == 0 and "uniqueness" not in numbers


def test_the_log_of_a_run_is_drawn(files):
    (files / "run").mkdir()
    (files / "run" / "log.jsonl").write_text('{"stage": "gan", "step": 1, "loss": 0.5}\n')
    run(files, files / "samples.smi", "--log", files / "run")
    assert "<h3>gan</h3>" in (files / "report" / "report.html").read_text()


@pytest.mark.parametrize(
    ("words", "flag"),
    [
        (["--benchmark", "mp_20"], "--benchmark"),
        (["--genmetrics"], "--genmetrics"),
        (["--no-coverage"], "--no-coverage"),
        (["--stability", "chgnet"], "--stability"),
        (["--table", "smact-4.0.2-icsd24"], "--table"),
        (["--tolerances", "mattergen"], "--tolerances"),
        (["--device", "cpu"], "--device"),
    ],
)
def test_options_of_crystals_are_refused(files, words, flag, capsys):
    error = error_of(["evaluate", files / "samples.smi", "--out", files / "report", *words], capsys)
    assert f"{flag} is for crystals, and " in error and error.endswith("samples.smi holds molecules")
    assert not (files / "report").exists()


def test_rewards_are_refused_for_crystals(files, capsys):
    (files / "cell.json").write_text("[]")
    error = error_of(["evaluate", files / "cell.json", "--out", files / "report", "--rewards", "qed"], capsys)
    assert "--rewards is for molecules, and " in error and error.endswith("holds crystals")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--rewards", "beauty"], "no reward 'beauty'"),
        (["--rewards", "novelty"], "the reward novelty needs --train"),
        (["--train", "nowhere.smi"], "nowhere.smi"),
        (["--log", "nowhere"], "there is no log.jsonl"),
        (["--seed", "-1"], "seed"),
    ],
)
def test_mistakes_give_a_line(files, words, message, capsys):
    assert message in error_of(["evaluate", files / "samples.smi", "--out", files / "report", *words], capsys)


def test_crystals_cannot_be_the_training_set_of_molecules(files, capsys):
    (files / "cells.csv").write_text("id,cif\n1,data_x\n")
    words = ["evaluate", files / "samples.smi", "--out", files / "report", "--train", files / "cells.csv"]
    assert "cells.csv" in error_of(words, capsys)


def test_without_rdkit_a_line_tells_what_to_install(files, capsys, monkeypatch):
    from graphgan.data.molecules import rdkit

    for name in ("rdkit", "rdkit.rdBase"):
        monkeypatch.setitem(sys.modules, name, None)
    rdkit.cache_clear()
    try:
        error = error_of(["evaluate", files / "samples.smi", "--out", files / "report"], capsys)
    finally:
        monkeypatch.undo()
        rdkit.cache_clear()
    assert error.endswith("molecules need RDKit: pip install 'graphgan[molecules]'")
