import pickle
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from graphgan.stability import load_potential, relax, stability

pytest.importorskip("chgnet")


@pytest.fixture(scope="module")
def chgnet():
    return load_potential("chgnet", "cpu")


def cubic(group, edge, sites):
    return Structure.from_spacegroup(group, Lattice.cubic(edge), ["Na", "Cl"], sites).get_primitive_structure()


ROCK_SALT = cubic("Fm-3m", 5.7, [[0, 0, 0], [0.5, 0.5, 0.5]])
ZINC_BLENDE = cubic("F-43m", 6.2, [[0, 0, 0], [0.25, 0.25, 0.25]])
CESIUM_CHLORIDE = cubic("Pm-3m", 3.5, [[0, 0, 0], [0.5, 0.5, 0.5]])
SHEARED = Structure(
    Lattice([[3.8, 0.2, 0.1], [-0.1, 4.1, 0.3], [0.2, 0, 3.9]]), ["Na", "Cl"], [[0, 0, 0], [0.45, 0.52, 0.5]]
)


def test_forces_and_stress_are_chgnets(chgnet):
    left = Structure(SHEARED.lattice.matrix[[1, 0, 2]], SHEARED.species, SHEARED.frac_coords[:, [1, 0, 2]])
    answers = chgnet([SHEARED, ROCK_SALT, left])
    theirs = chgnet._model.predict_structure([SHEARED, ROCK_SALT], task="efs")
    for structure, answer, their in zip([SHEARED, ROCK_SALT], answers, theirs, strict=False):
        assert answer.energy == pytest.approx(float(their["e"]) * len(structure), abs=1e-5)
        assert answer.forces == pytest.approx(their["f"], abs=1e-4)
        assert answer.stress == pytest.approx(their["s"] / 160.21766208, abs=1e-5)
    # The same crystal in a left-handed cell has the same stress.
    assert answers[2].energy == pytest.approx(answers[0].energy, abs=1e-5)
    assert answers[2].stress == pytest.approx(answers[0].stress, abs=1e-5)


def test_polymorphs_of_salt_come_in_the_right_order(chgnet, tmp_path):
    samples = [ROCK_SALT, ZINC_BLENDE, CESIUM_CHLORIDE]
    result = stability(samples, [ROCK_SALT], potential=chgnet, cache=tmp_path, workers=1)
    rock, zinc, cesium = result.rows
    assert rock.e_above_hull == 0
    assert 0.06 < zinc.e_above_hull < 0.10
    assert 0.10 < cesium.e_above_hull < 0.16
    # Measured: -2.13 eV/atom.
    assert rock.formation_energy == pytest.approx(-2.13, abs=0.1)
    assert (result.stable, result.metastable) == (1 / 3, 2 / 3)


def test_a_lonely_atom_is_a_failed_row_and_leaves_nothing_behind(chgnet, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = relax(Structure(Lattice.cubic(7.5), ["Ar"], [[0, 0, 0]]), chgnet)
    assert "isolated atom" in result.reason and result.energy_per_atom is None
    assert list(Path().iterdir()) == []


def test_one_thread_and_afterwards_as_many_as_before(chgnet, monkeypatch):
    import torch

    monkeypatch.setattr(chgnet, "_evaluate", lambda structures: [torch.get_num_threads()])
    torch.set_num_threads(2)
    try:
        assert chgnet([ROCK_SALT]) == [1]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_it_travels_to_other_processes_by_name(chgnet):
    assert pickle.loads(pickle.dumps(chgnet)) is chgnet
    assert len(pickle.dumps(chgnet)) < 200
    assert (chgnet.name, chgnet.version, chgnet.device) == ("chgnet", "0.3.0", "cpu")
    assert len(chgnet.elements) == 89 and "Po" not in chgnet.elements


def test_bond_lengths_of_the_relaxed_crystal(chgnet):
    relaxed = relax(ROCK_SALT, chgnet).structure
    assert (4 * relaxed.volume) ** (1 / 3) == pytest.approx(5.69, abs=0.03)
    assert np.isfinite(relaxed.frac_coords).all()
