"""Our matcher answers as pymatgen's StructureMatcher does, pair by pair."""

import numpy as np
import pytest
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure

from graphgan.metrics import TOLERANCES
from graphgan.metrics.candidates import reduced_cell
from graphgan.metrics.fitting import Arrays, fits


def cubic(edge, species, frac):
    return Structure(Lattice.cubic(edge), species, frac)


FCC = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
PEROVSKITE = np.array([[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])


def agree(crystals, name):
    """Number of pairs that fit; every pair is asked of both."""
    matcher = StructureMatcher(**TOLERANCES[name])
    cells = [reduced_cell(crystal) for crystal in crystals]
    found = 0
    for i, a in enumerate(cells):
        for b in cells[:i]:
            if len(a.structure) != len(b.structure):
                continue
            ours = fits(b.arrays, a.arrays, **TOLERANCES[name])
            assert ours == matcher.fit(b.structure, a.structure, skip_structure_reduction=True)
            found += ours
    return found


@pytest.mark.parametrize("name", TOLERANCES)
def test_distorted_perovskites(name):
    """Near-cubic cells have 24 and more mappings; growing distortions cross the tolerances."""
    rng = np.random.default_rng(0)
    crystals = []
    for size in np.linspace(0, 0.25, 14):
        cell = Lattice(3.9 * np.eye(3) + 2 * size * rng.uniform(-1, 1, (3, 3)))
        crystals.append(Structure(cell, ["Sr", "Ti", "O", "O", "O"], PEROVSKITE + size * rng.normal(size=(5, 3))))
    assert 0 < agree(crystals, name) < 14 * 13 / 2


@pytest.mark.parametrize("name", TOLERANCES)
def test_triclinic_cells_in_other_settings(name):
    """The same crystal in another basis, order and origin, and copies that were moved."""
    rng = np.random.default_rng(1)
    crystals = []
    for _ in range(4):
        lattice = Lattice.from_parameters(*rng.uniform(3, 6, 3), *rng.uniform(65, 115, 3))
        first = Structure(lattice, ["Ti", "Ti", "O", "O", "O"], rng.random((5, 3)))
        order = rng.permutation(5)
        other = Structure(
            np.array([[1, 1, 0], [0, 1, 0], [0, -1, 1]]) @ lattice.matrix,
            [first.species[i] for i in order],
            (first.frac_coords[order] @ np.linalg.inv([[1, 1, 0], [0, 1, 0], [0, -1, 1]])) + rng.random(3),
        )
        crystals += [first, other, first.copy().perturb(0.3), first.copy().perturb(0.9)]
    assert agree(crystals, name) >= 4


@pytest.mark.parametrize("name", TOLERANCES)
def test_sets_of_one_element(name):
    rng = np.random.default_rng(2)
    crystals = [
        Structure(Lattice.from_parameters(*rng.uniform(2.4, 4, 3), *rng.uniform(60, 120, 3)), ["C"] * n, x)
        for n in (1, 2, 4)
        for x in rng.random((7, n, 3))
    ]
    assert agree(crystals, name) > 0


def test_what_is_reduced_is_primitive():
    """Whole formulas skip the search for a smaller cell, others do not."""
    diamond = cubic(3.57, ["C"] * 8, [*FCC, *(FCC + 0.25)])
    assert len(reduced_cell(diamond).structure) == 2
    perovskite = cubic(3.9, ["Sr", "Ti", "O", "O", "O"], PEROVSKITE)
    assert len(reduced_cell(perovskite.make_supercell(2)).structure) == 5


def test_kinds_must_pair_up():
    first = Arrays(4 * np.eye(3), np.array([[0, 0, 0], [0.5] * 3]), np.array(["Cs", "Cl"]))
    same = Arrays(4.4 * np.eye(3), np.array([[0.3] * 3, [0.8] * 3]), np.array(["Cl", "Cs"]))
    other = same._replace(kinds=np.array(["Cl", "Cl"]))
    flat = same._replace(lattice=np.diag([4.4, 4.4, 40]))
    loose = TOLERANCES["cdvae"]
    assert fits(first, same, **loose)  # volumes are scaled, order and origin do not matter
    assert not fits(first, other, **loose)
    assert not fits(first, flat, **loose)
