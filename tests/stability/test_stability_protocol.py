import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from toy_potential import Toy

from graphgan.stability import (
    METASTABLE,
    Row,
    Settings,
    Stability,
    StabilityError,
    load_potential,
    potentials,
    protocol,
    relax,
)
from graphgan.stability.protocol import relevant, stability
from graphgan.stability.store import Store, key_of

pytestmark = pytest.mark.filterwarnings("ignore:No Pauling")


def fcc(symbol, edge=5.3):
    half = edge / 2
    return Structure(Lattice([[0, half, half], [half, 0, half], [half, half, 0]]), [symbol], [[0, 0, 0]])


def cesium_chloride(first="Ar", second="Kr", edge=3.95):
    return Structure(Lattice.cubic(edge), [first, second], [[0, 0, 0], [0.5, 0.5, 0.5]])


def rock_salt(first="Ar", second="Kr", edge=5.6):
    half = edge / 2
    lattice = Lattice([[0, half, half], [half, 0, half], [half, half, 0]])
    return Structure(lattice, [first, second], [[0, 0, 0], [0.5, 0.5, 0.5]])


@pytest.fixture(autouse=True)
def _few_elements(monkeypatch):
    """One candidate an element: the toy's elements are all close-packed."""
    monkeypatch.setattr(protocol, "candidates", lambda symbol: [fcc(symbol)])


def numbers(result):
    return [(row.energy_per_atom, row.e_above_hull, row.steps, row.reason) for row in result.rows]


def test_energies_above_the_hull_by_hand(tmp_path):
    samples = [rock_salt(), cesium_chloride(), None, cesium_chloride("Ar", "Ne", 3.5), fcc("Kr")]
    train = [rock_salt(edge=5.5), fcc("Ar"), rock_salt("Xe", "Ne")]
    result = stability(samples, train, potential=Toy(), cache=tmp_path, workers=1)
    settings = Settings()

    def energy(structure):
        return relax(structure, Toy(), settings).energy_per_atom

    salt, cesium = energy(samples[0]), energy(samples[1])
    argon, krypton, neon = (relax(fcc(s), Toy(), Settings(0.02, 500)).energy_per_atom for s in ("Ar", "Kr", "Ne"))
    argon, krypton = min(argon, energy(fcc("Ar"))), krypton
    rows = result.rows
    assert [row.energy_per_atom for row in rows] == [salt, cesium, None, energy(samples[3]), energy(samples[4])]
    # Rock salt was in the training set, the toy prefers caesium chloride, and nothing else mixes argon and neon.
    assert rows[0].e_above_hull == pytest.approx(salt - energy(train[0]), abs=2e-6)
    assert rows[1].e_above_hull == pytest.approx(cesium - energy(train[0]), abs=2e-6) and rows[1].e_above_hull < -0.01
    assert rows[3].e_above_hull == pytest.approx(rows[3].formation_energy, abs=2e-6)
    assert rows[3].formation_energy == pytest.approx(energy(samples[3]) - (argon + neon) / 2)
    assert rows[1].formation_energy == pytest.approx(cesium - (argon + krypton) / 2)
    assert rows[2] == Row(reason="no crystal")
    assert result.num_hull == 2  # Xe and Ne never occur in one sample
    assert result.failed == 0.2
    assert result.stable == sum(row.e_above_hull is not None and row.e_above_hull <= 0 for row in rows) / 5
    assert result.notes == (
        "1 of 5 samples are stable for want of rivals: no compound of the training set bears on their hull, only the "
        "elements",
    )
    assert result.structures[2] is None and len(result.structures[1]) == 2
    assert result.potential == "toy 1"


def test_order_and_repetition_change_no_row(tmp_path):
    samples = [rock_salt(), None, cesium_chloride(), rock_salt(), fcc("Ar", 5.0)]
    train, toy = [rock_salt(edge=5.4)], Toy()
    first = stability(samples, train, potential=toy, cache=tmp_path / "a", workers=1)
    again = stability(samples[::-1], train, potential=Toy(), cache=tmp_path / "b", workers=1)
    assert numbers(first) == numbers(again)[::-1]
    assert numbers(first)[0] == numbers(first)[3]
    single = relax(samples[0], Toy())
    other = relax(samples[2], Toy())
    rival = relax(train[0], Toy())
    assert toy.calls["KrAr"] == single.steps + other.steps + rival.steps + 3


def test_only_crystals_within_a_samples_elements_matter():
    train = [fcc("Ar"), rock_salt(), rock_salt("Xe", "Ne"), cesium_chloride("Kr", "Xe"), fcc("Ne")]
    systems = {frozenset({"Ar", "Kr", "Xe"}), frozenset({"Ne"})}
    assert relevant(train, systems) == [train[i] for i in (0, 1, 3, 4)]
    assert relevant(train, set()) == []


