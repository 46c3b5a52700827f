import contextlib
import copy
import itertools
import math
import warnings
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from graphgan.latents import Posterior, PosteriorSet
from graphgan.networks import Generator, LatentCritic
from graphgan.objectives import OBJECTIVES, WassersteinGP
from graphgan.step_graph import WARM_UP, StepGraph
from graphgan.training import Average, NonFiniteLossError, Player, Trainer, adversaries
from graphgan.watch import Break, Watch


def game(seed, objective=None, device="cpu", equal=False, **options):
    """A small latent game; network weights do not depend on `seed`, the trainer's generator does. With `equal`, all
    crystals are of one size."""
    torch.manual_seed(0)
    num_atoms = torch.tensor([3] * 8 if equal else [3, 2, 3, 1, 2, 3, 3, 1])
    mask = (torch.arange(3) < num_atoms[:, None])[..., None]
    data = Posterior(
        mean=torch.randn(8, 3, 4) * mask, log_variance=torch.full((8, 3, 4), -3.0) * mask, num_atoms=num_atoms
    )
    generator, critic = Generator(4, hidden=8, layers=1, heads=2), LatentCritic(4, hidden=8, layers=1, heads=2)
    if device != "cpu":
        moved = {name: getattr(data, name).to(device) for name in ("mean", "log_variance", "num_atoms")}
        data, generator, critic = PosteriorSet(Posterior(**moved)), generator.to(device), critic.to(device)

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
    return Trainer(players, data, batch_size=4, rng=torch.Generator(device).manual_seed(seed), ema_decay=0.9, **options)


def close(found, expected, rel=1e-3, abs=1e-4):
    """Stats are equal but for rounding. The critic's last bias has no gradient but that of rounding, of which Adam
    makes whole steps; it shifts the generator's loss."""
    free = {"generator_loss": 0.02}
    assert found.keys() == expected.keys()
    return all(found[k] == pytest.approx(v, rel=rel, abs=free.get(k, abs)) for k, v in expected.items())


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


def test_a_learning_rate_given_at_resume_holds():
    first = game(1)
    floats(first, 2)
    second = game(1)
    for player in second.players:
        second.optimizers[player.name] = torch.optim.Adam(player.network.parameters(), lr=1e-7, betas=(0.5, 0.9))
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    group = second.optimizers["critic"].param_groups[0]
    assert (group["lr"], group["betas"]) == (1e-7, (0.5, 0.9))
    before = copy.deepcopy(second.players[0].network.state_dict())
    floats(second, 1)
    for name, value in second.players[0].network.state_dict().items():
        assert_close(value, before[name], atol=1e-5, rtol=0)


def test_batches_dealt_before_another_batch_size_are_dealt_anew():
    trainer = drawing(torch.arange(1000) % 7)[1]
    next(trainer._indices())
    state = copy.deepcopy(trainer.state_dict())
    assert len(state["dealt"])
    again = drawing(torch.arange(1000) % 7)[1]
    again.batch_size += 1
    again.load_state_dict(state)
    assert len(next(again._indices())) == trainer.batch_size + 1


def test_a_state_of_another_kind_of_device_goes_on_with_other_numbers():
    trainer = game(1)
    floats(trainer, 2)
    state = copy.deepcopy(trainer.state_dict())
    state["rng"] = torch.zeros(16, dtype=torch.uint8)  # as long as a CUDA generator's
    again = game(1)
    again.load_state_dict(state)
    assert again.step == 2 and len(floats(again, 4)) == 4
    assert again.rng.initial_seed() == 3


def test_the_step_of_a_break_counts_from_the_state_taken_over():
    trainer = game(1)
    state = copy.deepcopy(trainer.state_dict())
    floats(trainer, 5)
    trainer.load_state_dict(state)
    with torch.no_grad():
        next(trainer.players[0].network.parameters()).fill_(math.nan)
    with pytest.raises(NonFiniteLossError, match=r"at step 1$"):
        floats(trainer, 1)


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


def one_player(loss, fade=0.0, **options):
    network = nn.Linear(1, 1, bias=False)
    nn.init.constant_(network.weight, 1.0)
    player = Player("fitter", network, lambda batch, rng: (loss(network, batch), {}), 0.1, fade=fade)
    return network, Trainer([player], torch.ones(4, 1), batch_size=2, rng=torch.Generator(), **options)


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


