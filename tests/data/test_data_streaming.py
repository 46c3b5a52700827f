"""Tables and frames are read as they are asked for, and any DATA becomes an encoded set in bounded memory."""

import csv
import gzip
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from pymatgen.core import Lattice, Structure

from graphgan.data import DataError, read, write_structures
from graphgan.data import records as records_module
from graphgan.data.extxyz import frames
from graphgan.data.reading import EntryStream, stream
from graphgan.data.records import csv_rows
from graphgan.data.streams import Lines, Unzipped, text_lines
from graphgan.encodings import GraphEncoding
from graphgan.encodings import streaming as streaming_module
from graphgan.encodings.stored import EncodingError, SetWriter, is_stored
from graphgan.encodings.streaming import encode_to_disk

ROOT = Path(__file__).resolve().parents[2]


def crystals(count, seed=0):
    """Crystals of two to five atoms without symmetry, and one that is two cells of itself."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        lattice = Lattice.from_parameters(*rng.uniform(4, 8, 3), *rng.uniform(70, 110, 3))
        species = rng.choice(["O", "Ti", "Ca"], rng.integers(2, 6))
        made.append(Structure(lattice, species, rng.random((len(species), 3))))
    return [*made, made[0] * (1, 2, 1)]


# -- streams -----------------------------------------------------------------------------------------------------------


def counted(lines, taken):
    for line in lines:
        taken.append(line)
        yield line


def test_a_row_is_read_when_it_is_asked_for(cscl_cif):
    lines = ("material_id,cif\n" + f'm,"{cscl_cif}"\n' * 100).splitlines(True)
    taken: list[str] = []
    rows = csv_rows(Lines(counted(lines, taken)))
    for number in (1, 2, 3):
        assert next(rows)[0] == number
        assert len(taken) == 1 + number * (cscl_cif.count("\n") + 1)
    assert len(list(rows)) == 97


def test_a_frame_is_read_when_it_is_asked_for():
    frame = ["2\n", 'Lattice="4 0 0 0 4 0 0 0 4"\n', "Cs 0 0 0\n", "Cl 2 2 2\n"]
    taken: list[str] = []
    found = frames(Lines(counted(frame * 50, taken)))
    next(found), next(found)
    assert len(taken) <= 2 * len(frame) + 2
    assert [atoms for _, atoms in found] == [frame[2:]] * 48


def test_an_open_quote_reads_no_further_than_a_row_may_be_long(monkeypatch):
    """With nothing to close it, the quote would swallow the rest of the file."""
    monkeypatch.setattr(records_module, "_ROW_LINES", 100)
    text = "id,cif\n" + 'm,surplus,"open\n' + "m,x\n" * 300
    taken: list[str] = []
    rows = csv_rows(Lines(counted(text.splitlines(True), taken)))
    assert next(rows) == (1, "row has 3 columns, the header has 2")
    assert len(taken) == 101


def gzipped(*members):
    return b"".join(map(gzip.compress, members))


@pytest.mark.parametrize("size", [0, 1, 1023, 50_000])
def test_compressed_bytes_come_back(size):
    content = np.random.default_rng(size).bytes(size)
    cases = (
        (gzipped(content), content),
        (gzipped(content, content, b""), content * 2),
        (gzipped(content) + b"rubbish", content),
    )
    for data, expected in cases:
        unzipped = Unzipped(io.BytesIO(data))
        assert io.BufferedReader(unzipped).read() == expected and unzipped.whole


def test_what_precedes_damage_is_kept():
    content = np.random.default_rng(0).bytes(100_000)
    data = gzip.compress(content)
    flipped = data[:60_000] + bytes(200) + data[60_200:]
    for damaged in (data[:60_000], flipped, data[:-4]):
        unzipped = Unzipped(io.BytesIO(damaged))
        kept = io.BufferedReader(unzipped).read()
        assert not unzipped.whole
        assert kept[:58_000] == content[:58_000]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_lines_in_any_encoding(encoding):
    lines = ["Ångström\n", "plain\n", "größe"]
    file = io.BufferedReader(io.BytesIO("".join(lines).encode(encoding)))
    assert list(text_lines(file)) == lines


def test_one_strange_byte_changes_no_other_line():
    file = io.BufferedReader(io.BytesIO("Ångström\n".encode() + "Å\n".encode("latin-1") + "σ\n".encode()))
    assert list(text_lines(file)) == ["Ångström\n", "Å\n", "σ\n"]


# -- encoded sets ------------------------------------------------------------------------------------------------------


def data_of(form, folder):
    """The crystals in a form, and a damaged one among them."""
    made = [*crystals(12), None]
    name = {"csv": "d.csv", "gz": "d.csv", "extxyz": "d.extxyz", "zip": "d.zip", "folder": "d", "json": "d.json"}[form]
    path = write_structures(made, folder / name)
    if form == "gz":
        (folder / "d.csv.gz").write_bytes(gzip.compress(path.read_bytes()))
        return folder / "d.csv.gz"
    return path


@pytest.mark.parametrize("form", ["csv", "gz", "extxyz", "zip", "folder", "json"])
@pytest.mark.parametrize("name", ["set", "set.npz"])
def test_a_set_written_on_the_way_is_the_one_made_in_memory(form, name, tmp_path):
    data = data_of(form, tmp_path)
    found = read(data)
    encoding = GraphEncoding(4)
    expected, kept = encoding.fit_encode(found.structures)
    written = encode_to_disk(data, tmp_path / name, max_atoms=4)
    again, crystal_set = GraphEncoding.load(tmp_path / name)
    assert again == encoding and crystal_set.digest() == expected.digest()
    assert torch.equal(crystal_set.frac_coords, expected.frac_coords)
    large = len(found.structures) - len(kept)
    assert written == (len(kept), 1, large) and large > 0
    ids = [found.ids[i] for i in kept]
    if name == "set":
        assert (tmp_path / "set" / "ids.txt").read_text().split("\n")[:-1] == ids
    else:
        assert np.load(tmp_path / name)["ids"].tolist() == ids
    listed = tmp_path / ("set/skipped.csv" if name == "set" else "set.skipped.csv")
    rows = list(csv.DictReader(listed.open()))
    assert len(rows) == 1 + large and {"more than 4 atoms in the cell"} < {row["reason"] for row in rows}
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_processes_encode_what_one_process_encodes(tmp_path, monkeypatch):
    monkeypatch.setattr("graphgan.processes.PATIENCE", 0)
    structures = crystals(120)
    data = write_structures(structures, tmp_path / "d.csv")
    sets = []
    for workers in (1, 2):
        encode_to_disk(data, tmp_path / f"s{workers}", workers=workers)
        sets.append(GraphEncoding.load(tmp_path / f"s{workers}")[1].digest())
        sets.append(GraphEncoding(20).fit_encode(structures, workers=workers)[0].digest())
    assert sets[0] == sets[2] and sets[1] == sets[3]


@pytest.mark.parametrize("workers", [1, 2])
def test_only_a_few_hundred_entries_are_in_flight(workers, cscl_cif, tmp_path, monkeypatch):
    monkeypatch.setattr("graphgan.processes.PATIENCE", 0)
    (tmp_path / "d.csv").write_text("material_id,cif\n" + f'm,"{cscl_cif}"\n' * 2000)
    read_so_far, in_flight, real = [0], [], stream(tmp_path / "d.csv")

    def counted_entries():
        for entry in real.entries:
            read_so_far[0] += 1
            yield entry

    class Watched(SetWriter):
        def add(self, *crystal):
            in_flight.append(read_so_far[0] - len(self))
            super().add(*crystal)

    entries = EntryStream(counted_entries(), real.total, real.source)
    monkeypatch.setattr(streaming_module, "stream", lambda data, split: entries)
    monkeypatch.setattr(streaming_module, "SetWriter", Watched)
    assert encode_to_disk("d", tmp_path / "set", workers=workers).crystals == 2000
    assert max(in_flight) <= (1 if workers == 1 else 450)


def test_an_interrupted_encode_leaves_nothing_and_replaces_nothing(tmp_path, monkeypatch):
    data = write_structures(crystals(3), tmp_path / "d.csv")
    encode_to_disk(data, tmp_path / "old")
    before = GraphEncoding.load(tmp_path / "old")[1].digest()

    def interrupt(self, *crystal):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(SetWriter, "add", interrupt)
        for name in ("new", "new.npz", "old"):
            with pytest.raises(KeyboardInterrupt):
                encode_to_disk(data, tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d.csv", "old"]
    assert GraphEncoding.load(tmp_path / "old")[1].digest() == before
    encode_to_disk(write_structures(crystals(3, seed=1), tmp_path / "e.csv"), tmp_path / "old")
    assert GraphEncoding.load(tmp_path / "old")[1].digest() != before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d.csv", "e.csv", "old"]


def test_a_folder_of_something_else_is_never_replaced(tmp_path):
    data = write_structures(crystals(1), tmp_path / "d.csv")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "encoding.json").write_text("{}")
    with pytest.raises(OSError, match="not empty"):
        encode_to_disk(data, tmp_path / "mine")
    assert (tmp_path / "mine" / "encoding.json").read_text() == "{}" and not is_stored(tmp_path / "mine")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d.csv", "mine"]


@pytest.mark.parametrize("made", ["run", "notes.txt", "ids.txt"])
def test_what_lies_beside_a_set_is_never_removed(made, stored, capsys):
    """A run folder inside the set, a user's file, a folder with the name of one of ours."""
    from graphgan.cli import main

    (stored / made).unlink(missing_ok=True)
    if made == "notes.txt":
        (stored / made).write_text("mine")
    else:
        (stored / made).mkdir()
        (stored / made / "last.pt").write_text("mine")
    before = sorted(stored.parent.rglob("*"))
    assert main(["encode", str(stored.parent / "d.csv"), "--out", str(stored), "--overwrite"]) == 2
    assert f"set: not replaced, since it holds '{made}' beside" in capsys.readouterr().err
    encoding, crystal_set = GraphEncoding.load(stored)
    with pytest.raises(EncodingError, match="not replaced"):
        encoding.save(stored, crystal_set)
    assert sorted(stored.parent.rglob("*")) == before


