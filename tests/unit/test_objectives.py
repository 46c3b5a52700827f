import pytest
import torch
from torch.testing import assert_close

from graphgan.config import ConfigError, build
from graphgan.geometry import log_metric
from graphgan.latents import Latents
from graphgan.networks import GraphCritic, LatentCritic
from graphgan.objectives import (
    OBJECTIVES,
    Hinge,
    LeastSquares,
    NonSaturating,
    RelativisticR1R2,
    Wasserstein,
    WassersteinGP,
    gradient_norm,
)
from graphgan.testing import assert_objective, triclinic_crystals

F64 = torch.float64


def latents(values, counts):
    return Latents(values=torch.as_tensor(values, dtype=F64), num_atoms=torch.tensor(counts))


def test_a_linear_critic_3_4_has_gradient_norm_5_in_every_size():
    """Mean-pooled species weights (3, 4): norm 5 whatever the number of atoms, the cell and the padding."""
    weights = torch.tensor([3.0, 4.0], dtype=F64)
    crystals = triclinic_crystals((1, 2, 7), num_species=2)

    def critic(c):
        return (c.species @ weights * c.mask).sum(1) / c.num_atoms

    assert_close(gradient_norm(critic, crystals), torch.full((3,), 5.0, dtype=F64))

    def latent_critic(z):
        return (z.values @ weights * z.mask).sum(1) / z.num_atoms

    points = latents(torch.randn(3, 4, 2), [1, 3, 4])
    assert_close(gradient_norm(latent_critic, points), torch.full((3,), 5.0, dtype=F64))


def test_one_joint_norm_over_all_fields():
    """Species weights (3, 4) and a log-metric weight 12 on xx: √(5² + 12²) = 13."""
    weights = torch.tensor([3.0, 4.0], dtype=F64)
    crystals = triclinic_crystals((2, 5), num_species=2)
    species, frac_coords, six = crystals.coordinates()

    def critic(c):
        # log det carries trace(S): a gradient (1, 1, 1, 0, 0, 0) of norm √3
        volume = torch.log(torch.linalg.det(c.lattice).abs())
        return (c.species @ weights * c.mask).sum(1) / c.num_atoms + 12 / 3**0.5 * volume

    assert_close(gradient_norm(critic, crystals), torch.full((2,), 13.0, dtype=F64))
    assert six.shape == (2, 6) and species.shape[-1] == 2 and frac_coords.shape[-1] == 3


def test_gradient_norm_does_not_turn_with_the_crystal():
    from graphgan.testing import _rotation

    torch.manual_seed(0)
    critic = GraphCritic(4, hidden=16, layers=1, channels=2).double()
    crystals = triclinic_crystals()
    turned = crystals.replace(lattice=crystals.lattice @ _rotation().mT)
    assert_close(gradient_norm(critic, turned), gradient_norm(critic, crystals), rtol=1e-7, atol=1e-9)


def test_wasserstein_gp_of_known_numbers():
    """Critic 3 x: distance 3 (mean real - mean fake), norm 3 everywhere, penalty (3 - 1)² = 4."""
    real, fake = latents([[[2.0]], [[4.0]]], [1, 1]), latents([[[1.0]], [[1.0]]], [1, 1])

    def critic(z):
        return 3 * z.values[:, 0, 0]

    loss, stats = WassersteinGP(10.0).critic_loss(critic, real, fake, torch.Generator().manual_seed(0))
    assert_close(stats["wasserstein"].item(), 6.0)
    assert_close(stats["gradient_penalty"].item(), 4.0)
    assert_close(loss.item(), 40.0 - 6.0)
    assert_close(WassersteinGP().generator_loss(critic, real, fake)[0].item(), -3.0)


def test_alpha_is_uniform_and_one_number_a_crystal():
    seen = []

    class Recorder(Latents):
        def interpolate(self, other, t):
            seen.append(t)
            return Latents.interpolate(self, other, t)

    n = 4000
    real = Recorder(values=torch.ones(n, 2, 1), num_atoms=torch.full((n,), 2))
    fake = Latents(values=torch.zeros(n, 2, 1), num_atoms=torch.full((n,), 2))
    WassersteinGP().critic_loss(lambda z: z.values.sum((1, 2)), real, fake, torch.Generator().manual_seed(0))
    (t,) = seen
    assert t.shape == (n,) and t.min() >= 0 and t.max() < 1
    assert abs(t.mean() - 0.5) < 0.02 and abs(t.var() - 1 / 12) < 0.005


def test_closed_forms_of_the_other_games():
    real, fake = latents([[[1.0]]], [1]), latents([[[-1.0]]], [1])
    rng = torch.Generator()

    def critic(z):
        return z.values[:, 0, 0]

    ln = torch.log(1 + torch.exp(torch.tensor(-1.0, dtype=F64))).item()
    assert_close(NonSaturating().critic_loss(critic, real, fake, rng)[0].item(), 2 * ln)
    assert_close(NonSaturating().generator_loss(critic, real, fake)[0].item(), 1 + ln)
    assert_close(LeastSquares().critic_loss(critic, real, fake, rng)[0].item(), 0.5)
    assert_close(LeastSquares().generator_loss(critic, real, fake)[0].item(), 2.0)
    assert_close(Hinge().critic_loss(critic, real, fake, rng)[0].item(), 0.0)
    assert_close(Hinge().generator_loss(critic, real, fake)[0].item(), 1.0)
    assert_close(Wasserstein().critic_loss(critic, real, fake, rng)[0].item(), -2.0)
    gap = torch.nn.functional.softplus(torch.tensor(-2.0, dtype=F64)).item()
    assert_close(RelativisticR1R2(2.0).critic_loss(critic, real, fake, rng)[0].item(), gap + 2.0)  # r1 = r2 = 1
    assert_close(RelativisticR1R2().generator_loss(critic, real, fake)[0].item(), 2 + gap)


