"""Round trips through every writer, failures that keep their place, and refusals."""

import json

import pytest

from graphgan.data import DataError, cif_string, read, write_structures

FORMS = ["out", "out.zip", "out.csv", "out.json", "out.extxyz"]


@pytest.mark.parametrize("form", FORMS)
def test_round_trip(form, tmp_path, cscl, triclinic):
    path = write_structures([triclinic, None, cscl], tmp_path / form, comment="model demo\nseed 0")
    result = read(path, check=False)
    assert len(result.structures) == 2
    for found, written in zip(result.structures, (triclinic, cscl), strict=True):
        assert [site.species_string for site in found] == [site.species_string for site in written]
        assert found.frac_coords == pytest.approx(written.frac_coords, abs=1e-9)
        assert found.lattice.parameters == pytest.approx(written.lattice.parameters, abs=1e-8)
    assert len(result.skipped) == 1
    assert "no " in result.skipped[0].reason


@pytest.mark.parametrize("form", FORMS)
def test_failures_alone_are_nothing_usable(form, tmp_path):
    with pytest.raises(DataError, match="no usable crystal"):
        read(write_structures([None, None], tmp_path / form))


def test_no_crystals_are_a_file_all_the_same(tmp_path):
    assert json.loads(write_structures([], tmp_path / "a.json").read_text()) == []
    assert write_structures([], tmp_path / "a.csv").read_text().split() == ["material_id,cif"]
    assert list(write_structures([], tmp_path / "a").iterdir()) == []


@pytest.mark.parametrize("form", FORMS)
def test_same_crystals_give_the_same_bytes(form, tmp_path, triclinic):
    def content(path):
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        return [file.read_bytes() for file in files]

    first = content(write_structures([triclinic, None], tmp_path / "1" / form, comment="seed 0"))
    assert content(write_structures([triclinic, None], tmp_path / "2" / form, comment="seed 0")) == first
    assert not list((tmp_path / "1").glob(".*"))


def test_cif_text(triclinic):
    text = cif_string(triclinic, comment="model demo\nseed 0", name="my crystal")
    assert text.startswith("# model demo\n# seed 0\ndata_my_crystal\n")
    assert "_chemical_formula_sum   'Fe1 O2 Li1'" in text


def test_others_read_our_cif_and_xyz(tmp_path, triclinic, cscl):
    from pymatgen.core import Structure

    io = pytest.importorskip("ase.io")
    write_structures([triclinic], tmp_path / "out", comment="seed 0")
    pymatgen = Structure.from_file(tmp_path / "out" / "000000.cif")
    assert pymatgen.matches(triclinic)
    atoms = io.read(tmp_path / "out" / "000000.cif")
    assert atoms.get_scaled_positions() == pytest.approx(triclinic.frac_coords, abs=1e-8)
    assert atoms.get_chemical_symbols() == ["Fe", "O", "O", "Li"]
    write_structures([triclinic, None, cscl], tmp_path / "out.extxyz", comment='seed "0"')
    frames = io.read(tmp_path / "out.extxyz", ":")
    assert [len(frame) for frame in frames] == [4, 0, 2]
    assert frames[0].positions == pytest.approx(triclinic.cart_coords, abs=1e-8)
    assert frames[0].info["comment"] == "seed '0'"


def test_json_is_a_list_of_pymatgen_dicts(tmp_path, triclinic):
    from pymatgen.core import Structure

    records = json.loads(write_structures([triclinic, None], tmp_path / "a.json", comment="seed 0").read_text())
    found = Structure.from_dict(records[0])
    assert found.properties == {"comment": "seed 0"}
    assert records[1] is None


def test_what_exists_is_not_overwritten(tmp_path, cscl):
    for form in FORMS:
        path = write_structures([cscl, cscl], tmp_path / form)
        with pytest.raises(DataError, match="exists and is not empty"):
            write_structures([cscl], path)
        assert len(read(write_structures([cscl], path, overwrite=True)).structures) == 1
    with pytest.raises(DataError, match=r"unknown form '.pdf'"):
        write_structures([cscl], tmp_path / "a.pdf")


def test_overwriting_spares_other_files(tmp_path, cscl):
    (tmp_path / "mine.cif").write_text("precious")
    write_structures([cscl], tmp_path, overwrite=True)
    assert (tmp_path / "mine.cif").read_text() == "precious"


def test_charges_are_left_out(tmp_path, cscl):
    cscl.add_oxidation_state_by_element({"Cs": 1, "Cl": -1})
    for form in FORMS:
        found = read(write_structures([cscl], tmp_path / form)).structures[0]
        assert [site.species_string for site in found] == ["Cs", "Cl"]
