"""Whatever the crystals are, an evaluation gives numbers that JSON can hold, a page, and no traceback."""

import json
import warnings

import numpy as np
import pytest
from pymatgen.core import DummySpecies, Lattice, Structure

from graphgan.report import evaluate


def cube(species, edge=4.0):
    return Structure(Lattice.cubic(edge), species, np.random.default_rng(0).random((len(species), 3)))


def cell(*parameters, species=("C",)):
    lattice = Lattice.from_parameters(*parameters)
    return Structure(lattice, species, np.random.default_rng(1).random((len(species), 3)))


REAL = [
    Structure(Lattice((5 + i / 9) / 2 * (np.ones((3, 3)) - np.eye(3))), ["Na", "Cl"], [[0] * 3, [0.5] * 3])
    for i in range(6)
]
LARGE = [cell(9, 10, 11, 80, 95, 100, species=("Si",) * 52), cell(12, 12, 12, 90, 90, 90, species=("Zr", "O") * 26)]
CASES = {
    "all failed": [None] * 5,
    "one crystal": REAL[:1],
    "52 atoms": LARGE,
    "noble gases": [cube(["He"]), cube(["Ar", "Ne"]), cube(["Xe", "F"])],
    "no electronegativity": [cube(["Pm", "O"]), cube(["Lr", "Cl"]), cube(["Kr", "Rn"])],
    "beyond Lr": [cube(["Rf", "O"]), cube(["Og"])],
    "dummies": [Structure(Lattice.cubic(4), [DummySpecies("X"), "O"], [[0] * 3, [0.5] * 3])],
    "flat": [cell(3, 3, 1e-3, 90, 90, 90), Structure(Lattice([[1, 0, 0], [0, 1, 0], [1, 1, 0]]), ["C"], [[0] * 3])],
    "needles": [cell(2, 2, 500, 90, 90, 90, species=("C",) * 4)] * 2,
    "tilted": [cell(5, 5, 5, 5, 5, 5, species=("Na", "Cl"))],
    "not numbers": [
        Structure(Lattice(np.full((3, 3), np.nan)), ["C"], [[0] * 3]),
        Structure(Lattice.cubic(3), ["C"], [[np.inf, 0, 0]]),
    ],
    "no atoms": [Structure(Lattice.cubic(3), [], [])],
    "atoms in one place": [Structure(Lattice.cubic(3), ["C", "C"], [[0] * 3] * 2)],
    "far away": [Structure(Lattice.cubic(4), ["Na", "Cl"], [[0.2] * 3, [1e7 + 0.7] * 3])],
    "beyond numbers": [Structure(Lattice.cubic(1e110), ["Na", "Cl"], [[0] * 3, [0.5] * 3])] * 2,
    "absurdly long": [
        cell(2, 2, 1e4, 90, 90, 90, species=("C", "O")),
        cell(2, 2, 1.1e4, 90, 90, 90, species=("C", "O")),
    ],
    "a gas": [cube(["C", "O"], 1e4)],
    "disordered": [Structure(Lattice.cubic(4), [{"Fe": 0.5, "Ni": 0.5}, "O"], [[0] * 3, [0.5] * 3])],
}
SHARES = ("decode_failures", "structural_validity", "compositional_validity", "validity", "uniqueness", "novelty")


@pytest.fixture(scope="module", autouse=True)
def _quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        yield


@pytest.mark.parametrize("name", CASES)
def test_samples(name, tmp_path):
    report = evaluate(CASES[name], REAL, REAL[:2], benchmark="mp_20", genmetrics=name != "needles")
    json.dumps(report.as_dict(), allow_nan=False)
    assert all(0 <= report.metrics[share] <= 1 for share in SHARES)
    assert {"coverage_recall", "coverage_precision"} <= report.metrics.keys()
    report.save(tmp_path)


@pytest.mark.parametrize("name", CASES.keys() - {"all failed"})
def test_references(name):
    """Real crystals that are none are left out, with a warning."""
    report = evaluate(REAL, CASES[name], CASES[name])
    json.dumps(report.as_dict(), allow_nan=False)
    assert report.metrics["structural_validity"] == 1
    assert report.metrics["novelty"] == (0 if name == "one crystal" else 1)
