"""Images on the command line: trained, resumed, sampled, exported, encoded and decoded like graph tensors."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure

import graphgan as gg
from graphgan.cli import main
from graphgan.cli.parsing import parse
from graphgan.config import ImageConfig
from graphgan.data import write_structures

TINY = [
    *("--image.max-sites", "6", "--log-every", "1", "--checkpoint-every", "100", "--evaluate-every", "100"),
    *("--game.width", "8", "--game.batch-size", "4", "--game.critic-steps", "1", "--game.noise", "8"),
    *("--diffusion.width", "8", "--diffusion.batch-size", "4", "--diffusion.sampling-steps", "3", "--quiet"),
]
GAMES = ["wgan-gp", "non-saturating", "diffusion"]


def crystals(n=12):
    """Salts of two to six atoms in orthorhombic cells, no two alike."""
    rng = np.random.default_rng(0)
    made = []
    for i in range(n):
        count = 2 + i % 5
        lattice = Lattice.orthorhombic(*(4.0 + 2 * rng.random(3)))
        sites = (np.arange(count)[:, None] / count + 0.02 * rng.random((count, 3))) % 1.0
        made.append(Structure(lattice, (["Na", "Cl", "O", "Mg", "F", "Ti"])[:count], sites))
    return made


@pytest.fixture(autouse=True, scope="module")
def _few_samples():
    """A small sample is judged as a large one is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("graphgan.cli.image_stages.ImageStages.samples", 8)
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return str(write_structures(crystals(), tmp_path_factory.mktemp("data") / "salts.csv"))


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert main(["train", data, "--out", str(folder), "--encoding", "crystens", "--steps", "3", *TINY]) == 0
    return folder


def log_of(folder):
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows if "sample_score" not in row]


