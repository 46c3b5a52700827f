"""Fingerprints are computed once; a damaged or forbidden cache costs time and nothing else."""

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from graphgan.metrics import structure_fingerprint
from graphgan.report import fingerprints
from graphgan.report.fingerprints import kept_fingerprints, structure_key


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GRAPHGAN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def computed(monkeypatch):
    """Counts the crystals whose fingerprints are computed."""
    calls = []
    real = fingerprints.structure_fingerprints
    monkeypatch.setattr(fingerprints, "structure_fingerprints", lambda batch: calls.extend(batch) or real(batch))
    return calls


def salts():
    cells = [Structure(Lattice.cubic(4 + i / 5), ["Cs", "Cl"], [[0] * 3, [0.5] * 3]) for i in range(3)]
    return [*cells, None, cells[0].copy()]


def same(ours, theirs):
    return all((a is None and b is None) or np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_once_each(cache, computed):
    first = list(kept_fingerprints(salts()))
    assert same(first, [structure_fingerprint(s) for s in salts()])
    assert len(computed) == 4  # the last is the first, None is a failure
    assert same(kept_fingerprints(salts()[::-1]), first[::-1])
    assert len(computed) == 4
    assert same(kept_fingerprints(salts(), cache=False), first)
    assert len(computed) == 8


def test_a_cut_file_loses_its_last(cache, computed):
    first = list(kept_fingerprints(salts()))
    (path,) = cache.glob("fingerprints-*.bin")
    path.write_bytes(path.read_bytes()[:-100])
    assert same(kept_fingerprints(salts()), first)
    assert len(computed) == 5
    assert same(kept_fingerprints(salts()), first)
    assert len(computed) == 5


def test_no_cache_is_no_error(tmp_path, monkeypatch, computed):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GRAPHGAN_CACHE", str(tmp_path / "file" / "below"))
    assert same(kept_fingerprints(salts()), [structure_fingerprint(s) for s in salts()])


def test_the_file_does_not_grow_for_ever(cache, monkeypatch):
    monkeypatch.setattr(fingerprints, "MAX_KEPT", 2)
    list(kept_fingerprints(salts()))
    other = [Structure(Lattice.cubic(3), ["Po"], [[0] * 3])]
    list(kept_fingerprints(other))
    (path,) = cache.glob("fingerprints-*.bin")
    assert path.stat().st_size == 16 + 61 * 8


def test_keys_tell_crystals_apart():
    keys = {structure_key(s) for s in salts()}
    assert len(keys) == 4
    assert structure_key(Structure(Lattice.cubic(4), ["Cs", "Br"], [[0] * 3, [0.5] * 3])) not in keys