def test_what_comes_into_a_set_while_it_is_made_anew_stays(stored):
    with SetWriter(stored, 3) as writer:
        writer.add("O", np.eye(3) * 4, np.zeros((1, 3)), np.array([8]))
        (stored / "a").write_text("mine")
        (stored / "b").mkdir()
        with pytest.raises(EncodingError, match="holds 'a' and 1 more beside"):
            writer.finish()
    assert (stored / "a").read_text() == "mine" and (stored / "b").is_dir()
    assert sorted(path.name for path in stored.parent.iterdir()) == ["d.csv", "set"]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_replacement_that_fails_halfway_leaves_the_old_set(error, stored, monkeypatch):
    real, before = os.replace, GraphEncoding.load(stored)[1].digest()

    def failing(source, target):
        if Path(source).name == ".set.parts":
            raise error
        real(source, target)

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(error):
        encode_to_disk(stored.parent / "d.csv", stored, max_atoms=6)
    assert GraphEncoding.load(stored)[1].digest() == before
    assert sorted(path.name for path in stored.parent.iterdir()) == ["d.csv", "set"]


def test_a_set_that_a_kill_left_aside_is_back_before_the_next_encode(stored):
    before = GraphEncoding.load(stored)[1].digest()
    stored.rename(stored.with_name(".set.old"))
    with pytest.raises(EncodingError, match="none of 4 crystals"):
        encode_to_disk(stored.parent / "d.csv", stored, max_atoms=1)
    assert GraphEncoding.load(stored)[1].digest() == before
    stored.rename(stored.with_name(".set.old"))
    encode_to_disk(stored.parent / "d.csv", stored, max_atoms=6)
    assert GraphEncoding.load(stored)[0].max_atoms == 6
    assert sorted(path.name for path in stored.parent.iterdir()) == ["d.csv", "set"]


