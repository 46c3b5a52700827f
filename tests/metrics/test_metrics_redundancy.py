import itertools

import numpy as np
import pytest

from graphgan.errors import UserError
from graphgan.metrics import redundancy as rd

# Full ranges of the normalised units of CrysTens ("avg_std"): Z, x, y, z, a, b, c, α, β, γ, space group.
RANGES = [98, 1.0, 1.0, 1.0, 40.9, 43.4, 114.0, 60.2, 78.7, 61.1, 229]
DIFFERENCE, LENGTH = 2.0, 1.63
COUNTS = [6, 9, 5, 12]

SIX = [
    rd.lattice_parameter_variance,
    rd.lattice_angle_variance,
    rd.space_group_number_variance,
    rd.fractional_coordinate_variance,
    rd.relative_coordinate_difference,
    rd.reconstructed_pairwise_difference,
]


def crystals():
    """Rutile, quartz, a perovskite and baddeleyite: atomic numbers, positions, cell, space group."""
    u = 0.3053
    rutile = [[0, 0, 0], [0.5] * 3, [u, u, 0], [-u, -u, 0], [0.5 + u, 0.5 - u, 0.5], [0.5 - u, 0.5 + u, 0.5]]
    yield [22] * 2 + [8] * 4, rutile, [4.594, 4.594, 2.959, 90, 90, 90], 136
    v, (x, y, z) = 0.4697, (0.4133, 0.2672, 0.1191)
    silicon = [[v, 0, 0], [0, v, 2 / 3], [-v, -v, 1 / 3]]
    oxygen = [[x, y, z], [-y, x - y, z + 2 / 3], [y - x, -x, z + 1 / 3]]
    oxygen += [[y, x, -z], [x - y, -y, 1 / 3 - z], [-x, y - x, 2 / 3 - z]]
    yield [14] * 3 + [8] * 6, silicon + oxygen, [4.913, 4.913, 5.405, 90, 90, 120], 154
    cubic = [[0.5] * 3, [0] * 3, [0.5, 0, 0], [0, 0.5, 0], [0, 0, 0.5]]
    yield [38, 22, 8, 8, 8], cubic, [3.905, 3.905, 3.905, 90, 90, 90], 221
    sites = [(0.2758, 0.0411, 0.2082), (0.0703, 0.3359, 0.3406), (0.4423, 0.7451, 0.4789)]
    moved = [q for x, y, z in sites for q in ([x, y, z], [-x, -y, -z], [-x, y + 0.5, 0.5 - z], [x, 0.5 - y, z + 0.5])]
    yield [40] * 4 + [8] * 8, moved, [5.15, 5.21, 5.32, 90, 99.2, 90], 14


def image(numbers, positions, cell, group, slots=52, sign=1, shortest=False):
    """A perfect tensor, written entry by entry."""
    positions = np.asarray(positions, float) % 1
    tensor = np.zeros((12 + slots, 12 + slots, 4))
    for i, (number, position) in enumerate(zip(numbers, positions, strict=True)):
        for k, value in enumerate([number, *position, *cell, group]):
            for channel in range(4):
                tensor[12 + i, k, channel] = value
                tensor[k, 12 + i, channel] = value
        for j, other in enumerate(positions):
            difference = position - other
            if shortest:
                difference = difference - np.round(difference)
            tensor[12 + i, 12 + j, 0] = np.sqrt((difference**2).sum())
            tensor[12 + i, 12 + j, 1:] = sign * difference
    return tensor


def perfect():
    return np.array([image(*crystal) for crystal in crystals()])


def noisy(tensor, count, sigma, rng):
    """Independent noise on every entry that is in use, in normalised units."""
    scale = np.zeros(tensor.shape)
    end = 12 + count
    for k, full in enumerate(RANGES):
        scale[12:end, k], scale[k, 12:end] = full, full
    scale[12:end, 12:end, 0], scale[12:end, 12:end, 1:] = LENGTH, DIFFERENCE
    scale[np.arange(12, end), np.arange(12, end)] = 1
    return tensor + sigma * scale * rng.normal(size=tensor.shape)


def with_noise(sigma, rng):
    return np.array([noisy(t, n, sigma, rng) for t, n in zip(perfect(), COUNTS, strict=True)])


