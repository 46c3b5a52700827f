"""`graphgan sample`, `export` and `models` as a user types them, with the shipped perovskites."""

import csv
import itertools
import json
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from graphgan.cli import main
from graphgan.data import read, writing
from graphgan.data.writing import write_structures

NUMBER = re.compile(r"-?\d+\.\d+")


def make(*words):
    return main(["sample", "perov-5", *map(str, words)])


def error_of(words, capsys):
    assert main([str(word) for word in words]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line.removeprefix("graphgan: error: ")


def rows(path):
    return list(csv.reader(path.open()))


@pytest.mark.parametrize("form", ["a.csv", "a.zip", "a.json", "a.extxyz", "cifs"])
def test_every_form_can_be_read_back(form, tmp_path, capsys):
    assert make("-n", 7, "--out", tmp_path / form) == 0
    assert "7 crystals made and written" in capsys.readouterr().err
    found = read(tmp_path / form, check=False).structures
    assert [len(structure) for structure in found] == [5] * 7
    table = read(write_structures(found, tmp_path / "b.csv"), check=False).structures
    for a, b in zip(found, table, strict=True):
        np.testing.assert_allclose(a.distance_matrix, b.distance_matrix, atol=1e-7)


def test_the_shards_of_a_table_are_the_table(tmp_path):
    """Names, comments and elements to the letter, numbers to the last bits of float32."""
    make("-n", 100, "--seed", 4, "--out", tmp_path / "whole.csv")
    for i in (1, 2, 3):
        make("-n", 100, "--seed", 4, "--shard", f"{i}/3", "--out", tmp_path / f"{i}.csv")
    whole = rows(tmp_path / "whole.csv")
    parts = [rows(tmp_path / f"{i}.csv")[1:] for i in (1, 2, 3)]
    assert [len(part) for part in parts] == [33, 33, 34]
    assert len({row[1] for row in whole[1:]}) == 100
    for row, found in zip(whole[1:], itertools.chain(*parts), strict=True):
        assert found[0] == row[0]
        assert NUMBER.sub("", found[1]) == NUMBER.sub("", row[1])
        numbers = [np.array([float(word) for word in NUMBER.findall(text)]) for text in (found[1], row[1])]
        apart = numbers[0] - numbers[1]
        # The volume has errors of float32 too; a coordinate may sit on either side of the border of the cell.
        assert np.minimum(np.abs(apart), np.abs(np.abs(apart) - 1)).max() < 1e-4 * max(1, np.abs(numbers[1]).max())


def test_few_are_the_first_of_many(tmp_path):
    make("-n", 5, "--out", tmp_path / "few.csv")
    make("-n", 70, "--out", tmp_path / "many.csv")
    few, many = (read(tmp_path / name, check=False).structures for name in ("few.csv", "many.csv"))
    for a, b in zip(few, many, strict=False):
        assert a.species == b.species
        np.testing.assert_allclose(a.lattice.matrix, b.lattice.matrix, atol=1e-4)


@pytest.mark.parametrize("shard", ["0/4", "5/4", "1/0", "x", "1", "-1/4", "1/2/3", "1.5/4", " 1/4", "9" * 30 + "/4"])
def test_a_wrong_shard_is_one_line(shard, tmp_path, capsys):
    message = error_of(["sample", "perov-5", "-n", 8, f"--shard={shard}", "--out", tmp_path / "s.csv"], capsys)
    assert message.removeprefix("--") == f"shard is {shard}, expected I/K with I from 1 to K, as in 2/4"
    assert not (tmp_path / "s.csv").exists()


def test_an_empty_shard_is_one_line(tmp_path, capsys):
    words = ["sample", "perov-5", "-n", 3, "--shard", "1/5", "--out", tmp_path / "s.csv"]
    assert error_of(words, capsys) == "shard 1/5 of 3 crystals is empty"


def test_an_unknown_name_lists_the_models(tmp_path, capsys):
    assert "nor a shipped model (mp-20, perov-5" in error_of(["sample", "perov-6", "--out", tmp_path / "s"], capsys)
    assert error_of(["models", "perov-6"], capsys).startswith("perov-6: no such model; there are mp-20, perov-5")


def test_what_is_there_is_refused_before_any_crystal_is_made(tmp_path, capsys, monkeypatch):
    (tmp_path / "a.csv").write_text("kept")
    monkeypatch.setattr("graphgan.sampling.Model._draw", lambda *_: pytest.fail("made crystals"))
    assert "exists and is not empty" in error_of(["sample", "perov-5", "--out", tmp_path / "a.csv"], capsys)
    assert (tmp_path / "a.csv").read_text() == "kept"


@pytest.mark.parametrize("form", ["a.csv", "a.zip", "a.json", "a.extxyz", "cifs"])
def test_an_interrupt_leaves_no_half_file(form, tmp_path, monkeypatch):
    from graphgan.sampling import Model

    chunks = Model._chunks

    def interrupted(*words):
        yield from itertools.islice(chunks(*words), 1)
        raise KeyboardInterrupt

    monkeypatch.setattr("graphgan.sampling.graphs.CHUNK", 64)
    monkeypatch.setattr(Model, "_chunks", interrupted)
    assert make("-n", 200, "--out", tmp_path / form) == 130
    assert not list(tmp_path.iterdir())


def test_sigterm_leaves_no_hidden_files_and_main_no_handler(tmp_path, monkeypatch):
    from graphgan.sampling import Model

    draw = Model._draw

    def draw_and_end(*words):
        assert signal.getsignal(signal.SIGTERM) != signal.SIG_DFL  # it would end the tests
        for _ in range(2):  # as `timeout` does
            signal.raise_signal(signal.SIGTERM)
        return draw(*words)

    default = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        make("-n", 2, "--out", tmp_path / "a.csv")
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
        monkeypatch.setattr(Model, "_draw", draw_and_end)
        for form in ("b.csv", "cifs"):
            with pytest.raises(SystemExit) as caught:
                make("-n", 2, "--out", tmp_path / form)
            assert caught.value.code == 143
            assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
        assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]
        monkeypatch.setattr(Model, "_draw", draw)
        signal.signal(signal.SIGTERM, mine := lambda *_: None)
        make("-n", 2, "--out", tmp_path / "c.csv")
        assert signal.getsignal(signal.SIGTERM) is mine
    finally:
        signal.signal(signal.SIGTERM, default)


