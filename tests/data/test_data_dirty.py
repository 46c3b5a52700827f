"""Damaged input: every bad entry is skipped with a reason in one line, and the rest is read."""

import csv
import gzip
import json
import os
import zipfile

import numpy as np
import pytest

from graphgan.data import DataError, read


def broken_cifs(good):
    """Twenty-three ways to break a CIF: name -> (bytes, a word that the reason must hold)."""
    atom = "Cl1 Cl 0.5 0.5 0.5 1"
    texts = {
        "01_empty": ("", "empty"),
        "02_blank": (" \n\n", "empty"),
        "03_prose": ("This is not a crystal.\n", "no CIF data"),
        "04_cut_in_row": (good[: good.rindex("0.5 1")], "cut off"),
        "05_no_atoms": (good[: good.index("loop_\n_atom")], "_atom_site_fract_x is missing"),
        "06_no_cell": (good.replace("_cell_length_b 4.123\n", ""), "_cell_length_b is missing"),
        "07_nan_cell": (good.replace("_cell_length_a 4.123", "_cell_length_a nan"), "not finite"),
        "08_zero_cell": (good.replace("_cell_length_a 4.123", "_cell_length_a 0"), "not all positive"),
        "09_bad_angles": (good.replace("gamma 90", "gamma 181"), "make no cell"),
        "10_partial": (good.replace(atom, "Cl1 Cl 0.5 0.5 0.5 0.7"), "occupancy 0.7"),
        "11_over_full": (good.replace(atom, "Cl1 Cl 0.5 0.5 0.5 2"), "occupancy 2"),
        "12_mixed": (good + "Br1 Br 0.5 0.5 0.5 1\n", "0.000 Å apart"),
        "13_double": (good + "Cl2 Cl 0.51 0.5 0.5 1\n", "0.041 Å apart"),
        "14_dummy": (good.replace("Cl1 Cl", "X1 X"), "unknown species 'X'"),
        "15_water": (good.replace("Cl1 Cl", "Wat1 Wat"), "unknown species 'Wat'"),
        "16_no_position": (good.replace(atom, "Cl1 Cl ? ? ? 1"), "coordinate of Cl1 is '?'"),
        "17_dot_position": (good.replace(atom, "Cl1 Cl . . . 1"), "coordinate of Cl1 is '.'"),
        "18_nan_position": (good.replace(atom, "Cl1 Cl nan 0.5 0.5 1"), "not finite"),
        "19_missing_hydrogen": (
            good.replace("data_CsCl", "data_CsCl\n_chemical_formula_sum 'Cs Cl H2'"),
            "H has no",
        ),
        "20_cut_at_row": (
            good.replace("data_CsCl", "data_CsCl\n_chemical_formula_sum 'Cs Cl2'"),
            "does not match",
        ),
        "21_bad_symmetry": (good.replace("'x, y, z'", "'x, y, banana'"), "not understood"),
        "22_flat": (good.replace("_cell_length_c 4.123", "_cell_length_c 0.15"), "flat"),
    }
    return {
        **{name: (text.encode(), word) for name, (text, word) in texts.items()},
        "23_binary": (bytes(range(256)) * 20, "binary"),
    }


def test_a_folder_of_good_and_broken_files(tmp_path, cscl, cscl_cif):
    broken = broken_cifs(cscl_cif)
    for number in range(5):
        (tmp_path / f"good_{number}.cif").write_text(cscl_cif)
    for name, (content, _) in broken.items():
        (tmp_path / f"{name}.cif").write_bytes(content)
    result = read(tmp_path)
    assert result.ids == [f"good_{number}" for number in range(5)]
    assert result.structures == [cscl] * 5
    assert [skipped.entry for skipped in result.skipped] == [f"{name}.cif" for name in sorted(broken)]
    for skipped in result.skipped:
        expected = broken[skipped.entry.removesuffix(".cif")][1]
        assert expected in skipped.reason, skipped
        assert "\n" not in skipped.reason
        assert "Traceback" not in skipped.reason


def test_the_list_of_skipped_entries(tmp_path, cscl_cif):
    (tmp_path / "a.cif").write_text(cscl_cif)
    (tmp_path / "b.cif").write_text("")
    read(tmp_path).write_skipped(tmp_path / "skipped.csv")
    with open(tmp_path / "skipped.csv", newline="") as file:
        assert list(csv.reader(file)) == [["entry", "reason"], ["b.cif", "empty"]]