def test_a_set_replaces_the_working_folder(stored, monkeypatch):
    from graphgan.cli import main

    monkeypatch.chdir(stored)
    assert main(["encode", "../d.csv", "--out", ".", "--overwrite", "--max-atoms", "6"]) == 0
    assert GraphEncoding.load(stored)[0].max_atoms == 6
    assert sorted(path.name for path in stored.parent.iterdir()) == ["d.csv", "set"]


def test_a_link_to_a_set_is_replaced_and_not_its_target(stored):
    (stored.parent / "link").symlink_to(stored)
    encode_to_disk(stored.parent / "d.csv", stored.parent / "link", max_atoms=6)
    assert [GraphEncoding.load(stored.parent / name)[0].max_atoms for name in ("set", "link")] == [5, 6]
    assert sorted(path.name for path in stored.parent.iterdir()) == ["d.csv", "link", "set"]


@pytest.mark.parametrize("out", ["set", "set.npz"])
def test_file_names_that_are_no_utf8(out, cscl_cif, tmp_path):
    from graphgan.cli import main

    (folder := tmp_path / "cifs").mkdir()
    try:
        (folder / os.fsdecode(b"bad\xff\xfe.cif")).write_text(cscl_cif)
    except OSError:
        pytest.skip("this file system has UTF-8 names alone")
    (folder / os.fsdecode(b"cut\xff.cif")).write_text(cscl_cif[:40])
    for number in range(201):  # enough that `read` caches them
        (folder / f"good{number}.cif").write_text(cscl_cif)
    assert len(read(folder).structures) == len(read(folder).structures) == 202
    assert main(["encode", str(folder), "--out", str(tmp_path / out)]) == 0
    if out == "set":
        ids = (tmp_path / "set" / "ids.txt").read_text(encoding="utf-8").splitlines()
    else:
        ids = np.load(tmp_path / out)["ids"].tolist()
    assert len(ids) == 202 and ids[0].startswith(r"bad\udcff\udcfe")
    listed = tmp_path / ("set/skipped.csv" if out == "set" else "set.skipped.csv")
    assert r"cut\udcff.cif" in listed.read_text(encoding="utf-8")