def rates_of(trainer, steps=None, **more):
    """The learning rate of every step."""
    rates = []
    for _ in trainer.train(steps, **more):
        rates.append(trainer.optimizers["fitter"].param_groups[0]["lr"])
    return rates


def test_learning_rates_fade_over_the_last_share_of_the_steps():
    _, trainer = one_player(lambda net, x: (net(x) - 3).square().mean(), fade=0.5)
    full = trainer.players[0].learning_rate
    expected = [full * share for share in (1, 1, 1, 1, 1, 1, 0.8, 0.6, 0.4, 0.2)]
    rates = rates_of(trainer, 10)
    assert rates == pytest.approx(expected)
    # Stopped half way and gone on with, it is the same training.
    _, trainer = one_player(lambda net, x: (net(x) - 3).square().mean(), fade=0.5)
    for _ in itertools.islice(trainer.train(10), 7):
        pass
    assert rates_of(trainer, 10) == pytest.approx(expected[7:])


def test_learning_rates_fade_by_time_where_that_ends_a_training(monkeypatch):
    now = iter(range(100))
    monkeypatch.setattr("graphgan.training.time.monotonic", lambda: float(next(now)) / 2)
    _, trainer = one_player(lambda net, x: (net(x) - 3).square().mean(), fade=1.0)
    full = trainer.players[0].learning_rate
    # A step asks twice what time it is: each takes a second. Ten of twenty seconds have been spent before.
    rates = rates_of(trainer, seconds=10.0, spent=10.0)
    assert rates == pytest.approx([full * (20 - 10 - s) / 20 for s in range(1, 11)], abs=1e-7)


def test_without_an_end_learning_rates_stay():
    _, trainer = one_player(lambda net, x: (net(x) - 3).square().mean(), fade=0.5)
    for _ in itertools.islice(trainer.train(), 3):
        assert trainer.optimizers["fitter"].param_groups[0]["lr"] == trainer.players[0].learning_rate


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


# -- numbers that a run of before gave -----------------------------------------------------------------------------


def test_the_same_seed_gives_the_losses_of_version_0_1():
    """Recorded before processes could share batches and before losses could be looked at late."""
    expected = [
        {"wasserstein": -0.0147653, "gradient_penalty": 0.791253, "gradient_norm": 0.110543, "generator_loss": 0.34369},
        {"wasserstein": -0.143241, "gradient_penalty": 0.778177, "gradient_norm": 0.118011, "generator_loss": 0.320324},
        {"wasserstein": -0.0678825, "gradient_penalty": 0.74698, "gradient_norm": 0.135958, "generator_loss": 0.2449},
    ]
    for found, then in zip(floats(game(1), 3), expected, strict=True):
        assert close(found, then, rel=2e-4, abs=2e-6)


def test_posteriors_sampled_to_the_largest_are_samples_trimmed():
    posterior = game(0).data
    index = torch.tensor([1, 3, 4])  # of 2, 1 and 2 atoms, in a set of up to 3
    batch = PosteriorSet(posterior)[index]
    assert batch.largest == 2 and batch[:1].largest == 2
    whole = posterior[index].sample(torch.Generator().manual_seed(1))
    found = batch.sample(torch.Generator().manual_seed(1))
    assert found.values.shape == (3, 2, 4) and torch.equal(found.values, whole.trim().values)
    assert torch.equal(found.mask, whole.trim().mask)


# -- looking late: what a GPU does, on the CPU -----------------------------------------------------------------------


def weights(trainer):
    return torch.cat([w.detach().flatten() for p in trainer.players for w in p.network.parameters()])


def test_a_patient_trainer_plays_the_same_game():
    at_once, patient = floats(game(1), 6), floats(game(1, patient=True), 6)
    for one, two in zip(at_once, patient, strict=True):
        assert close(two, one)


def spoiled(trainer, call):
    """The trainer, whose critic's loss of that call is NaN."""
    honest, calls = trainer.players[0].loss, []

    def loss(batch, rng):
        calls.append(1)
        value, stats = honest(batch, rng)
        return (value * float("nan") if len(calls) == call else value), stats

    trainer.players[0].loss = loss
    return trainer


