"""The command line as a user types it, on small sets and tiny budgets."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from graphgan.checkpoint import load_checkpoint, save_checkpoint
from graphgan.cli import main
from graphgan.data import read, write_structures
from graphgan.sampling import load_model

TINY = [
    *("--device", "cpu", "--threads", "1", "--log-every", "1", "--checkpoint-every", "2", "--evaluate-every", "4"),
    *("--autoencoder.hidden", "16", "--autoencoder.encoder-layers", "1", "--autoencoder.decoder-layers", "1"),
    *("--autoencoder.channels", "2", "--autoencoder.batch-size", "8", "--latent.batch-size", "8"),
    *("--latent.hidden", "16", "--latent.layers", "1", "--latent.critic-steps", "1", "--graph.hidden", "8"),
    *("--autoencoder.share", "0.4", "--latent.share", "0.6"),
    *("--graph.layers", "1", "--graph.batch-size", "4", "--graph.critic-steps", "1"),
]


def crystals(n=24):
    """Perovskites with shifted oxygens, no two alike."""
    rng = np.random.default_rng(0)
    made = []
    for i in range(n):
        a, b = ("Sr", "Ba", "Ca")[i % 3], ("Ti", "Zr")[i % 2]
        sites = np.array([[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
        lattice = Lattice.orthorhombic(*(3.9 + 0.2 * rng.random(3)))
        made.append(Structure(lattice, [a, b, "O", "O", "O"], sites + 0.01 * rng.standard_normal((5, 3))))
    return made


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_structures(crystals(), tmp_path_factory.mktemp("data") / "perovskites.csv")


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    """A finished run of 10 steps: 4 of the autoencoder, 6 of the latent game."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert main(["train", str(data), "--out", str(folder), "--steps", "10", "--quiet", *TINY]) == 0
    return folder


def log_of(folder):
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


def test_a_run_leaves_what_the_docs_promise(run):
    assert {p.name for p in run.iterdir()} >= {"config.yaml", "log.jsonl", "tensorboard", "checkpoints", "skipped.csv"}
    assert {p.name for p in (run / "checkpoints").iterdir()} == {"last.pt", "best.pt"}
    assert any((run / "tensorboard").iterdir())
    rows = log_of(run)
    training = [(r["stage"], r["step"]) for r in rows if "species_loss" in r or "wasserstein" in r]
    assert training == [("autoencoder", s) for s in range(1, 5)] + [("latent", s) for s in range(1, 7)]
    (reconstruction,) = [r for r in rows if "validation_match_rate" in r]
    assert 0 <= reconstruction["validation_species_accuracy"] <= 1
    assert [r["step"] for r in rows if "sample_score" in r] == [4, 6]


def test_the_same_seed_gives_the_same_log_and_another_seed_another(run, data, tmp_path):
    for seed, same in (("0", True), ("1", False)):
        again = tmp_path / seed
        main(["train", str(data), "--out", str(again), "--steps", "10", "--seed", seed, "--quiet", *TINY])
        assert (log_of(again) == log_of(run)) is same