def published(tensor, n):
    """Columns 5 and 6 of one tensor, step by step as in the public code."""
    t = tensor[: 12 + n, : 12 + n].copy()
    for i, k in itertools.product(range(12, 12 + n), range(12)):
        t[i, k] = t[k, i] = (t[i, k].sum() + t[k, i].sum()) / 8
    for i, j in itertools.product(range(12, 12 + n), repeat=2):
        t[i, j, 0] = t[j, i, 0] = (t[i, j, 0] + t[j, i, 0]) / 2
        for k in (1, 2, 3):
            if t[i, j, k] > 0:
                mean = (t[i, j, k] + abs(t[j, i, k])) / 2
                t[i, j, k], t[j, i, k] = mean, -mean
            else:
                mean = (abs(t[i, j, k]) + t[j, i, k]) / 2
                t[i, j, k], t[j, i, k] = -mean, mean
    share = 1 - 1 / (12 + n)
    moves, final = [], []
    for j in range(12, 12 + n):
        says = [t[i, 1:4, 0] - t[i, j, 1:] for i in range(12, 12 + n)]
        final.append((1 - share) * t[j, 1:4, 0] + share * np.mean(says, axis=0))
        moves.extend(abs(t[j, 1:4, 0] - final[-1]) / n)
    gaps = [abs(t[12 + i, 12 + j, 0] - np.linalg.norm(final[i] - final[j])) for i, j in np.ndindex(n, n)]
    return moves, sum(gaps) / n


def test_a_perfect_tensor_scores_nothing():
    images = perfect()
    assert rd.num_sites(images).tolist() == COUNTS
    assert [column(images) for column in SIX[:4]] == [0.0] * 4
    assert [column(images) for column in SIX[4:]] == pytest.approx([0.0] * 2, abs=1e-15)
    assert rd.fractional_coordinate_variance(images, axes="xyz") == 0.0
    # Positions that floats can hold exactly leave no rounding either.
    exact = image([22, 8, 8], [[0, 0, 0], [0.5, 0.25, 0.125], [0.75, 0.5, 0.5]], [4, 5, 6, 90, 90, 90], 1)[None]
    assert [column(exact) for column in SIX] == pytest.approx([0.0] * 6, abs=1e-16)


def test_not_quality_but_agreement_is_measured():
    # Atoms on top of each other, a flat cell and a space group that does not exist, five times over.
    nonsense = np.array([image([1, 1], [[0.1] * 3] * 2, [0.001, 900, 3, 170, 170, 1], 999)] * 5)
    assert [column(nonsense) for column in SIX] == [0.0] * 6


@pytest.mark.parametrize(
    ("sigma", "expected"), [(0.01, [0.543, 0.454, 5.14, 8.9e-5]), (0.03, [4.97, 4.01, 44, 7.6e-4])]
)
def test_variances_of_known_noise(sigma, expected):
    rng = np.random.default_rng(0)
    images = np.concatenate([with_noise(sigma, rng) for _ in range(25)])
    found = [column(images) for column in SIX[:4]]
    assert found == pytest.approx(expected, rel=0.1)  # measured with the public code on other real crystals
    copies = 8 * np.tile(COUNTS, 25)
    for rows, value in (([4, 5, 6], found[0]), ([7, 8, 9], found[1]), ([10], found[2])):
        variance = np.mean(np.array(RANGES)[rows] ** 2) * sigma**2
        assert value == pytest.approx(variance * np.mean(1 - 1 / copies), rel=0.03)
    # Eight copies: seven eighths of the variance.
    assert found[3] == pytest.approx(sigma**2 * 7 / 8, rel=0.03)
    assert rd.fractional_coordinate_variance(images, axes="xyz") == pytest.approx(sigma**2 * 7 / 8, rel=0.03)


def test_last_columns_equal_the_published_steps():
    rng = np.random.default_rng(1)
    images = with_noise(0.03, rng)
    moves, gaps = zip(*(published(t, n) for t, n in zip(images, COUNTS, strict=True)), strict=True)
    assert rd.relative_coordinate_difference(images, COUNTS) == pytest.approx(np.mean(np.concatenate(moves)), rel=1e-12)
    assert rd.reconstructed_pairwise_difference(images, COUNTS) == pytest.approx(np.mean(gaps), rel=1e-12)


def test_one_wrong_copy():
    images = perfect()[2:3]  # five sites
    images[0, 4, 14, 2] += 0.4  # one of 40 copies of a
    assert rd.lattice_parameter_variance(images) == pytest.approx(0.4**2 / 40 * (1 - 1 / 40) / 3)
    assert rd.lattice_angle_variance(images) == 0
    images[0, 13, 3, 1] += 0.2  # one of 8 copies of z of the second site
    assert rd.fractional_coordinate_variance(images) == 0
    assert rd.fractional_coordinate_variance(images, axes="xyz") == pytest.approx(0.2**2 / 8 * (1 - 1 / 8) / 15)
    images[0, 10, 16, 3] += 3
    assert rd.space_group_number_variance(images) == pytest.approx(9 / 40 * (1 - 1 / 40))