def test_main_runs_outside_the_main_thread(tmp_path):
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(make, "-n", 2, "--out", tmp_path / "a.csv").result() == 0


def test_a_conditional_model_is_one_line(tmp_path, capsys):
    from graphgan.checkpoint import save_checkpoint
    from graphgan.networks import Decoder, Generator

    arguments = {
        "generator": {"hidden": 8, "layers": 1, "condition_dim": 2},
        "decoder": {"hidden": 8, "layers": 1, "num_species": 1, "condition_dim": 2},
    }
    content = {
        "config": {},
        "encoding": {"max_atoms": 2, "elements": ["H"], "atom_counts": [0, 1, 1]},
        "arguments": arguments,
        "weights": {
            "generator": Generator(**arguments["generator"]).state_dict(),
            "decoder": Decoder(**arguments["decoder"]).state_dict(),
        },
        "stage": "latent",
        "trainer": {"step": 1},
    }
    save_checkpoint(tmp_path / "m.pt", content)
    message = error_of(["sample", tmp_path / "m.pt", "-n", 2, "--out", tmp_path / "s.csv"], capsys)
    assert message.startswith(f"{tmp_path / 'm.pt'}: was trained with a condition")
    assert not (tmp_path / "s.csv").exists()


def test_more_crystals_than_there_are_numbers_for_are_one_line(tmp_path, capsys):
    words = ["sample", "perov-5", "-n", 10**22, "--out", tmp_path / "s.csv"]
    assert error_of(words, capsys) == "cannot sample 2**63 crystals or more"


def test_decode_holds_one_chunk_and_keeps_positions(tmp_path, monkeypatch):
    from graphgan.encodings import GraphEncoding, arrays

    made = tmp_path / "a.csv"
    make("-n", 25, "--out", made)
    assert main(["encode", str(made), "--out", str(tmp_path / "set.npz"), "--max-atoms", "8"]) == 0
    monkeypatch.setattr("graphgan.cli.tensors.DECODED", 10)
    sizes, written, to_crystals = [], [], arrays.to_crystals

    def note(elements, kinds, *others):
        sizes.append((len(kinds), len(written)))
        return to_crystals(elements, kinds, *others)

    record = writing._record
    monkeypatch.setattr(arrays, "to_crystals", note)
    monkeypatch.setattr(writing, "_record", lambda crystal: written.append(1) or record(crystal))
    assert main(["decode", str(tmp_path / "set.npz"), "--out", str(tmp_path / "b.json")]) == 0
    assert sizes == [(10, 0), (10, 10), (5, 20)]
    encoding, crystals = GraphEncoding.load(tmp_path / "set.npz")
    found = read(tmp_path / "b.json", check=False).structures
    for structure, other in zip(found, encoding.decode(crystals), strict=True):
        assert structure.species == other.species
        np.testing.assert_allclose(structure.distance_matrix, other.distance_matrix, atol=1e-5)
    for structure, places in zip(found, crystals.frac_coords, strict=True):
        apart = structure.frac_coords - places[: len(structure)].numpy()
        np.testing.assert_allclose(apart, np.rint(apart), atol=1e-12)


def test_symmetrised_samples_have_symmetry(tmp_path):
    make("-n", 5, "--symmetrize", 0.2, "--out", tmp_path / "s.csv")
    text = (tmp_path / "s.csv").read_text()
    assert "symmetrized within 0.2 A" in text
    assert max(s.get_space_group_info()[1] for s in read(tmp_path / "s.csv", check=False).structures) > 1


