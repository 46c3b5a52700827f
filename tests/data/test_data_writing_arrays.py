"""Bare arrays and Structures are written to the same bytes, and writing keeps nothing."""

import csv
import io
import json
import re
import zipfile

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from pymatgen.io.cif import CifParser

from graphgan.data import DataError, cif_string, write_structures
from graphgan.data.crystals import Crystal

FORMS = ["out", "out.zip", "out.csv", "out.json", "out.extxyz"]


def pairs(n=30):
    """The same crystals as Structures and as arrays; some cells skewed, some rectangular, one left-handed."""
    rng = np.random.default_rng(0)
    structures, arrays = [], []
    for i in range(n):
        lattice = np.diag(rng.uniform(3, 9, 3)) + (i % 3 > 0) * rng.normal(size=(3, 3))
        if i == 4:
            lattice = lattice[[1, 0, 2]]
        numbers = rng.choice([1, 8, 22, 92], size=1 + i % 7).astype(np.uint8)
        x = rng.random((len(numbers), 3))
        x[0] = 0
        structures.append(Structure(Lattice(lattice), numbers.tolist(), x))
        arrays.append(Crystal(lattice, x, numbers))
    return structures, arrays


def content(path):
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return [file.read_bytes() for file in files]


@pytest.mark.parametrize("form", FORMS)
def test_arrays_and_structures_give_the_same_bytes(form, tmp_path):
    structures, arrays = pairs()
    slow = content(write_structures([*structures, None], tmp_path / "s" / form, comment='model "m"\nseed 0'))
    fast = content(write_structures(iter([*arrays, None]), tmp_path / "a" / form, comment='model "m"\nseed 0'))
    assert fast == slow


def test_a_table_has_the_bytes_of_csv_writer(tmp_path):
    _, arrays = pairs(5)
    comment = 'model "m", seed 0\nand more'
    path = write_structures([*arrays, None], tmp_path / "a.csv", comment=comment)
    expected = io.StringIO(newline="")
    texts = [cif_string(crystal, comment) for crystal in arrays]
    csv.writer(expected).writerows([("material_id", "cif"), *((f"{i:06d}", t) for i, t in enumerate([*texts, ""]))])
    assert path.read_bytes() == expected.getvalue().encode()


def test_cell_parameters_are_pymatgens():
    for structure, crystal in zip(*pairs(), strict=True):
        text = cif_string(crystal)
        written = [float(line.split()[1]) for line in text.splitlines() if line.startswith("_cell_")]
        np.testing.assert_allclose(written[:6], structure.lattice.parameters, atol=1e-9)
        assert written[6] == pytest.approx(structure.volume, abs=1e-7)
        (parsed,) = CifParser.from_str(text).parse_structures(primitive=False)
        assert parsed.matches(structure)


def test_json_is_pymatgens_dict():
    from graphgan.data.writing import _record

    for structure, crystal in zip(*pairs(), strict=True):
        assert json.dumps(_record(crystal)) == json.dumps(structure.as_dict(verbosity=0), default=float)


def test_numbering_goes_on_from_the_first(tmp_path):
    _, arrays = pairs(3)
    names = ["999998", "999999", "1000000"]
    folder, archive, table, frames = (
        write_structures(arrays, tmp_path / form, first=999_998) for form in ("out", "out.zip", "out.csv", "out.xyz")
    )
    assert {path.stem for path in folder.iterdir()} == set(names)
    assert zipfile.ZipFile(archive).namelist() == [f"{name}.cif" for name in names]
    assert [row[0] for row in csv.reader(table.open())] == ["material_id", *names]
    assert re.findall(r"material_id=(\d+)", frames.read_text()) == names


@pytest.mark.parametrize("form", FORMS)
def test_a_source_that_fails_leaves_no_half_file(form, tmp_path):
    def broken():
        yield pairs(1)[1][0]
        raise RuntimeError("source")

    with pytest.raises(RuntimeError, match="source"):
        write_structures(broken(), tmp_path / form)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("form", FORMS)
def test_a_source_that_fails_leaves_what_it_was_to_overwrite(form, tmp_path):
    def broken():
        yield pairs(1)[1][0]
        raise RuntimeError("source")

    path = write_structures(pairs(3)[1], tmp_path / form)
    before, names = content(path), sorted(tmp_path.rglob("*"))
    with pytest.raises(RuntimeError, match="source"):
        write_structures(broken(), path, overwrite=True)
    assert content(path) == before and sorted(tmp_path.rglob("*")) == names


def test_a_folder_is_as_open_as_others(tmp_path):
    (tmp_path / "plain").mkdir()
    folder = write_structures(pairs(1)[1], tmp_path / "a")
    assert folder.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_nothing_is_taken_where_the_name_is_taken(tmp_path):
    def untouched():
        pytest.fail("asked for a crystal")
        yield

    (tmp_path / "a.csv").write_text("kept")
    with pytest.raises(DataError, match="exists and is not empty"):
        write_structures(untouched(), tmp_path / "a.csv")


def test_crystals_are_written_one_at_a_time(tmp_path):
    """When the hundredth is asked for, no more than a few of the others are still alive."""
    alive = 0

    class Lattice3(np.ndarray):
        def __del__(self):
            nonlocal alive
            alive -= 1

    def source():
        nonlocal alive
        for number in range(100):
            alive += 1
            assert number < 5 or alive < 5
            yield Crystal((4 * np.eye(3)).view(Lattice3), np.zeros((1, 3)), np.array([26], np.uint8))

    for form in FORMS:
        write_structures(source(), tmp_path / form)


def test_a_shared_site_has_no_xyz(tmp_path):
    alloy = Structure(Lattice.cubic(3), [{"Fe": 0.5, "Ni": 0.5}], [[0, 0, 0]])
    assert cif_string(alloy).count("  0.5\n") == 2
    with pytest.raises(DataError, match="crystal 000000: a site is shared by several elements"):
        write_structures([alloy], tmp_path / "a.extxyz")
    assert not list(tmp_path.iterdir())