def test_a_square_seen_from_its_corners():
    side, share = 0.25, 1 - 1 / 16
    corners = [[0, 0, 0], [side, 0, 0], [0, side, 0], [side, side, 0]]
    lecture = image([6] * 4, corners, [4, 4, 9, 90, 90, 90], 1, sign=-1)[None]
    assert lecture[0, 12, 12:16, 1].tolist() == [0, side, 0, side]
    assert lecture[0, 12, 12:16, 2].tolist() == [0, 0, side, side]
    assert rd.relative_coordinate_difference(lecture, sign=-1) == 0
    # With the wrong sign every corner is seen at the opposite one: a side away along x and y.
    assert rd.relative_coordinate_difference(lecture) == pytest.approx(2 / 3 * side * share / 4)


def test_wrapped_differences_need_the_torus():
    wrapped = np.array([image(*crystal, shortest=True) for crystal in crystals()])
    assert rd.relative_coordinate_difference(wrapped, periodic=True) == pytest.approx(0, abs=1e-15)
    assert rd.relative_coordinate_difference(wrapped) > 0.01
    # Differences of exactly half a cell have two shortest images; lengths do not care.
    assert rd.reconstructed_pairwise_difference(wrapped, periodic=True) == pytest.approx(0, abs=1e-14)
    assert rd.relative_coordinate_difference(perfect(), periodic=True) == pytest.approx(0, abs=1e-15)


def test_input_stays_as_it_is():
    rng = np.random.default_rng(2)
    images = with_noise(0.02, rng).astype(np.float32)
    kept = images.copy()
    images.setflags(write=False)
    first = [column(images) for column in SIX]
    assert (images == kept).all()
    assert [column(images) for column in SIX] == first
    assert min(first) > 0
    # The order of crystals, and of sites within one, is no information.
    assert [column(images[::-1]) for column in SIX] == pytest.approx(first)
    order = np.r_[:12, 12 + rng.permutation(12)]
    shuffled = images[3:][:, order][:, :, order]
    for column in SIX[:4]:
        assert column(shuffled, [12]) == pytest.approx(column(images[3:], [12]), rel=1e-5)


def test_number_of_sites():
    full = image([6] * 3, np.eye(3) / 4, [4, 4, 4, 60, 90, 90], 1, slots=3)
    assert full.shape == (15, 15, 4)
    assert rd.num_sites(full[None]).tolist() == [3]  # the published code loses the third
    full[14, 7] *= 1.19
    assert rd.num_sites(full[None]).tolist() == [3]
    full[13, 7] *= 0.79
    assert rd.num_sites(full[None]).tolist() == [1]
    assert rd.num_sites(full[None], tolerance=0.3).tolist() == [3]
    empty = np.zeros((2, 15, 15, 4))
    empty[1, 12, 7] = np.nan
    assert rd.num_sites(empty).tolist() == [0, 0]
    assert all(np.isnan(column(empty)) for column in SIX)
    assert all(np.isnan(column(empty[:0])) for column in SIX)
    assert rd.lattice_parameter_variance(np.concatenate([empty, full[None]])) == 0


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        (np.zeros((64, 64, 4)), {}, r"\(64, 64, 4\), expected \[n, S, S, 4\]"),
        (np.zeros((2, 4, 64, 64)), {}, r"\(2, 4, 64, 64\)"),
        (np.zeros((2, 12, 12, 4)), {}, "S above 12"),
        (np.zeros((2, 64, 64, 4)), {"sites": [1]}, r"2 numbers from 0 to 52, not \[1\]"),
        (np.zeros((1, 64, 64, 4)), {"sites": [53]}, r"not \[53\]"),
    ],
)
@pytest.mark.parametrize("column", SIX)
def test_tensors_that_do_not_fit(column, given, options, message):
    with pytest.raises(UserError, match=message):
        column(given, **options)


def test_options_that_do_not_exist():
    with pytest.raises(UserError, match="axes is 'z'"):
        rd.fractional_coordinate_variance(perfect(), axes="z")
    with pytest.raises(UserError, match="sign is 0"):
        rd.relative_coordinate_difference(perfect(), sign=0)


