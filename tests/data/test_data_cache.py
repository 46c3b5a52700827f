"""Parsed sets are kept, found again, distrusted when damaged, and cleared."""

import pytest

from graphgan.data import cache_folder, clear_cache, read
from graphgan.data import reading as reading_module


@pytest.fixture
def table(tmp_path, cscl_cif):
    """A table large enough to be kept: 201 rows, the last of them damaged."""
    rows = [f'm{i},{i},"{cscl_cif}"\n' for i in range(200)]
    path = tmp_path / "a.csv"
    path.write_text("material_id,gap,cif\n" + "".join(rows) + "bad,1,x\n")
    return path


@pytest.fixture
def parsings(monkeypatch):
    """Counts how often anything is parsed."""
    calls = []
    real = reading_module.in_order
    monkeypatch.setattr(reading_module, "in_order", lambda *a, **options: calls.append(1) or real(*a, **options))
    return calls


def kept():
    return sorted(cache_folder().rglob("*.npz"))


def test_second_reading_parses_nothing(table, parsings):
    first, second = read(table), read(table)
    assert len(parsings) == 1
    assert second.structures == first.structures
    assert second.ids == first.ids
    assert second.skipped == first.skipped
    assert second.properties["gap"].tolist() == first.properties["gap"].tolist()


def test_content_and_options_make_the_key(table, parsings):
    read(table)
    read(table, check=False)
    read(table, max_atoms=1000)
    table.write_text(table.read_text().replace("4.123", "4.124"))
    assert read(table).structures[0].lattice.a == 4.124
    assert len(parsings) == 4
    assert len(kept()) == 4


def test_damaged_files_are_ignored_and_replaced(table, parsings):
    first = read(table)
    (path,) = kept()
    whole = path.read_bytes()
    for damage in (b"", b"junk", whole[: len(whole) // 2], whole[:2000] + bytes(500) + whole[2500:]):
        path.write_bytes(damage)
        assert read(table).structures == first.structures
        assert path.read_bytes() == whole or read(table).ids == first.ids
    assert len(parsings) == 5


def test_small_inputs_and_refusals_leave_nothing(table, tmp_path, cscl_cif):
    (tmp_path / "one.cif").write_text(cscl_cif)
    read(tmp_path / "one.cif")
    read(table, cache=False)
    assert not kept()


def test_clearing(table):
    read(table)
    (cache_folder() / "mine.txt").write_text("precious")
    assert clear_cache() == 1
    assert clear_cache() == 0
    assert (cache_folder() / "mine.txt").exists()


def test_a_cache_that_cannot_be_written_is_no_error(table, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("GRAPHGAN_CACHE", str(tmp_path / "file"))
    assert len(read(table).structures) == 200