def test_the_training_set_is_relaxed_once(tmp_path):
    samples, train = [cesium_chloride()], [rock_salt(), fcc("Ar"), fcc("Kr")]
    first, second = Toy(), Toy()
    one = stability(samples, train, potential=first, cache=tmp_path, workers=1)
    two = stability(samples, train, potential=second, cache=tmp_path, workers=1)
    assert numbers(one) == numbers(two)
    assert second.calls == {"KrAr": one.rows[0].steps + 1}
    other = Toy()
    other.version = "2"
    stability(samples, train, potential=other, cache=tmp_path, workers=1)
    assert other.calls == first.calls
    other = Toy()
    stability(samples, train, potential=other, cache=tmp_path, workers=1, fmax=0.04)
    assert other.calls["KrAr"] > one.rows[0].steps + 1


def test_failures_stay_in_the_denominator(tmp_path):
    def refuse(structure, call):
        raise RuntimeError("out of range")

    unknown = cesium_chloride("Na", "Cl")
    result = stability(
        [cesium_chloride(), unknown, fcc("Xe"), None],
        [rock_salt(), fcc("Xe")],
        potential=Toy({"Xe": refuse}),
        cache=tmp_path,
        workers=1,
    )
    assert [row.reason for row in result.rows] == ["", "toy does not know Cl, Na", "toy: out of range", "no crystal"]
    assert (result.stable, result.metastable, result.failed) == (0.25, 0.25, 0.75)


def test_an_element_without_a_reference_is_a_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(protocol, "candidates", lambda symbol: [fcc("Ar")] if symbol == "Ar" else [])
    result = stability([cesium_chloride(), fcc("Ar")], [rock_salt()], potential=Toy(), cache=tmp_path, workers=1)
    assert [row.reason for row in result.rows] == ["no reference crystal of Kr", ""]


def test_notes_tell_what_did_not_converge(tmp_path):
    samples = [cesium_chloride(edge=4.3), relax(fcc("Ar"), Toy()).structure]
    train = [relax(rock_salt(), Toy()).structure, Structure(Lattice.cubic(1), ["Ar"], [[0, 0, 0]])]
    result = stability(samples, train, potential=Toy(), cache=tmp_path, workers=1, max_steps=1)
    assert [row.converged for row in result.rows] == [False, True]
    assert result.notes == (
        "1 of 2 samples did not converge: their energies are upper bounds",
        "1 of 2 training crystals could not be relaxed and are missing from the hull",
    )


def test_sun_truth_table():
    energies = (-0.2, 0.0, METASTABLE, METASTABLE + 1e-6, None)
    rows, unique, novel = [], [], []
    for energy in energies:
        for u in (True, False):
            for n in (True, False):
                rows.append(Row(e_above_hull=energy))
                unique.append(u)
                novel.append(n)
    result = Stability(tuple(rows), "toy 1", 0.05, 200, 0)
    assert (result.stable, result.metastable, result.failed) == (8 / 20, 12 / 20, 4 / 20)
    assert (result.sun(unique, novel), result.msun(unique, novel)) == (2 / 20, 3 / 20)
    assert result.sun([False] * 20, novel) == 0
    assert result.sun([True] * 20, [True] * 20) == result.stable
    with pytest.raises(ValueError, match="flags for 20 samples"):
        result.sun(unique[:-1], novel)
    assert np.isnan(Stability((), "toy 1", 0.05, 200, 0).stable)


def many():
    return [cesium_chloride(edge=edge) for edge in np.linspace(3.8, 4.4, 8)] + [
        None,
        Structure(Lattice.cubic(1), ["Ar"], [[0] * 3]),
    ]


def test_a_killed_run_goes_on(tmp_path):
    script = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
import test_stability_protocol as t
from toy_potential import pairs
def die(structure, call):
    if call == 30:
        os.kill(os.getpid(), signal.SIGKILL)
    return pairs(structure)
