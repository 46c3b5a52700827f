"""Separations: exact distances, quantiles and radii by hand; where atoms end; symmetries."""

import math

import pytest
import torch

from graphgan.geometry import wrap
from graphgan.graph_tensor import GraphTensor, atom_mask
from graphgan.latents import Latents
from graphgan.networks import Decoder
from graphgan.separations import BORROWED, FITTED, SKIN, Separations, found_separations, shortest_distances

BOX = 10 * torch.eye(3)[None]


def crystals_of(species, positions, lattice, num_atoms=None, kinds=3):
    """One crystal as a graph tensor."""
    kind = torch.tensor([species])
    num_atoms = torch.tensor([len(species) if num_atoms is None else num_atoms])
    atoms = atom_mask(num_atoms, len(species))
    one_hot = torch.nn.functional.one_hot(kind, kinds) * atoms[..., None]
    return GraphTensor.from_positions(one_hot.float(), torch.tensor([positions]), lattice, num_atoms)


def keeping(table):
    """Separations with a table in Å."""
    made = Separations(len(table), 0.1)
    made.shortest.copy_(torch.tensor(table))
    return made


def apart(made, positions, species=None, lattice=BOX, num_atoms=None):
    positions = torch.as_tensor(positions)[None] if torch.as_tensor(positions).ndim == 2 else torch.as_tensor(positions)
    count = positions.shape[1]
    species = torch.zeros(1, count, dtype=torch.int64) if species is None else torch.tensor([species])
    mask = atom_mask(torch.tensor([num_atoms or count]), count)
    return moved(made, positions, species, lattice, mask)


def moved(made, positions, species, lattice, mask):
    return positions + made.moves(positions, species, lattice, mask)


def shortest(positions, lattice):
    """Shortest distance between different atoms [N, N], from 5 x 5 x 5 cells."""
    steps = torch.arange(-2.0, 3.0)
    images = torch.cartesian_prod(steps, steps, steps)
    found = torch.linalg.vector_norm(
        (positions[None] - positions[:, None])[:, :, None] @ lattice + images @ lattice, dim=-1
    )
    return found.amin(-1) + torch.diag(torch.full((len(positions),), torch.inf))


# -- what is learned ---------------------------------------------------------------------------------------------------


def test_shortest_distances_of_caesium_chloride():
    """Own images at the edge of the cell, the other element at half the body diagonal; padding is nothing."""
    crystal = crystals_of([2, 0, 1], [[0.1, 0.2, 0.3], [0.6, 0.7, 0.8], [0.0, 0.0, 0.0]], 4 * torch.eye(3)[None], 2)
    pairs, distances = shortest_distances(crystal)
    assert pairs.tolist() == [0 * 3 + 0, 0 * 3 + 2, 2 * 3 + 2]
    assert distances.tolist() == pytest.approx([4, 2 * math.sqrt(3), 4], rel=1e-6)


def test_shortest_distances_look_into_neighbouring_cells():
    """Sodium chloride in its rhombohedral cell, where atoms seem half a long diagonal apart."""
    lattice = 2.82 * torch.tensor([[[0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 0.0]]])
    pairs, distances = shortest_distances(crystals_of([0, 1], [[0.0, 0.0, 0.0], [0.5, 0.5, 0.5]], lattice, kinds=2))
    assert pairs.tolist() == [0, 1, 3]
    assert distances.tolist() == pytest.approx([2.82 * math.sqrt(2), 2.82, 2.82 * math.sqrt(2)], rel=1e-6)


def test_a_pair_that_many_crystals_have_gets_its_quantile():
    """Of 1001 distances 1.000 ... 2.000, a tenth are below 1.1; one element alone fits its radius exactly."""
    distances = torch.linspace(1, 2, 1001)[torch.randperm(1001, generator=torch.Generator().manual_seed(0))]
    found = found_separations(torch.zeros(1001, dtype=torch.int64), distances, 1, 0.1)
    assert found.tolist() == [[pytest.approx(1.1, rel=1e-5)]]
    assert found_separations(torch.tensor([0, 0]), torch.tensor([3.0, 1.0]), 1, 0.25).item() == pytest.approx(
        1.5, rel=1e-5
    )


def test_radii_stand_in_for_pairs_that_nobody_has_seen():
    """Radii 0.5, 1 and 1.5 Å, of which 0 and 2 were never seen together."""
    pairs, distances = torch.tensor([0, 1, 4, 5, 8]), torch.tensor([1.0, 1.5, 2.0, 2.5, 3.0])
    found = found_separations(pairs, distances, 3, 0.1)
    expected = torch.tensor([[1.0, 1.5, 2.0], [1.5, 2.0, 2.5], [2.0, 2.5, 3.0]])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=0)


