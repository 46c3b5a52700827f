import numpy as np
import pytest
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure

from graphgan import metrics

FCC = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])


def cesium_chloride(first="Cs", second="Cl", edge=4.12, move=0.0):
    return Structure(Lattice.cubic(edge), [first, second], [[0, 0, 0], [0.5 + move, 0.5, 0.5]])


def rock_salt(first, second, edge=5.6):
    return Structure(Lattice.cubic(edge), [first] * 4 + [second] * 4, [*FCC, *(FCC + 0.5)])


def random_carbon(rng, number):
    lattice = Lattice.from_parameters(*rng.uniform(2.5, 4.5, 3), *rng.uniform(70, 110, 3))
    return Structure(lattice, ["C"] * number, rng.random((number, 3)))


def test_two_of_four():
    samples = [cesium_chloride(), cesium_chloride(move=0.02, edge=4.2), rock_salt("Mg", "O"), None]
    assert metrics.uniqueness(samples) == 0.5
    unique = metrics.compare(samples).unique
    assert sum(unique[:2]) == 1 and unique[2:] == (True, False)


def test_novelty_against_one_training_crystal():
    samples = [cesium_chloride(), rock_salt("Cs", "Cl"), rock_salt("Mg", "O"), None]
    # Another structure of a known composition is new; a supercell with charges is not.
    train = [cesium_chloride("Cs+", "Cl-").make_supercell(2)]
    assert metrics.novelty(samples, train) == 0.5
    assert metrics.compare(samples, train).novel == (False, True, True, False)
    assert metrics.unique_novel_valid([*samples, rock_salt("Mg", "O")], train) == 0.4


def test_invalid_crystals_are_neither_unique_nor_novel():
    broken = Structure(Lattice.cubic(4), ["Na", "Cl"], [[0, 0, 0], [0.05, 0, 0]])
    result = metrics.compare([broken, cesium_chloride()], [rock_salt("Mg", "O")])
    assert result.unique == result.novel == (False, True)


def test_order_does_not_change_the_numbers():
    rng = np.random.default_rng(0)
    samples = [random_carbon(rng, 4) for _ in range(12)] + [None]
    samples += [s.copy().perturb(0.2) for s in samples[:6]]
    train = [random_carbon(rng, 4) for _ in range(6)]
    results = [metrics.compare([samples[i] for i in rng.permutation(len(samples))], train) for _ in range(3)]
    assert len({(r.uniqueness, r.novelty) for r in results}) == 1


@pytest.mark.parametrize("tolerances", ["cdvae", "mattergen"])
def test_shortcuts_give_the_answer_of_the_full_matcher(tolerances):
    rng = np.random.default_rng(1)
    crystals = [random_carbon(rng, n) for n in (2, 3, 4) for _ in range(4)]
    crystals += [s.copy().perturb(0.25) for s in crystals[::2]]
    matcher = StructureMatcher(**metrics.TOLERANCES[tolerances])
    for known in crystals[::4]:
        everything = [True] * len(crystals)
        novel = metrics.compare(crystals, [known], tolerances=tolerances, valid=everything).novel
        assert list(novel) == [not matcher.fit(known, sample) for sample in crystals]


def test_a_crowd_is_compared_with_its_nearest_and_says_so():
    rng = np.random.default_rng(2)
    first = [random_carbon(rng, 4) for _ in range(30)]
    samples = [*first, *[s.copy().perturb(0.02) for s in first], None]
    result = metrics.compare(samples, first, tolerances="mattergen")
    assert result.uniqueness <= 30 / 61
    assert result.novelty == 0
    assert result.comparisons < 800  # of more than 3,000 pairs
    assert "nearest" in result.notes[0]
    with pytest.warns(UserWarning, match="nearest"):
        metrics.uniqueness(samples, tolerances="mattergen")


def test_processes_change_nothing(monkeypatch):
    rng = np.random.default_rng(4)
    samples = [random_carbon(rng, 3) for _ in range(12)]
    samples += [s.copy().perturb(0.1) for s in samples]
    alone = metrics.compare_all(samples, samples[:3], workers=1)
    monkeypatch.setattr("graphgan.processes.PATIENCE", 0)
    assert metrics.compare_all(samples, samples[:3], workers=2) == alone
    assert alone["mattergen"].uniqueness >= alone["cdvae"].uniqueness


def test_needles_are_left_out_instead_of_hanging():
    rng = np.random.default_rng(3)
    needles = [
        Structure(Lattice.orthorhombic(1.1, 1.2, length), ["C"] * 6, rng.random((6, 3)) * [0.1, 0.1, 1])
        for length in (300, 310)
    ]
    result = metrics.compare(needles)
    assert result.unique == (True, True)
    assert result.comparisons == 0
    assert "elongated" in result.notes[0]


def test_absurd_cells_are_not_reduced():
    """pymatgen's reduction would fill the memory."""
    for edges in ((2, 2, 1e4), (1e8, 1e8, 1e8), (2, 2, 1e3)):
        needles = [Structure(Lattice.orthorhombic(*edges), ["C"] * 2, [[0] * 3, [0.5, 0.5, x]]) for x in (0.3, 0.5)]
        assert metrics.compare(needles).comparisons <= 1


def test_who_stands_for_a_class_does_not_depend_on_the_order():
    rng = np.random.default_rng(5)
    samples = [cesium_chloride(edge=edge) for edge in rng.uniform(4, 4.3, 12)]
    chosen = {samples[metrics.compare(samples).unique.index(True)].volume}
    for _ in range(3):
        samples = [samples[i] for i in rng.permutation(12)]
        chosen.add(samples[metrics.compare(samples).unique.index(True)].volume)
    assert len(chosen) == 1


def test_unknown_tolerances_name_the_known():
    with pytest.raises(ValueError, match="mattergen"):
        metrics.compare([None], tolerances="strict")