def test_a_killed_run_resumes_with_equal_numbers(run, data, tmp_path):
    """kill -9 while it trains, then --resume: the log is that of the run that was never killed."""
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "graphgan", "train", str(data), "--out", str(folder), "--quiet", *TINY]
    # A slow sixth step gives time to kill between checkpoints 4 and 6 of the game: patched in the child.
    patch = (
        "import time, sys, graphgan.training as t\n"
        "update = t.Average.update\n"
        "def slow(self, network, step):\n"
        "    update(self, network, step)\n"
        "    if step == 5: print('five', flush=True); time.sleep(60)\n"
        "t.Average.update = slow\n"
        "from graphgan.cli import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", patch, *command[3:], "--steps", "10"], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None and child.stdout.readline().strip() == "five"
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert len(log_of(folder)) < len(log_of(run))
    assert main(["train", str(data), "--out", str(folder), "--resume", "--steps", "10", "--quiet"]) == 0
    assert log_of(folder) == log_of(run)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_saves_and_a_resume_goes_on(run, data, tmp_path, number):
    folder = tmp_path / "run"
    patch = (
        "import os, sys, graphgan.training as t\n"
        "update = t.Average.update\n"
        "def stop(self, network, step):\n"
        "    update(self, network, step)\n"
        f"    if step == 3: os.kill(os.getpid(), {int(number)})\n"
        "t.Average.update = stop\n"
        "from graphgan.cli import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    words = ["train", str(data), "--out", str(folder), "--steps", "10", "--quiet", *TINY]
    stopped = subprocess.run([sys.executable, "-c", patch, *words], capture_output=True, text=True, check=False)
    assert stopped.returncode == 130, stopped.stderr
    assert "stopped at step 3 of the autoencoder stage; go on with --resume" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    assert main(["train", str(data), "--out", str(folder), "--resume", "--steps", "10", "--quiet"]) == 0
    assert log_of(folder) == log_of(run)


def test_a_finished_run_can_be_given_more_steps(run, data, tmp_path):
    folder = tmp_path / "run"
    main(["train", str(data), "--out", str(folder), "--steps", "10", "--quiet", *TINY])
    assert main(["train", str(data), "--out", str(folder), "--resume", "--steps", "20", "--quiet"]) == 0
    found = [r for r in log_of(folder) if r["stage"] == "latent" and "wasserstein" in r]
    assert [r["step"] for r in found] == list(range(1, 13))
    longer = tmp_path / "longer"  # the same autoencoder, and the game in one go
    words = ["train", str(data), "--out", str(longer), "--steps", "16", "--quiet", *TINY]
    words[words.index("--autoencoder.share") + 1], words[words.index("--latent.share") + 1] = "4", "12"
    assert main(words) == 0
    assert found == [r for r in log_of(longer) if r["stage"] == "latent" and "wasserstein" in r]


def test_a_run_goes_on_only_with_its_own_data_and_networks(run, data, tmp_path, capsys):
    other = write_structures(crystals(30)[6:], tmp_path / "other.csv")
    before = {p.name: p.read_bytes() for p in run.iterdir() if p.is_file() and p.name != "skipped.csv"}
    for words, message in (
        ([str(other)], "cannot go on with other training data"),
        ([str(data), "--seed", "5"], "cannot go on with other training data"),
        ([str(data), "--latent.hidden", "32"], "cannot go on with other networks: generator.hidden was 16, is 32"),
    ):
        assert main(["train", *words, "--out", str(run), "--resume", "--quiet"]) == 2
        assert message in capsys.readouterr().err
    assert before == {p.name: p.read_bytes() for p in run.iterdir() if p.is_file() and p.name != "skipped.csv"}


def test_weights_of_another_version_are_one_line(run, data, tmp_path, capsys):
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    last = folder / "checkpoints" / "last.pt"
    content = load_checkpoint(last)
    encoder = content["networks"]["encoder"]
    content["networks"]["encoder"] = {name.replace("trunk.", "stem."): value for name, value in encoder.items()}
    del content["format"]
    save_checkpoint(last, content)
    assert main(["train", str(data), "--out", str(folder), "--resume", "--steps", "20", "--quiet"]) == 2
    assert "last.pt: of another version of graphgan, whose networks were others" in capsys.readouterr().err


def test_a_resumed_run_remembers_its_validation_set(data, tmp_path):
    folder = tmp_path / "run"
    words = ["train", str(data), "--out", str(folder), "--quiet"]
    assert main([*words, "--validation", str(data), "--steps", "6", *TINY]) == 0
    assert main([*words, "--resume", "--steps", "10"]) == 0  # with 5 % held out, the crystals would be others


def test_all_stages_play(data, tmp_path):
    folder = tmp_path / "run"
    words = ["train", str(data), "--out", str(folder), "--steps", "10", "--quiet", *TINY]
    more = ["--prior.share", "0.5", "--noise.share", "0.5", "--latent.anchor", "0.5", "--graph.share", "0.5"]
    more += ["--mixture.share", "0.5", "--mixture.components", "3"]
    more += ["--autoencoder.agreement", "1", "--autoencoder.separations", "0.1"]
    assert main([*words, *more]) == 0
    rows = log_of(folder)
    assert {r["stage"] for r in rows} == {"autoencoder", "prior", "mixture", "noise", "latent", "graph"}
    assert [r["stage"] for r in rows if "latent_error" in r and "wasserstein" in r] == ["latent"] * 2
    assert main(["sample", str(folder), "-n", "3", "--out", str(tmp_path / "x.csv")]) == 0
    assert (load_model(folder).decoder.separations.shortest > 1).all()  # Å, of real crystals


def test_the_prior_forgives_less_after_a_while(data, tmp_path):
    """Two runs are one until the step at which one of them halves the variance, and differ from there on."""
    logs = []
    for name, more in (("plain", ()), ("halved", ("--prior.halved-after", "2"))):
        words = ["train", str(data), "--quiet", *TINY, "--prior.share", "1.0", "--latent.anchor", "0.5", *more]
        assert main([*words, "--out", str(tmp_path / name), "--steps", "12"]) == 0
        logs.append([r for r in log_of(tmp_path / name) if r["stage"] == "prior" and "latent_error" in r])
    # The error of step 3 is that before its move: the first that can differ is that of step 4.
    same = [a == b for a, b in zip(*logs, strict=True)]
    assert same[:3] == [True] * 3 and not any(same[3:]) and len(same) > 3


def test_a_run_with_a_prior_can_be_stopped_in_any_stage(data, tmp_path):
    """Given its steps in three parts, it logs what it logs in one go."""
    words = ["train", str(data), "--quiet", *TINY, "--prior.share", "1.0", "--latent.anchor", "0.5"]
    words += ["--noise.share", "1.0", "--noise.hidden", "8", "--mixture.share", "1.0", "--mixture.components", "3"]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert main([*words, "--out", str(whole), "--steps", "20"]) == 0
    patch = (
        "import os, sys, graphgan.training as t\n"
        "update, count = t.Average.update, [0]\n"
        "def stop(self, network, step):\n"
        "    update(self, network, step)\n"
        "    count[0] += 1\n"
        "    if count[0] == 4: os.kill(os.getpid(), 2)\n"
        "t.Average.update = stop\n"
        "from graphgan.cli import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    asked = [*words, "--out", str(parts), "--steps", "20"]
    stages = []
    for more in ([], *[["--resume"]] * 4):
        stopped = subprocess.run(
            [sys.executable, "-c", patch, *asked, *more], capture_output=True, text=True, check=False
        )
        assert stopped.returncode in (0, 130), stopped.stderr
        stages.append(log_of(parts)[-1]["stage"])
    assert main([*asked, "--resume"]) == 0
    assert log_of(parts) == log_of(whole)
    assert {"prior", "mixture", "noise", "latent"} <= set(stages)


@pytest.mark.parametrize("name", ["cifs", "c.zip", "c.extxyz", "c.csv", "c.json"])
def test_samples_in_every_form_repeat_bit_for_bit(run, tmp_path, name):
    outs = [tmp_path / f"{i}-{name}" for i in range(2)]
    for out in outs:
        assert main(["sample", str(run), "-n", "7", "--seed", "3", "--out", str(out)]) == 0
    found = [read(out, check=False) for out in outs]
    assert len(found[0].structures) + len(found[0].skipped) == 7
    for a, b in zip(found[0].structures, found[1].structures, strict=True):
        assert a == b
    if name == "cifs":
        text = (outs[0] / "000000.cif").read_text()
        assert text == (outs[1] / "000000.cif").read_text()
        assert "seed 3" in text and "model run" in text


def test_atom_counts_can_be_fixed_and_symmetry_asked_for(run, tmp_path):
    out = tmp_path / "x.json"
    words = ["sample", str(run), "-n", "5", "--num-atoms", "5", "--symmetrize", "0.3", "--out", str(out)]
    assert main(words) == 0
    assert all(len(s) <= 5 for s in read(out, check=False).structures)


def test_evaluate_writes_its_three_files(run, data, tmp_path, capsys):
    samples, out = tmp_path / "s.csv", tmp_path / "report"
    main(["sample", str(run), "-n", "10", "--out", str(samples)])
    words = ["evaluate", str(samples), "--out", str(out), "--reference", str(data), "--train", str(data)]
    assert main([*words, "--log", str(run)]) == 0
    numbers = json.loads((out / "metrics.json").read_text())
    assert numbers["num_samples"] == 10
    for name in ("structural_validity", "uniqueness", "novelty"):
        assert 0 <= numbers[name] <= 1
    page = (out / "report.html").read_text()
    assert "latent" in page and 'src="http' not in page
    assert "structural_validity" in capsys.readouterr().out


def test_real_crystals_judged_by_themselves_are_perfect(data, tmp_path):
    out = tmp_path / "report"
    assert main(["evaluate", str(data), "--out", str(out), "--reference", str(data), "--train", str(data)]) == 0
    numbers = json.loads((out / "metrics.json").read_text())
    assert numbers["structural_validity"] == 1 and numbers["novelty"] == 0
    assert numbers["density_wasserstein"] == 0 and numbers["element_total_variation"] == pytest.approx(0)


def test_unreadable_samples_stay_in_the_denominator(tmp_path):
    folder = write_structures([*crystals(3), None], tmp_path / "cifs")
    (folder / "zzz.cif").write_text("data_x\n_cell_length_a 3\n")
    assert main(["evaluate", str(folder), "--out", str(tmp_path / "r")]) == 0
    numbers = json.loads((tmp_path / "r" / "metrics.json").read_text())
    assert numbers["num_samples"] == 5 and numbers["structural_validity"] == pytest.approx(3 / 5)
    assert "density_wasserstein" not in numbers and "novelty" not in numbers


def test_encode_decode_and_train_on_tensors(data, tmp_path):
    tensors, back = tmp_path / "t.npz", tmp_path / "back.json"
    assert main(["encode", str(data), "--out", str(tensors), "--max-atoms", "5"]) == 0
    assert main(["decode", str(tensors), "--out", str(back)]) == 0
    from pymatgen.core.structure_matcher import StructureMatcher

    for a, b in zip(crystals(), read(back).structures, strict=True):
        assert StructureMatcher().fit(a, b)
    assert main(["train", str(tensors), "--out", str(tmp_path / "r"), "--steps", "4", "--quiet", *TINY]) == 0


def broken_cifs(folder, good):
    """20 files of 20 kinds of damage, by name."""
    write_structures(good[:1], folder / "one")
    text = (folder / "one" / "000000.cif").read_text()
    (folder / "one" / "000000.cif").unlink()
    (folder / "one").rmdir()
    lines = text.splitlines()
    atoms = [i for i, line in enumerate(lines) if line.split()[:1] and line.split()[0] in ("Sr", "Ti", "O")]

    def with_atom(change):
        changed = list(lines)
        changed[atoms[0]] = change(changed[atoms[0]])
        return "\n".join(changed)

    def replace_value(key, value):
        return "\n".join(f"{key} {value}" if line.startswith(key) else line for line in lines)

    damage = {
        "binary": os.urandom(300),
        "cell_missing": "\n".join(line for line in lines if not line.startswith("_cell_length_b")),
        "cell_nan": replace_value("_cell_length_a", "nan"),
        "cell_negative": replace_value("_cell_length_a", "-4.0"),
        "cell_question": replace_value("_cell_length_a", "?"),
        "cell_zero": replace_value("_cell_length_c", "0.0"),
        "angle_impossible": replace_value("_cell_angle_alpha", "179.9"),
        "comment_only": "# nothing here\n",
        "coordinate_nan": with_atom(lambda line: " ".join([*line.split()[:-2], "nan", *line.split()[-1:]])),
        "coordinate_word": with_atom(lambda line: " ".join([*line.split()[:-2], "north", *line.split()[-1:]])),
        "cut_header": "\n".join(lines[: len(lines) // 3]),
        "cut_row": "\n".join(lines)[: -len(lines[-1]) - 8],
        "doubled_atom": "\n".join([*lines, lines[atoms[0]]]),
        "element_unknown": with_atom(lambda line: line.replace("Sr", "Qq")),
        "empty": "",
        "html": "<html><body>404 Not Found</body></html>",
        "no_sites": "\n".join(lines[: atoms[0]]),
        "partial_occupancy": with_atom(lambda line: " ".join([*line.split()[:-1], "0.5"])),
        "utf16": text.encode("utf-16")[:201],
        "word_salad": "lorem ipsum dolor sit amet",
    }
    assert len(damage) == 20
    for name, content in damage.items():
        path = folder / f"broken_{name}.cif"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return sorted(f"broken_{name}.cif" for name in damage)


def test_a_folder_with_fifty_good_and_twenty_broken_cifs_trains(tmp_path):
    folder = tmp_path / "cifs"
    write_structures(crystals(50), folder)
    bad = broken_cifs(folder, crystals(1))
    out = tmp_path / "run"
    assert main(["train", str(folder), "--out", str(out), "--steps", "4", "--quiet", *TINY]) == 0
    import csv

    with (out / "skipped.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert sorted(Path(r["entry"]).name for r in rows) == bad
    assert all(r["reason"] and "\n" not in r["reason"] and "Traceback" not in r["reason"] for r in rows)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trian", "x"], "trian is no command; did you mean train?"),
        (["train", "{tmp}/nowhere.csv", "--out", "{tmp}/r"], "nowhere.csv"),
        (["train", "{tmp}/empty", "--out", "{tmp}/r"], "empty"),
        (["train", "{data}", "--out", "{tmp}/r", "--device", "cuda"], "no GPU here"),
        (["train", "{data}", "--out", "{tmp}/r", "--encoding.max-atoms", "2"], "at most 2 atoms"),
        (["train", "{data}", "--out", "{tmp}/r", "--latent.objective", "wgangp"], "unknown name 'wgangp'"),
        (["train", "{data}", "--out", "{tmp}/r", "--config", "{tmp}/no.yaml"], "no.yaml: No such file"),
        (["train", "{data}", "--out", "{run}"], "holds a run already; add --resume"),
        (["train", "{data}", "--out", "{tmp}/r", "--resume"], "no checkpoint to resume from"),
        (["sample", "{tmp}/nowhere", "--out", "{tmp}/s"], "neither a checkpoint nor a run folder"),
        (["sample", "{data}", "--out", "{tmp}/s"], "not a readable checkpoint"),
        (["sample", "{run}", "-n", "0", "--out", "{tmp}/s"], "-n is 0"),
        (["sample", "{run}", "--num-atoms", "99", "--out", "{tmp}/s"], "this model makes 1 to 20"),
        (["sample", "{run}", "-n", "2", "--symmetrize", "-1", "--out", "{tmp}/s"], "--symmetrize is -1"),
        (["evaluate", "{tmp}/empty", "--out", "{tmp}/e"], "empty"),
        (["encode", "{data}", "--out", "{tmp}/t.pt"], "must end in .npz"),
        (["decode", "{data}", "--out", "{tmp}/d"], "not an encoded set"),
        (["datasets", "no-such-set"], "no such data set"),
    ],
)
def test_a_users_mistake_is_one_line_and_exit_code_2(words, message, tmp_path, data, run, capsys):
    (tmp_path / "empty").mkdir()
    words = [w.format(tmp=tmp_path, data=data, run=run) for w in words]
    assert main(words) == 2
    error = capsys.readouterr().err.strip()
    assert error.splitlines()[-1].startswith("graphgan: error: ") and message in error
    assert "Traceback" not in error


def test_datasets_lists_and_tells(capsys):
    assert main(["datasets"]) == 0
    assert "default" in capsys.readouterr().out
    assert main(["datasets", "mp_20"]) == 0
    assert "CC-BY" in capsys.readouterr().out


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from graphgan.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'pymatgen', 'numpy', 'scipy', 'matplotlib', 'torch_geometric'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for command in ("demo", "train", "sample", "evaluate", "encode", "decode", "datasets"):
        assert command in done.stdout


def test_the_python_api_of_the_readme(run, data):
    import graphgan as gg

    model = gg.load_model(run)
    made = model.sample(6, seed=0)
    assert len(made) == 6
    structures = gg.read_structures(data)
    report = gg.evaluate(made, reference=structures, train=structures)
    assert report.metrics["num_samples"] == 6
    assert len(gg.load_dataset("default", split="val")) > 1000
    graphs, residual = model.sample_graphs(4)
    assert len(graphs) == 4 and residual.shape == (4,) and (residual >= 0).all()


def test_the_demo_runs_whole(tmp_path):
    start = time.monotonic()
    assert main(["demo", "--minutes", "0.05", "-n", "5", "--out", str(tmp_path / "demo")]) == 0
    assert time.monotonic() - start < 300
    assert (tmp_path / "demo" / "report.html").stat().st_size > 100_000
    assert len(list((tmp_path / "demo" / "crystals").glob("*.cif"))) == 5
