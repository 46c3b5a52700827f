"""The same two atoms through every form of input, and the shapes that CIF, POSCAR, XYZ and JSON come in."""

import gzip
import io
import json
import zipfile

import numpy as np
import pytest

from graphgan.data import DataError, read, read_structures

POSCAR = """CsCl
4.123
1 0 0
0 1 0
0 0 1
Cs Cl
1 1
Direct
0 0 0
0.5 0.5 0.5
"""
XYZ = """2
Lattice="4.123 0 0 0 4.123 0 0 0 4.123" Properties=species:S:1:pos:R:3 pbc="T T T" energy=-1.5 name=salt
Cs 0 0 0
Cl 2.0615 2.0615 2.0615
"""


def cscl_bytes(form, cscl, cif):
    """CsCl as (file name, bytes) in one form."""
    if form == "csv":
        return "a.csv", f'material_id,cif,gap\nx1,"{cif}",2.5\n'.encode()
    if form == "zip":
        memory = io.BytesIO()
        with zipfile.ZipFile(memory, "w") as archive:
            archive.writestr("inside/a.cif", cif)
            archive.writestr("README.txt", "no structure")
        return "a.zip", memory.getvalue()
    if form == "npz":
        memory = io.BytesIO()
        np.savez(
            memory,
            frac_coords=cscl.frac_coords,
            num_atoms=np.array([2]),
            atom_types=np.array([55, 17]),
            lengths=np.array([[4.123] * 3]),
            angles=np.array([[90.0] * 3]),
        )
        return "a.npz", memory.getvalue()
    record = cscl.as_dict()
    jarvis = {
        "lattice_mat": cscl.lattice.matrix.tolist(),
        "coords": cscl.cart_coords.tolist(),
        "elements": ["Cs", "Cl"],
        "cartesian": True,
    }
    texts = {
        "cif": ("a.cif", cif),
        "gzip": ("a.cif.gz", gzip.compress(cif.encode())),
        "poscar": ("POSCAR", POSCAR),
        "vasp": ("a.vasp", POSCAR),
        "extxyz": ("a.extxyz", XYZ),
        "json one": ("a.json", json.dumps(record)),
        "json list": ("a.json", json.dumps([record])),
        "json mapping": ("a.json", json.dumps({"x1": record})),
        "json records": ("a.json", json.dumps([{"material_id": "x1", "structure": record, "gap": 2.5}])),
        "json cif": ("a.json", json.dumps([{"material_id": "x1", "cif": cif}])),
        "json split": ("a.json", json.dumps({"columns": ["structure"], "index": [0], "data": [[record]]})),
        "json columns": ("a.json", json.dumps({"structure": {"0": record}, "gap": {"0": 2.5}})),
        "json lines": ("a.jsonl", json.dumps(record) + "\n" + json.dumps(record)),
        "jarvis": ("a.json", json.dumps([{"jid": "JVASP-1", "atoms": jarvis}])),
    }
    name, content = texts[form]
    return name, content if isinstance(content, bytes) else content.encode()


FILES = ["cif", "gzip", "poscar", "vasp", "extxyz", "csv", "zip", "npz"]
JSON = ["one", "list", "mapping", "records", "cif", "split", "columns", "lines"]
FORMS = [*FILES, *(f"json {shape}" for shape in JSON), "jarvis"]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_crystal(form, tmp_path, cscl, cscl_cif):
    name, content = cscl_bytes(form, cscl, cscl_cif)
    (tmp_path / name).write_bytes(content)
    result = read(tmp_path / name)
    assert len(result.structures) == (2 if form == "json lines" else 1)
    assert not result.skipped
    for structure in result.structures:
        assert structure == cscl
        assert structure.frac_coords == pytest.approx(cscl.frac_coords, abs=1e-9)


def test_ids_and_properties_follow_the_rows(tmp_path, cscl_cif):
    rows = [f'm{i},"{cscl_cif}",{i / 2},{"" if i == 1 else i},CsCl,True' for i in range(3)]
    (tmp_path / "a.csv").write_text("material_id,cif,half,gap,formula,theoretical\n" + "\n".join(rows) + "\n")
    result = read(tmp_path / "a.csv")
    assert result.ids == ["m0", "m1", "m2"]
    assert result.properties["half"].tolist() == [0, 0.5, 1]
    assert np.isnan(result.properties["gap"][1])
    assert result.properties["theoretical"].tolist() == [1, 1, 1]
    assert "formula" not in result.properties


def test_database_of_ase(tmp_path, cscl):
    db = pytest.importorskip("ase.db")
    from ase import Atoms

    with db.connect(tmp_path / "a.db") as database:
        atoms = Atoms("CsCl", scaled_positions=cscl.frac_coords, cell=[4.123] * 3, pbc=True)
        database.write(atoms, gap=2.5)
        database.write(Atoms("H2", positions=[[0, 0, 0], [0, 0, 0.7]]))
    result = read(tmp_path / "a.db")
    assert result.structures == [cscl]
    assert result.properties["gap"].tolist() == [2.5]
    assert [skipped.reason for skipped in result.skipped] == ["not periodic in three directions"]


def test_folder_is_searched_in_depth_and_in_order(tmp_path, cscl, cscl_cif):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "x.cif").write_text(cscl_cif)
    (tmp_path / "a.vasp").write_text(POSCAR)
    (tmp_path / "c.cif").write_text(cscl_cif)
    for name in ("notes.txt", "table.csv", "picture.png", ".hidden.cif"):
        (tmp_path / name).write_text("nothing")
    result = read(tmp_path)
    assert result.ids == ["a", "b/x", "c"]
    assert result.structures == [cscl] * 3
    assert not result.skipped