t.protocol.candidates = lambda symbol: [t.fcc(symbol)]
toy, folder = t.Toy({"KrAr": die}), sys.argv[2]
t.stability(t.many(), [t.rock_salt()], potential=toy, cache=folder + "/c", folder=folder, workers=1)
"""
    here = str(Path(__file__).parent)
    path = os.pathsep.join(p for p in sys.path if p)
    done = subprocess.run(
        [sys.executable, "-c", script, here, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    lines = (tmp_path / "relaxed.jsonl").read_text().splitlines()
    assert 1 <= len(lines) < 8
    whole_toy, rest_toy = Toy(), Toy()
    whole = stability(many(), [rock_salt()], potential=whole_toy, cache=tmp_path / "other", workers=1)
    rest = stability(many(), [rock_salt()], potential=rest_toy, cache=tmp_path / "c", folder=tmp_path, workers=1)
    assert numbers(rest) == numbers(whole)
    assert [row.structure for row in rest.rows] == [row.structure for row in whole.rows]
    spared = sum(json.loads(line)["steps"] + 1 for line in lines)
    assert rest_toy.calls["KrAr"] == whole_toy.calls["KrAr"] - spared


def test_a_line_cut_short_is_done_again(tmp_path):
    samples = many()[:3]
    first = stability(samples, [], potential=Toy(), cache=tmp_path / "c", folder=tmp_path, workers=1)
    file = tmp_path / "relaxed.jsonl"
    content = file.read_bytes()
    start = content[:-1].rindex(b"\n") + 1
    file.write_bytes(b'{"key": "x"}\n[1]\n\xff\n' + content[: start + 40])
    toy = Toy()
    again = stability(samples, [], potential=toy, cache=tmp_path / "c", folder=tmp_path, workers=1)
    assert numbers(again) == numbers(first)
    assert toy.calls == {"KrAr": first.rows[2].steps + 1}
    assert len(Store(tmp_path)) == 3
    assert file.read_bytes().endswith(content[start:])


def test_what_is_read_back_is_equal_to_the_last_bit(tmp_path):
    result = relax(cesium_chloride(edge=4.1), Toy())
    failure = relax(None, Toy())
    store = Store(tmp_path)
    store.add("a", result)
    store.add("b", failure)
    store.close()
    again = Store(tmp_path)
    assert again["b"] == failure
    assert again["a"].energy_per_atom == result.energy_per_atom
    assert (again["a"].structure.lattice.matrix == result.structure.lattice.matrix).all()
    assert (again["a"].structure.frac_coords == result.structure.frac_coords).all()


def test_keys_tell_crystals_and_settings_apart():
    toy, crystal = Toy(), cesium_chloride()
    key = key_of(crystal, toy, Settings())
    assert key == key_of(cesium_chloride(edge=3.95 + 1e-9), toy, Settings())
    others = [
        key_of(cesium_chloride(edge=3.951), toy, Settings()),
        key_of(cesium_chloride("Kr", "Ar"), toy, Settings()),
        key_of(crystal, toy, Settings(fmax=0.1)),
        key_of(crystal, toy, Settings(max_steps=100)),
        key_of(crystal.copy().translate_sites([1], [0, 0, 0.01]), toy, Settings()),
    ]
    assert len({key, *others}) == 6


def test_worker_processes_give_the_same_rows(tmp_path, monkeypatch):
    alone = stability(many(), [rock_salt()], potential=Toy(), cache=tmp_path / "a", workers=1)
    monkeypatch.setattr(protocol, "_PATIENCE", 0.0)
    toy = Toy()
    shared = stability(many(), [rock_salt()], potential=toy, cache=tmp_path / "b", workers=2)
    assert numbers(shared) == numbers(alone)
    # All but the first crystal were relaxed by another process.
    assert toy.calls["KrAr"] == alone.rows[0].steps + relax(rock_salt(), Toy()).steps + 2


def test_mistakes_end_in_one_line(tmp_path, monkeypatch):
    with pytest.raises(StabilityError, match="unknown potential 'chgnot'; known are chgnet, sevennet"):
        load_potential("chgnot")
    monkeypatch.setitem(sys.modules, "chgnet.model.model", None)
    potentials._loaded.cache_clear()
    with pytest.raises(StabilityError, match=r"stability needs chgnet: pip install graphgan\[stability\]"):
        load_potential("chgnet", "cpu")
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(StabilityError, match="file"):
        stability([None], [], potential=Toy(), folder=file, cache=tmp_path)
    with pytest.raises(StabilityError, match="file"):
        stability([None], [], potential=Toy(), cache=file)
    with pytest.raises(ValueError, match="workers"):
        stability([rock_salt()], [], potential=Toy(), cache=tmp_path, workers=0)


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.write_text("")
    monkeypatch.setenv("GRAPHGAN_CACHE", str(file))
    assert stability([rock_salt()], [rock_salt()], potential=Toy(), workers=1).rows[0].e_above_hull == 0
    monkeypatch.setenv("GRAPHGAN_CACHE", str(tmp_path / "cache"))
    stability([rock_salt()], [rock_salt()], potential=Toy(), workers=1)
    assert [p.name for p in (tmp_path / "cache" / "stability").iterdir()] == ["toy-1.jsonl"]


def test_a_full_memory_is_not_remembered(tmp_path):
    """It says nothing of the crystal: the next run tries again."""

    class Full(Toy):
        def __call__(self, structures):
            raise MemoryError

    first = stability([rock_salt()], [], potential=Full(), folder=tmp_path / "run", cache=tmp_path / "cache", workers=1)
    assert first.rows[0].reason == "out of memory"
    again = stability([rock_salt()], [], potential=Toy(), folder=tmp_path / "run", cache=tmp_path / "cache", workers=1)
    assert again.rows[0].reason == "" and again.rows[0].energy_per_atom is not None
