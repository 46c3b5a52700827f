"""Networks, decisions and rewards of molecular graphs: exact numbers, symmetries, gradients."""

import math

import pytest
import torch
from torch import nn

from graphgan.config.molecules import STATISTICS
from graphgan.molecule_tensor import MoleculeTensor
from graphgan.molecules import (
    Discretisation,
    Logits,
    MoleculeCritic,
    MoleculeDecoder,
    MoleculeEncoder,
    MoleculePosterior,
    MoleculeReconstruction,
    MolganCritic,
    MolganGenerator,
    decided,
)
from graphgan.molecules.discrete import gumbel
from graphgan.molecules.molgan import GROUP, BatchStatistics, GatedSum, RelationalConvolution, adjacency_of
from graphgan.molecules.rewarding import (
    FeatureMatching,
    Logistic,
    Published,
    Rewarded,
    prediction_loss,
    score_function_loss,
)
from graphgan.objectives import WassersteinGP

N, K, R = 5, 4, 4


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def molecules(count=6, seed=0, dtype=torch.float64):
    """Random molecules of 2 to N atoms, one-hot."""
    sizes = torch.randint(2, N + 1, (count,), generator=rng(seed))
    there = torch.arange(N) < sizes[:, None]
    kinds = torch.randint(1, K, (count, N), generator=rng(seed + 1)) * there
    orders = torch.randint(0, R, (count, N, N), generator=rng(seed + 2)).triu(1)
    orders = (orders + orders.mT) * (there[:, :, None] & there[:, None])
    made = MoleculeTensor.of_kinds(kinds, orders, K, R)
    return MoleculeTensor(made.atoms.to(dtype), made.bonds.to(dtype))


# -- exact numbers -----------------------------------------------------------------------------------------------------


def test_relational_convolution_adds_what_each_bond_brings():
    layer = RelationalConvolution(1, 1, 3, nn.Identity()).double()
    with torch.no_grad():
        layer.itself.weight.fill_(1.0), layer.itself.bias.fill_(0.5)
        layer.neighbours.weight.copy_(torch.tensor([[10.0], [100.0]]))  # single, double
        layer.neighbours.bias.zero_()
    bonds = torch.zeros(1, 3, 3, 3, dtype=torch.float64)
    bonds[0, 0, 1, 1] = bonds[0, 1, 0, 1] = 1  # single
    bonds[0, 1, 2, 2] = bonds[0, 2, 1, 2] = 1  # double
    bonds[..., 0] = 1 - bonds.sum(-1)
    h = torch.tensor([[[1.0], [2.0], [3.0]]], dtype=torch.float64)
    found = layer(h, adjacency_of(bonds))
    assert found[0, :, 0].tolist() == [1.5 + 20, 2.5 + 10 + 300, 3.5 + 200]


def test_gated_sum_by_hand():
    pool = GatedSum(1, 1).double()
    with torch.no_grad():
        for layer, weight in ((pool.gate, 2.0), (pool.value, 3.0)):
            layer.weight.fill_(weight), layer.bias.zero_()
    h = torch.tensor([[[1.0], [-1.0]]], dtype=torch.float64)
    each = [1 / (1 + math.exp(-2 * x)) * math.tanh(3 * x) for x in (1.0, -1.0)]
    assert float(pool(h)) == pytest.approx(math.tanh(sum(each)), abs=1e-15)


def test_batch_statistics_keep_groups_apart():
    layer = BatchStatistics(3, 2, group=4).double()
    h = torch.randn(8, 3, generator=rng(), dtype=torch.float64)
    whole, first = layer(h), layer(h[:4])
    assert torch.equal(whole[:4], first) and torch.equal(whole[:, :3], h)
    assert torch.allclose(whole[:4, 3:], whole[:1, 3:].expand(4, 2)) and not torch.allclose(whole[0, 3:], whole[4, 3:])
    assert layer(h[:3]).shape == (3, 5)  # does not divide: one group
    assert GROUP == STATISTICS


