"""Expected numbers come from matminer 0.10.1 with pymatgen 2026.10.24: CrystalNNFingerprint.from_preset("ops")."""

import numpy as np
import pytest
from pymatgen.core import DummySpecies, Lattice, Structure
from scipy.spatial.transform import Rotation

from graphgan.metrics import crystalnn, order_parameters, voronoi

THIRDS = [[1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]]
CENTRED = [[0, 0, 0], [0.5, 0.5, 0.5]]
CRYSTALS = {
    "rock salt": ((3.988, 3.988, 3.988, 60, 60, 60), "Na Cl", CENTRED),
    "CsCl": ((4.12, 4.12, 4.12, 90, 90, 90), "Cs Cl", CENTRED),
    "diamond": ((2.522, 2.522, 2.522, 60, 60, 60), "C C", [[0, 0, 0], [0.25, 0.25, 0.25]]),
    "perovskite": (
        (3.905, 3.905, 3.905, 90, 90, 90),
        "Sr Ti O O O",
        [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]],
    ),
    "hcp": ((3.21, 3.21, 5.21, 90, 90, 120), "Mg Mg", THIRDS),
    "low symmetry": (
        (6.469, 6.469, 6.743, 59.442, 59.442, 35.653),
        "Ni Ni Ni Sb Sb Te Te",
        [
            [0.254, 0.254, 0.737],
            [0.746, 0.746, 0.263],
            [0.996, 0.996, 0.003],
            [0.873, 0.873, 0.467],
            [0.37, 0.37, 0.965],
            [0.13, 0.13, 0.529],
            [0.628, 0.628, 0.037],
        ],
    ),
    "generated": (
        (3.513, 5.595, 6.607, 79.157, 73.949, 71.33),
        "O Cu Ag O Ag Ag O Ag",
        [
            [0.518, 0.114, 0.681],
            [0.693, 0.013, 0.414],
            [0.113, 0.828, 0.797],
            [0.876, 0.975, 0.139],
            [0.247, 0.282, 0.062],
            [0.442, 0.664, 0.292],
            [0.657, 0.568, 0.942],
            [0.887, 0.427, 0.636],
        ],
    ),
}
# Per coordination number: its share, then its motifs; numbers that are left out have none. Mean over sites.
EXPECTED = {
    "rock salt": {6: [1.0, 0.200067943, 1.0, 0.5]},
    "CsCl": {8: [0.939612215, 0.939612215, 0.407145846], 14: [0.060387785]},
    "diamond": {4: [1.0, 0.079968071, 1.0, 0.007024565, 0.23425359, 0.245209565]},
    "perovskite": {
        2: [0.310500723, 0, 1.1e-08, 1.8038e-05, 0.036066834, 0.310500723],
        6: [0.489499277, 0.097933113, 0.489499277, 0.244749638],
        12: [0.2, 0.2, 0, 0.038188131, 0.114904852],
    },
    "hcp": {
        6: [0.003134892, 0.001035594, 0.000126361, 0.000306983],
        12: [0.996865108, 0.996865108, 0.002032968, 0.094109997, 0.482571127],
    },
    "low symmetry": {
        1: [0.009477055, 0.009477055],
        2: [0.011340142, 0.00694207, 0.011033362, 0.004622543, 4.4996e-05, 9.621e-06],
        3: [0.034736938, 0.00772068, 0.016722136, 0.01516147],
        4: [0.156053508, 0.051616457, 0.056862337, 0.068780532, 0.091895687, 0.087631352],
        5: [0.29329047, 0.041039707, 0.122480867, 0.127124156],
        6: [0.17822879, 0.040044377, 0.13711653, 0.065075729],
        7: [0.160165168, 0.07523599, 0.073725072],
        8: [0.098208647, 0.045078076, 0.049426525],
        9: [0.001088106, 0.000203551, 0.000335415, 0.000325665],
        10: [0.030153084, 0.005269296, 0.010496414, 0.005742338],
        11: [0.027258091, 0.004201677, 0.008824162, 0.005386261],
    },
    "generated": {
        1: [0.121781982, 0.121781982],
        2: [0.115272716, 0.008334102, 0.004228035, 0.001201748, 0.044214673, 0.089912985],
        3: [0.166707091, 0.010227475, 0.057050453, 0.085264748],
        4: [0.048719885, 0.032386504, 0.008872414, 0.03638615, 0.0287851, 0.021995322],
        5: [0.231479734, 0.039959214, 0.204249918, 0.153751059],
        6: [0.23808085, 0.050436835, 0.207240097, 0.110596207],
        7: [0.015164848, 0.007006219, 0.007723427],
        8: [0.010476512, 0.000204656, 0.006501852],
        9: [0.01731625, 0.00183774, 0.007183202, 0.004247971],
        10: [0.007951055, 0.000903705, 0.002941864, 0.00220539],
        11: [0.007793259, 0.001014633, 0.001977716, 0.002952585],
        12: [0.01066203, 0.007572015, 0.001468487, 0.002664319, 0.003536731],
        13: [0.004296687],
        14: [0.002069003],
        15: [0.001909787],
        16: [0.00031831],
    },
}