def test_a_lazy_penalty_is_heavier_by_as_much_as_it_is_rarer():
    """Critic 3 x, penalty 4, every third move: 10 * 3 * 4 - 6 in the moves 0, 3, 6, the bare distance -6 between."""
    real, fake = latents([[[2.0]], [[4.0]]], [1, 1]), latents([[[1.0]], [[1.0]]], [1, 1])
    game = WassersteinGP(10.0, penalty_every=3)
    rng = torch.Generator().manual_seed(0)
    found = [game.at(move).critic_loss(lambda z: 3 * z.values[:, 0, 0], real, fake, rng)[0].item() for move in range(7)]
    assert found == pytest.approx([114, -6, -6, 114, -6, -6, 114]) and game.period == 3
    assert WassersteinGP().at(5) == WassersteinGP() and WassersteinGP().period == 1
    for wrong in (0, -1, 1.5):
        with pytest.raises(ValueError, match=f"penalty_every is {wrong}, expected a whole number from 1"):
            WassersteinGP(penalty_every=wrong)
    with pytest.raises(ConfigError, match=r"wgan-gp: penalty_every is 0\.0, expected a whole number from 1"):
        build("wgan-gp", OBJECTIVES, {"penalty_every": 0.0})


def test_a_gradient_penalty_is_the_same_under_autocast():
    """Bit for bit, also where the points come in bfloat16."""
    torch.manual_seed(0)
    critic = LatentCritic(8, hidden=16, layers=1, heads=2)
    points = Latents(values=torch.randn(3, 4, 8).bfloat16().float(), num_atoms=torch.tensor([4, 2, 3]))
    plain = gradient_norm(critic, points)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert critic(points).dtype == torch.bfloat16
        found = gradient_norm(critic, points)
        rough = gradient_norm(critic, points.replace(values=points.values.bfloat16()))
    assert found.dtype == torch.float32 and torch.equal(found, plain) and torch.equal(rough, plain)


def test_clipping_bounds_the_weights():
    network = torch.nn.Linear(5, 5)
    Wasserstein(clip=0.01).constrain(network)
    assert max(p.abs().max() for p in network.parameters()) <= 0.01


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_keeps_the_contract(name):
    torch.manual_seed(0)
    objective = OBJECTIVES[name]()
    real, fake = triclinic_crystals(seed=1), triclinic_crystals(seed=2)
    fake = fake.replace(lattice=fake.lattice.requires_grad_())
    assert_objective(objective, GraphCritic(4, hidden=8, layers=1, channels=2).double(), real, fake)
    points = latents(torch.randn(3, 4, 8), [1, 3, 4])
    other = latents(torch.randn(3, 4, 8), [1, 3, 4])
    assert_objective(objective, LatentCritic(hidden=8, layers=1).double(), points, other)


def test_the_contract_check_can_fail():
    class Seedless(WassersteinGP):
        def critic_loss(self, critic, real, fake, rng):
            loss, stats = super().critic_loss(critic, real, fake, rng)
            return loss + torch.rand(()), stats

    torch.manual_seed(0)
    points = latents(torch.randn(3, 4, 8), [1, 3, 4])
    with pytest.raises(AssertionError, match="randomness of its own"):
        assert_objective(Seedless(), LatentCritic(hidden=8, layers=1).double(), points, points)


def test_a_generator_loss_without_a_gradient_is_found():
    class Detached(WassersteinGP):
        def generator_loss(self, critic, real, fake):
            return super().generator_loss(critic, real, fake.detach())

    torch.manual_seed(0)
    points = latents(torch.randn(3, 4, 8), [1, 3, 4])
    with pytest.raises(AssertionError, match="no gradient with respect to what was generated"):
        assert_objective(Detached(), LatentCritic(hidden=8, layers=1).double(), points, points)


def test_penalty_survives_a_flat_and_a_far_fake():
    torch.manual_seed(0)
    real, fake = triclinic_crystals(seed=1), triclinic_crystals(seed=2)
    flat = fake.replace(lattice=fake.lattice * torch.tensor([1.0, 1.0, 1e-3], dtype=F64)[:, None])
    critic = GraphCritic(4, hidden=8, layers=1, channels=2).double()
    loss, stats = WassersteinGP().critic_loss(critic, real, flat, torch.Generator().manual_seed(0))
    loss.backward()
    assert torch.isfinite(loss) and stats["gradient_penalty"] < 1e6
    assert torch.isfinite(log_metric(flat.lattice)).all()
    assert all(torch.isfinite(p.grad).all() for p in critic.parameters() if p.grad is not None)
