import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from graphgan import metrics


def pair(distance, edge=4.0):
    """Two atoms of a cube `edge` Å wide, `distance` Å apart."""
    return Structure(Lattice.cubic(edge), ["Na", "Cl"], [[0, 0, 0], [distance / edge, 0, 0]])


def brute_force(structure, reach=6):
    """Smallest distance of two different atoms over all images within `reach` cells."""
    shifts = np.stack(np.meshgrid(*[np.arange(-reach, reach + 1)] * 3), -1).reshape(-1, 3)
    best = np.inf
    for i in range(len(structure)):
        for j in range(i):
            delta = structure.frac_coords[i] - structure.frac_coords[j] + shifts
            best = min(best, np.linalg.norm(delta @ structure.lattice.matrix, axis=1).min())
    return best


@pytest.mark.parametrize(("distance", "valid"), [(0.49, False), (0.51, True), (2.0, True), (3.6, False)])
def test_half_an_angstrom_decides(distance, valid):
    # 3.6 Å in a cube of 4 Å is 0.4 Å from the next image.
    assert metrics.structurally_valid(pair(distance)) is valid


def test_shares_keep_failures_in_the_denominator():
    samples = [pair(2.0), pair(0.49), None, None]
    assert metrics.num_samples(samples) == 4
    assert metrics.decode_failures(samples) == 0.5
    assert metrics.structural_validity(samples) == 0.25


def test_own_images_are_not_tested():
    assert metrics.structurally_valid(Structure(Lattice.cubic(0.48), ["H"], [[0, 0, 0]]))
    assert metrics.minimum_distance(Structure(Lattice.cubic(3), ["H"], [[0, 0, 0]])) == np.inf


@pytest.mark.parametrize(
    "lattice",
    [
        Lattice.cubic(0.46),  # 0.097 Å³
        Lattice([[3, 0, 0], [0, 3, 0], [3, 3, 0]]),  # flat
        Lattice([[np.nan, 0, 0], [0, 3, 0], [0, 0, 3]]),
        Lattice([[np.inf, 0, 0], [0, 3, 0], [0, 0, 3]]),
    ],
)
def test_broken_cells_are_invalid(lattice):
    assert not metrics.structurally_valid(Structure(lattice, ["H"], [[0, 0, 0]]))


def test_positions_that_are_not_numbers_are_invalid():
    assert not metrics.structurally_valid(Structure(Lattice.cubic(3), ["H"], [[np.nan, 0, 0]]))


def test_skewed_cell_has_nearer_images_than_wrapping_finds():
    lattice = Lattice([[2, 0, 0], [9, 2, 0], [0, 0, 8]])
    structure = Structure(lattice, ["H", "H"], [[0, 0, 0], [0.3, 0.45, 0]])
    difference = structure.frac_coords[1]
    wrapped = np.linalg.norm((difference - np.round(difference)) @ lattice.matrix)
    truth = brute_force(structure, 8)
    assert truth < 0.5 * wrapped
    assert metrics.minimum_distance(structure) == pytest.approx(truth)


def test_minimum_distance_in_random_skewed_cells():
    rng = np.random.default_rng(0)
    for _ in range(40):
        lattice = Lattice(rng.normal(size=(3, 3)) @ np.diag([2, 3, 5]) + 3 * np.eye(3))
        structure = Structure(lattice, ["H"] * 4, rng.random((4, 3)))
        assert metrics.minimum_distance(structure) == pytest.approx(brute_force(structure, 8))


def test_nearest_neighbours_include_own_images():
    single = Structure(Lattice([[2, 0, 0], [9, 2.5, 0], [0, 0, 8]]), ["H"], [[0, 0, 0]])
    assert metrics.nearest_neighbour_distances(single) == pytest.approx([2.0])
    assert metrics.nearest_neighbour_distances(pair(1.5)) == pytest.approx([1.5, 1.5])


@pytest.mark.parametrize(
    "structure",
    [
        Structure(Lattice(np.full((3, 3), np.nan)), ["C"], [[0, 0, 0]]),
        Structure(Lattice.cubic(3), ["C"], [[np.inf, 0, 0]]),
    ],
)
def test_what_is_not_a_number_crashes_nothing(structure):
    """spglib ends the process over such a cell."""
    assert not metrics.structurally_valid(structure)
    assert metrics.symmetry(structure) is None
    assert np.isnan(metrics.cell_shape(structure)).all()
    assert metrics.genmetrics_space_groups([structure]) == [1]
    assert metrics.structure_fingerprint(structure) is None