def crystal(name):
    parameters, species, positions = CRYSTALS[name]
    return Structure(Lattice.from_parameters(*parameters), species.split(), positions)


def expected(name):
    values = []
    for label in crystalnn.feature_labels():
        motif, number = label.split(" CN_")
        if motif == "wt":
            left = iter(EXPECTED[name].get(int(number), ()))
        values.append(next(left, 0))
    return np.array(values)


def cubic(edge, species, positions):
    return Structure(Lattice.cubic(edge), species, positions)


def column(fingerprint, label):
    return fingerprint[crystalnn.feature_labels().index(label)]


@pytest.mark.parametrize("name", CRYSTALS)
def test_fingerprints_are_those_of_matminer(name):
    np.testing.assert_allclose(crystalnn.structure_fingerprint(crystal(name)), expected(name), atol=2e-8)


def test_labels_are_those_of_matminer():
    labels = crystalnn.feature_labels()
    assert len(labels) == 61 and labels[:3] == ["wt CN_1", "sgl_bd CN_1", "wt CN_2"]
    assert labels[-17:-12] == ["wt CN_12", "cuboctahedral CN_12", "q2 CN_12", "q4 CN_12", "q6 CN_12"]
    assert labels[-1] == "wt CN_24"


@pytest.mark.parametrize("name", CRYSTALS)
def test_site_order_origin_orientation_and_cell_do_not_matter(name):
    structure = crystal(name)
    rng = np.random.default_rng(0)
    order = rng.permutation(len(structure))
    turned = Lattice(structure.lattice.matrix @ Rotation.random(rng=rng).as_matrix())
    species, positions = structure.species, structure.frac_coords
    variants = [
        Structure(structure.lattice, [species[i] for i in order], positions[order]),
        Structure(structure.lattice, species, positions + rng.random(3)),
        Structure(turned, species, positions),
        structure.make_supercell([[1, 1, 0], [0, 1, 0], [1, 0, 2]], in_place=False),
    ]
    wanted = crystalnn.structure_fingerprint(structure)
    for variant in variants:
        np.testing.assert_allclose(crystalnn.structure_fingerprint(variant), wanted, atol=1e-7)


def test_mirror_images_are_alike():
    structure = crystal("generated")
    mirrored = Structure(structure.lattice.matrix * [1, 1, -1], structure.species, structure.frac_coords)
    np.testing.assert_allclose(
        crystalnn.structure_fingerprint(mirrored), crystalnn.structure_fingerprint(structure), atol=1e-10
    )


def test_sites_are_in_the_order_of_the_structure():
    sites = crystalnn.site_fingerprints(crystal("perovskite"))
    assert sites.shape == (5, 61)
    np.testing.assert_allclose(sites.mean(axis=0), crystalnn.structure_fingerprint(crystal("perovskite")), atol=1e-15)
    assert column(sites[0], "wt CN_12") == pytest.approx(1) and column(sites[1], "octahedral CN_6") == pytest.approx(1)


def test_many_at_once_give_what_one_at_a_time_gives():
    # The crystal with open cells is given up half way, which must not disturb its neighbours in the batch.
    cluster = Structure(
        Lattice.cubic(20),
        ["Si"] * 6,
        [[0, 0, 0], [0.08, 0, 0], [0, 0.08, 0], [0, 0, 0.08], [0.04, 0.03, 0.02], [0.5, 0.5, 0.5]],
    )
    structures = [crystal(name) for name in CRYSTALS]
    mixed = [None, structures[0], cluster, *structures[1:3], cubic(3, ["Bk"], [[0, 0, 0]]), *structures[3:]] * 9
    together = crystalnn.structure_fingerprints(mixed)
    assert len(together) == len(mixed)
    for structure, fingerprint in zip(mixed, together, strict=True):
        alone = crystalnn.structure_fingerprint(structure)
        assert (alone is None) == (fingerprint is None)
        if alone is not None:
            np.testing.assert_allclose(fingerprint, alone, atol=1e-12)
    assert crystalnn.structure_fingerprints([]) == []


