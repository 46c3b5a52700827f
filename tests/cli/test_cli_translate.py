"""`graphgan translate` from data to table, and the runs that it needs."""

import csv
import json
import lzma
import os
import signal

import numpy as np
import pytest
import torch

pytest.importorskip("rdkit")
from rdkit import Chem

import graphgan.training
from graphgan.checkpoint import CheckpointError, load_checkpoint
from graphgan.cli import main
from graphgan.cli.parsing import parse
from graphgan.data.cards import datasets_folder
from graphgan.data.molecule_files import read_molecules
from graphgan.encodings.stored import EncodingError
from graphgan.metrics.molecule_properties import canonical_smiles, is_valid
from graphgan.metrics.molecule_translation import similarities
from graphgan.rewards import REWARDS
from graphgan.sampling import load_model, load_translation

TINY = ["--recipe", "mol-cyclegan", "--quiet", "--log-every", "1", "--checkpoint-every", "100"]
TINY += ["--autoencoder.hidden", "8", "--autoencoder.width", "64", "--autoencoder.latent-dim", "8"]
TINY += ["--autoencoder.learning-rate", "5e-3", "--autoencoder.share", "1", "--translation.share", "1"]
TINY += ["--translation.hidden", "8", "--autoencoder.batch-size", "32", "--translation.batch-size", "16"]
COLUMNS = ["id", "source", "translated", "valid", "similarity", "property_source", "property_translated", "success"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "train.smi"
    with lzma.open(datasets_folder() / "qm9" / "smiles.txt.xz", "rt") as file:
        path.write_text("".join(list(file)[7::450]))
    return path


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert main(["train", str(data), "--out", str(folder), "--steps", "200", *TINY]) == 0
    return folder


def log_of(folder):
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def table_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def error_of(words, capsys):
    assert main([str(word) for word in words]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[-1].startswith("graphgan: error: ")
    return lines[-1]


def test_a_run_has_both_stages_and_their_numbers(run):
    rows = log_of(run)
    assert [row["stage"] for row in rows if row["step"] == 1] == ["autoencoder", "translation"]
    last = [row for row in rows if row["stage"] == "translation"][-2:]
    games = {f"{way}_{name}" for way in ("forward", "backward") for name in ("critic_loss", "generator_loss")}
    assert games | {"cycle_loss", "step_loss"} <= last[0].keys()
    for to in ("high", "low"):
        assert 0 <= last[1][f"validation_to_{to}_success"] <= last[1][f"validation_to_{to}_validity"] <= 1
    assert not (run / "checkpoints" / "best.pt").exists()  # nothing is sampled, so nothing is chosen by samples
    content = load_checkpoint(run / "checkpoints" / "last.pt", "cpu")
    assert set(content["weights"]) == {"encoder", "generator", "forward", "backward"}
    assert "critic" not in content["networks"] and "forward_critic" in content["networks"]


def test_the_translators_know_their_border_and_the_latents(run, data):
    model = load_translation(run)
    molecules = read_molecules(data).molecules
    latents = model.encode(molecules)
    translator = model.translators["forward"]
    variances = model.encoder(model.encoding.encode(molecules)[:]).log_variance.exp().mean(0)
    # A twentieth of the molecules was held out.
    assert torch.allclose(translator.mean, latents.mean(0), atol=0.05)
    assert torch.allclose(translator.std, (latents.var(0) + variances).sqrt(), atol=0.05)
    assert torch.equal(translator.std, model.translators["backward"].std)
    assert model.property_name == "logp" and 0.2 < model.border < 0.4
    assert not torch.equal(model.move(latents, "high"), model.move(latents, "low"))
    assert torch.allclose(model.move(latents[:3], "high"), translator.translated(latents[:3]))
    assert model.translate([], "high") == []
    ring = read_molecules_of("c1ccccc1CCCCCCCCCC", data.parent)
    with pytest.raises(EncodingError):
        model.translate(ring, "high")


def read_molecules_of(smiles, folder):
    path = folder / "one.smi"
    path.write_text(smiles + "\n")
    return read_molecules(path).molecules


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_a_stopped_run_goes_on_as_if_nothing_had_been(data, tmp_path, monkeypatch, stop):
    """4 steps, 2 of each stage, in one go and stopped after each of the first three."""
    words = ["train", str(data), *TINY, "--steps", "4"]
    assert main([*words, "--out", str(tmp_path / "whole")]) == 0
    update, moves = graphgan.training.Average.update, []

    def counted(self, network, step):
        update(self, network, step)
        moves.append(step)
        if len(moves) == stop:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(graphgan.training.Average, "update", counted)
        assert main([*words, "--out", str(tmp_path / "parts")]) == 130
    assert main(["train", str(data), "--out", str(tmp_path / "parts"), "--resume", "--quiet"]) == 0
    assert log_of(tmp_path / "whole") == log_of(tmp_path / "parts")
    whole, parts = (load_checkpoint(tmp_path / name / "checkpoints" / "last.pt", "cpu") for name in ("whole", "parts"))
    for name, weights in whole["weights"].items():
        for key, value in weights.items():
            assert torch.equal(value, parts["weights"][name][key]), f"{name}.{key}"


@pytest.mark.parametrize("to", ["high", "low"])
def test_a_table_says_what_became_of_every_molecule(run, data, tmp_path, to):
    out, pairs = tmp_path / "new" / "moved.csv", tmp_path / "new" / "pairs.svg"
    mixed = tmp_path / "mixed.smi"
    mixed.write_text(data.read_text() + "c1ccccc1CCCCCCCCCC long\nC1=CC none\nBr bromine\n")
    words = ["translate", str(run), str(mixed), "--to", to, "--out", str(out)]
    assert main([*words, "--pairs", str(pairs)]) == 0
    rows, summary = table_of(out), json.loads(out.with_suffix(".json").read_text())
    skipped = table_of(out.with_suffix(".skipped.csv"))
    assert list(rows[0]) == COLUMNS
    assert summary["translated"] == len(rows) and summary["left_out"] == len(skipped)
    assert len(rows) + len(skipped) == len(read_molecules(data).molecules) + 3
    reasons = {row["entry"]: row["reason"] for row in skipped}
    assert "more than 9 atoms, or other ones than C, " in reasons["long"] and reasons["bromine"] == reasons["long"]
    assert any("logp is 0." in reason for reason in reasons.values())

    border, side = summary["border"], 1 if to == "high" else -1
    given = [Chem.MolFromSmiles(row["source"]) for row in rows]
    made = [Chem.MolFromSmiles(row["translated"]) for row in rows]
    made = [mol if mol is not None and mol.GetNumAtoms() and is_valid(mol) else None for mol in made]
    before, after = REWARDS["logp"](given, ()), REWARDS["logp"](made, ())
    assert (side * (before - border) < 0).all()  # those that are there already are left out
    assert [float(row["property_source"]) for row in rows] == pytest.approx(before, abs=1e-5)
    valid = np.array([mol is not None for mol in made])
    assert [row["valid"] == "1" for row in rows] == valid.tolist() and valid.any()
    assert all(row["similarity"] == row["property_translated"] == "" for row in rows if row["valid"] == "0")
    success = valid & (side * (after - border) > 0)
    assert [row["success"] == "1" for row in rows] == success.tolist()
    alike = similarities(given, made)
    found = [float(row["similarity"]) if row["valid"] == "1" else np.nan for row in rows]
    assert found == pytest.approx(alike, abs=1e-4, nan_ok=True)

    numbers = summary["translation"]
    assert numbers["success"] == pytest.approx(success.mean()) and numbers["validity"] == pytest.approx(valid.mean())
    assert numbers["similarity"] == pytest.approx(np.nanmean(alike), abs=1e-6)
    distinct = {canonical_smiles(mol) for mol in made if mol is not None}
    assert numbers["diversity"] == pytest.approx(len(distinct) / valid.sum())
    assert summary["random_step"].keys() == summary["no_step"].keys() == numbers.keys()
    assert pairs.read_text().count("<text") == 24 and " → " in pairs.read_text()


def test_a_number_of_molecules_is_drawn_from_all(run, data, tmp_path):
    words = ["translate", str(run), str(data), "--to", "high", "--out"]
    assert main([*words, str(tmp_path / "all.csv")]) == 0
    whole = table_of(tmp_path / "all.csv")
    drawn = []
    for seed in (0, 0, 1):
        assert main([*words, str(tmp_path / "some.csv"), "-n", "20", "--seed", str(seed), "--overwrite"]) == 0
        drawn.append(table_of(tmp_path / "some.csv"))
        rows = [whole.index(row) for row in drawn[-1]]
        assert len(rows) == 20 and rows == sorted(rows) and rows != list(range(20))
    assert drawn[0] == drawn[1] != drawn[2]
    assert main([*words, str(tmp_path / "many.csv"), "-n", "100000"]) == 0
    assert table_of(tmp_path / "many.csv") == whole
    assert not list(tmp_path.glob("*.svg"))


def test_what_cannot_be_translated_is_one_line(run, data, tmp_path, capsys):
    out = tmp_path / "a.csv"
    words = ["translate", run, data, "--to", "high", "--out"]
    assert "a.txt: --out must end in .csv" in error_of([*words, tmp_path / "a.txt"], capsys)
    assert "--pairs must end in .svg" in error_of([*words, out, "--pairs", tmp_path / "b.png"], capsys)
    assert "-n is 0, expected at least 1" in error_of([*words, out, "-n", "0"], capsys)
    assert main([str(word) for word in [*words, out, "-n", "3"]]) == 0
    assert f"{out}: exists; add --overwrite to replace it" in error_of([*words, out], capsys)
    out.unlink()
    assert "a.json: exists; add --overwrite" in error_of([*words, out], capsys)
    assert main([str(word) for word in [*words, out, "-n", "4", "--overwrite"]]) == 0
    assert len(table_of(out)) == 4
    bromine = tmp_path / "bromine.smi"
    bromine.write_text("Br\n")
    words = ["translate", run, bromine, "--to", "low", "--out", tmp_path / "b.csv"]
    assert "no molecule can be translated to low; the first: 1: more than 9 atoms, or other" in error_of(words, capsys)
    assert not (tmp_path / "b.csv").exists()
    words = ["translate", "perov-5", data, "--to", "low", "--out", tmp_path / "b.csv"]
    assert "perov-5.pt: this run has no translation" in error_of(words, capsys)
    words = ["sample", run, "-n", "3", "--out", tmp_path / "c.smi"]
    assert "this run translates molecules and makes none of its own: graphgan translate" in error_of(words, capsys)
    with pytest.raises(CheckpointError, match="this run translates molecules"):
        load_model(run)


def test_a_run_in_its_first_stage_does_not_translate_yet(data, tmp_path, monkeypatch, capsys):
    update = graphgan.training.Average.update

    def stopped(self, network, step):
        update(self, network, step)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(graphgan.training.Average, "update", stopped)
    folder = tmp_path / "run"
    assert main(["train", str(data), "--out", str(folder), "--steps", "4", *TINY]) == 130
    capsys.readouterr()
    words = ["translate", folder, data, "--to", "low", "--out", tmp_path / "b.csv"]
    assert "still in its autoencoder stage, there is no translation yet" in error_of(words, capsys)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--translation.property", "nothing"], "no reward 'nothing': there are qed"),
        (["--translation.property", "uniqueness"], "uniqueness is no property of a molecule alone"),
        (["--translation.property", "validity"], "is below the median 1, which 100% have"),
        (["--translation.objective", "nothing"], "unknown name 'nothing'"),
        (["--translation.objective-options", "gamma", "1"], "least-squares: LeastSquares"),
        (["--game.share", "1"], "one of them must be 0"),
        (["--rewards.share", "1"], "a translation has no rewards"),
    ],
)
def test_a_run_that_could_not_translate_does_not_start(data, tmp_path, capsys, words, message):
    command = ["train", data, "--out", tmp_path / "run", "--steps", "4", *TINY, *words]
    assert message in error_of(command, capsys)
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_the_recipe_is_the_published_game():
    options = parse(["train", "qm9", "--out", "run", "--recipe", "mol-cyclegan"]).settings
    assert list(options.stages) == ["autoencoder", "translation"]
    translation = options.translation
    assert translation.property == "logp" and translation.objective == "least-squares"
    assert (translation.cycle_weight, translation.identity_weight) == (0.3, 0.1)
