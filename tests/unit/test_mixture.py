"""The mixture of crystal noise: densities by hand, draws that are those of the density, and where it begins."""

import math

import pytest
import torch

from graphgan.autoencoding import PriorLoss
from graphgan.latents import Latents, Posterior
from graphgan.networks import Generator, Noise, NoiseEncoder
from graphgan.networks.mixture import NARROWEST, UNSEEN, NoiseMixture


def mixture_of(means, widths, weights):
    """Of means [K, G], widths [K, G] and the weights [K] of crystals of one atom."""
    mixture = NoiseMixture(len(means[0]), len(means), 1)
    with torch.no_grad():
        mixture.means.copy_(torch.tensor(means))
        mixture.log_widths.copy_(torch.tensor(widths).log())
        mixture.log_weights[1] = torch.tensor(weights).log()
    return mixture.requires_grad_(False)


def normal_density(x, mean, width):
    return math.exp(-0.5 * ((x - mean) / width) ** 2) / (width * math.sqrt(2 * math.pi))


def test_density_by_hand():
    mixture = mixture_of([[0.0, 1.0], [2.0, -1.0]], [[1.0, 0.5], [0.25, 2.0]], [1.0, 3.0])
    found = mixture.log_density(torch.tensor([[1.5, 0.5]]), torch.ones(1, dtype=torch.int64))
    first = normal_density(1.5, 0, 1) * normal_density(0.5, 1, 0.5)
    second = normal_density(1.5, 2, 0.25) * normal_density(0.5, -1, 2)
    assert found.item() == pytest.approx(math.log(0.25 * first + 0.75 * second), rel=1e-5)


def test_at_first_it_is_the_standard_normal_distribution():
    mixture = NoiseMixture(3, 5, 4)
    x, sizes = torch.randn(2000, 3, generator=torch.Generator().manual_seed(0)), torch.full((2000,), 2)
    expected = -0.5 * x.square().sum(1) - 1.5 * math.log(2 * math.pi)
    torch.testing.assert_close(mixture.log_density(x, sizes), expected)
    made = mixture(x, sizes)
    torch.testing.assert_close(made[:, 1:], x[:, 1:])
    assert made[:, 0].mean().abs() < 0.07 and abs(made[:, 0].std() - 1) < 0.05
    assert abs(torch.corrcoef(made.mT)[0, 1]) < 0.07


def test_draws_have_the_weights_means_and_widths_of_the_components():
    mixture = mixture_of([[-3.0, 0.0], [0.0, 5.0], [3.0, 0.0]], [[0.1, 1.0], [0.2, 0.3], [0.5, 2.0]], [0.2, 0.5, 0.3])
    x = torch.randn(40_000, 2, generator=torch.Generator().manual_seed(1))
    made = mixture(x, torch.ones(40_000, dtype=torch.int64))
    which = (made[:, 1:] > 3.5).long()[:, 0] + 2 * ((made[:, 0] > 1.4) & (made[:, 1] <= 3.5))
    # The widest component reaches over the line at 3.5 in 4 % of its draws; compare what is clear of it.
    left = made[made[:, 0] < -2]
    assert len(left) / 40_000 == pytest.approx(0.2, abs=0.01)
    assert left.mean(0).tolist() == pytest.approx([-3, 0], abs=0.04)
    assert left.std(0).tolist() == pytest.approx([0.1, 1.0], rel=0.03)
    middle = made[(which == 1) & (made[:, 0].abs() < 1.2)]
    assert len(middle) / 40_000 == pytest.approx(0.5, abs=0.01)
    assert middle.std(0).tolist() == pytest.approx([0.2, 0.3], rel=0.03)
    # What is left of the first number tells nothing of the second.
    assert abs(torch.corrcoef(left.mT)[0, 1]) < 0.04


def test_draws_are_the_same_for_the_same_numbers_and_finite_at_the_ends():
    mixture = mixture_of([[0.0], [1.0]], [[1.0], [1.0]], [1.0, 1e-6])
    x = torch.tensor([[-40.0], [-6.0], [0.0], [6.0], [40.0]])
    made = mixture(x, torch.ones(5, dtype=torch.int64))
    assert torch.isfinite(made).all() and (made.diff(dim=0) >= 0).all()
    torch.testing.assert_close(mixture(x.flip(0), torch.ones(5, dtype=torch.int64)).flip(0), made)


def test_weights_know_size_and_condition():
    mixture = NoiseMixture(1, 2, 3, condition_dim=1)
    with torch.no_grad():
        mixture.means.copy_(torch.tensor([[-10.0], [10.0]]))
        mixture.log_weights[2] = torch.tensor([0.0, -100.0])
        mixture.of_condition.weight.copy_(torch.tensor([[0.0], [200.0]]))
    x, sizes = torch.zeros(2, 1), torch.tensor([2, 2])
    made = mixture(x, sizes, torch.tensor([[0.0], [1.0]]))
    assert made[:, 0].tolist() == pytest.approx([-10, 10], abs=1e-4)
    assert torch.autograd.grad(made.sum(), mixture.log_weights, allow_unused=True) == (None,)
    gradient = torch.autograd.grad(mixture.log_density(x, sizes, torch.ones(2, 1)).sum(), mixture.means)[0]
    assert gradient[0].item() == pytest.approx(0) and gradient[1].item() == pytest.approx(-20, rel=1e-4)


def read_of(means, log_variance=-2.0):
    means = torch.tensor(means)[:, None]
    return Posterior(
        mean=means, log_variance=torch.full_like(means, log_variance), num_atoms=torch.ones(len(means)).long()
    )


