import re

import numpy as np
import pytest
from pymatgen.core import DummySpecies, Lattice, Structure
from toy_crystals import CUBE, FCC, rock_salt, strontium_titanate

from graphgan.report import crystals, picks, thumbnails
from graphgan.report.page import render
from graphgan.report.result import Report
from graphgan.report.rows import COLUMNS


def report_of(metrics, **parts):
    facts = {"per_structure": [], "warnings": [], "settings": {}, **parts}
    return Report(metrics=metrics, **facts)


def row_of(index, **facts):
    return {**dict.fromkeys(COLUMNS, ""), "index": index, "id": index, **facts}


def test_best_and_worst_are_those_of_the_energies():
    energies = [0.01 * i - 0.05 for i in range(20)]
    # Two and two share formula and prototype: of these only the better one is among the best.
    rows = [
        row_of(
            i, formula=f"X{i // 2}", prototype="AB 1 a/a", structurally_valid=True, e_above_hull=e, bond_deviation=0.5
        )
        for i, e in enumerate(energies)
    ]
    for i, distance in ((3, ""), (7, 0.4), (9, 0.1)):
        rows[i] |= {"structurally_valid": False, "min_distance": distance, "e_above_hull": -9.0}
    rows[19] |= {"e_above_hull": ""}
    report = report_of({"num_samples": 20}, per_structure=rows, samples=[rock_salt()] * 20, reference=[rock_salt()] * 5)
    groups = picks.choose(report)
    assert [(group.heading, len(group.picks)) for group in groups] == [
        ("Drawn at random", 12),
        ("Best: lowest energy above the hull", 4),
        ("Worst: invalid with the closest atoms, then highest energy above the hull", 4),
        ("Real crystals, drawn at random", 4),
    ]
    assert [pick.index for pick in groups[1].picks] == [0, 2, 4, 6]
    assert [pick.index for pick in groups[2].picks] == [9, 7, 3, 18]
    page = render(report, title="")
    for text in ("-0.050 eV/atom above the hull", "not valid: atoms 0.10\N{NO-BREAK SPACE}Å apart", "cell too flat"):
        assert text in page


def test_without_energies_bond_lengths_rank():
    rows = [
        row_of(i, formula=f"X{i}", structurally_valid=True, bond_deviation=0.01 * ((7 * i) % 15)) for i in range(15)
    ]
    report = report_of({"num_samples": 15}, per_structure=rows, samples=[rock_salt()] * 15)
    best, worst = picks.choose(report)[1:]
    assert best.heading == "Best: lowest deviation from real bond lengths"
    assert worst.heading == "Worst: highest deviation from real bond lengths"
    assert [rows[pick.index]["bond_deviation"] for pick in best.picks] == pytest.approx([0, 0.01, 0.02, 0.03])
    assert [rows[pick.index]["bond_deviation"] for pick in worst.picks] == pytest.approx([0.14, 0.13, 0.12, 0.11])
    assert "bonds 14.0 % off" in render(report, title="")


def test_without_a_measure_nothing_is_best():
    rows = [row_of(i, formula="NaCl", structurally_valid=True) for i in range(14)]
    report = report_of({"num_samples": 14}, per_structure=rows, samples=[rock_salt()] * 14)
    assert [group.heading for group in picks.choose(report)] == ["Drawn at random"]
    rows[5] |= {"structurally_valid": False, "min_distance": 0.2}
    groups = picks.choose(report)
    assert [group.heading for group in groups] == ["Drawn at random", "Worst: invalid with the closest atoms"]
    assert [pick.index for pick in groups[1].picks] == [5]


def test_few_samples_are_not_shown_twice():
    rows = [row_of(i, formula="NaCl", structurally_valid=True, e_above_hull=0.1) for i in range(12)]
    report = report_of({"num_samples": 12}, per_structure=rows, samples=[rock_salt()] * 12)
    assert [len(group.picks) for group in picks.choose(report)] == [12]


