import math
from xml.etree import ElementTree

import numpy as np
import pytest
import torch

pytest.importorskip("rdkit")
from rdkit import Chem, DataStructs
from rdkit.Chem.rdFingerprintGenerator import GetMorganGenerator

from graphgan.cli.translation_stage import halves
from graphgan.config import ConfigError
from graphgan.data.molecules import Molecule, molecule_of
from graphgan.metrics.molecule_translation import compare_translation, is_beyond, similarities
from graphgan.molecules import LatentCritic, MoleculePosterior, Translator
from graphgan.molecules.translation import (
    ClassPairs,
    Unpaired,
    cycle_loss,
    random_steps,
    step_loss,
    translated,
    translation_players,
)
from graphgan.objectives import LeastSquares, RelativisticR1R2, WassersteinGP
from graphgan.report.molecule_pairs import PICTURED, Pair, pairs_picture
from graphgan.rewards import REWARDS, RewardError, property_values
from graphgan.training import Trainer


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def networks(latent_dim=3, hidden=8):
    torch.manual_seed(0)
    made = {name: Translator(latent_dim, hidden, 1) for name in ("forward", "backward")}
    return made | {f"{name}_critic": LatentCritic(latent_dim, hidden, 2) for name in ("forward", "backward")}


def moved(translator, by):
    """A translator that adds a vector."""
    with torch.no_grad():
        translator.step.bias.copy_(torch.tensor(by))
    return translator


def test_a_translator_starts_as_the_identity():
    translator = Translator(5, 8, 2)
    means = torch.randn(50, 5, generator=rng()) * 3 + 7
    translator.fit(MoleculePosterior(means, torch.zeros(50, 5)), 0.25)
    latents = torch.randn(9, 5, generator=rng(1))
    assert torch.equal(translator(latents), latents)
    assert torch.equal(translator.translated(latents), latents)
    parameters = dict(translator.named_parameters())
    translator(latents).square().sum().backward()
    assert parameters["step.weight"].grad.abs().max() > 0  # and does not stay there


def test_a_translator_keeps_what_standardises_and_the_border_in_its_state():
    # The means of the first number have variance 1, draws of one molecule 3; the second is the prior, the third known.
    latents = torch.tensor([[1.0, 0.0, 5.0], [3.0, 0.0, 5.0]])
    variances = torch.tensor([[3.0, 1.0, 0.25]]).expand(2, 3)
    translator = moved(Translator(3, 4, 1), [0.5, 0.0, 2.0])
    translator.fit(MoleculePosterior(latents, variances.log()), 1 / 3)
    assert translator.standardised(latents).flatten().tolist() == pytest.approx([-0.5, 0, 0, 0.5, 0, 0])
    assert translator.translated(latents[:1]).flatten().tolist() == pytest.approx([1 + 0.5 * 2, 0, 5 + 2 * 0.5])
    again = Translator(3, 4, 1)
    assert math.isnan(again.border)
    again.load_state_dict(translator.state_dict())
    assert float(again.border) == 1 / 3  # not rounded to float32, since real values stand on it
    assert torch.equal(again.translated(latents), translator.translated(latents))


def test_losses_of_known_functions():
    batch = Unpaired(torch.tensor([[1.0, -3.0]]), torch.tensor([[2.0, 4.0]]))

    def losses(forward, backward):
        moved = translated(forward, backward, batch)
        return cycle_loss(forward, backward, batch, moved), step_loss(batch, moved)

    assert losses(lambda x: x + 1, lambda x: x - 1) == (0, 1 + 1)
    # Twice as far and never back: |1|, |-3| of the low one, |2|, |4| of the high one.
    assert losses(lambda x: 2 * x, lambda x: x) == (2 + 3, 2 + 0)
    assert losses(lambda x: x, lambda x: 2 * x) == (2 + 3, 0 + 3)


def test_every_pair_of_the_classes_is_one_item():
    low, high = torch.arange(3.0)[:, None], 10 * torch.arange(4.0)[:, None]
    data = ClassPairs(low, high)
    batch = data[torch.arange(len(data))]
    pairs = list(zip(batch.low.flatten().tolist(), batch.high.flatten().tolist(), strict=True))
    assert pairs == [(i, j) for i in range(3) for j in (0, 10, 20, 30)]
    mine = batch[1::3]  # what one of several processes takes
    assert len(mine) == 4 and mine.high.flatten().tolist() == [10, 0, 30, 20]