def test_a_patient_trainer_changes_no_weight_after_a_loss_that_is_not_finite():
    """NaN in the critic's second move of step 3. Ten steps are played; the weights are those before that move."""
    clean = game(1, patient=True)
    floats(clean, 2)
    loss, _ = (clean._give_turn(clean.players[0]), clean.players[0].loss(clean._draw(), clean.rng))[1]
    clean._update(clean.players[0], loss)
    trainer = spoiled(game(1, patient=True), call=6)
    floats(trainer, 10)
    assert torch.equal(weights(trainer), weights(clean)) and torch.isfinite(weights(trainer)).all()
    for _ in range(2):
        with pytest.raises(NonFiniteLossError, match=r"^the critic's loss is nan at step 3$"):
            trainer.check()
    with pytest.raises(NonFiniteLossError, match="critic's loss is nan at step 3"):
        list(trainer.train(steps=11))


def test_a_patient_trainer_names_the_step_of_a_resumed_run():
    first = game(1, patient=True)
    floats(first, 4)
    second = spoiled(game(2, patient=True), call=1)
    second.load_state_dict(first.state_dict())
    floats(second, 2)
    with pytest.raises(NonFiniteLossError, match="critic's loss is nan at step 5"):
        second.check()


def test_a_gradient_that_is_not_finite_is_named_late_too():
    _, trainer = one_player(lambda net, x: (net(x) * 0).square().mean().sqrt(), patient=True)
    floats(trainer, 3)
    with pytest.raises(NonFiniteLossError, match="the fitter's gradient is nan at step 1"):
        trainer.check()


def test_the_watch_keeps_the_first_break():
    watch = Watch(torch.device("cpu"))
    for loss, norm in ((1.0, 2.0), (3.0, float("inf")), (float("nan"), 1.0), (1.0, 1.0)):
        watch.note(torch.tensor(loss), torch.tensor(norm))
    assert watch.look() == Break(move=1, loss=3.0, norm=float("inf")) and float(watch.broken) == 1
    fine = Watch(torch.device("cpu"))
    fine.note(torch.tensor(1.0), torch.tensor(2.0))
    assert fine.look() is None and float(fine.broken) == 0


def test_a_state_goes_from_one_way_of_computing_to_the_other():
    """What a CPU saved, a GPU goes on with, fused, and the other way round."""
    plain, patient = game(1), game(2, patient=True)
    floats(plain, 3), floats(patient, 1)
    patient.load_state_dict(copy.deepcopy(plain.state_dict()))
    assert all(group["fused"] for o in patient.optimizers.values() for group in o.param_groups)
    one, two = floats(plain, 2), floats(patient, 2)
    assert close(two[-1], one[-1])
    plain.load_state_dict(copy.deepcopy(patient.state_dict()))
    assert not any(group["fused"] for o in plain.optimizers.values() for group in o.param_groups)
    floats(plain, 1)


# -- bfloat16 ------------------------------------------------------------------------------------------------------


def test_bf16_gives_nearly_the_losses_of_float32_and_stays_finite():
    exact, rough = game(1), game(1, autocast=torch.bfloat16)
    one, two = floats(exact, 1)[0], floats(rough, 1)[0]
    assert two == pytest.approx(one, rel=0.05, abs=0.01) and two != one
    assert all(math.isfinite(value) for stats in floats(rough, 40) for value in stats.values())
    assert weights(rough).dtype == torch.float32
    assert all(p.dtype == torch.float32 for p in rough.average.network.parameters())
    state = rough.optimizers["critic"].state_dict()["state"]
    assert all(t.dtype == torch.float32 for slot in state.values() for t in slot.values())


def test_under_bf16_objectives_meet_scores_and_generated_latents_in_float32():
    seen = {}

    class Spy(WassersteinGP):
        def critic_loss(self, critic, real, fake, rng):
            seen.update(scores=critic(fake).dtype, fake=fake.values.dtype, real=real.values.dtype)
            return super().critic_loss(critic, real, fake, rng)

    floats(game(1, Spy(), autocast=torch.bfloat16), 1)
    assert set(seen.values()) == {torch.float32}


# -- the schedule of a lazy penalty --------------------------------------------------------------------------------


def test_a_lazy_penalty_comes_every_fourth_move_across_steps_and_resumes():
    """Two critic moves a step, a penalty every fourth: in the first move of steps 1, 3, 5."""
    straight = floats(game(1, WassersteinGP(penalty_every=4)), 6)
    assert ["gradient_penalty" in stats for stats in straight] == [True, False, True, False, True, False]
    first = game(1, WassersteinGP(penalty_every=4))
    floats(first, 1)
    second = game(5, WassersteinGP(penalty_every=4))
    second.load_state_dict(first.state_dict())
    assert floats(second, 5) == straight[1:]