def error_of(words, capsys):
    assert main([str(word) for word in words]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[-1].startswith("graphgan: error: ")
    return lines[-1]


@pytest.mark.parametrize("encoding", ["crystens", "xtal2png"])
@pytest.mark.parametrize("objective", GAMES)
def test_a_resumed_run_is_the_run_that_was_never_stopped(data, tmp_path, encoding, objective):
    words = ["train", data, "--encoding", encoding, "--objective", objective, *TINY]
    assert main([*words, "--out", str(tmp_path / "whole"), "--steps", "4"]) == 0
    assert main([*words, "--out", str(tmp_path / "parts"), "--steps", "2"]) == 0
    assert main(["train", data, "--out", str(tmp_path / "parts"), "--resume", "--steps", "4", "--quiet"]) == 0
    assert log_of(tmp_path / "whole") == log_of(tmp_path / "parts")
    last = [tmp_path / name / "checkpoints" / "last.pt" for name in ("whole", "parts")]
    made = [gg.load_model(path).sample_images(3, seed=1).values for path in last]
    assert np.array_equal(*made)


def test_crystal_i_of_a_seed_is_one_crystal_however_it_is_asked_for(run):
    model = gg.load_model(run)
    whole = model.sample_images(70, seed=3).values
    assert np.array_equal(model.sample_images(10, seed=3).values, whole[:10])
    parts = [model.sample_images(70, seed=3, shard=(i, 3)).values for i in (1, 2, 3)]
    assert np.allclose(np.concatenate(parts), whole, atol=1e-6)
    assert not np.allclose(model.sample_images(10, seed=4).values, whole[:10], atol=1e-3)


def test_samples_are_written_and_exported_like_those_of_graph_tensors(run, tmp_path):
    assert main(["sample", str(run), "-n", "5", "--out", str(tmp_path / "a.csv")]) == 0
    assert main(["export", str(run), "--out", str(tmp_path / "small.pt")]) == 0
    assert (tmp_path / "small.pt").stat().st_size < (run / "checkpoints" / "last.pt").stat().st_size / 2
    small, whole = gg.load_model(tmp_path / "small.pt"), gg.load_model(run)
    assert np.allclose(small.sample_images(4).values, whole.sample_images(4).values, atol=0.02)


def test_what_images_cannot_do_is_one_line(run, data, tmp_path, capsys):
    words = ["sample", run, "-n", "3", "--num-atoms", "4", "--out", tmp_path / "b.csv"]
    assert "this model makes as many atoms as it likes" in error_of(words, capsys)
    assert not (tmp_path / "b.csv").exists()
    words = ["train", data, "--out", tmp_path / "r", "--recipe", "image-wgan", "--encoding", "graph"]
    assert "are of another encoding" in error_of(words, capsys)
    words = ["train", data, "--out", tmp_path / "r", "--recipe", "nothing"]
    assert "no such recipe; there are carbon_24, crystens-diffusion, crystens-gan" in error_of(words, capsys)
    words = ["train", data, "--out", tmp_path / "r", "--encoding", "crystens", "--objective", "nothing"]
    assert "unknown name 'nothing'" in error_of(words, capsys)
    words = ["train", data, "--out", tmp_path / "r", "--recipe", "crystens-wgan", "--image.max-sites", "20"]
    assert "the published networks are for 4 channels and side 64" in error_of([*words, "--quiet"], capsys)
    words = ["train", data, "--out", tmp_path / "r", "--encoding", "crystens", "--image.max-sites", "1"]
    assert "none of 12 crystals has at most 1 sites" in error_of([*words, "--quiet"], capsys)


def test_recipes_are_the_published_networks_and_fair_ones():
    published = parse(["train", "x", "--out", "y", "--recipe", "crystens-wgan"]).settings
    assert isinstance(published, ImageConfig)
    assert published.networks == "published" and published.game.critic_steps == 5 and published.game.batch_size == 256
    assert published.game.critic_learning_rate == 1e-4 and published.image.max_sites == 52
    fair = parse(["train", "x", "--out", "y", "--recipe", "image-diffusion", "--encoding", "xtal2png"]).settings
    assert fair.encoding == "xtal2png" and fair.objective == "diffusion" and fair.networks == "modern"
    assert fair.xtal2png.bits is None and fair.image.cell == "standard"


@pytest.mark.parametrize(("encoding", "out"), [("crystens", "c.npz"), ("xtal2png", "x.npz"), ("xtal2png", "pngs")])
def test_encode_and_decode_give_the_crystals_back(data, tmp_path, encoding, out):
    words = ["--encoding", encoding, "--image.max-sites", "6"]
    assert main(["encode", data, "--out", str(tmp_path / out), *words]) == 0
    assert main(["decode", str(tmp_path / out), "--out", str(tmp_path / "back.csv")]) == 0
    back = gg.read_structures(tmp_path / "back.csv")
    matcher = StructureMatcher()
    assert len(back) == 12 and all(matcher.fit(a, b) for a, b in zip(crystals(), back, strict=True))
    images = sorted(Path(tmp_path / out).glob("*.png"))
    assert len(images) == (12 if out == "pngs" else 0)


def test_a_folder_of_pictures_without_facts_is_read_with_the_published_ranges(data, tmp_path):
    assert main(["encode", data, "--out", str(tmp_path / "p"), "--encoding", "xtal2png"]) == 0
    (tmp_path / "p" / "encoding.json").unlink()
    assert main(["decode", str(tmp_path / "p"), "--out", str(tmp_path / "back.csv")]) == 0
    assert len(gg.read_structures(tmp_path / "back.csv")) == 12


def test_encode_says_what_it_left_out_and_refuses_what_it_would_destroy(data, tmp_path, capsys):
    words = ["encode", data, "--encoding", "crystens", "--image.max-sites", "4", "--out", tmp_path / "a.npz"]
    assert main([str(word) for word in words]) == 0
    assert "8 crystals encoded, 4 left out" in capsys.readouterr().err
    assert len((tmp_path / "a.skipped.csv").read_text().splitlines()) == 5
    assert "exists; add --overwrite" in error_of(words, capsys)
    assert "--out must end in .npz" in error_of([*words[:-1], tmp_path / "folder"], capsys)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    words = ["encode", data, "--encoding", "xtal2png", "--out", tmp_path / "mine", "--overwrite"]
    assert "holds something else" in error_of(words, capsys)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


def test_encoded_images_are_trained_on_and_know_what_they_are(data, tmp_path, capsys):
    path = str(tmp_path / "set.npz")
    assert main(["encode", data, "--encoding", "crystens", "--image.max-sites", "6", "--out", path]) == 0
    words = ["train", path, "--out", str(tmp_path / "run"), "--steps", "2"]
    assert "holds crystens tensors; train on them with --encoding crystens" in error_of(words, capsys)
    assert main([*words, "--encoding", "crystens", *TINY]) == 0
    assert len(gg.load_model(tmp_path / "run").sample(3)) == 3


@pytest.mark.parametrize("damage", ["cut", "other", "values"])
def test_a_damaged_set_of_images_is_one_line(data, tmp_path, capsys, damage):
    path = tmp_path / "set.npz"
    assert main(["encode", data, "--encoding", "crystens", "--image.max-sites", "6", "--out", str(path)]) == 0
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:2000])
    else:
        with np.load(path) as file:
            arrays = {name: file[name] for name in file.files}
        arrays["images"] = arrays["images"] * np.nan if damage == "values" else arrays["images"][:, :2]
        np.savez(path, **arrays)
    assert str(path) in error_of(["decode", path, "--out", tmp_path / "back.csv"], capsys)


def test_the_rows_of_the_benchmark_are_commands_that_there_are(monkeypatch):
    folder = Path(__file__).resolve().parents[2] / "benchmarks"
    monkeypatch.syspath_prepend(str(folder))  # it imports record.py by its name
    spec = importlib.util.spec_from_file_location("benchmark_of_representations", folder / "representations.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    for preset, rows in {"small": 24, "full": 33}.items():
        cells = module.cells_of(preset)
        assert len(cells) == rows and len({cell.folder for cell in cells}) == rows
        for cell in cells:
            settings = parse(module.train_command(cell, "data", "held", Path("out"))[:]).settings
            assert settings.minutes == cell.minutes and settings.seed == cell.seed