def test_rare_pairs_borrow_and_frequent_ones_hardly():
    """Elements of radius 1 Å that are 3 Å from one another: once in 5 crystals, once in 5,000."""
    for count in (5, 5000):
        pairs = torch.tensor([0] * count + [1] * count + [3] * count)
        distances = torch.tensor([2.0] * count + [3.0] * count + [2.0] * count)
        found = found_separations(pairs, distances, 2, 0.1)
        # Least squares of r0 + r0 = 2, r0 + r1 = 3, r1 + r1 = 2, equally often: both radii 7/6. A tenth of the
        # distances are not more than 6/7 of their sums.
        assert found[0, 1].item() == pytest.approx((count * 3 + BORROWED * 2) / (count + BORROWED), rel=1e-4)


def test_a_pair_counts_for_radii_as_often_as_seen_but_no_more_than_fifty_times():
    """The same with 100 crystals of the first pair, 25 of the others: weights 50, 25, 25 give
    4 · 50 r0 + 25 (r0 + r1) = 2 · 50 · 2 + 25 · 3 and 25 (r0 + r1) + 4 · 25 r1 = 25 · 3 + 2 · 25 · 2."""
    assert FITTED == 50
    r0, r1 = torch.linalg.solve(torch.tensor([[225.0, 25.0], [25.0, 125.0]]), torch.tensor([275.0, 175.0])).tolist()
    pairs, distances = (
        torch.tensor([0] * 100 + [1] * 25 + [3] * 25),
        torch.tensor([2.0] * 100 + [3.0] * 25 + [2.0] * 25),
    )
    found = found_separations(pairs, distances, 2, 0.1)
    # The nearest in units of their sums are the last 25, a sixth of all.
    assert 1 / r1 < 1 / r0 < 3 / (r0 + r1)
    assert found[0, 1].item() == pytest.approx((25 * 3 + BORROWED * (r0 + r1) / r1) / (25 + BORROWED), rel=1e-4)


def test_radii_are_of_the_nearest_tenth_where_every_pair_is_seen_once():
    """Ten elements, all of radius 1 Å, whose 55 pairs are seen once each at 1.5 to 2.5 Å: no pair says what its tenth
    is, all of them together do."""
    distances = torch.linspace(1.5, 2.5, 55)[torch.randperm(55, generator=torch.Generator().manual_seed(1))]
    a, b = torch.triu_indices(10, 10)
    found = found_separations(10 * a + b, distances, 10, 0.1)
    fitted = ((1 + BORROWED) * found[a, b] - distances) / BORROWED  # without the crystal that each has
    assert 0.05 < (distances < fitted).float().mean() < 0.15


def test_learning_is_of_all_batches():
    made, both = Separations(3, 0.5), []
    for edge in (4.0, 6.0):
        both.append(crystals_of([2, 0], [[0.0, 0.0, 0.0], [0.5, 0.5, 0.5]], edge * torch.eye(3)[None]))
    made.learn(both)
    # Medians 5, 2.5 √3 and 5 Å, equally often: both radii are half their mean.
    # Made smaller until half of 2 √3, 4, 4, 3 √3, 6 and 6 Å are below.
    half = (4 + 3 * math.sqrt(3)) / 2
    assert made.shortest[0, 0].item() == pytest.approx((2 * 5 + BORROWED * half) / (2 + BORROWED), rel=1e-4)
    assert torch.equal(made.shortest, made.shortest.mT)
    once, again = Separations(3, 0.5), Separations(3, 0.5)
    once.learn([both[0]])
    again.learn([both[0], both[0]])
    assert not torch.equal(made.shortest, once.shortest)
    # Twice the same crystals: the same quantiles, a little less borrowed.
    assert abs(again.shortest[0, 2] - 2 * math.sqrt(3)) < abs(once.shortest[0, 2] - 2 * math.sqrt(3))


# -- where atoms end ---------------------------------------------------------------------------------------------------


def test_two_atoms_end_at_their_separation_and_no_further():
    made = keeping([[2.0, 2.5], [2.5, 3.0]])
    for species, expected in (([0, 0], 2.0), ([0, 1], 2.5), ([1, 1], 3.0)):
        x = apart(made, [[0.30, 0.5, 0.5], [0.35, 0.5, 0.5]], species)[0]
        assert 10 * (x[1, 0] - x[0, 0]).item() == pytest.approx(expected, abs=1e-4)
        assert 10 * (x[1, 0] + x[0, 0]).item() == pytest.approx(6.5, abs=1e-4)  # each goes half the way
        assert x[:, 1:].flatten().tolist() == pytest.approx([0.5] * 4, abs=1e-6)