def test_means_of_a_window_are_over_the_steps_that_had_the_stat():
    from graphgan.cli.train import Window

    window = Window()
    for step in range(4):
        window.add({"loss": torch.tensor(float(step))} | ({"penalty": torch.tensor(5.0)} if step == 0 else {}))
    copy = Window()
    copy.load_state_dict(window.state_dict())
    assert all(isinstance(value, float) for value in window.state_dict()["sums"].values())
    assert window.means() == copy.means() == {"loss": 1.5, "penalty": 5.0}
    assert window.means() == {}
    copy.load_state_dict({"sums": {"loss": 6.0}, "count": 4})  # what version 0.1 saved
    assert copy.means() == {"loss": 1.5}


# -- whole steps as a CUDA graph -----------------------------------------------------------------------------------


def test_a_step_whose_capture_fails_goes_on_without(monkeypatch):
    """Stand-ins for CUDA refuse to capture: the game is that of a trainer that never tried, and one line says so."""

    class Refusing(contextlib.nullcontext):
        def __enter__(self):
            raise RuntimeError("operation not permitted when stream is capturing\nmore of it")

    class Stream:
        def wait_stream(self, other):
            pass

    monkeypatch.setattr(torch.cuda, "Stream", lambda device: Stream())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Stream())
    monkeypatch.setattr(torch.cuda, "stream", contextlib.nullcontext)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: SimpleNamespace(register_generator_state=lambda rng: None))
    monkeypatch.setattr(torch.cuda, "graph", lambda graph, stream: Refusing())
    trainer, plain = game(1), game(1)
    # Batches are dealt by generators of their own, as on a GPU.
    trainer.dealer, plain.dealer = (torch.Generator().manual_seed(3) for _ in range(2))
    restored = []
    rng = SimpleNamespace(device=torch.device("cpu"), clone_state=lambda: "before", graphsafe_set_state=restored.append)
    graph = StepGraph(trainer._play, rng, moves=3, batch_size=4)
    found = []
    with warnings.catch_warnings(record=True) as said:
        for _ in range(WARM_UP + 3):
            found.append({name: float(value) for name, value in graph(trainer._indices_of_a_step()).items()})
            trainer.step += 1
    (line,) = [str(warning.message) for warning in said]
    assert line == (
        "no CUDA graph of a training step, it is played without (operation not permitted when stream is capturing)"
    )
    assert restored == ["before"]
    assert found == floats(plain, WARM_UP + 3)


needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU, and torch finds none here")


@needs_gpu
def test_captured_steps_equal_eager_ones_on_a_gpu():
    eager, captured = game(1, device="cuda", equal=True), game(1, device="cuda", equal=True, capture=True)
    one, two = floats(eager, 10), floats(captured, 10)
    assert captured._graph is not None and captured._graph.graph is not None
    for a, b in zip(one, two, strict=True):
        assert close(b, a)
    torch.testing.assert_close(weights(captured), weights(eager), rtol=1e-3, atol=1e-3)


@needs_gpu
def test_a_loss_that_is_not_finite_is_found_in_a_captured_step():
    trainer = game(1, device="cuda", equal=True, capture=True)
    floats(trainer, 5)
    before = weights(trainer).clone()
    with torch.no_grad():
        trainer.data.posterior.mean.fill_(float("nan"))
    floats(trainer, 3)
    assert torch.equal(weights(trainer), before)
    with pytest.raises(NonFiniteLossError, match="the critic's loss is nan at step 6"):
        trainer.check()


@needs_gpu
def test_the_loop_on_a_gpu_waits_for_nothing():
    trainer = game(1, device="cuda")
    floats(trainer, 2)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in itertools.islice(trainer.train(), 3):
            pass
    finally:
        torch.cuda.set_sync_debug_mode("default")


@needs_gpu
def test_bf16_on_a_gpu_gives_nearly_the_losses_of_float32():
    one = floats(game(1, device="cuda"), 1)[0]
    two = floats(game(1, device="cuda", autocast=torch.bfloat16), 1)[0]
    assert two == pytest.approx(one, rel=0.05, abs=0.01)