def test_parts_of_a_folder(tmp_path, cscl, cscl_cif):
    for part, count in (("train", 3), ("val", 1)):
        (tmp_path / f"{part}.csv").write_text("cif\n" + f'"{cscl_cif}"\n' * count)
    assert len(read_structures(tmp_path, split="train")) == 3
    assert read_structures(tmp_path, split="val") == [cscl]
    with pytest.raises(DataError, match="no 'test' part"):
        read(tmp_path, split="test")
    with pytest.raises(DataError, match="unknown split"):
        read(tmp_path, split="valid")


def test_cif_symmetry_is_expanded_exactly(tmp_path):
    """Rock salt from two sites, graphite from a symbol; rounded coordinates land on special positions."""
    from pymatgen.core import Lattice, Structure
    from pymatgen.io.cif import CifWriter

    salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    (tmp_path / "a.cif").write_text(str(CifWriter(salt, symprec=0.01)))
    found = read_structures(tmp_path / "a.cif")[0]
    assert len(found) == 8
    assert found.matches(salt)
    graphite = """data_C
_cell_length_a 2.46
_cell_length_b 2.46
_cell_length_c 6.71
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 120
_space_group_name_H-M_alt 'P 63/m m c'
loop_
_atom_site_label
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
C1 0.000 0.000 0.25
C2 0.333 0.667 0.25(1)
"""
    (tmp_path / "b.cif").write_text(graphite)
    carbon = read_structures(tmp_path / "b.cif")[0]
    assert len(carbon) == 4
    corner = sorted(np.round(carbon.frac_coords % 1, 9).tolist())
    assert corner[2] == pytest.approx([1 / 3, 2 / 3, 0.25], abs=1e-9)


def test_cif_of_several_blocks(tmp_path, cscl_cif):
    second = cscl_cif.replace("data_CsCl", "data_half").replace("0.5 0.5 0.5 1", "0.5 0.5 0.5 0.5")
    (tmp_path / "a.cif").write_text("data_global\n_journal_name 'Acta'\n" + cscl_cif + second + cscl_cif)
    result = read(tmp_path / "a.cif")
    assert result.ids == ["a:CsCl", "a:CsCl"]
    assert [skipped.entry for skipped in result.skipped] == ["a.cif:half"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("data_CsCl", "# a comment\ndata_CsCl\n_chemical_name_common unquoted words here"),
        ("Cs1 Cs 0 0 0 1", "Cs1 Cs1+ 0.0(1) -0.000 0. 1.0"),
        ("Cl1 Cl 0.5 0.5 0.5 1", "Cl1 Cl- 1/2 .5 5e-1 ."),
        ("_cell_length_a 4.123", "_cell.length_a 4.123(2)"),
        ("'x, y, z'", '"+X,+Y,+Z"'),
        ("data_CsCl", "data_CsCl\n_note\n;\nloop_\n_atom_site_label\nnot these\n;\n_title 'a dog's life'"),
        ("\n", "\r\n"),
    ],
)
def test_ways_to_write_the_same_cif(old, new, tmp_path, cscl, cscl_cif):
    (tmp_path / "a.cif").write_bytes(cscl_cif.replace(old, new).encode())
    assert read_structures(tmp_path / "a.cif") == [cscl]


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8-sig", "utf-16"])
def test_encodings(encoding, tmp_path, cscl, cscl_cif):
    (tmp_path / "a.cif").write_bytes(("# Ångström\n" + cscl_cif).encode(encoding))
    assert read_structures(tmp_path / "a.cif") == [cscl]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("4.123\n1", "-70.086\n1"),  # minus the volume
        ("Cs Cl", "Cs_sv/1a2b3c4d Cl/5e6f"),
        ("Direct", "Selective dynamics\nDirect"),
        ("Direct\n0 0 0\n0.5 0.5 0.5", "Cartesian\n0 0 0\n.5 .5 .5"),
        ("Cs Cl\n1 1\nDirect\n0 0 0\n0.5 0.5 0.5", "1 1\nDirect\n0 0 0 Cs\n0.5 0.5 0.5 Cl"),
    ],
)
def test_ways_to_write_the_same_poscar(old, new, tmp_path, cscl):
    (tmp_path / "CONTCAR").write_text(POSCAR.replace(old, new))
    found = read_structures(tmp_path / "CONTCAR")[0]
    assert found.lattice.matrix == pytest.approx(cscl.lattice.matrix, abs=1e-4)
    assert found.frac_coords == pytest.approx(cscl.frac_coords, abs=1e-9)
    assert found.composition == cscl.composition


def test_deuterium_is_hydrogen(tmp_path, cscl_cif):
    (tmp_path / "a.cif").write_text(cscl_cif.replace("Cl1 Cl", "D1 D"))
    assert read_structures(tmp_path / "a.cif")[0].composition.reduced_formula == "CsH"


def test_structures_are_real_ones(tmp_path, triclinic):
    """Made by a short cut, they must be what pymatgen's own constructor makes."""
    from pymatgen.analysis.structure_matcher import StructureMatcher
    from pymatgen.core import Structure

    from graphgan.data import write_structures

    write_structures([triclinic], tmp_path / "a.json")
    found = read_structures(tmp_path / "a.json")[0]
    assert type(found) is Structure
    assert found == triclinic
    assert found.as_dict() == triclinic.as_dict()
    assert vars(found[0]).keys() == vars(triclinic[0]).keys()
    assert StructureMatcher().fit(found, triclinic)
    copy = found.copy()
    copy.replace(0, "Mn")
    copy.add_site_property("magmom", [1, 0, 0, 0])
    assert found == triclinic
    assert "magmom" not in found.site_properties