def test_without_check_nothing_is_merged(tmp_path, cscl_cif):
    """Two atoms 0.04 Å apart, and two on one spot, are what a generator made: they stay as they are."""
    (tmp_path / "near.cif").write_text(cscl_cif + "Cl2 Cl 0.51 0.5 0.5 1\n")
    (tmp_path / "same.cif").write_text(cscl_cif + "Cl2 Cl 0.5 0.5 0.5 1\n")
    (tmp_path / "cut.cif").write_text(cscl_cif[:200])
    (tmp_path / "third.cif").write_text(cscl_cif.replace("0.5 0.5 0.5", "0.3334 0.6665 0.5"))
    result = read(tmp_path, check=False)
    assert result.ids == ["near", "same", "third"]
    assert [len(structure) for structure in result.structures] == [3, 3, 2]
    assert result.structures[0].frac_coords[2].tolist() == [0.51, 0.5, 0.5]
    assert result.structures[2].frac_coords[1].tolist() == [0.3334, 0.6665, 0.5]
    assert len(read(tmp_path).structures) == 1


def test_too_many_atoms(tmp_path, cscl_cif):
    (tmp_path / "a.cif").write_text(cscl_cif)
    (tmp_path / "b.cif").write_text(cscl_cif + "Br1 Br 0.5 0 0 1\n")
    result = read(tmp_path, max_atoms=2)
    assert result.ids == ["a"]
    assert result.skipped[0].reason == "3 atoms, more than 2"


def test_bad_rows_in_the_middle_of_a_table(tmp_path, cscl, cscl_cif):
    """Sixty rows, of which some are damaged: one with an open quote, one cut, one with NUL bytes."""
    rows = [f'm{i},{i},"{cscl_cif}"\n' for i in range(60)]
    rows[10] = "m10,10\n"
    rows[20] = f'm20,20,"{cscl_cif}\n'  # the quote is never closed: it swallows the start of row 21
    rows[30] = f'm30,30,"{cscl_cif[:150]}"\n'
    rows[40] = 'm40,40,""\n'
    rows[45] = f'm45,banana,"{cscl_cif}"\n'
    rows[50] = f'm50,50,"{cscl_cif}",surplus\n'
    rows[55] = 'm55,55,"\0\0\0\x01"\n'
    (tmp_path / "a.csv").write_text("material_id,gap,cif\n" + "".join(rows))
    result = read(tmp_path / "a.csv")
    lost = {"m10", "m20", "m21", "m30", "m40", "m50", "m55"}
    assert result.ids == [f"m{i}" for i in range(60) if f"m{i}" not in lost]
    assert all(structure == cscl for structure in result.structures)
    assert np.isnan(result.properties["gap"][result.ids.index("m45")])
    reasons = {skipped.entry: skipped.reason for skipped in result.skipped}
    assert reasons["a.csv:row 11"] == "row has 2 columns, the header has 3"
    assert reasons["a.csv:row 31 (m30)"].startswith("no ")
    assert all(entry.startswith("a.csv:row ") for entry in reasons)
    assert all("\n" not in reason for reason in reasons.values())


def test_broken_members_of_other_containers(tmp_path, cscl, cscl_cif):
    good = cscl.as_dict()
    half = cscl.copy()
    half.replace(0, {"Cs": 0.5})
    (tmp_path / "a.json").write_text(json.dumps([good, None, half.as_dict(), {"material_id": "x"}, 7, good]))
    result = read(tmp_path / "a.json")
    assert result.ids == ["1", "6"]
    assert [skipped.entry for skipped in result.skipped] == [
        "a.json:entry 2",
        "a.json:entry 3",
        "a.json:entry 4 (x)",
        "a.json:entry 5",
    ]
    frame = '2\nLattice="4 0 0 0 4 0 0 0 4"\nCs 0 0 0\nCl 2 2 2\n'
    molecule = "2\nno lattice here\nH 0 0 0\nH 0 0 1\n"
    (tmp_path / "a.xyz").write_text(frame + molecule + frame.replace("Cl 2 2 2\n", "") + frame + frame[:-9])
    result = read(tmp_path / "a.xyz")
    assert result.ids == ["a:1", "a:4"]
    assert [skipped.reason for skipped in result.skipped] == [
        "no Lattice: a molecule, not a crystal",
        "announces 2 atoms and has 1",
        "announces 2 atoms and has 1",
    ]
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.cif", cscl_cif)
        archive.writestr("b.cif", "")
        archive.writestr("__MACOSX/._a.cif", "junk")
    result = read(tmp_path / "a.zip")
    assert result.ids == ["a"]
    assert [skipped.entry for skipped in result.skipped] == ["b.cif"]


