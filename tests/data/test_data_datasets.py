"""The cards, and the set that comes with the package."""

import hashlib

import numpy as np
import pytest
from pymatgen.core import Structure

from graphgan.data import DataError, list_datasets, load_dataset, read
from graphgan.data.cards import find_card, read_card
from graphgan.data.packed import load


@pytest.fixture(scope="module")
def default():
    return read("default")


def test_cards_are_complete():
    cards = list_datasets()
    names = [card.name for card in cards]
    assert names[0] == "default"
    assert {"mp-20", "perov-5", "carbon-24", "mpts-52", "materials-project", "optimade"} <= set(names)
    assert [card.name for card in cards if card.kind == "molecules"] == ["qm9", "moses", "zinc-250k"]
    for card in cards:
        assert card.kind in ("crystals", "molecules")
        assert all(
            [
                card.title,
                card.get,
                card.format,
                card.columns,
                card.split,
                card.licence,
                card.citation,
                card.source,
            ]
        )
        assert "\n" not in card.title + card.get
        if card.file is not None:
            assert hashlib.sha256(card.file.read_bytes()).hexdigest() == card.sha256
            assert card.file.stat().st_size < 2e6
        parts = [count for part, count in card.rows.items() if part != "all"]
        assert not parts or sum(parts) == card.rows["all"]


def test_molecules_are_not_crystals():
    with pytest.raises(DataError, match="qm9: holds molecules, not crystals"):
        read("qm9")


def test_a_card_without_a_key_says_so(tmp_path):
    (tmp_path / "a.toml").write_text('name = "a"\n')
    with pytest.raises(DataError, match="lacks 'title'"):
        read_card(tmp_path / "a.toml")


def test_names_are_forgiving():
    assert find_card("MP_20") is find_card("mp-20")
    assert find_card("nothing") is None


def test_the_embedded_set(default):
    card = find_card("default")
    assert len(default.structures) == card.rows["all"] == 14271
    assert all(type(structure) is Structure for structure in default.structures)
    assert set(default.properties) == {"e_form", "spacegroup"}
    assert len(set(default.ids)) == 14271
    assert not default.skipped
    silicon = default.structures[default.ids.index("mp-149")]
    assert silicon.get_space_group_info()[1] == 227
    assert len(silicon) == 2
    assert 5.4 < silicon.to_conventional().lattice.a < 5.5


def test_the_embedded_cells_are_reduced(default):
    for structure in default.structures[::50]:
        a, b, c = structure.lattice.abc
        assert a <= b + 1e-3 <= c + 2e-3
        assert np.linalg.det(structure.lattice.matrix) > 0
        angles = structure.lattice.angles
        assert all(59.9 < angle < 120.1 for angle in angles)


def test_labels_are_sane(default):
    labels = default.properties["e_form"]
    assert np.isfinite(labels).sum() > 9000
    assert np.nanmin(labels) > -5
    assert np.nanmax(labels) < 10


def test_parts_share_no_formula():
    card = find_card("default")
    formulas = {"train": set(), "val": set(), "test": set()}
    for part, found in formulas.items():
        packed = load(card.file).of_split(part)
        assert len(packed) == card.rows[part]
        for crystal in packed.crystals():
            counts = np.bincount(crystal.numbers)
            found.add(tuple(counts // np.gcd.reduce(counts)))
    assert not formulas["train"] & formulas["val"]
    assert not formulas["train"] & formulas["test"]
    assert not formulas["val"] & formulas["test"]
    assert len(load_dataset("default", "test")) == card.rows["test"]


def test_small_crystals_alone(default):
    result = read("default", max_atoms=4, split="val")
    assert max(map(len, result.structures)) <= 4
    assert result.skipped[0].reason.endswith("more than 4")
    assert len(result.structures) + len(result.skipped) == 1559


def test_sets_that_are_not_here(tmp_path, monkeypatch, cscl, cscl_cif):
    with pytest.raises(DataError, match="mp-20: not on this machine; fetch") as error:
        load_dataset("mp-20")
    assert "\n" not in str(error.value)
    with pytest.raises(DataError, match="no such file, folder or data set"):
        load_dataset("mp-21")
    (tmp_path / "mp_20").mkdir()
    (tmp_path / "mp_20" / "val.csv").write_text(f'cif\n"{cscl_cif}"\n')
    monkeypatch.setenv("GRAPHGAN_DATA", str(tmp_path))
    assert load_dataset("mp-20", "val") == [cscl]


def test_import_is_light():
    import subprocess
    import sys

    code = "import sys, graphgan.data; assert not {'numpy', 'pymatgen', 'rich', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