def test_export_and_sample_again(tmp_path, capsys):
    out = tmp_path / "new" / "small.pt"
    assert main(["export", "perov-5", "--out", str(out)]) == 0
    assert "perov-5, step 824, 1.4 MB" in capsys.readouterr().err
    assert error_of(["export", "perov-5", "--out", out], capsys) == f"{out}: exists; add --overwrite to replace it"
    assert main(["export", "perov-5", "--out", str(out), "--overwrite"]) == 0
    capsys.readouterr()
    assert "must end in .pt" in error_of(["export", "perov-5", "--out", tmp_path / "m.csv"], capsys)
    assert "neither a checkpoint" in error_of(["export", "nowhere", "--out", tmp_path / "m.pt"], capsys)
    main(["sample", str(out), "-n", "3", "--out", str(tmp_path / "a.json")])
    make("-n", 3, "--out", tmp_path / "b.json")
    a, b = (json.loads((tmp_path / name).read_text()) for name in ("a.json", "b.json"))
    assert [r["properties"]["comment"].split("model ")[1] for r in (a[0], b[0])] == [
        "small, step 824; seed 0",
        "perov-5, step 824; seed 0",
    ]
    assert [r["sites"] for r in a] == [r["sites"] for r in b]


def test_models_are_listed_and_told(capsys):
    assert main(["models"]) == 0
    assert re.search(r"^perov-5 +Cubic perovskites", capsys.readouterr().out, flags=re.M)
    assert main(["models", "Perov_5"]) == 0
    told = capsys.readouterr().out
    assert all(word in told for word in ("arXiv:2110.06197", "10.1039/C2EE22341D", "MIT", "4411", "sha256"))


def test_a_fresh_process_samples_without_what_it_does_not_need(tmp_path):
    """Each of these costs a tenth of a second or more to import; torch alone is needed."""
    code = (
        "import sys; from graphgan.cli import main\n"
        f"main(['sample', 'perov-5', '-n', '3', '--out', {str(tmp_path / 'a.csv')!r}])\n"
        "heavy = 'e3nn pymatgen scipy spglib matplotlib sympy torch_geometric tensorboard torch._dynamo sklearn'\n"
        "heavy = set(heavy.split()) & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(rows(tmp_path / "a.csv")) == 4


def test_what_is_kept_is_a_part_of_the_raw_crystals(tmp_path, capsys):
    make("-n", 60, "--out", tmp_path / "raw.csv")
    capsys.readouterr()
    rules = ("--keep.min-distance", 1.9, "--keep.neutral", "--keep.max-residual", 0.02)
    make("-n", 60, *rules, "--out", tmp_path / "kept.csv")
    raw, kept = (dict(rows(tmp_path / name)[1:]) for name in ("raw.csv", "kept.csv"))
    count = len(kept)
    assert 0 < count < len(raw) == 60
    assert f"{count} of 60 crystals kept ({100 * count / 60:.1f} %)" in capsys.readouterr().err
    for name, text in kept.items():
        comment, body = text.split("\n", 1)
        assert body == raw[name].split("\n", 1)[1]
        assert "filtered: consistency residual at most 0.02, atoms at least 1.9 A apart, charges" in comment
    distances = {name: s.distance_matrix for name, s in zip(raw, read(tmp_path / "raw.csv").structures, strict=True)}
    assert all(distances[name][~np.eye(5, dtype=bool)].min() >= 1.9 for name in kept)


def test_nothing_is_made_for_what_cannot_be_asked(tmp_path, capsys):
    words = ["sample", "perov-5", "-n", 2, "--num-atoms", 99, "--out", tmp_path / "new" / "x.csv"]
    assert error_of(words, capsys) == "num_atoms is 99, this model makes 1 to 5"
    assert not (tmp_path / "new").exists()


def test_filters_and_symmetrize_go_together(tmp_path):
    make("-n", 20, "--keep.min-distance", 1.9, "--out", tmp_path / "kept.csv")
    make("-n", 20, "--keep.min-distance", 1.9, "--symmetrize", 0.1, "--out", tmp_path / "mended.csv")
    kept, mended = (rows(tmp_path / name)[1:] for name in ("kept.csv", "mended.csv"))
    assert [name for name, _ in kept] == [name for name, _ in mended]
    assert 0 < len(kept) < 20


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--keep.min-distance", -1), "min_distance is -1, expected more than 0 and finite"),
        (("--keep.max-residual", 0), "max_residual is 0, expected more than 0 and finite"),
    ],
)
def test_wrong_filters_are_one_line(words, message, tmp_path, capsys):
    assert error_of(["sample", "perov-5", "-n", 2, *words, "--out", tmp_path / "s.csv"], capsys) == message
    assert not (tmp_path / "s.csv").exists()
