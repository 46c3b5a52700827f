"""Two processes that share every batch play the game that one process plays with the whole batch.

In float64: Adam divides a gradient by its own size, and so makes a step of a gradient that is zero but for rounding, as
that of the critic's last bias is. In float64 such a gradient stays far below Adam's epsilon.
"""

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest
import torch

from graphgan.autoencoding import ReconstructionLoss
from graphgan.draws import Share, fair, normal, ranks_of, uniform
from graphgan.graph_tensor import GraphTensor
from graphgan.latents import Latents, Posterior, PosteriorSet
from graphgan.networks import Decoder, Generator
from graphgan.objectives import RelativisticR1R2, WassersteinGP, gradient_norm, scores
from graphgan.ranks import ALONE, RankError, Ranks, announced, join
from graphgan.training import NonFiniteLossError, Player, Trainer, adversaries

SIZES = torch.tensor([3, 2, 5, 1, 2, 4, 3, 1, 5, 2, 4, 1])


class Foreign:
    """An objective of somebody who knows nothing of processes: alpha from torch itself."""

    def critic_loss(self, critic, real, fake, rng):
        on_real, on_fake = scores(critic, real, fake)
        t = torch.rand(len(real), generator=rng, device=rng.device)
        penalty = (gradient_norm(critic, real.interpolate(fake, t)) - 1).square().mean()
        loss = on_fake.mean() - on_real.mean() + penalty
        return loss, {"loss": loss.detach()}

    def generator_loss(self, critic, real, fake):
        loss = -critic(fake).mean()
        return loss, {"generator_loss": loss.detach()}


class Critic(torch.nn.Module):
    """Mean over atoms of a small network: without e3nn, whose import takes longer than all that is done here."""

    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.SiLU(), torch.nn.Linear(8, 1))

    def forward(self, latents):
        return (self.layers(latents.values)[..., 0] * latents.mask).sum(1) / latents.num_atoms


def latent_game(objective, ranks):
    torch.manual_seed(0)
    mask = (torch.arange(5) < SIZES[:, None])[..., None]
    log_variance = torch.full((12, 5, 4), -1.0) * mask
    data = PosteriorSet(Posterior(mean=torch.randn(12, 5, 4) * mask, log_variance=log_variance, num_atoms=SIZES))
    generator, critic = Generator(4, hidden=8, layers=1, heads=2), Critic()
    players = adversaries(
        objective,
        critic,
        generator,
        real=lambda posterior, rng: posterior.sample(rng),
        fake=lambda real, rng: generator(generator.noise(len(real), real.values.shape[1], rng), real.num_atoms),
        critic_steps=2,
        learning_rate=1e-3,
    )
    return Trainer(players, data, batch_size=6, rng=Share("cpu", ranks).manual_seed(5))


class Embedding(torch.nn.Module):
    """The smallest encoder there is: a linear map of species, with noise of its own."""

    def __init__(self):
        super().__init__()
        self.head = torch.nn.Linear(3, 8)

    def forward(self, crystals):
        mean, log_variance = (self.head(crystals.species) * crystals.mask[..., None]).chunk(2, -1)
        return Posterior(mean=mean, log_variance=log_variance, num_atoms=crystals.num_atoms)


class Padded:
    """Crystals that come with no more padding than the largest of a batch needs, as those of a CrystalSet do."""

    def __init__(self, crystals):
        self.crystals = crystals

    def __len__(self):
        return len(self.crystals)

    def __getitem__(self, index):
        return self.crystals[index].trim()


def autoencoder(ranks):
    torch.manual_seed(0)
    mask = torch.arange(5) < SIZES[:, None]
    species = torch.nn.functional.one_hot(torch.randint(3, (12, 5)), 3) * mask[..., None]
    species = species.to(torch.get_default_dtype())
    crystals = GraphTensor.from_positions(species, torch.rand(12, 5, 3), 4 * torch.eye(3).expand(12, 3, 3), SIZES)
    networks = torch.nn.ModuleDict({"e": Embedding(), "d": Decoder(3, latent_dim=4, hidden=8, layers=1, heads=2)})
    loss = ReconstructionLoss()
    player = Player("a", networks, lambda b, rng: loss(networks["e"], networks["d"], b, rng), 1e-3, clip_norm=1.0)
    return Trainer([player], Padded(crystals), batch_size=6, rng=Share("cpu", ranks).manual_seed(5), sizes=SIZES)


def played(case, ranks, steps=5):
    """Stats of every step, and the weights after the last; in float64."""
    torch.set_default_dtype(torch.float64)
    try:
        return stats_and_weights(case(ranks), steps)
    finally:
        torch.set_default_dtype(torch.float32)


def stats_and_weights(trainer, steps=5):
    stats = [{name: float(value) for name, value in s.items()} for s in itertools.islice(trainer.train(), steps)]
    weights = torch.cat([w.flatten() for p in trainer.players for w in p.network.parameters()])
    return {"stats": stats, "weights": weights.tolist(), "next": torch.rand(1, generator=trainer.rng).item()}