def test_sampled_arrays_with_impossible_crystals(tmp_path):
    arrays = {
        "num_atoms": np.array([1, 1, 1, 2]),
        "frac_coords": np.array([[0, 0, 0], [0, 0, 0], [np.nan, 0, 0], [0, 0, 0], [0, 0, 0.01]]),
        "atom_types": np.array([3, 119, 3, 3, 3]),
        "lengths": np.array([[4, 4, 4], [4, 4, 4], [4, 4, 4], [3, 3, 3]]),
        "angles": np.array([[90, 90, 90], [90, 90, 90], [90, 90, 90], [90, 90, 90]]),
    }
    arrays = {name: values[None] for name, values in arrays.items()}  # the axis that CDVAE puts in front
    np.savez(tmp_path / "a.npz", **arrays)
    assert read(tmp_path / "a.npz").ids == ["1"]
    result = read(tmp_path / "a.npz", check=False)
    assert result.ids == ["1", "4"]
    reasons = [skipped.reason for skipped in result.skipped]
    assert reasons == ["unknown species: atomic number 119", "coordinates are not finite"]
    arrays["angles"] = np.full((1, 4, 3), 130.0)
    np.savez(tmp_path / "b.npz", **arrays)
    result = read(tmp_path / "b.npz", check=False)
    assert result.structures == []
    assert len(result.skipped) == 4
    assert "cell is not finite" in result.skipped[0].reason
    with pytest.raises(DataError, match="cell is not finite"):
        read(tmp_path / "b.npz")


def test_compressed_table_that_ends_early(tmp_path, cscl_cif):
    rng = np.random.default_rng(0)
    rows = [f'm{i},{rng.bytes(40).hex()},"{cscl_cif}"\n' for i in range(300)]
    data = gzip.compress(("material_id,noise,cif\n" + "".join(rows)).encode())
    (tmp_path / "a.csv.gz").write_bytes(data[: len(data) // 2])
    result = read(tmp_path / "a.csv.gz")
    assert 50 < len(result.ids) < 250
    assert result.ids == [f"m{i}" for i in range(len(result.ids))]
    assert "ends early" in result.skipped[-1].reason


USELESS = {
    "missing.cif": (None, "no such file"),
    "empty.cif": (b"", "empty"),
    "prose.cif": (b"hello", "no CIF data"),
    "columns.csv": (b"a,b\n1,2\n", "no column 'cif' .columns: a, b."),
    "rows.csv": (b"material_id,cif\n", "no crystals in it"),
    "bad.csv": (b"material_id,cif\n1,x\n2,y\n", "all 2 entries skipped, the first"),
    "bad.json": (b'{"a": [1, 2', "not valid JSON"),
    "list.json": (b"[]", "empty list"),
    "number.json": (b"3", "holds no structures"),
    "bad.npz": (b"PK\x03\x04 not an archive", "not a readable .npz"),
    "bad.zip": (b"PK\x03\x04 not an archive", "not a readable .zip"),
    "bad.xyz": (b"hello\nworld\n", "should hold the number of atoms"),
    "POSCAR": (b"H2\n1\n1 0 0\n0 1 0\n0 0 1\n2\nDirect\n0 0 0\n.5 .5 .5\n", "names no elements"),
    "text.docx": (b"hello", "no known format"),
}


@pytest.mark.parametrize("name", USELESS)
def test_nothing_usable_is_one_line_with_file_and_cause(name, tmp_path):
    content, cause = USELESS[name]
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=cause) as error:
        read(tmp_path / name)
    assert str(tmp_path / name) in str(error.value)
    assert "\n" not in str(error.value)
    assert isinstance(error.value, ValueError)


def test_bad_database(tmp_path):
    pytest.importorskip("ase.db")
    (tmp_path / "a.db").write_bytes(b"no database")
    with pytest.raises(DataError, match="not a readable ASE database"):
        read(tmp_path / "a.db")


def test_empty_folder_and_pickles(tmp_path):
    with pytest.raises(DataError, match="no structures in it"):
        read(tmp_path)
    np.savez(tmp_path / "a.npz", z=np.array([{"a": 1}], dtype=object))
    with pytest.raises(DataError, match=r"not a readable \.npz"):
        read(tmp_path / "a.npz")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_permission_denied(tmp_path, cscl_cif):
    (tmp_path / "a.cif").write_text(cscl_cif)
    (tmp_path / "b.cif").write_text(cscl_cif)
    (tmp_path / "b.cif").chmod(0)
    assert read(tmp_path).skipped[0].reason == "Permission denied"
    with pytest.raises(DataError, match="Permission denied"):
        read(tmp_path / "b.cif")


def test_no_warnings(tmp_path, cscl_cif, recwarn):
    (tmp_path / "a.cif").write_text(cscl_cif.replace("0.5 0.5 0.5", "0.3333 0.6667 0.5"))
    read(tmp_path)
    assert not recwarn.list