@torch.no_grad()
def test_players_play_what_the_objective_says():
    made = networks()
    moved(made["forward"], [1.0, 2.0, 3.0])
    batch = Unpaired(torch.randn(6, 3, generator=rng(1)), torch.randn(6, 3, generator=rng(2)))
    players = translation_players(LeastSquares(), made, cycle_weight=0.3, identity_weight=0.1, learning_rate=1e-3)
    assert [player.name for player in players] == ["forward_critic", "backward_critic", "translators"]

    def scores(name, latents):
        critic = made[f"{name}_critic"]
        return critic.head(critic.layers(latents))[:, 0]

    shifted = batch.low + torch.tensor([1.0, 2.0, 3.0])
    on_real, on_fake = scores("forward", batch.high), scores("forward", shifted)
    loss, stats = players[0].loss(batch, rng())
    assert loss == pytest.approx(float(0.5 * ((on_real - 1).square().mean() + on_fake.square().mean())), abs=1e-6)
    assert stats.keys() == {"forward_critic_loss", "forward_score_gap"}
    on_real, on_fake = scores("backward", batch.low), scores("backward", batch.high)  # the other one moves nothing yet
    loss, _ = players[1].loss(batch, rng())
    assert loss == pytest.approx(float(0.5 * ((on_real - 1).square().mean() + on_fake.square().mean())), abs=1e-6)
    games = [0.5 * (scores("forward", shifted) - 1).square().mean(), 0.5 * (on_fake - 1).square().mean()]
    loss, stats = players[2].loss(batch, rng())
    # A step of (1, 2, 3) out and none back: 2 on average for either class to come back, 2 for one to stay.
    assert loss == pytest.approx(float(sum(games)) + 0.3 * 4 + 0.1 * 2, abs=1e-5)
    assert stats["cycle_loss"] == pytest.approx(4) and stats["step_loss"] == pytest.approx(2)


@pytest.mark.parametrize("objective", [LeastSquares(), WassersteinGP(), RelativisticR1R2()])
def test_every_objective_can_be_played(objective):
    batch = Unpaired(torch.randn(6, 3, generator=rng(1)), torch.randn(6, 3, generator=rng(2)))
    for player in translation_players(objective, networks(), cycle_weight=1, identity_weight=1, learning_rate=1e-3):
        loss, stats = player.loss(batch, rng())
        assert loss.ndim == 0 and loss.isfinite() and loss.requires_grad
        assert not any(stat.requires_grad for stat in stats.values())
        assert any(g is not None for g in torch.autograd.grad(loss, player.network.parameters(), allow_unused=True))


def test_a_lazy_penalty_knows_the_moves_of_its_critic():
    data = ClassPairs(torch.randn(20, 3, generator=rng(1)), torch.randn(20, 3, generator=rng(2)))
    objective = WassersteinGP(penalty_every=2)
    players = translation_players(objective, networks(), cycle_weight=1, identity_weight=1, learning_rate=1e-3)
    steps = list(Trainer(players, data, batch_size=4, rng=rng()).train(4))
    for name in ("forward", "backward"):
        assert [f"{name}_gradient_penalty" in stats for stats in steps] == [True, False, True, False]


def test_random_steps_are_as_long_and_lead_elsewhere():
    latents = torch.randn(200, 9, generator=rng(3)) * torch.tensor([1.0] * 8 + [0.0])
    lengths = torch.linspace(0, 3, 200)
    arrived = latents + lengths[:, None] * torch.eye(9)[0]
    steps = random_steps(latents, arrived, rng()) - latents
    assert torch.linalg.vector_norm(steps, dim=-1) == pytest.approx(lengths.numpy(), abs=1e-5)
    assert (steps[1:, 0] / lengths[1:]).mean().abs() < 0.1  # of 200 cosines in 8 dimensions: 0.025 from 0
    assert steps[:, 8].abs().max() < 1e-5 < 0.1 < steps[:, 7].std()  # the last number is the same in all
    assert torch.equal(random_steps(latents, arrived, rng()) - latents, steps)
    assert not torch.equal(random_steps(latents, arrived, rng(1)) - latents, steps)
    alone = random_steps(latents[:1], arrived[:1] + 1, rng())
    assert alone.isfinite().all() and torch.linalg.vector_norm(alone - latents[:1]) == pytest.approx(3)