def test_crystals_that_cannot_be_drawn_break_nothing():
    broken = [
        Structure(CUBE(1e6), ["Na"], [[0, 0, 0]]),
        Structure(CUBE(1e200), ["Na"], [[0, 0, 0]]),
        Structure(CUBE(4), ["Na", "Cl"], [[0, 0, 0], [np.inf, 0, 0]]),
        Structure(CUBE(4), ["Na", "Cl"], [[0, 0, 0], [np.nan, 0, 0]]),
        Structure(Lattice([[4, 0, 0], [0, 4, 0], [4, 4, 0]]), ["Na"], [[0, 0, 0]]),
        Structure(CUBE(50), ["H"] * 500, np.random.default_rng(0).random((500, 3))),
        None,
    ]
    assert not any(picks.drawable(structure) for structure in broken[:-1])
    far = Structure(CUBE(4), ["Na", "Cl"], [[0, 0, 0], [1e15, 0.5, 0.5]])
    assert picks.drawable(far)
    rows = [row_of(i, structurally_valid=False) for i in range(16)]
    report = report_of({"num_samples": 16}, per_structure=rows, samples=[*broken, far, *[None] * 8])
    page = render(report, title="")
    assert page.count('class="card"') == 1
    assert "nan" not in re.search(r"<main>(.*)</main>", page, re.DOTALL)[1]


def test_names_of_dummies_cannot_leave_their_attribute():
    assert 'id="atom-X___B_"' in thumbnails.gradients(['X"><B>'])
    dummy = Structure(CUBE(4), [DummySpecies("Xa"), "O"], [[0] * 3, [0.5] * 3])
    report = report_of({"num_samples": 1}, per_structure=[row_of(0, structurally_valid=True)], samples=[dummy])
    page = render(report, title="")
    assert page.count('class="card"') == page.count('id="atom-Xa"') == 1


def test_large_cells_keep_the_page_small():
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*[np.arange(7) / 7] * 3), axis=-1).reshape(-1, 3)
    large = Structure(CUBE(17), ["Si"] * len(grid), grid + rng.normal(scale=0.002, size=grid.shape))
    rows = [row_of(i, formula="Si", structurally_valid=True, bond_deviation=0.1 * i) for i in range(24)]
    page = render(report_of({"num_samples": 24}, per_structure=rows, samples=[large] * 24), title="")
    assert page.count('class="card"') == 12 + 1 + 4
    assert len(page.encode()) < 2.5e6


def bonds(structure):
    scene = crystals.scene(structure)
    pairs = [tuple(sorted((scene.symbols[i], scene.symbols[j]))) for i, j in scene.bonds]
    return len(scene.symbols), {pair: pairs.count(pair) for pair in pairs}


def test_bonds_of_known_structures():
    assert bonds(rock_salt()) == (27, {("Cl", "Na"): 54})
    diamond = Structure(CUBE(3.57), ["C"] * 8, [*FCC, *(FCC + 0.25)])
    assert bonds(diamond) == (18, {("C", "C"): 16})
    assert bonds(strontium_titanate()) == (15, {("O", "Ti"): 6})
    chloride = Structure(CUBE(4.12), ["Cs", "Cl"], [[0, 0, 0], [0.5] * 3])
    assert bonds(chloride) == (9, {("Cl", "Cs"): 8})
    iron = Structure(CUBE(2.87), ["Fe", "Fe"], [[0, 0, 0], [0.5] * 3])
    assert bonds(iron) == (9, {("Fe", "Fe"): 8})


def test_boundary_copies_reach_across_small_displacements():
    scene = crystals.scene(Structure(CUBE(4), ["Po"], [[0.99, 0.01, -0.02]]))
    assert len(scene.symbols) == 8
    assert np.allclose(np.ptp(scene.positions, axis=0), 4)


def test_space_group_symbols_are_short():
    assert [crystals.space_group_symbol(n) for n in (1, 8, 14, 221)] == ["P1", "Cm", "P2₁/c", "Pm-3m"]