def test_charges_play_no_part():
    charged = cubic(4.12, ["Cs+", "Cl-"], CENTRED)
    wanted = crystalnn.structure_fingerprint(crystal("CsCl"))
    np.testing.assert_allclose(crystalnn.structure_fingerprint(charged), wanted, atol=1e-14)


@pytest.mark.parametrize(
    "structure",
    [
        None,
        cubic(3, ["Bk"], [[0, 0, 0]]),  # no radius
        cubic(3, ["Og", "Na"], CENTRED),
        cubic(3, [DummySpecies("X"), "Na"], CENTRED),
        cubic(3, [{"Fe": 0.5, "Co": 0.5}, "Na"], CENTRED),
        cubic(3, [{"Fe": 0.5}, "Na"], CENTRED),
        cubic(3, ["Na", "Cl"], [[0.1, 0, 0], [1.1, 0, 0]]),  # in one place
        cubic(3, ["Na", "Cl"], [[np.nan, 0, 0], [0.5, 0, 0]]),
        Structure(Lattice([[3, 0, 0], [0, 3, 0], [3, 3, 0]]), ["Na"], [[0, 0, 0]]),
        cubic(0.1, ["Na", "Cl"], CENTRED),  # millions of neighbours
        cubic(1e4, ["Na", "Cl"], CENTRED),  # a gas: pymatgen asks for 80 GB
        cubic(20, ["Si"] * 4, [[0, 0, 0], [0.08, 0, 0], [0, 0.08, 0], [0, 0, 0.08]]),  # matminer raises, too
    ],
)
def test_no_fingerprint(structure):
    assert crystalnn.structure_fingerprint(structure) is None
    assert crystalnn.site_fingerprints(structure) is None


def test_noble_gases_have_fingerprints_without_electronegativity():
    # Atoms of argon are far beyond their radii, those of helium are not; both shells of a CsCl lattice are cubes.
    assert not crystalnn.structure_fingerprint(cubic(8, ["Ar"], [[0, 0, 0]])).any()
    helium = crystalnn.structure_fingerprint(cubic(1.2, ["He", "Ne"], CENTRED))
    assert column(helium, "wt CN_8") == pytest.approx(column(helium, "body-centered cubic CN_8"))
    assert column(helium, "wt CN_8") > 0.5


def test_a_slab_is_searched_until_its_cells_close():
    slab = Structure(Lattice.tetragonal(4.1, 30), ["Na", "Cl"], [[0, 0, 0.5], [0.5, 0.5, 0.5]])
    faces, closed = voronoi.voronoi_faces([slab])
    assert closed == [True]
    # A layer's image 30 Å away closes the cell, and takes most of the solid angle.
    sizes = [faces.solid_angle[faces.site == i].sum() for i in range(2)]
    np.testing.assert_allclose(sizes, 4 * np.pi, rtol=1e-12)
    assert faces.distance.max() == pytest.approx(30)


@pytest.mark.parametrize("name", CRYSTALS)
def test_cells_fill_space_and_faces_are_shared(name):
    structure = crystal(name)
    faces, _ = voronoi.voronoi_faces([structure])
    np.testing.assert_allclose(np.bincount(faces.site, faces.solid_angle), 4 * np.pi, rtol=1e-10)
    assert (faces.area * faces.distance / 6).sum() == pytest.approx(structure.volume, rel=1e-10)
    # Every face is seen from both sides, with the same area and the opposite vector.
    there = np.column_stack([faces.site, faces.neighbour, faces.vector, faces.area])
    back = np.column_stack([faces.neighbour, faces.site, -faces.vector, faces.area])
    key = lambda rows: np.lexsort(np.round(rows, 6).T + 0.0)  # noqa: E731
    large = faces.area > 1e-6
    there, back = there[large], back[large]
    np.testing.assert_allclose(there[key(there)], back[key(back)], atol=1e-6)