def graphs(padding=3):
    """Directions, positions and numbers of atoms of the crystals, padded with rubbish."""
    counts = np.array(COUNTS)
    size = counts.max() + padding
    rng = np.random.default_rng(3)
    directions, positions = rng.random((4, 3, size, size)), rng.random((4, size, 3))
    for index, (_, given, _, _) in enumerate(crystals()):
        count, given = counts[index], np.asarray(given, float)
        positions[index, :count] = given % 1
        difference = (given - given[:, None]).transpose(2, 0, 1)
        directions[index, :, :count, :count] = difference - np.round(difference)
    return directions, positions, counts


def test_consistent_graph_tensors_score_nothing():
    directions, positions, counts = graphs()
    assert rd.graph_relative_coordinate_difference(directions, positions, counts) == pytest.approx(0, abs=1e-15)
    assert rd.graph_pairwise_difference(directions, positions, counts) == pytest.approx(0, abs=1e-14)
    assert rd.graph_relative_coordinate_difference(np.zeros((1, 3, 1, 1)), np.ones((1, 1, 3)) / 3, [1]) == 0
    assert np.isnan(rd.graph_pairwise_difference(np.zeros((0, 3, 2, 2)), np.zeros((0, 2, 3)), []))


def test_graph_tensors_live_on_the_torus():
    directions, positions, counts = graphs()
    rng = np.random.default_rng(4)
    directions = directions + 0.02 * rng.normal(size=directions.shape)
    first = rd.graph_relative_coordinate_difference(directions, positions, counts)
    gap = rd.graph_pairwise_difference(directions, positions, counts)
    assert first > 1e-4
    elsewhere = positions + rng.integers(-2, 3, size=positions.shape) + 0.3
    assert rd.graph_relative_coordinate_difference(directions, elsewhere, counts) == pytest.approx(first)
    assert rd.graph_pairwise_difference(directions, elsewhere, counts) == pytest.approx(gap)
    turned = directions + rng.integers(-1, 2, size=directions.shape)
    assert rd.graph_relative_coordinate_difference(turned, positions, counts) == pytest.approx(first)


def test_graph_tensors_and_images_share_the_definition():
    directions, positions, counts = graphs()
    directions = directions + 0.02 * np.random.default_rng(5).normal(size=directions.shape)
    images = np.array([image(*crystal) for crystal in crystals()])
    for index, count in enumerate(counts):
        images[index, 12 : 12 + count, 12 : 12 + count, 1:] = np.moveaxis(directions[index, :, :count, :count], 0, -1)
    ours = rd.graph_relative_coordinate_difference(directions, positions, counts)
    assert rd.relative_coordinate_difference(images, sign=-1, periodic=True) == pytest.approx(ours)


def test_graph_pairwise_difference_of_one_pair():
    positions = np.array([[[0.9, 0, 0], [0.15, 0, 0]]])
    directions = np.zeros((1, 3, 2, 2))
    directions[0, 0] = [[0, 0.35], [-0.35, 0]]  # a quarter away, said to be 0.35 away
    lattice = np.diag([4.0, 5.0, 6.0])[None]
    assert rd.graph_pairwise_difference(directions, positions, [2]) == pytest.approx(0.1)
    assert rd.graph_pairwise_difference(directions, positions, [2], lattice) == pytest.approx(0.4)
    # Both atoms are told to move 0.05; the share is 13/14, and there are two atoms and three axes.
    expected = 0.05 * 13 / 14 / 2 / 3
    assert rd.graph_relative_coordinate_difference(directions, positions, [2]) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((1, 3, 2, 2), (1, 3, 3), (1,)), "do not go together"),
        (((1, 2, 2, 3), (1, 2, 3), (1,)), "do not go together"),
        (((1, 3, 2, 2), (1, 2, 3), (2,)), "do not go together"),
        (((1, 3, 2, 2), (1, 2, 3), (1,)), r"num_atoms must be from 1 to 2, not \[0\]"),
    ],
)
def test_graphs_that_do_not_fit(shapes, message):
    directions, positions, counts = map(np.zeros, shapes)
    for column in (rd.graph_relative_coordinate_difference, rd.graph_pairwise_difference):
        with pytest.raises(UserError, match=message):
            column(directions, positions, counts.astype(int))


def test_lattices_that_do_not_fit():
    with pytest.raises(UserError, match=r"lattices have shape \(3, 3\), expected \(1, 3, 3\)"):
        rd.graph_pairwise_difference(np.zeros((1, 3, 2, 2)), np.zeros((1, 2, 3)), [2], np.eye(3))
