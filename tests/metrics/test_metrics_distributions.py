import math

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from graphgan import metrics

FCC = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])


def cesium_chloride(edge=4.12):
    return Structure(Lattice.cubic(edge), ["Cs", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])


def rock_salt(first, second, edge=5.0):
    return Structure(Lattice.cubic(edge), [first] * 4 + [second] * 4, [*FCC, *(FCC + 0.5)])


def scaled_to(density):
    structure = cesium_chloride()
    structure.scale_lattice(structure.volume * float(structure.density) / density)
    return structure


def test_density_of_cesium_chloride():
    # M = 132.905 + 35.453 g/mol in 4.12³ Å³
    assert metrics.density(cesium_chloride()) == pytest.approx(168.358 / 0.602214076 / 4.12**3, rel=1e-4)


def test_wasserstein_of_shifted_densities_is_the_shift():
    reference = [scaled_to(d) for d in (2.0, 3.0, 5.0)]
    samples = [scaled_to(d) for d in (5.75, 2.75, 3.75)]
    assert metrics.density_wasserstein(samples, reference) == pytest.approx(0.75)
    assert metrics.density_wasserstein([*samples, None], reference) == pytest.approx(0.75)


def test_number_of_elements_by_hand():
    reference = [cesium_chloride()] * 4
    samples = [cesium_chloride(), Structure(Lattice.cubic(3), ["Fe"], [[0, 0, 0]])]
    assert metrics.num_elements_wasserstein(samples, reference) == pytest.approx(0.5)


def test_charges_do_not_make_new_elements():
    charged = Structure(Lattice.cubic(4), ["Fe2+", "Fe3+"], [[0, 0, 0], [0.5] * 3])
    assert metrics.num_elements(charged) == 1
    assert metrics.element_fractions(charged) == {"Fe": 1.0}


def test_nearest_neighbours_by_hand():
    samples, reference = [cesium_chloride(4.0)], [cesium_chloride(5.0)]
    assert metrics.nearest_neighbour_wasserstein(samples, reference) == pytest.approx(math.sqrt(3) / 2)


def test_total_variation_by_hand():
    assert metrics.total_variation({"a": 1, "b": 1}, {"a": 3, "c": 1}) == pytest.approx(0.5)
    assert metrics.total_variation({"a": 2}, {"a": 7}) == 0
    assert metrics.total_variation({"a": 2}, {"b": 7}) == 1


def test_every_crystal_weighs_the_same_in_the_element_histogram():
    # Halves of Na, Cl and of Mg, O: large and small cells count alike.
    salts = [rock_salt("Na", "Cl"), rock_salt("Mg", "O").get_primitive_structure()]
    assert [len(s) for s in salts] == [8, 2]
    assert metrics.element_total_variation(salts, salts[:1]) == pytest.approx(0.5)
    assert metrics.num_atoms_total_variation(salts, salts[:1]) == pytest.approx(0.5)


def test_space_groups_by_hand():
    samples = [rock_salt("Na", "Cl"), cesium_chloride()]
    assert [metrics.space_group(s) for s in samples] == [225, 221]
    assert metrics.spacegroup_total_variation(samples, samples[:1]) == pytest.approx(0.5)


def test_draws_without_replacement_are_seeded_and_stated():
    rng = np.random.default_rng(0)
    values, reference = rng.normal(size=3000), rng.normal(size=500)
    first = metrics.wasserstein(values, reference, num_draws=1000, seed=1)
    assert first == metrics.wasserstein(values[::-1], reference, num_draws=1000, seed=1)
    assert first != metrics.wasserstein(values, reference, num_draws=1000, seed=2)
    assert metrics.wasserstein(values, values, num_draws=None) == 0


def test_prototypes_do_not_depend_on_elements_cell_origin_or_order():
    sites = np.array([[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
    first = Structure(Lattice.cubic(3.9), ["Sr", "Ti", "O", "O", "O"], sites)
    other = Structure(Lattice.cubic(4.2), ["F", "F", "F", "K", "Mg"], sites[[2, 3, 4, 0, 1]] + 0.5)
    assert metrics.symmetry(first) == (221, "ABC3 221 4/mmm|m-3m|m-3m")
    assert metrics.symmetry(other) == metrics.symmetry(first.make_supercell([2, 1, 1])) == metrics.symmetry(first)
    rock_salt = Structure(Lattice.cubic(5.6), ["Na"] * 4 + ["Cl"] * 4, [*FCC, *(FCC + 0.5)])
    zinc_blende = Structure(Lattice.cubic(5.4), ["Zn"] * 4 + ["S"] * 4, [*FCC, *(FCC + 0.25)])
    assert metrics.symmetry(rock_salt).prototype == "AB 225 m-3m|m-3m"
    assert metrics.symmetry(zinc_blende).prototype == "AB 216 -43m|-43m"


def test_bond_lengths_by_pair_see_what_the_mixture_hides():
    """Na-Cl and K-Br with their distances swapped: the pooled distances are those of real crystals."""

    def chlorides(nacl, kbr):
        return [
            Structure(Lattice.cubic(2 * length / 3**0.5), list(pair), [[0] * 3, [0.5] * 3])
            for pair, length in ((("Na", "Cl"), nacl), (("K", "Br"), kbr))
            for _ in range(12)
        ]

    real, swapped = chlorides(2.8, 3.3), chlorides(3.3, 2.8)
    assert metrics.nearest_neighbour_wasserstein(swapped, real) == pytest.approx(0, abs=1e-9)
    assert metrics.neighbour_pair_wasserstein(swapped, real) == pytest.approx(0.5)
    assert metrics.neighbour_pair_wasserstein(real, real) == pytest.approx(0, abs=1e-9)
    assert math.isnan(metrics.neighbour_pair_wasserstein(real[:3], real))  # too few atoms of any pair


def test_cell_shapes_are_those_of_the_niggli_cell():
    cube = Structure(Lattice.cubic(4), ["Po"], [[0] * 3])
    skewed = Structure([[4, 0, 0], [4, 4, 0], [0, 8, 4]], ["Po"], [[0] * 3])
    assert metrics.cell_length_wasserstein([skewed, None], [cube]) == pytest.approx(0, abs=1e-6)
    slab = Structure(Lattice.tetragonal(4, 7), ["Po"], [[0] * 3])
    assert metrics.cell_length_wasserstein([slab], [cube]) == pytest.approx(1)
    sheared = Structure(Lattice.monoclinic(4, 4.1, 4.2, 96), ["Po"], [[0] * 3])
    assert metrics.cell_angle_wasserstein([sheared], [cube]) == pytest.approx(2)