def test_faces_of_a_cube():
    faces, _ = voronoi.voronoi_faces([cubic(3, ["Po"], [[0, 0, 0]])])
    large = faces.area > 1e-6
    np.testing.assert_allclose(faces.area[large], [9] * 6)
    np.testing.assert_allclose(faces.solid_angle[large], [4 * np.pi / 6] * 6)


def shell(vectors):
    vectors = np.array(vectors, float)[None]
    return order_parameters.Shell.of(vectors, np.ones(vectors.shape[:2]))


def motif(number, name, vectors):
    return dict(order_parameters.MOTIFS[number])[name](shell(vectors))[0]


AXES = [[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]]
CORNERS = [[x, y, z] for x in (1, -1) for y in (1, -1) for z in (1, -1)]
EDGES = [[x, y, z] for x in (-1, 0, 1) for y in (-1, 0, 1) for z in (-1, 0, 1) if abs(x) + abs(y) + abs(z) == 2]
CIRCLE = np.column_stack([np.cos(np.arange(60) * np.pi / 30), np.sin(np.arange(60) * np.pi / 30), np.zeros(60)])


@pytest.mark.parametrize(
    ("number", "name", "vectors"),
    [
        (2, "linear", AXES[:2]),
        (2, "L-shaped", AXES[1:3]),
        (2, "bent 120 degrees", CIRCLE[[0, 20]]),
        (2, "bent 150 degrees", CIRCLE[[0, 25]]),
        (3, "trigonal planar", CIRCLE[::20]),
        (3, "T-shaped", AXES[:3]),
        (4, "square co-planar", AXES[:4]),
        (4, "tetrahedral", [c for c in CORNERS if np.prod(c) > 0]),
        (4, "trigonal pyramidal", [*CIRCLE[::20], AXES[4]]),
        (4, "rectangular see-saw-like", [AXES[0], AXES[1], AXES[2], AXES[4]]),
        (5, "pentagonal planar", CIRCLE[::12]),
        (5, "square pyramidal", AXES[:5]),
        (5, "trigonal bipyramidal", [*CIRCLE[::20], *AXES[4:]]),
        (6, "octahedral", AXES),
        (6, "hexagonal planar", CIRCLE[::10]),
        (6, "pentagonal pyramidal", [*CIRCLE[::12], AXES[4]]),
        (7, "hexagonal pyramidal", [*CIRCLE[::10], AXES[4]]),
        (7, "pentagonal bipyramidal", [*CIRCLE[::12], *AXES[4:]]),
        (8, "body-centered cubic", CORNERS),
        (8, "hexagonal bipyramidal", [*CIRCLE[::10], *AXES[4:]]),
        (12, "cuboctahedral", EDGES),
    ],
)
def test_ideal_motifs_score_one(number, name, vectors):
    assert motif(number, name, vectors) == pytest.approx(1, abs=2e-3)


def test_steinhardt_of_an_icosahedron_and_a_cube():
    golden = (1 + np.sqrt(5)) / 2
    corners = [p for x in (1, -1) for y in (golden, -golden) for p in ([0, x, y], [x, y, 0], [y, 0, x])]
    # Steinhardt et al. (1983): q4 vanishes, q6 = 0.66332. The cube: q4 = 0.50918, q6 = 0.62854.
    np.testing.assert_allclose([motif(12, f"q{degree}", corners) for degree in (2, 4)], 0, atol=1e-7)
    assert motif(12, "q6", corners) == pytest.approx(0.66332, abs=1e-5)
    cube = shell(CORNERS)
    assert order_parameters.steinhardt(cube, degree=4)[0] == pytest.approx(0.50918, abs=1e-5)
    assert order_parameters.steinhardt(cube, degree=6)[0] == pytest.approx(0.62854, abs=1e-5)


def test_order_of_equal_bonds_does_not_change_a_distorted_cube():
    rng = np.random.default_rng(0)
    vectors = np.array(CORNERS) + 0.2 * rng.normal(size=(8, 3))
    value = motif(8, "body-centered cubic", vectors)
    assert motif(8, "body-centered cubic", vectors[rng.permutation(8)]) == pytest.approx(value, abs=1e-12)
    # Bonds of different strength do have an order.
    unequal = order_parameters.Shell.of(vectors[None], np.linspace(1, 0.5, 8)[None])
    assert abs(order_parameters.body_centred(unequal)[0] - value) > 1e-4