def test_atoms_meet_across_the_border_of_the_cell():
    x = apart(keeping([[2.0]]), [[0.02, 0.5, 0.5], [0.98, 0.5, 0.5]])[0]
    assert wrap(x[0] - x[1]).tolist() == pytest.approx([0.2, 0, 0], abs=1e-5)


def test_what_is_far_enough_stays():
    given = torch.tensor([[0.1, 0.2, 0.3], [0.31, 0.2, 0.3], [0.7, 0.7, 0.7]])
    assert torch.equal(apart(keeping([[2.0]]), given)[0], given)
    fresh = apart(Separations(1, 0.1), given)  # has learned nothing
    assert torch.equal(fresh[0], given)


def test_an_atom_between_its_neighbours_images_stays_there():
    """Caesium chloride with too small a cell: eight neighbours push alike, and nobody can give way."""
    given = torch.tensor([[0.0, 0.0, 0.0], [0.5, 0.5, 0.5]])
    found = apart(keeping([[3.0]]), given, lattice=2.5 * torch.eye(3)[None])[0]
    torch.testing.assert_close(wrap(found - given), torch.zeros(2, 3), rtol=0, atol=1e-4)


def test_an_atom_that_is_pushed_meets_others_on_its_way():
    """Five atoms in a row, the first two nearly in one place: the last is far beyond the first list of the others, and
    moves in the end."""
    x = torch.full((5, 3), 0.5)
    x[:, 0] = torch.tensor([0.20, 0.2001, 0.40, 0.60, 0.80])
    found = 10 * apart(keeping([[2.0]]), x)[0, :, 0]
    assert (x[4, 0] - x[1, 0]) * 10 > 2.0 + SKIN
    assert found[4] > 8.1
    assert (found[1:] - found[:-1]).min() > 1.8
    assert found[0] < 1.2


def test_what_cannot_move_stops_nothing():
    """Coincident atoms, a flat cell and a cell of no numbers, beside a crystal that is as it is alone."""
    x = torch.full((4, 2, 3), 0.25)
    x[1:, 1, 0] = 0.3
    lattice = BOX.repeat(4, 1, 1)
    lattice[1, 2], lattice[2, 0] = 0, torch.nan
    found = moved(
        keeping([[2.0]]), x, torch.zeros(4, 2, dtype=torch.int64), lattice, torch.ones(4, 2, dtype=torch.bool)
    )
    assert torch.equal(found[0], x[0])
    torch.testing.assert_close(found[3], apart(keeping([[2.0]]), x[3])[0])
    assert 10 * (found[3, 1, 0] - found[3, 0, 0]).item() == pytest.approx(2, abs=1e-4)


def test_one_atom_and_no_crystal_are_nothing_to_move():
    made = keeping([[9.0]])
    assert torch.equal(apart(made, [[0.1, 0.2, 0.3]])[0], torch.tensor([[0.1, 0.2, 0.3]]))
    nothing = torch.zeros(0, 4, 3)
    assert moved(made, nothing, nothing[..., 0].long(), torch.zeros(0, 3, 3), nothing[..., 0].bool()).shape == (0, 4, 3)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_precision_is_that_of_the_crystals_or_float32(dtype):
    crystal = crystals_of([0, 0], [[0.30, 0.5, 0.5], [0.35, 0.5, 0.5]], BOX, kinds=1).to(dtype=dtype)
    found = keeping([[2.0]])(crystal)
    assert found.directions.dtype == dtype
    assert found.directions[0, 0, 0, 1].item() == pytest.approx(0.2, abs=1e-3)


def test_a_gas_with_room_has_no_overlap_left():
    """Twelve atoms of two elements in 12 skewed cells of some 20 Å³ an atom, at random."""
    rng = torch.Generator().manual_seed(3)
    table = torch.tensor([[2.0, 1.8], [1.8, 1.6]])
    lattice = 6.2 * torch.eye(3) + torch.randn(12, 3, 3, generator=rng) * 0.7
    given, species = torch.rand(12, 12, 3, generator=rng), torch.randint(2, (12, 12), generator=rng)
    made = keeping(table.tolist())
    found = moved(made, given, species, lattice, torch.ones(12, 12, dtype=torch.bool))
    before, after = [], []
    for x, y, kind, cell in zip(given, found, species, lattice, strict=True):
        least = table[kind[:, None], kind]
        before.append((least - shortest(x, cell)).max())
        after.append((least - shortest(y, cell)).max())
    assert torch.stack(before).min() > 0.5
    assert torch.stack(after).max() < 0.02


