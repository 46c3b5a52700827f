import math
from itertools import pairwise

import numpy as np
import pytest
from pymatgen.analysis.phase_diagram import PDEntry, PhaseDiagram
from pymatgen.core import Composition

from graphgan.metrics import nearest_neighbour_distances
from graphgan.stability import Hull
from graphgan.stability.elements import candidates

BINARY = [({"A": 1}, -1.0), ({"B": 4}, -2.0), ({"A": 1, "B": 1}, -2.5), ({"A": 2, "B": 2}, -2.3), ({"B": 1}, -1.9)]


def test_a_binary_hull_by_hand():
    hull = Hull(BINARY)
    # AB lies 1 eV below the line from A (-1) to B (-2).
    assert hull.formation({"A": 1, "B": 1}, -2.5) == pytest.approx(-1.0)
    # A3B is half A, half AB: (-1 - 2.5) / 2.
    assert hull.energy({"A": 3, "B": 1}) == pytest.approx(-1.75)
    assert hull.above({"A": 3, "B": 1}, -1.55) == pytest.approx(0.2)
    assert hull.above({"A": 6, "B": 2}, -1.85) == pytest.approx(-0.1)
    assert hull.above({"A": 5, "B": 5}, -2.5) == 0
    assert hull.above({"A": 5, "B": 5}, -2.3) == pytest.approx(0.2)
    assert hull.above({"B": 2}, -2.1) == pytest.approx(-0.1)


def test_an_element_without_a_reference_has_no_hull():
    hull = Hull([*BINARY, ({"A": 1, "C": 1}, -3.0)])
    assert math.isnan(hull.energy({"A": 1, "C": 1}))
    assert math.isnan(hull.above({"C": 1}, -3.0))
    assert math.isnan(hull.formation({"A": 1, "C": 1}, -3.0))


def test_the_hull_is_pymatgens():
    rng = np.random.default_rng(0)
    elements = ["Li", "Mg", "O", "F"]
    entries = [({element: 1}, float(rng.normal())) for element in elements]
    for _ in range(60):
        chosen = rng.choice(elements, rng.integers(2, 5), replace=False)
        entries.append(({str(e): int(rng.integers(1, 5)) for e in chosen}, float(rng.normal() - 1)))
    hull = Hull(entries)
    diagram = PhaseDiagram([PDEntry(Composition(c), e * sum(c.values())) for c, e in entries])
    for _ in range(40):
        composition = {e: float(rng.integers(0, 5)) for e in elements} | {"Li": 1.0}
        assert hull.energy(composition) == pytest.approx(
            diagram.get_hull_energy_per_atom(Composition(composition)), abs=2e-6
        )
    for composition, energy in entries:
        assert hull.above(composition, energy) >= 0
        assert hull.formation(composition, energy) == pytest.approx(
            diagram.get_form_energy_per_atom(PDEntry(Composition(composition), energy * sum(composition.values()))),
            abs=1e-9,
        )


def test_more_crystals_only_lower_the_hull():
    rng = np.random.default_rng(1)
    entries = [({element: 1}, 0.0) for element in "ABC"]
    entries += [({e: int(rng.integers(1, 4)) for e in "ABC"}, float(-rng.random())) for _ in range(20)]
    wanted = [{e: float(rng.random()) for e in "ABC"} for _ in range(10)]
    energies = [[Hull(entries[:size]).energy(composition) for size in (3, 8, 23)] for composition in wanted]
    for few, some, all_of_them in energies:
        assert all_of_them <= some + 1e-9 <= few + 2e-9
    assert any(all_of_them < few - 0.1 for few, _, all_of_them in energies)


def test_many_elements_are_no_problem():
    elements = [f"E{number}" for number in range(20)]
    hull = Hull([({e: 1}, 0.0) for e in elements] + [({a: 1, b: 1}, -1.0) for a, b in pairwise(elements)])
    assert hull.energy(dict.fromkeys(elements, 1)) == pytest.approx(-1.0, abs=1e-6)


BONDS = {"H": 0.74, "N": 1.10, "O": 1.21, "F": 1.42, "Cl": 1.98, "Br": 2.28, "I": 2.72, "P": 2.22, "S": 2.06, "C": 1.42}
BONDS |= {"B": 1.70, "Se": 2.37, "Te": 2.83, "Ga": 2.47, "Mn": 2.26, "U": 2.75}


@pytest.mark.parametrize(("symbol", "bond"), BONDS.items())
def test_ground_states_have_their_bond_lengths(symbol, bond):
    distances = nearest_neighbour_distances(candidates(symbol)[0])
    assert distances.min() == pytest.approx(bond, rel=0.04)


def test_every_element_of_the_potentials_has_candidates():
    from graphgan.stability.potentials import _FITTED, _symbols

    symbols = _symbols(_FITTED)
    assert len(symbols) == 89
    for symbol in symbols:
        found = candidates(symbol)
        assert found, symbol
        for crystal in found:
            assert {site.specie.symbol for site in crystal} == {symbol}
            assert 2 < crystal.volume / len(crystal) < 130
            assert nearest_neighbour_distances(crystal).min() > 0.7
    assert candidates("At") == []
