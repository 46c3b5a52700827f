import pytest
import torch
from torch.testing import assert_close

from graphgan.geometry import wrap
from graphgan.reconstruction import (
    antisymmetrise,
    consistency,
    directions_from_positions,
    positions_from_directions,
    synchronise,
)

F64 = torch.float64


def random_positions(sizes=(6, 3, 1), padding=2, seed=0):
    rng = torch.Generator().manual_seed(seed)
    counts = torch.tensor(sizes)
    mask = torch.arange(max(sizes) + padding) < counts[:, None]
    return torch.rand(*mask.shape, 3, generator=rng, dtype=F64) * mask[..., None], mask


def shape_error(found, positions, mask):
    """Largest wrapped difference of all pair directions: blind to translation."""
    error = wrap(directions_from_positions(found, mask) - directions_from_positions(positions, mask))
    return error.abs().max().item()


def noisy(directions, mask, sigma, seed=1):
    noise = sigma * torch.randn(directions.shape, generator=torch.Generator().manual_seed(seed), dtype=F64)
    pairs = (mask[:, :, None] & mask[:, None, :])[:, None]
    return directions + (noise - noise.mT) / 2**0.5 * pairs


def test_the_lectures_square():
    s = 0.25
    corners = torch.tensor([[[0, 0, 0], [s, 0, 0], [0, s, 0], [s, s, 0]]], dtype=F64)
    x, y, z = directions_from_positions(corners, torch.ones(1, 4, dtype=bool))[0]
    assert x.tolist() == [[0, s, 0, s], [-s, 0, -s, 0], [0, s, 0, s], [-s, 0, -s, 0]]
    assert y.tolist() == [[0, 0, s, s], [0, 0, s, s], [-s, -s, 0, 0], [-s, -s, 0, 0]]
    assert not z.any()


@pytest.mark.parametrize("rounds", [0, 1, 3])
def test_consistent_directions_give_their_positions_exactly(rounds):
    positions, mask = random_positions()
    directions = directions_from_positions(positions, mask)
    assert shape_error(positions_from_directions(directions, mask, rounds), positions, mask) < 1e-12
    assert shape_error(synchronise(directions, mask), positions, mask) < 1e-12
    assert consistency(directions, mask).max() < 1e-9


def test_a_plain_mean_of_wrapped_directions_would_not():
    """The reason for the circular mean: the check above can fail."""
    positions, mask = random_positions(sizes=(6,), padding=0)
    directions = directions_from_positions(positions, mask)
    proposals = wrap(directions[:, :, :1].mT + directions)  # [B, 3, i, j], as seen from atom 0
    assert shape_error(proposals.mean(2).mT, positions, mask) < 1e-12  # differences of positions, wrapped: still equal
    proposals = directions[:, :, :1].mT + directions  # the plain mean of what the matrices say
    assert shape_error(proposals.mean(2).mT, positions, mask) > 0.05


def test_padding_stays_zero_and_one_atom_is_fine():
    positions, mask = random_positions()
    found = positions_from_directions(directions_from_positions(positions, mask), mask)
    assert not found[~mask].any()
    assert torch.isfinite(found).all()


@pytest.mark.parametrize("num", [2, 3, 4, 7])
@pytest.mark.parametrize("sigma", [0.05, 0.3])
def test_order_of_atoms_does_not_matter_even_for_inconsistent_directions(num, sigma):
    positions, mask = random_positions(sizes=(num,) * 50, padding=0)
    directions = noisy(directions_from_positions(positions, mask), mask, sigma)
    order = torch.arange(num).roll(1)
    permuted = directions[:, :, order][:, :, :, order]
    again = positions_from_directions(permuted, mask)
    assert_close(again, positions_from_directions(directions, mask)[:, order], atol=1e-9, rtol=0)


def test_antisymmetrise_is_a_circular_mean():
    d = torch.zeros(1, 3, 2, 2, dtype=F64)
    d[0, :, 0, 1], d[0, :, 1, 0] = 0.45, 0.47  # atom 1 says 0.47, so atom 0 should see -0.47 = 0.53: the mean is 0.49
    out = antisymmetrise(d)
    assert_close(out[0, :, 0, 1], torch.full((3,), 0.49, dtype=F64))
    assert_close(wrap(out + out.mT), torch.zeros_like(out))


def test_rounds_help_and_approach_synchronisation():
    positions, mask = random_positions(sizes=(12,) * 40, padding=0)
    directions = noisy(directions_from_positions(positions, mask), mask, 0.2)

    def error(found):
        difference = wrap(directions_from_positions(found, mask) - directions_from_positions(positions, mask))
        return difference.square().mean().sqrt().item()

    zero, one, three = (error(positions_from_directions(directions, mask, r)) for r in (0, 1, 3))
    limit = error(synchronise(directions, mask))
    assert zero > 1.2 * one > 1.3 * three
    assert three < 1.1 * limit


def test_consistency_measures_the_noise():
    positions, mask = random_positions(sizes=(20,) * 10, padding=3)
    clean = directions_from_positions(positions, mask)
    small, large = (consistency(noisy(clean, mask, s), mask).mean().item() for s in (0.02, 0.08))
    assert 0.9 < small / 0.02 < 1.0  # averaging explains away a few of the numbers
    assert 0.9 < large / 0.08 < 1.0


def test_averaging_is_differentiable_twice_with_padding():
    positions, mask = random_positions(sizes=(4, 1), padding=1)
    directions = noisy(directions_from_positions(positions, mask), mask, 0.02).contiguous().requires_grad_()
    assert torch.autograd.gradcheck(lambda d: positions_from_directions(d, mask).sin(), directions)
    assert torch.autograd.gradgradcheck(lambda d: positions_from_directions(d, mask).sin(), directions)


def test_negative_rounds_are_refused():
    positions, mask = random_positions()
    with pytest.raises(ValueError, match="rounds is -1"):
        positions_from_directions(directions_from_positions(positions, mask), mask, -1)