def test_decisions():
    logits = torch.tensor([[0.0, 2.0, 1.0]], dtype=torch.float64, requires_grad=True)
    soft = Discretisation("softmax", 0.5)(logits)
    assert torch.allclose(soft, (2 * logits).softmax(-1))
    hard = Discretisation("straight-through")(logits)
    assert hard.tolist() == [[0.0, 1.0, 0.0]]
    (hard * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    through = logits.grad.clone()
    logits.grad = None
    (logits.softmax(-1) * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert torch.allclose(through, logits.grad)
    assert gumbel(torch.tensor([math.exp(-1.0)], dtype=torch.float64)).item() == pytest.approx(0.0, abs=1e-15)


def test_gumbel_draws_have_the_probabilities_of_the_softmax():
    logits = torch.tensor([0.0, 1.0, -1.0], dtype=torch.float64).expand(40000, 3)
    uniform = torch.rand(40000, 3, generator=rng(), dtype=torch.float64)
    drawn = Discretisation("gumbel-straight-through")(logits, uniform).mean(0)
    assert torch.allclose(drawn, logits[0].softmax(-1), atol=0.008)  # three standard errors
    assert not torch.allclose(Discretisation("straight-through")(logits).mean(0), logits[0].softmax(-1), atol=0.1)


@pytest.mark.parametrize("arguments", [("hard", 1.0), ("softmax", 0.0), ("gumbel", -1.0)])
def test_decisions_that_there_are_not(arguments):
    with pytest.raises(ValueError, match=r"no way to decide|temperature"):
        Discretisation(*arguments)
    with pytest.raises(ValueError, match="uniform"):
        Discretisation("gumbel")(torch.zeros(1, 2))


@pytest.mark.parametrize("how", ["softmax", "straight-through", "gumbel", "gumbel-straight-through"])
def test_decided_molecules_are_symmetric_and_sum_to_one(how):
    logits = Logits(*(torch.randn(3, *shape, generator=rng()) for shape in ((N, K), (N, N, R))))
    uniform = [torch.rand(part.shape, generator=rng(1)) for part in logits]
    made = decided(logits, Discretisation(how), *uniform)
    assert torch.equal(made.bonds, made.bonds.transpose(1, 2))
    assert torch.allclose(made.atoms.sum(-1), torch.ones(3, N)) and torch.allclose(
        made.bonds.sum(-1), torch.ones(3, N, N)
    )
    assert (made.bonds.diagonal(dim1=1, dim2=2).transpose(1, 2)[..., 0] == 1).all()
    if how == "straight-through":
        upper = logits.bonds.argmax(-1).triu(1)
        assert torch.equal(made.orders, upper + upper.mT)


def test_autoencoder_of_certain_logits_costs_nothing():
    real = molecules()

    class Certain(nn.Module):
        def forward(self, latents):
            return Logits(1e3 * real.atoms, 1e3 * real.bonds)

    class Standard(nn.Module):
        def forward(self, batch):
            zeros = torch.zeros(len(batch), 2, dtype=torch.float64)
            return MoleculePosterior(zeros, zeros)

    loss, stats = MoleculeReconstruction(0.7)(Standard(), Certain(), real, rng())
    assert float(loss) == pytest.approx(0.0, abs=1e-12) and set(stats) == {"atom_loss", "bond_loss", "kl"}


def test_autoencoder_of_uniform_logits_costs_the_logarithm_of_the_choices():
    real = molecules()

    class Uniform(nn.Module):
        def forward(self, latents):
            return Logits(torch.zeros_like(real.atoms), torch.zeros_like(real.bonds))

    class Shifted(nn.Module):
        def forward(self, batch):
            return MoleculePosterior(torch.full((len(batch), 3), 2.0), torch.zeros(len(batch), 3))

    loss, stats = MoleculeReconstruction(0.5)(Shifted(), Uniform(), real, rng())
    assert float(stats["atom_loss"]) == pytest.approx(N * math.log(K))
    assert float(stats["bond_loss"]) == pytest.approx(N * (N - 1) / 2 * math.log(R))
    assert float(stats["kl"]) == pytest.approx(6.0)  # three numbers, half of 2² each
    assert float(loss) == pytest.approx(N * math.log(K) + N * (N - 1) / 2 * math.log(R) + 3.0, abs=1e-5)


# -- symmetries --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("critic", [MolganCritic(K, R), MoleculeCritic(K, R), MolganCritic(K, R, bounded=True)])
def test_critics_do_not_mind_the_order_of_atoms(critic):
    critic, batch = critic.double(), molecules()
    order = torch.randperm(N, generator=rng(3))
    other = MoleculeTensor(batch.atoms[:, order], batch.bonds[:, order][:, :, order])
    assert torch.allclose(critic(batch), critic(other), atol=1e-12)
    wrong = MoleculeTensor(batch.atoms[:, order], batch.bonds)  # and do mind which atoms are bound
    assert not torch.allclose(critic(batch), critic(wrong), atol=1e-6)


def test_the_reward_network_is_bounded():
    network = MolganCritic(K, R, bounded=True).double()
    with torch.no_grad():
        network.head.weight.mul_(1e3)
    found = network(molecules(20))
    assert ((found >= 0) & (found <= 1)).all()


def test_published_generator_is_symmetric_in_its_bonds():
    made = MolganGenerator(N, K, R)(torch.randn(2, 8, generator=rng()))
    assert made.atoms.shape == (2, N, K) and torch.equal(made.bonds, made.bonds.transpose(1, 2))


def test_encoder_and_decoder_have_every_pair_once():
    encoder, decoder = MoleculeEncoder(N, K, R, latent_dim=6), MoleculeDecoder(N, K, R, latent_dim=6, width=32)
    posterior = encoder(molecules(dtype=torch.float32))
    logits = decoder(posterior.mean)
    assert posterior.mean.shape == (6, 6) and logits.bonds.shape == (6, N, N, R)
    assert torch.equal(logits.bonds, logits.bonds.transpose(1, 2))
    pairs = decoder.pairs[torch.triu(torch.ones(N, N, dtype=torch.bool), 1)]
    assert sorted(pairs.tolist()) == list(range(N * (N - 1) // 2))


# -- games and rewards -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("critic", [MolganCritic(K, R, batch_statistics=True), MoleculeCritic(K, R)])
def test_every_weight_of_a_critic_learns_from_the_penalty(critic):
    critic = critic.double()
    loss, stats = WassersteinGP().critic_loss(critic, molecules(), molecules(seed=9), rng())
    loss.backward()
    silent = [name for name, p in critic.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert silent in ([], ["head.bias"], ["head.2.bias"])  # a constant changes no difference
    assert float(stats["gradient_norm"]) > 0


def test_published_rewards_by_hand():
    how = Published(0.25)
    assert how.errors(torch.tensor([0.5, 1.0]), torch.tensor([1.0, 1.0])).tolist() == [0.25, 0.0]
    # α = |2 / -0.5| = 4: .75 * 2 + .25 * 4 * -.5
    assert float(how.generator_loss(torch.tensor(2.0), torch.tensor([0.25, 0.75]))) == pytest.approx(1.0)
    nothing = how.generator_loss(torch.tensor(2.0), torch.tensor([1e-6]))
    assert float(nothing) == pytest.approx(1.5, abs=1e-4)  # α is bounded


def test_logistic_rewards_by_hand():
    how = Logistic(0.5)
    found = how.errors(torch.tensor([0.0, math.log(3.0)]), torch.tensor([1.0, 0.75]))
    assert found.tolist() == pytest.approx([math.log(2.0), 0.0], abs=1e-6)
    loss = how.generator_loss(torch.tensor(2.0), torch.tensor([math.log(3.0)]))
    assert float(loss) == pytest.approx(0.5 * 2.0 + 0.5 * math.log(4 / 3))


def test_reward_networks_are_told_the_rewards_of_both():
    real, fake = molecules(4), molecules(4, seed=5)
    loss, stats = prediction_loss(
        Published(0.5),
        lambda batch: torch.full((len(batch),), 0.5, dtype=torch.float64),
        lambda batch: (batch.kinds[:, 0] == real.kinds[0, 0]).double(),
        real,
        fake,
    )
    share = [(batch.kinds[:, 0] == real.kinds[0, 0]).double().mean() for batch in (real, fake)]
    assert float(loss) == pytest.approx(0.5)  # a quarter each
    assert [float(stats["reward_real"]), float(stats["reward_generated"])] == [float(x) for x in share]


def test_a_rewarded_game_keeps_its_critic_and_follows_the_network():
    real, fake, game = molecules(), molecules(seed=4), WassersteinGP(penalty_every=3)
    critic = MoleculeCritic(K, R).double()
    rewarded = Rewarded(game, Published(1.0), lambda batch: batch.atoms[:, 0, 1])
    assert rewarded.period == 3 and not hasattr(rewarded, "constrain")
    assert type(rewarded.at(1)) is type(game.at(1))
    ours, theirs = (g.critic_loss(critic, real, fake, rng())[0] for g in (rewarded, game))
    assert torch.equal(ours, theirs)
    leaf = fake.atoms.clone().requires_grad_()
    loss, stats = rewarded.generator_loss(critic, real, MoleculeTensor(leaf, fake.bonds))
    (gradient,) = torch.autograd.grad(loss, leaf)
    assert (gradient[:, 0, 1] < 0).all() and gradient[:, 1:].abs().sum() == 0  # weight 1: the reward alone
    assert float(stats["reward_predicted"]) == pytest.approx(float(fake.atoms[:, 0, 1].mean()))


def test_feature_matching_is_zero_for_equal_means():
    real = molecules()
    game = FeatureMatching(WassersteinGP(), lambda batch: batch.atoms.sum(1))
    assert float(game.generator_loss(None, real, real)[0]) == 0
    more = MoleculeTensor(real.atoms + 1, real.bonds)
    assert float(game.generator_loss(None, real, more)[0]) == pytest.approx(K * N**2)


def test_score_function_has_the_gradient_of_the_expected_reward():
    # One place of two kinds, reward 1 for kind 1: the mean reward is p, whose gradient in the logit is p (1 - p).
    count = 200_000
    logit = torch.tensor([0.0, 0.4], dtype=torch.float64, requires_grad=True)
    atoms, bonds = logit.expand(count, 1, 2), torch.zeros(count, 1, 1, R, dtype=torch.float64)
    uniform = torch.rand(count, 1, 2, generator=rng(), dtype=torch.float64)
    drawn = MoleculeTensor(Discretisation("gumbel-straight-through")(atoms, uniform), bonds)
    rewards = (drawn.kinds[:, 0] == 1).double()
    loss = score_function_loss(Logits(atoms, bonds), drawn, rewards)
    (gradient,) = torch.autograd.grad(loss, logit)
    p = float(logit.detach().softmax(-1)[1])
    assert gradient.tolist() == pytest.approx([p * (1 - p), -p * (1 - p)], abs=2e-3)