def test_nothing_usable_is_one_line_and_leaves_nothing(tmp_path):
    data = write_structures(crystals(3), tmp_path / "d.csv")
    with pytest.raises(EncodingError, match="none of 4 crystals has at most 1 atoms"):
        encode_to_disk(data, tmp_path / "set", max_atoms=1)
    empty = write_structures([None, None], tmp_path / "n.csv")
    with pytest.raises(DataError, match=r"n\.csv: no usable crystal; all 2 entries skipped, the first \(n\.csv:row 1"):
        encode_to_disk(empty, tmp_path / "set")
    with pytest.raises(DataError, match="no such file"):
        encode_to_disk(tmp_path / "no.csv", tmp_path / "set")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d.csv", "n.csv"]


@pytest.fixture
def stored(tmp_path):
    encode_to_disk(write_structures(crystals(3), tmp_path / "d.csv"), tmp_path / "set", max_atoms=5)
    return tmp_path / "set"


DAMAGE = {
    "facts_cut": ("encoding.json", lambda data: data[:40], "not an encoded set"),
    "facts_list": ("encoding.json", lambda data: b'["graphgan_encoding"]', "holds no table"),
    "facts_few": ("encoding.json", lambda data: b'{"graphgan_encoding": "graph"}', "no array elements"),
    "facts_gone": ("encoding.json", None, "No such file"),
    "array_cut": ("frac_coords.npy", lambda data: data[:-8], "not an encoded set"),
    "array_gone": ("lattice.npy", None, "no array lattice"),
    "header_open": ("lattice.npy", lambda data: data.replace(b"}", b" ", 1), "not an encoded set"),
    "array_other": ("species.npy", lambda data: b"hello", "not an encoded set"),
    "not_finite": ("frac_coords.npy", lambda data: data[:-8] + b"\xff" * 8, "frac_coords holds numbers that are not"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_folder_is_one_line_with_its_name(name, stored):
    file, change, message = DAMAGE[name]
    data = (stored / file).read_bytes()
    (stored / file).unlink()
    if change is not None:
        (stored / file).write_bytes(change(data))
    with pytest.raises(EncodingError, match=message) as caught:
        GraphEncoding.load(stored)
    assert str(stored) in str(caught.value) and "\n" not in str(caught.value)


def test_a_folder_stays_on_disk_and_no_training_writes_to_it(stored, recwarn):
    before = {file.name: file.read_bytes() for file in stored.iterdir()}
    _, crystal_set = GraphEncoding.load(stored)
    crystal_set.frac_coords.zero_()
    assert {file.name: file.read_bytes() for file in stored.iterdir()} == before
    assert not recwarn.list


def test_sets_in_memory_become_folders_too(tmp_path):
    encoding = GraphEncoding(5)
    crystal_set, _ = encoding.fit_encode(crystals(4))
    crystal_set = crystal_set.replace(condition=torch.arange(5.0)[:, None])
    encoding.save(tmp_path / "set", crystal_set.subset([3, 1]), ids=["a", "b"])
    again, loaded = GraphEncoding.load(tmp_path / "set")
    assert again == encoding and loaded.condition.tolist() == [[3.0], [1.0]]
    assert loaded.digest() == crystal_set.subset([3, 1]).digest()
    assert (tmp_path / "set" / "ids.txt").read_text() == "a\nb\n"
    assert json.loads((tmp_path / "set" / "encoding.json").read_text())["elements"] == encoding.elements


def test_reading_an_encoded_folder_says_what_it_is(stored):
    with pytest.raises(DataError, match=r"set: an encoded set, not crystals: `graphgan decode`"):
        read(stored)


def run(code, *words):
    """A fresh interpreter that runs graphgan's command line and prints whether a module came along."""
    code = f"import sys\nfrom graphgan.cli import main\nassert main(sys.argv[1:]) == 0\n{code}"
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_encoding_needs_no_torch_and_training_no_pymatgen(tmp_path):
    data = write_structures(crystals(3)[:3], tmp_path / "d.csv")
    assert run("print('torch' in sys.modules)", "encode", data, "--out", tmp_path / "set") == ["False"]
    sizes = [f"--autoencoder.{name}" for name in ("hidden", "encoder-layers", "decoder-layers", "channels", "heads")]
    small = [word for pair in zip(sizes, ("8", "1", "1", "1", "2"), strict=True) for word in pair]
    words = ["train", tmp_path / "set", "--out", tmp_path / "r", "--steps", "2", "--quiet", *small]
    assert run("print('pymatgen' in sys.modules)", *words) == ["False"]
    assert (tmp_path / "r" / "checkpoints" / "last.pt").is_file()


def test_decode_takes_a_folder(stored, tmp_path):
    from graphgan.cli import main

    assert main(["decode", str(stored), "--out", str(tmp_path / "back.json")]) == 0
    assert len(read(tmp_path / "back.json").structures) == 4


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("t.pt", "must end in .npz"),
        ("d.csv/set", "is a file"),
        ("mine", "holds something else"),
        ("plain", "is a file"),
    ],
)
def test_where_a_set_cannot_be_written(out, message, tmp_path, capsys):
    from graphgan.cli import main

    data = write_structures(crystals(1), tmp_path / "d.csv")
    (tmp_path / "mine").mkdir()
    (tmp_path / "plain").write_text("")
    assert main(["encode", str(data), "--out", str(tmp_path / out), "--overwrite"]) == 2
    assert message in capsys.readouterr().err