# -- symmetries --------------------------------------------------------------------------------------------------------


@pytest.fixture
def crowd():
    rng = torch.Generator().manual_seed(5)
    lattice = 5 * torch.eye(3) + torch.randn(1, 3, 3, generator=rng) * 0.5
    return torch.rand(1, 6, 3, generator=rng), torch.randint(2, (1, 6), generator=rng), lattice


MADE = keeping([[2.2, 2.0], [2.0, 1.5]])
ALL = torch.ones(1, 6, dtype=torch.bool)


def same(found, expected):
    torch.testing.assert_close(wrap(found - expected), torch.zeros_like(found), rtol=0, atol=2e-4)


def test_order_translation_and_periodic_images_do_not_matter(crowd):
    x, species, lattice = crowd
    expected = moved(MADE, x, species, lattice, ALL)
    assert wrap(expected - x).abs().max() > 0.02
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    same(moved(MADE, x[:, order], species[:, order], lattice, ALL), expected[:, order])
    shift = torch.tensor([0.37, -0.21, 0.55])
    same(moved(MADE, x + shift, species, lattice, ALL), expected + shift)
    same(
        moved(MADE, x + torch.tensor([1.0, -2.0, 0.0]) * torch.arange(6)[None, :, None], species, lattice, ALL),
        expected,
    )


def test_rotations_do_not_matter(crowd):
    x, species, lattice = crowd
    rotation = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(1))).Q
    same(moved(MADE, x, species, lattice @ rotation, ALL), moved(MADE, x, species, lattice, ALL))


def test_padding_neither_pushes_nor_moves(crowd):
    x, species, lattice = crowd
    more, kinds = torch.cat([x, x[:, :2]], 1), torch.cat([species, species[:, :2]], 1)
    found = moved(MADE, more, kinds, lattice, atom_mask(torch.tensor([6]), 8))
    same(found[:, :6], moved(MADE, x, species, lattice, ALL))
    assert torch.equal(found[:, 6:], x[:, :2])


def test_a_crystal_moves_as_its_positions_do_and_gradients_pass(crowd):
    x, species, lattice = crowd
    x, species = torch.cat([x, x[:, :2]], 1), torch.cat([species, species[:, :2]], 1)
    one_hot = torch.nn.functional.one_hot(species, 2).float() * atom_mask(torch.tensor([6]), 8)[..., None]
    crystal = GraphTensor.from_positions(one_hot, x, lattice, torch.tensor([6]))
    found = MADE(crystal)
    expected = MADE.moves(x, species, lattice, crystal.mask) + x
    wanted = GraphTensor.from_positions(one_hot, expected, lattice, torch.tensor([6])).directions
    same(found.directions, wanted)
    assert (found.directions[:, :, 6:] == 0).all() and (found.directions[..., 6:] == 0).all()
    given = crystal.directions.clone().requires_grad_()
    weight = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    (MADE(crystal.replace(directions=given)).directions * weight).sum().backward()
    torch.testing.assert_close(given.grad, weight)


# -- in a decoder ------------------------------------------------------------------------------------------------------


def test_a_decoder_keeps_atoms_apart():
    torch.manual_seed(0)
    with_, without = Decoder(3, latent_dim=4, hidden=16, separations=0.1), Decoder(3, latent_dim=4, hidden=16)
    assert without.separations is None
    without.load_state_dict({k: v for k, v in with_.state_dict().items() if not k.startswith("separations")})
    # Cells of some 150 Å³.
    for decoder in (with_, without):
        decoder.log_metric_mean.copy_(torch.tensor([1.1, 1.1, 1.1, 0.0, 0.0, 0.0]))
    latents = Latents(values=torch.randn(5, 6, 4), num_atoms=torch.tensor([2, 3, 4, 5, 6]))
    with torch.no_grad():
        plain = without(latents)
        assert torch.equal(with_(latents).directions, plain.directions)
        with_.separations.shortest.fill_(1.7)
        crystals = with_(latents)
    assert torch.equal(crystals.species, plain.species) and torch.equal(crystals.lattice, plain.lattice)
    for i, n in enumerate(range(2, 7)):
        before, after = (shortest(some.frac_coords[i, :n], some.lattice[i]).min() for some in (plain, crystals))
        assert before < 1.6 < 1.69 < after