CASES = {
    "WGAN-GP": lambda ranks: latent_game(WassersteinGP(), ranks),
    "lazy penalty": lambda ranks: latent_game(WassersteinGP(penalty_every=2), ranks),
    "relativistic": lambda ranks: latent_game(RelativisticR1R2(), ranks),
    "autoencoder": autoencoder,
}


def broken(ranks):
    """A loss that is NaN in the last process alone, at step 2."""
    trainer = latent_game(WassersteinGP(), ranks)
    player = trainer.players[0]
    honest, calls = player.loss, []

    def loss(batch, rng):
        calls.append(1)
        value, stats = honest(batch, rng)
        return (value * float("nan") if len(calls) == 4 and ranks.rank == ranks.size - 1 else value), stats

    player.loss = loss
    try:
        stats_and_weights(trainer)
    except NonFiniteLossError as error:
        return str(error)
    return ""


def in_one_process_of_two(out):
    """What the processes of the fixture do."""
    torch.set_num_threads(1)
    ranks = join(torch.device("cpu"))
    found = {name: played(case, ranks) for name, case in CASES.items()}
    found["foreign"] = played(lambda ranks: latent_game(Foreign(), ranks), ranks)
    found["broken"] = broken(ranks)
    found["any"] = [ranks.any(False), ranks.any(ranks.rank == 1)]
    weights = [torch.full((2,), float(ranks.rank + 1)), torch.tensor([ranks.rank])]
    ranks.broadcast_(weights)
    found["broadcast"] = [w.tolist() for w in weights]
    (out / f"{ranks.rank}.json").write_text(json.dumps(found))
    if ranks.first:
        return  # gone without a word
    ranks.any(False)


def start(words, rank, port, **options):
    place = {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    environment = os.environ | place | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, *words], env=environment, **options)


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """What two processes found, and what the second said when the first had gone."""
    out, port = tmp_path_factory.mktemp("ranks"), free_port()
    script = f"import sys, pathlib; sys.path.insert(0, {os.path.dirname(__file__)!r}); import test_distributed as t; "
    script += f"t.in_one_process_of_two(pathlib.Path({str(out)!r}))"
    processes = [start(["-c", script], rank, port, stderr=subprocess.PIPE, text=True) for rank in range(2)]
    said = [process.communicate(timeout=120)[1] for process in processes]
    assert (out / "0.json").exists() and (out / "1.json").exists(), "\n".join(said)
    return [json.loads((out / f"{rank}.json").read_text()) for rank in range(2)], said[1]


@pytest.mark.parametrize("name", CASES)
def test_two_processes_equal_one_with_the_whole_batch(two, name):
    alone = played(CASES[name], ALONE)
    for found in (rank[name] for rank in two[0]):
        for mine, theirs in zip(alone["stats"], found["stats"], strict=True):
            assert theirs == pytest.approx(mine, rel=1e-9, abs=1e-9)
        assert found["weights"] == pytest.approx(alone["weights"], rel=1e-7, abs=1e-9)
        assert found["next"] == alone["next"]  # the generator has gone the same way
    assert two[0][0][name] == two[0][1][name]


def test_what_two_processes_are_compared_with_moves():
    """Five steps change the weights by far more than the tolerance, and another seed gives other numbers."""
    for case in CASES.values():
        first, last = played(case, ALONE, 0)["weights"], played(case, ALONE)["weights"]
        assert max(abs(a - b) for a, b in zip(first, last, strict=True)) > 1e-3


def test_an_objective_that_knows_no_processes_keeps_them_together(two):
    first, second = (rank["foreign"] for rank in two[0])
    assert first == second and all(abs(s["loss"]) < 1e3 for s in first["stats"])


def test_a_loss_that_is_not_finite_in_one_process_stops_both_at_one_step(two):
    assert [rank["broken"] for rank in two[0]] == ["the critic's loss is nan at step 2"] * 2


def test_processes_agree_and_take_over_weights(two):
    for found in two[0]:
        assert found["any"] == [False, True]
        assert found["broadcast"] == [[1.0, 1.0], [0]]


def test_who_is_left_behind_says_so_in_one_line(two):
    assert "graphgan.ranks.RankError: lost touch with the other processes of this run (" in two[1]


def test_draws_for_parts_are_the_rows_of_the_draw_for_the_whole():
    def rngs():
        return [Share("cpu", Ranks(rank, 2)).manual_seed(3) for rank in range(2)]

    whole = normal(6, 2, 3, rng=torch.Generator().manual_seed(3), dtype=torch.float64)
    assert torch.equal(whole, torch.randn(6, 2, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64))
    parts = [normal(3, 2, 3, rng=rng, dtype=torch.float64) for rng in rngs()]
    assert torch.equal(torch.stack(parts, 1).flatten(0, 1), whole)
    whole = uniform(6, torch.Generator().manual_seed(3))
    assert torch.equal(whole, torch.rand(6, generator=torch.Generator().manual_seed(3)))
    assert torch.equal(torch.stack([uniform(3, rng) for rng in rngs()], 1).flatten(), whole)


