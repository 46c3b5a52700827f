import itertools

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from graphgan.latents import Posterior
from graphgan.networks import Generator, LatentCritic
from graphgan.objectives import OBJECTIVES, WassersteinGP
from graphgan.training import Average, NonFiniteLossError, Player, Trainer, adversaries


def game(seed, objective=None):
    """A small latent game; network weights do not depend on `seed`, the trainer's generator does."""
    torch.manual_seed(0)
    num_atoms = torch.tensor([3, 2, 3, 1, 2, 3, 3, 1])
    mask = (torch.arange(3) < num_atoms[:, None])[..., None]
    data = Posterior(
        mean=torch.randn(8, 3, 4) * mask, log_variance=torch.full((8, 3, 4), -3.0) * mask, num_atoms=num_atoms
    )
    generator, critic = Generator(4, hidden=8, layers=1, heads=2), LatentCritic(4, hidden=8, layers=1, heads=2)

    def fake(real, rng):
        return generator(generator.noise(len(real), real.values.shape[1], rng), real.num_atoms)

    players = adversaries(
        objective or WassersteinGP(),
        critic,
        generator,
        real=lambda posterior, rng: posterior.sample(rng),
        fake=fake,
        critic_steps=2,
        learning_rate=1e-3,
    )
    return Trainer(players, data, batch_size=4, rng=torch.Generator().manual_seed(seed), ema_decay=0.9)


def floats(trainer, steps):
    return [{k: float(v) for k, v in stats.items()} for stats in itertools.islice(trainer.train(), steps)]


def test_four_steps_equal_two_saved_loaded_and_two(tmp_path):
    straight = game(1)
    expected = floats(straight, 4)
    first = game(1)
    found = floats(first, 2)
    torch.save(first.state_dict(), tmp_path / "state.pt")
    second = game(99)  # another seed, another network state: everything must come from the file
    floats(second, 3)
    second.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    found += floats(second, 2)
    assert found == expected
    for name, value in straight.average.network.state_dict().items():
        assert torch.equal(value, second.average.network.state_dict()[name])


class Drawn:
    """Data that remembers what was asked of it."""

    def __init__(self, count):
        self.count, self.asked = count, []

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        self.asked.append(index)
        return torch.ones(len(index), 1)


def drawing(sizes, seed=0):
    data = Drawn(1000)
    player = Player("p", nn.Linear(1, 1), lambda batch, rng: (batch.mean() * 0, {}), 0.1)
    player.loss = lambda batch, rng: (player.network(batch).mean(), {})
    rng = torch.Generator().manual_seed(seed)
    return data, Trainer([player], data, batch_size=25, rng=rng, sizes=sizes)


def test_batches_of_like_sizes_waste_little_and_leave_nothing_out():
    sizes = torch.randint(1, 21, (1000,), generator=torch.Generator().manual_seed(1))
    spread, seen = {}, {}
    for name, given in (("sorted", sizes), ("mixed", None)):
        data, trainer = drawing(given)
        floats(trainer, 320)
        spread[name] = sum(float(sizes[i].max() ** 2) for i in data.asked) / 320
        seen[name] = torch.cat(data.asked)
    assert spread["sorted"] < 1.2 * float(sizes.double().square().mean()) < 0.5 * spread["mixed"]
    for index in seen.values():  # 8,000 draws of 1,000: eight each, none favoured
        counts = torch.bincount(sizes[index], minlength=21)[1:] / len(index)
        assert torch.allclose(counts, torch.bincount(sizes, minlength=21)[1:] / 1000, atol=0.02)
        assert len(index.unique()) > 995
    first = [float(sizes[i].double().mean()) for i in data.asked[:16]]
    assert first != sorted(first)


def test_one_size_draws_as_without_sizes():
    data, trainer = drawing(torch.full((1000,), 5))
    other, plain = drawing(None)
    floats(trainer, 3), floats(plain, 3)
    assert all(torch.equal(a, b) for a, b in zip(data.asked, other.asked, strict=True))