def test_a_property_that_can_be_read_off_the_latents_is_reached():
    """Two clouds, apart in one direction of six: translations cross over, come back, and leave the rest alone; steps as
    long in random directions do not cross."""
    cloud = torch.randn(2, 500, 6, generator=rng())
    way = torch.tensor([1.5, 0, 0, 0, 0, 0])
    low, high = cloud[0] - way, cloud[1] + way
    made = networks(6, 32)
    players = translation_players(LeastSquares(), made, cycle_weight=0.3, identity_weight=0.1, learning_rate=1e-3)
    trainer = Trainer(players, ClassPairs(low, high), batch_size=64, rng=rng(), ema_decay=0.98)
    for _ in trainer.train(160):
        pass
    forward, backward = trainer.average.network
    unseen = torch.randn(500, 6, generator=rng(7))
    with torch.no_grad():
        for there, back, start in ((forward, backward, unseen - way), (backward, forward, unseen + way)):
            to = -torch.sign(start[:, :1].mean())
            kept = start[:, 0] * to < 0
            given = start[kept]
            arrived = there(given)
            anywhere = random_steps(given, arrived, rng())
            crossed, by_chance = ((x[:, 0] * to > 0).double().mean() for x in (arrived, anywhere))
            assert crossed > 0.7 and by_chance < 0.25
            assert (back(arrived) - given).abs().mean() < 0.3
            assert (arrived - given)[:, 1:].abs().mean() < 0.5 < 2 < (arrived - given)[:, 0].abs().mean()


# -- classes -----------------------------------------------------------------------------------------------------------


def test_the_median_parts_the_classes_and_is_in_none():
    border, low, high = halves("logp", np.array([0.4, 0.1, math.nan, 0.2, 0.2, 0.9]))
    assert border == 0.2 and low.tolist() == [1] and high.tolist() == [0, 5]
    border, low, high = halves("logp", np.array([0.0, 1.0, 1.0, 0.0]))
    assert border == 0.5 and low.tolist() == [0, 3] and high.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0.5] * 4, "none of 4 molecules is below the median 0.5, which 100% have"),
        ([0, 0, 0, 1], "none of 4 molecules is below the median 0, which 75% have"),
        ([0, 1, 1, 1], "none of 4 molecules is above the median 1, which 75% have"),
        ([math.nan] * 2, "none of 2 molecules is below the median nan"),
    ],
)
def test_a_property_without_two_classes_is_one_line(values, message):
    with pytest.raises(ConfigError, match=message):
        halves("qed", np.array(values, float))


def mol(smiles):
    found = Chem.MolFromSmiles(smiles)
    assert found is not None, smiles
    return found


def test_property_values_are_those_of_the_reward_and_nan_for_what_is_not_valid():
    smiles = ["CCO", "c1ccccc1", "CC(=O)N"]
    two = Molecule(np.full(2, 6, np.uint8), np.zeros(2, np.int8), np.zeros((2, 2), np.uint8))
    found = property_values("qed", [*(molecule_of(mol(text)) for text in smiles), two], workers=1)
    assert found[:3] == pytest.approx(REWARDS["qed"]([mol(text) for text in smiles], ()), abs=1e-12)
    assert math.isnan(found[3])
    with pytest.raises(RewardError, match="uniqueness is no property of a molecule alone"):
        property_values("uniqueness", [two])
    with pytest.raises(RewardError, match="no reward 'nothing'"):
        property_values("nothing", [])


# -- numbers -----------------------------------------------------------------------------------------------------------


def test_similarities_are_those_of_rdkit():
    pairs = [("CCO", "CCN"), ("c1ccccc1O", "c1ccccc1N"), ("CCO", "CCO"), ("C", "c1ccccc1")]
    found = similarities([*(mol(a) for a, _ in pairs), None], [*(mol(b) for _, b in pairs), mol("C")])
    generator = GetMorganGenerator(radius=2, fpSize=2048)
    expected = [DataStructs.TanimotoSimilarity(*(generator.GetFingerprint(mol(x)) for x in pair)) for pair in pairs]
    assert found[:4] == pytest.approx(expected, abs=1e-7) and found[2] == 1
    assert math.isnan(found[4])


