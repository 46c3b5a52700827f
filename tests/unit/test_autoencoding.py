"""The prior's loss by hand, and the order in which atoms are compared."""

import itertools
import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from graphgan.autoencoding import PriorLoss, nearest_order
from graphgan.latents import Latents, Posterior
from graphgan.networks import Generator, NoiseEncoder
from graphgan.networks.generator import Noise


def posterior_of(mean, num_atoms, log_variance=-60.0):
    mean = torch.tensor(mean)
    return Posterior(mean=mean, log_variance=torch.full_like(mean, log_variance), num_atoms=torch.tensor(num_atoms))


class Constant(nn.Module):
    """Reads and makes fixed numbers; notes the noise it was given."""

    def __init__(self, values, mean, log_variance):
        super().__init__()
        self.values, self.mean, self.log_variance = values, mean, log_variance

    def forward(self, latents):
        ones = torch.ones_like(latents.num_atoms)
        return Posterior(mean=self.mean, log_variance=self.log_variance, num_atoms=ones)

    def noise(self, count, num, rng):
        slots = torch.arange(num).expand(count, num)
        return Noise(torch.full((count, 2), 9.0), torch.zeros(count, num, 1), slots)

    def make(self, noise, num_atoms, condition):
        self.given = noise
        return Latents(values=self.values, num_atoms=num_atoms)


def test_loss_by_hand():
    """Two crystals of one and two atoms: squared errors 1 and, in the nearest order, 4 + 0; 2 numbers of noise."""
    posterior = posterior_of([[[1.0], [0.0]], [[5.0], [2.0]]], [1, 2])
    made = torch.tensor([[[0.0], [7.0]], [[2.0], [3.0]]])
    mean, variance = torch.tensor([[[1.0, 0.0]], [[0.0, 0.0]]]), 0.25
    toy = Constant(made, mean, torch.full((2, 1, 2), math.log(variance)))
    loss, stats = PriorLoss(variance=0.5, kl_weight=2.0)(toy, toy, posterior, torch.Generator().manual_seed(0))
    nats = 0.5 * (1 + 4 * (variance - 1 - math.log(variance)))  # of both crystals together
    assert_close(loss.item(), (5 / 3) / (2 * 0.5) + 2.0 * nats / 3, rtol=1e-5, atol=0)
    assert_close(stats["latent_error"].item(), 5 / 3, rtol=1e-5, atol=0)
    assert_close(stats["crystal_kl"].item(), nats / 2, rtol=1e-5, atol=0)
    # The noise of the crystal was read, around its means; that of the atoms was drawn.
    assert (toy.given.crystal - mean[:, 0]).abs().max() < 5 * math.sqrt(variance)
    assert (toy.given.atoms == 0).all()


def test_nearest_order_is_the_best_of_all_orders():
    torch.manual_seed(0)
    values, target, counts = torch.randn(6, 5, 3), torch.randn(6, 5, 3), [1, 2, 3, 4, 5, 3]
    order = nearest_order(values, target, torch.tensor(counts))
    for b, n in enumerate(counts):
        found = order[b].tolist()
        assert sorted(found) == list(range(5)) and found[n:] == list(range(n, 5))
        costs = [
            sum(float((values[b, i] - target[b, j]).square().sum()) for i, j in enumerate(p))
            for p in itertools.permutations(range(n))
        ]
        mine = float((values[b, :n] - target[b, order[b, :n]]).square().sum())
        assert mine == pytest.approx(min(costs), rel=1e-5)


def test_numbers_that_are_none_reach_the_loss():
    """So that the trainer says whose they are and when, in one line."""
    values = torch.zeros(1, 3, 2)
    values[0, 1] = float("nan")
    assert sorted(nearest_order(values, torch.zeros(1, 3, 2), torch.tensor([3]))[0].tolist()) == [0, 1, 2]
    encoder, generator = NoiseEncoder(2, 6, hidden=16, layers=1), Generator(2, 16, 1, crystal_noise=6, atom_noise=2)
    with torch.no_grad():
        generator.head.bias.fill_(float("inf"))
    posterior = posterior_of([[[1.0, 0.0], [0.0, 2.0]]], [2])
    assert not PriorLoss()(encoder, generator, posterior, torch.Generator().manual_seed(0))[0].isfinite()


def test_the_loss_knows_no_order():
    torch.manual_seed(0)
    encoder, generator = NoiseEncoder(4, 6, hidden=16, layers=1), Generator(4, 16, 1, crystal_noise=6, atom_noise=2)
    mean = torch.randn(3, 5, 4)
    loss = PriorLoss()
    counts = torch.tensor([5, 5, 5])
    found = []
    for order in ([0, 1, 2, 3, 4], [3, 0, 4, 2, 1]):
        posterior = Posterior(mean=mean[:, order], log_variance=torch.full_like(mean, -60.0), num_atoms=counts)
        found.append(loss(encoder, generator, posterior, torch.Generator().manual_seed(1))[0].item())
    assert found[0] == pytest.approx(found[1], rel=1e-5)


def test_it_learns_to_give_back_a_few_crystals():
    """Four crystals of three atoms: the generator makes them from noise that the encoder has read."""
    torch.manual_seed(0)
    encoder = NoiseEncoder(4, 6, hidden=32, layers=1)
    generator = Generator(4, 32, 1, crystal_noise=6, atom_noise=2)
    posterior = posterior_of(torch.randn(4, 3, 4).tolist(), [3] * 4)
    optimizer = torch.optim.Adam([*encoder.parameters(), *generator.parameters()], lr=3e-3)
    rng, loss, errors = torch.Generator().manual_seed(0), PriorLoss(variance=0.02), []
    for _ in range(300):
        optimizer.zero_grad()
        value, stats = loss(encoder, generator, posterior, rng)
        value.backward()
        optimizer.step()
        errors.append(float(stats["latent_error"]))
    assert errors[0] > 0.7 and sum(errors[-20:]) / 20 < 0.12