def test_a_resumed_run_is_dealt_the_same_batches():
    sizes = torch.arange(1000) % 20
    data, straight = drawing(sizes)
    floats(straight, 20)
    _, first = drawing(sizes)
    floats(first, 5)
    other, second = drawing(sizes, seed=7)
    second.load_state_dict(first.state_dict())
    floats(second, 15)
    assert all(torch.equal(a, b) for a, b in zip(data.asked[5:], other.asked, strict=True))


def test_another_seed_is_another_run():
    assert floats(game(1), 1) != floats(game(2), 1)


def test_the_global_generator_is_left_alone():
    trainer = game(1)
    before = torch.get_rng_state()
    floats(trainer, 2)
    assert torch.equal(torch.get_rng_state(), before)


def test_every_objective_plays():
    for name, kind in OBJECTIVES.items():
        for stats in floats(game(1, kind()), 3):
            assert all(abs(v) < 1e6 for v in stats.values()), name


def test_clipping_happens_after_each_critic_step():
    trainer = game(1, OBJECTIVES["wgan"](clip=0.005))
    floats(trainer, 1)
    critic = trainer.players[0].network
    assert max(float(p.abs().max()) for p in critic.parameters()) <= 0.005


def test_players_take_turns_and_only_the_mover_changes():
    trainer = game(1)
    weights = {p.name: [w.clone() for w in p.network.parameters()] for p in trainer.players}
    trainer._give_turn(trainer.players[0])
    assert all(w.requires_grad for w in trainer.players[0].network.parameters())
    assert not any(w.requires_grad for w in trainer.players[1].network.parameters())
    loss, _ = trainer.players[0].loss(trainer._draw(), trainer.rng)
    trainer._update(trainer.players[0], loss)
    critic, generator = (list(p.network.parameters()) for p in trainer.players)
    assert any(not torch.equal(a, b) for a, b in zip(critic, weights["critic"], strict=True))
    assert all(torch.equal(a, b) for a, b in zip(generator, weights["generator"], strict=True))


def one_player(loss):
    network = nn.Linear(1, 1, bias=False)
    nn.init.constant_(network.weight, 1.0)
    player = Player("fitter", network, lambda batch, rng: (loss(network, batch), {}), learning_rate=0.1)
    return network, Trainer([player], torch.ones(4, 1), batch_size=2, rng=torch.Generator())


def test_a_non_finite_loss_stops_before_it_spoils_the_weights():
    network, trainer = one_player(lambda net, x: net(x).mean() * (float("nan") if trainer.step == 2 else 1.0))
    with pytest.raises(NonFiniteLossError, match="the fitter's loss is nan at step 3"):
        floats(trainer, 5)
    assert trainer.step == 2 and torch.isfinite(network.weight).all()


def test_a_non_finite_gradient_of_a_finite_loss_stops_too():
    network, trainer = one_player(lambda net, x: (net(x) * 0).square().mean().sqrt())
    with pytest.raises(NonFiniteLossError, match="the fitter's gradient is nan at step 1"):
        floats(trainer, 1)
    assert torch.isfinite(network.weight).all()


def test_training_lowers_a_loss():
    network, trainer = one_player(lambda net, x: (net(x) - 3).square().mean())
    floats(trainer, 200)
    assert_close(network.weight.item(), 3.0, atol=0.05, rtol=0)


def test_steps_and_seconds_bound_the_run():
    trainer = game(1)
    assert len(list(trainer.train(steps=2))) == 2 and trainer.step == 2
    assert list(trainer.train(steps=2)) == []
    assert list(trainer.train(seconds=0.0)) == []


def test_no_data_is_refused():
    with pytest.raises(ValueError, match="nothing to train on"):
        Trainer([Player("p", nn.Linear(1, 1), lambda b, r: (b, {}), 0.1)], [], batch_size=1, rng=torch.Generator())


def test_average_warms_up_and_then_decays():
    network = nn.Linear(1, 1, bias=False)
    nn.init.constant_(network.weight, 0.0)
    average = Average(network, decay=0.5)
    nn.init.constant_(network.weight, 1.0)
    average.update(network, step=1)  # decay (1 + 1) / (10 + 1)
    assert_close(average.network.weight.item(), 9 / 11)
    average.update(network, step=1000)
    assert_close(average.network.weight.item(), 1 - (2 / 11) / 2)
    assert not average.network.weight.requires_grad