CASES = [
    # given, made, value of what was made; valid, same, success for "high" beyond 0.5
    ("CCO", "OCC", 0.9, True, True, True),
    ("CCO", "CCN", 0.9, True, False, True),
    ("CCO", "CCN", 0.5, True, False, False),
    ("CCO", "c1ccccc1", 0.1, True, False, False),
    ("CCO", "CC.O", 0.9, False, False, False),
    ("CCO", None, math.nan, False, False, False),
]


def test_the_truth_table_of_translations():
    given = [mol(case[0]) for case in CASES]
    made = [None if case[1] is None else mol(case[1]) for case in CASES]
    values = [case[2] for case in CASES]
    found = compare_translation(given, made, values, 0.5, "high")
    assert [text is not None for text in found.smiles] == [case[3] for case in CASES]
    assert list(found.same) == [case[4] for case in CASES]
    assert list(found.success) == [case[5] for case in CASES]
    near, far = (similarities([mol("CCO")], [mol(text)])[0] for text in ("CCN", "c1ccccc1"))
    assert far < near < 0.4  # so that only the unchanged one is close
    assert found.numbers() == pytest.approx(
        {
            "success": 2 / 6,
            "close_success": 1 / 6,
            "validity": 4 / 6,
            "non_identity": 3 / 4,
            "diversity": 3 / 4,
            "similarity": (1 + 2 * near + far) / 4,
            "chance": (1 + 2 * near + far) / 4,  # all were given the same molecule
        }
    )
    assert list(compare_translation(given, made, values, 0.5, "low").success) == [False] * 3 + [True] + [False] * 2


def test_chance_is_the_similarity_to_a_molecule_half_of_the_list_away():
    given = [mol("CCO"), mol("CCN"), mol("c1ccccc1"), mol("Cc1ccccc1")]
    made = given[2:] + given[:2]
    found = compare_translation(given, made, [0] * 4, 0.5, "high")
    assert found.elsewhere.tolist() == [1] * 4 and found.numbers()["chance"] == 1
    assert found.numbers()["similarity"] == similarities(given, made).mean() < 0.2
    alone = compare_translation(given[:1], given[:1], [0], 0.5, "high").numbers()
    assert alone["similarity"] == 1 and math.isnan(alone["chance"])


def test_nothing_divided_by_nothing_is_nan():
    numbers = compare_translation([mol("C")], [None], [math.nan], 0.5, "low").numbers()
    assert [name for name, x in numbers.items() if x == x] == ["success", "close_success", "validity"]
    assert numbers["success"] == numbers["validity"] == 0
    assert all(math.isnan(x) for x in compare_translation([], [], [], 0.5, "low").numbers().values())
    with pytest.raises(ValueError, match="1 molecules given, 0 made and 1 values"):
        compare_translation([mol("C")], [], [0.1], 0.5, "low")


def test_nobody_is_beyond_on_the_border():
    assert is_beyond(0.6, 0.5, "high") and is_beyond(0.4, 0.5, "low")
    for side in ("high", "low"):
        assert not is_beyond(0.5, 0.5, side) and not is_beyond(math.nan, 0.5, side)


def test_pictures_of_pairs():
    pairs = [Pair("CCO", "CCN", "a < b"), Pair("CCO", "CC(C)(C)(C)C", "not valid"), Pair("CCO", "", "nothing")]
    root = ElementTree.fromstring(pairs_picture(pairs))
    tags = [child.tag.split("}")[1] for child in root]
    assert tags.count("svg") == 5 and tags.count("text") == 3  # the last pair has one molecule
    assert [child.text for child in root if child.tag.endswith("text")] == ["a < b", "not valid", "nothing"]
    many = ElementTree.fromstring(pairs_picture(pairs[:1] * 40))
    assert sum(child.tag.endswith("text") for child in many) == PICTURED
    assert ElementTree.fromstring(pairs_picture([])) is not None