def test_a_share_is_a_generator_like_any_other():
    share, plain = Share("cpu", Ranks(1, 2)).manual_seed(3), torch.Generator().manual_seed(3)
    assert isinstance(share, torch.Generator) and ranks_of(share) == Ranks(1, 2) and ranks_of(plain) == ALONE
    assert torch.equal(torch.rand(4, generator=share), torch.rand(4, generator=plain))
    assert torch.equal(share.get_state(), plain.get_state())
    count = torch.tensor(7)
    assert fair(count, plain) is count


def test_a_batch_that_does_not_divide_is_one_line():
    with pytest.raises(RankError, match=r"^a batch_size of 6 does not divide among 4 processes$"):
        latent_game(WassersteinGP(), Ranks(0, 4))
    with pytest.raises(RankError, match=r"^2 items are too few for 3 processes$"):
        Ranks(0, 3).batch_size(6, 2)


def test_a_set_smaller_than_a_batch_gives_up_its_remainder():
    assert Ranks(2, 3).batch_size(6, 100) == 6
    assert Ranks(2, 3).batch_size(60, 50) == 48
    assert ALONE.batch_size(60, 50) == 50


def test_without_torchrun_a_process_is_alone(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    assert announced() == ALONE == join(torch.device("cpu"))
    monkeypatch.setenv("RANK", "3")  # half an announcement is none
    assert announced() == ALONE
    tensor = torch.ones(2)
    ALONE.mean_([tensor])
    ALONE.broadcast_([tensor])
    ALONE.leave()
    assert tensor.tolist() == [1, 1] and ALONE.any(True) and not ALONE.any(False)


def test_a_part_of_a_batch_keeps_the_padding_of_the_whole():
    data = latent_game(WassersteinGP(), ALONE).data
    batch = data[torch.tensor([2, 1, 8, 3])]  # sizes 5, 2, 5, 1
    part = batch[1::2].sample(Share("cpu", Ranks(1, 2)).manual_seed(0))
    whole = batch.sample(torch.Generator().manual_seed(0))
    assert isinstance(part, Latents) and torch.equal(part.values, whole.values[1::2])


# -- the command ---------------------------------------------------------------------------------------------------


def rows_of(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_a_run_of_two_processes_logs_what_one_logs_and_stops_when_one_is_told_to(tmp_path):
    """SIGTERM to the second process alone: both save and stop. One process goes on from there to the same end."""
    from pymatgen.core import Lattice, Structure

    from graphgan.cli import main
    from graphgan.data import write_structures

    salts = [
        Structure(Lattice.cubic(4 + i / 16), ["Na", "Cl", "O"][: 2 + i % 2], torch.rand(2 + i % 2, 3).numpy())
        for i in range(16)
    ]
    tiny = [
        *("--device", "cpu", "--steps", "66", "--log-every", "1", "--checkpoint-every", "1000", "--quiet"),
        *("--evaluate-every", "1000", "--autoencoder.hidden", "8", "--latent.hidden", "8", "--latent.layers", "1"),
        *("--autoencoder.encoder-layers", "1", "--autoencoder.decoder-layers", "1", "--autoencoder.channels", "2"),
        *("--autoencoder.batch-size", "4", "--latent.batch-size", "4", "--autoencoder.share", "0.1"),
        *("--latent.share", "1.0"),
    ]
    # Tensors rather than structures: nothing to evaluate with, which would take longer than all the rest.
    tensors = tmp_path / "salts.npz"
    assert main(["encode", str(write_structures(salts, tmp_path / "salts.csv")), "--out", str(tensors)]) == 0
    words = ["train", str(tensors), *tiny, "--out"]
    alone, together = tmp_path / "alone", tmp_path / "together"
    assert main([*words, str(alone)]) == 0
    port, log = free_port(), together / "log.jsonl"
    command = ["-m", "graphgan", *words, str(together)]
    processes = [start(command, rank, port, stderr=subprocess.PIPE, text=True) for rank in range(2)]
    limit = time.monotonic() + 60
    while not (log.exists() and "wasserstein" in log.read_text()) and time.monotonic() < limit:
        time.sleep(0.02)
    processes[1].send_signal(signal.SIGTERM)
    said = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [130, 130], said
    assert "of the latent stage; go on with --resume" in said[0]
    assert len(rows_of(together)) < len(rows_of(alone)) - 5
    assert main([*words, str(together), "--resume"]) == 0
    mine, theirs = rows_of(alone), rows_of(together)
    assert [(r["stage"], r["step"]) for r in mine] == [(r["stage"], r["step"]) for r in theirs]
    for one, two in zip(mine, theirs, strict=True):
        # In float32 the critic's last bias goes where rounding sends it, and the generator's loss with it.
        free = {"generator_loss": 0.05}
        for name in one.keys() - {"stage", "step", "seconds"}:
            assert two[name] == pytest.approx(one[name], rel=1e-2, abs=free.get(name, 2e-3)), (name, one["step"])