def test_one_component_for_each_crystal_is_what_was_read_of_it():
    mixture = NoiseMixture(2, 3, 4)
    means = [[0.0, 0.0], [50.0, 0.0], [0.0, 50.0]]
    mixture.fit(read_of(means), torch.tensor([1, 4, 4]), torch.Generator().manual_seed(0))
    torch.testing.assert_close(mixture.means[mixture.means.norm(dim=1).argsort()[0]], torch.zeros(2))
    assert sorted(mixture.means.tolist()) == [pytest.approx(m, abs=1e-4) for m in sorted(means)]
    assert mixture.log_widths.exp().flatten().tolist() == pytest.approx([math.exp(-1)] * 6, rel=1e-2)
    share = mixture.log_weights.softmax(-1)
    origin = mixture.means.norm(dim=1).argmin()
    assert share[1, origin].item() == pytest.approx((1 + UNSEEN / 3) / (1 + UNSEEN), rel=1e-4)
    assert share[4, origin].item() == pytest.approx(UNSEEN / 3 / (2 + UNSEEN), rel=1e-3)
    torch.testing.assert_close(share[2], torch.full((3,), 1 / 3))


def test_a_component_of_two_crystals_is_as_wide_as_both():
    """Two crystals at -1 and 1 with noise of variance 0.25 are, together, one of variance 1.25."""
    mixture = NoiseMixture(1, 2, 1)
    means = [[-1.0], [1.0]] * 20 + [[100.0]] * 10
    mixture.fit(read_of(means, math.log(0.25)), torch.ones(50).long(), torch.Generator().manual_seed(1))
    near = mixture.means[:, 0].argmin()
    assert mixture.means[near].item() == pytest.approx(0, abs=1e-5)
    assert mixture.log_widths[near].exp().item() == pytest.approx(math.sqrt(1.25), rel=1e-4)
    assert mixture.log_widths[1 - near].exp().item() == pytest.approx(0.5, rel=1e-4)
    assert mixture.log_weights.softmax(-1)[1, near].item() == pytest.approx(0.8, abs=1e-3)


def test_more_components_than_crystals_and_narrow_noise():
    mixture = NoiseMixture(1, 5, 2)
    mixture.fit(read_of([[1.0], [20.0]], -20.0), torch.tensor([1, 2]), torch.Generator().manual_seed(0))
    assert {round(x, 3) for x in mixture.means[:, 0].tolist()} == {1.0, 20.0}
    assert mixture.log_widths.exp().flatten().tolist() == pytest.approx([NARROWEST] * 5, rel=1e-4)


def test_fitting_raises_the_density_and_repeats_with_its_seed():
    rng = torch.Generator().manual_seed(0)
    means = torch.randn(300, 4, generator=rng) + 4 * torch.randint(0, 3, (300, 1), generator=rng)
    sizes = torch.randint(1, 4, (300,), generator=rng)
    mixtures = [NoiseMixture(4, 8, 3) for _ in range(3)]
    for mixture, seed in zip(mixtures[:2], (5, 5), strict=True):
        mixture.fit(read_of(means.tolist()), sizes, torch.Generator().manual_seed(seed))
    torch.testing.assert_close(mixtures[0].state_dict(), mixtures[1].state_dict())
    fitted, normal = (m.log_density(means, sizes).mean().item() for m in (mixtures[0], mixtures[2]))
    assert fitted > normal + 10


def test_log_density_of_posteriors_by_hand():
    posterior = read_of([[1.0, 2.0]], math.log(4.0))
    found = posterior.log_density(torch.tensor([[[3.0, 2.0]]]))
    expected = math.log(normal_density(3, 1, 2) * normal_density(2, 2, 2))
    assert found.tolist() == [[pytest.approx(expected, rel=1e-5)]]


def test_the_prior_loss_counts_nats_beyond_the_mixture():
    torch.manual_seed(0)
    generator = Generator(4, hidden=16, layers=1, crystal_noise=6, num_slots=5, components=3)
    encoder = NoiseEncoder(4, 6, hidden=16, layers=1)
    sizes = torch.randint(2, 6, (400,))
    mask = (torch.arange(5) < sizes[:, None])[..., None]
    means, log_variance = torch.randn(400, 5, 4) * mask, -3.0 * mask.expand(-1, -1, 4)
    posterior = Posterior(mean=means, log_variance=log_variance, num_atoms=sizes)

    def nats(mixed):
        loss = PriorLoss(0.2, 1.0, mixed=mixed)
        return loss(encoder, generator, posterior, torch.Generator().manual_seed(3))[1]["crystal_kl"].item()

    # At first the mixture is the normal distribution, and what is drawn says what can be computed.
    assert nats(True) == pytest.approx(nats(False), rel=0.03)
    with torch.no_grad():
        generator.mixture.means.fill_(3.0)
    assert nats(True) > nats(False) + 10


def test_generators_draw_through_the_mixture():
    torch.manual_seed(0)
    generator = Generator(4, hidden=16, layers=1, crystal_noise=6, num_slots=5, components=3)
    plain = Generator(4, hidden=16, layers=1, crystal_noise=6, num_slots=5)
    plain.load_state_dict({k: v for k, v in generator.state_dict().items() if "mixture" not in k})
    with torch.no_grad():
        generator.mixture.means.normal_()
        generator.mixture.log_widths.fill_(-1.0)
    noise, sizes = generator.noise(8, 5, torch.Generator().manual_seed(0)), torch.full((8,), 4)
    shaped = Noise(generator.mixture(noise.crystal, sizes), noise.atoms, noise.slots)
    made: Latents = generator(noise, sizes)
    torch.testing.assert_close(made.values, plain(shaped, sizes).values)
    assert not torch.allclose(made.values, plain(noise, sizes).values)
