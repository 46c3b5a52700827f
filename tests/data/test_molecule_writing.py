"""Molecules written to each form and read back: failures keep their place and stay failures."""

import itertools

import numpy as np
import pytest

pytest.importorskip("rdkit")

from graphgan.data import DataError, Molecule, read_molecules, write_molecules
from graphgan.data.molecules import molecule_of, parse_smiles, rdkit

VALENCE = "Explicit valence for atom # {} C, 5, is greater than permitted"


@pytest.fixture
def molecules():
    """Ethanol, five bonds of C, benzene, nothing, no atoms, two pieces, and what RDKit knows only after it is asked."""
    rdkit()
    orders = np.zeros((6, 6), np.uint8)
    orders[0, 1:] = orders[1:, 0] = 1
    five = Molecule(np.full(6, 6, np.uint8), np.zeros(6, np.int8), orders)
    empty = Molecule(np.zeros(0, np.uint8), np.zeros(0, np.int8), np.zeros((0, 0), np.uint8))
    known = [molecule_of(parse_smiles(text), fragments=True) for text in ("CCO", "c1ccccc1", "C.O", "C[N+](=O)[O-]")]
    return [known[0], five, known[1], None, empty, known[2], known[3]]


def test_smiles(molecules, tmp_path):
    path = write_molecules(molecules, tmp_path / "new" / "a.smi", comment="model x\nseed 0", first=7)
    assert path.read_text() == (
        "# model x\n# seed 0\nCCO\t000007\nCC(C)(C)(C)C\t000008\nc1ccccc1\t000009\n\t000010\n\t000011\n"
        "C.O\t000012\nC[N+](=O)[O-]\t000013\n"
    )
    assert [file.name for file in path.parent.iterdir()] == ["a.smi"]


def test_tables(molecules, tmp_path):
    path = write_molecules(molecules, tmp_path / "a.csv")
    assert path.read_bytes().decode().split("\r\n") == [
        "id,smiles,valid",
        "000000,CCO,1",
        "000001,CC(C)(C)(C)C,0",
        "000002,c1ccccc1,1",
        "000003,,0",
        "000004,,0",
        "000005,C.O,0",
        "000006,C[N+](=O)[O-],1",
        "",
    ]


def test_sdf(molecules, tmp_path):
    text = write_molecules(molecules, tmp_path / "a.sdf", comment="model x\nseed 0").read_text()
    blocks = text.split("$$$$\n")
    assert len(blocks) == 8 and blocks[-1] == ""
    assert blocks[0].startswith("000000\n") and "2D" in blocks[0].splitlines()[1]
    assert blocks[0].endswith(">  <smiles>\nCCO\n\n>  <valid>\n1\n\n>  <comment>\nmodel x seed 0\n\n")
    assert ">  <valid>\n0\n" in blocks[1]
    xyz = [list(map(float, line.split()[:3])) for line in blocks[2].splitlines()[4:10]]
    assert all(row[2] == 0 for row in xyz) and np.ptp(np.array(xyz), axis=0)[:2].min() > 1


@pytest.mark.parametrize("suffix", [".smi", ".csv", ".sdf"])
def test_what_is_written_is_read_back(molecules, tmp_path, suffix):
    path = write_molecules(molecules, tmp_path / f"a{suffix}")
    result = read_molecules(path, check=False)
    assert result.smiles == ["CCO", "c1ccccc1", "C.O", "C[N+](=O)[O-]"]
    assert result.ids == ["000000", "000002", "000005", "000006"]
    empty = "no atoms" if suffix == ".sdf" else "empty: no SMILES"
    assert [skipped.reason for skipped in result.skipped] == [
        VALENCE.format(1 if suffix != ".sdf" else 0),
        empty,
        empty,
    ]


def random_graphs(count):
    rng = np.random.default_rng(0)
    for _ in range(count):
        size = int(rng.integers(1, 10))
        upper = np.triu(rng.choice([0, 0, 0, 1, 2, 3], (size, size)), 1)
        charges = rng.choice([0, 0, 1, -1], size)
        yield Molecule(
            rng.choice([6, 7, 8, 9, 16], size).astype(np.uint8),
            charges.astype(np.int8),
            (upper + upper.T).astype(np.uint8),
        )


@pytest.mark.parametrize("suffix", [".smi", ".csv", ".sdf"])
def test_any_graph_keeps_its_place_and_its_verdict(tmp_path, suffix):
    from graphgan.data.molecules import canonical, to_mol

    graphs = list(random_graphs(300))
    mols = {f"{number:06d}": to_mol(graph) for number, graph in enumerate(graphs)}
    result = read_molecules(write_molecules(graphs, tmp_path / f"a{suffix}"), check=False, workers=1)
    assert dict(zip(result.ids, result.smiles, strict=True)) == {
        name: canonical(mol) for name, mol in mols.items() if mol is not None
    }
    assert len(result.molecules) + len(result.skipped) == 300


def test_pictures(molecules, tmp_path):
    svg = write_molecules(molecules, tmp_path / "a.svg").read_text()
    assert svg.startswith("<?xml") and "width='540px'" in svg
    png = write_molecules(molecules, tmp_path / "a.png").read_bytes()
    assert png.startswith(b"\x89PNG")
    assert int.from_bytes(png[16:20], "big") == 540
    write_molecules(random_graphs(30), tmp_path / "b.svg")
    write_molecules([], tmp_path / "none.svg")


def test_pictures_ask_for_a_hundred(molecules, tmp_path):
    endless = itertools.count()
    write_molecules((molecules[0] for _ in endless), tmp_path / "a.svg", total=10**9)
    assert next(endless) == 100
    assert "width='1800px'" in (tmp_path / "a.svg").read_text()


def test_nothing_is_overwritten_or_asked_for_unless_wished(molecules, tmp_path):
    def never():
        raise AssertionError("asked")
        yield

    path = tmp_path / "a.smi"
    path.write_text("precious")
    with pytest.raises(DataError, match=r"a\.smi: exists and is not empty$"):
        write_molecules(never(), path)
    assert path.read_text() == "precious"
    write_molecules(molecules[:1], path, overwrite=True)
    assert path.read_text() == "CCO\t000000\n"
    with pytest.raises(
        DataError, match=r"b\.xyz: unknown form '\.xyz'; molecules are written to \.smi, \.csv, \.sdf, \.svg, \.png$"
    ):
        write_molecules(never(), tmp_path / "b.xyz")
    with pytest.raises(DataError, match="unknown form ''"):
        write_molecules(never(), tmp_path / "folder")


def test_a_file_appears_whole_or_not_at_all(molecules, tmp_path):
    def broken():
        yield molecules[0]
        raise KeyboardInterrupt

    path = tmp_path / "a.smi"
    path.write_text("before")
    with pytest.raises(KeyboardInterrupt):
        write_molecules(broken(), path, overwrite=True)
    assert path.read_text() == "before"
    assert [file.name for file in tmp_path.iterdir()] == ["a.smi"]
