"""Molecules from the command line: train, stop and go on, sample, export; mistakes in one line."""

import json
import lzma

import pytest
import torch
from rdkit import Chem

from graphgan import load_model
from graphgan.cli import main
from graphgan.cli.commands import CommandError
from graphgan.cli.molecule_stages import MoleculeStages
from graphgan.cli.parsing import _positional, parse
from graphgan.cli.prepare_molecules import molecule_judge, reward_judge
from graphgan.config import Config, ConfigError, MoleculeConfig, load_config
from graphgan.data.cards import datasets_folder
from graphgan.data.molecule_files import read_molecules
from graphgan.encodings.molecules import MoleculeEncoding
from graphgan.rewards import RewardError
from graphgan.sampling import MoleculeModel, SamplingError

SMALL = ["--autoencoder.hidden", "8", "--autoencoder.width", "32", "--autoencoder.latent-dim", "6", "--quiet"]
OFTEN = ["--log-every", "1", "--checkpoint-every", "2", "--evaluate-every", "4"]
PUBLISHED = ["--recipe", "molgan", "--quiet"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "train.smi"
    with lzma.open(datasets_folder() / "qm9" / "smiles.txt.xz", "rt") as file:
        path.write_text("".join(list(file)[::650]))
    return path


@pytest.fixture(autouse=True, scope="module")
def few_samples():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("graphgan.cli.molecule_stages.MoleculeStages.samples", 40)
        yield


def train(data, out, *words):
    assert main(["train", str(data), "--out", str(out), *OFTEN, *words]) == 0
    rows = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "modern"
    return out, train(data, out, *SMALL, "--steps", "20")


def test_a_run_has_its_stages_and_numbers(run):
    out, rows = run
    assert [row["stage"] for row in rows if row["step"] == 1] == ["autoencoder", "game", "rewards"]
    assert {"atom_loss", "bond_loss", "kl"} <= rows[0].keys()
    last = [row for row in rows if row["stage"] == "rewards" and "critic_loss" in row][-1]
    assert {"reward_generated", "reward_predicted", "reward_error", "score_gap", "atom_loss"} <= last.keys()
    judged = [row for row in rows if "sample_score" in row]
    assert judged and all(0 <= row["sample_validity"] <= 1 for row in judged)
    assert any("validation_reconstructed" in row for row in rows)
    saved = load_config(out / "config.yaml")
    assert isinstance(saved, MoleculeConfig) and saved.autoencoder.latent_dim == 6


WAYS = {
    "modern": SMALL,
    "published": PUBLISHED,
    "statistics": [*PUBLISHED, "--game.batch-statistics", "--game.feature-matching", "--game.decision", "softmax"],
    "rewards": [*PUBLISHED, "--rewards.share", "1", "--rewards.of", "qed*sa", "--game.dropout", "0.1"],
    "reinforce": [*SMALL, "--rewards.path", "reinforce", "--rewards.of", "logp*uniqueness"],
}


def test_stopping_changes_nothing(data, tmp_path):
    """4 steps are 2, a stop, and 2: logs and samples are equal."""
    whole = train(data, tmp_path / "whole", *WAYS["statistics"], "--steps", "4")
    train(data, tmp_path / "parts", *WAYS["statistics"], "--steps", "2")
    parts = train(data, tmp_path / "parts", *WAYS["statistics"], "--steps", "4", "--resume")
    ours, theirs = ([row for row in rows if "wasserstein" in row] for rows in (whole, parts))
    assert len(ours) == 4 and ours == theirs
    models = [load_model(tmp_path / name / "checkpoints" / "last.pt") for name in ("whole", "parts")]
    assert torch.equal(models[0].sample_graphs(20).bonds, models[1].sample_graphs(20).bonds)


@pytest.mark.parametrize("way", ["modern", "rewards", "reinforce"])
def test_a_game_with_rewards_goes_on_as_if_nothing_had_happened(data, way):
    words = [word for word in WAYS[way] if word != "--quiet"]
    config = parse(["train", str(data), "--out", "run", *words]).settings
    encoding = MoleculeEncoding()
    molecules, _ = encoding.fit_encode(read_molecules(data).molecules)

    def trainer():
        judge = reward_judge(config.rewards.names, encoding, frozenset())
        return MoleculeStages(config, encoding, molecules, molecules, device=torch.device("cpu"), judge=judge).trainer(
            "rewards"
        )

    whole, first, second = trainer(), trainer(), trainer()
    stats = [list(whole.train(4)), list(first.train(2))]
    second.load_state_dict(first.state_dict())
    stats.append(list(second.train(4)))
    assert stats[0][:2] == stats[1] and stats[0][2:] == stats[2]
    assert "reward_loss" in stats[0][0] or "reward_predicted" in stats[0][0]
    for ours, theirs in zip(whole.average.network.parameters(), second.average.network.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_every_way_lowers_nothing_to_nan(data, tmp_path):
    rows = train(data, tmp_path / "run", *WAYS["published"], "--steps", "6")
    assert {row["stage"] for row in rows} == {"game"}
    assert all(abs(value) < 1e6 for row in rows for name, value in row.items() if name != "stage")


def test_an_autoencoder_learns(data, tmp_path):
    words = [*SMALL, "--autoencoder.share", "0.98", "--game.share", "0.02", "--rewards.share", "0"]
    rows = [row for row in train(data, tmp_path / "run", *words, "--steps", "150") if "atom_loss" in row]
    assert rows[145]["atom_loss"] < 0.5 * rows[0]["atom_loss"]


# -- samples -----------------------------------------------------------------------------------------------------------


def test_samples_in_every_form(run, tmp_path):
    out, _ = run
    for name in ("a.smi", "a.csv", "a.sdf", "a.svg"):
        assert main(["sample", str(out), "-n", "40", "--out", str(tmp_path / name)]) == 0
        assert (tmp_path / name).stat().st_size > 0
    rows = (tmp_path / "a.csv").read_text().splitlines()
    assert next(line for line in rows if not line.startswith("#")) == "id,smiles,valid"
    assert len([line for line in rows if not line.startswith("#")]) == 41


def test_seeds_shards_and_chunks_name_the_same_molecules(run):
    model = load_model(run[0])
    assert isinstance(model, MoleculeModel)
    whole = model.sample_graphs(2500, seed=3)
    assert torch.equal(model.sample_graphs(10, seed=3).bonds, whole.bonds[:10])
    parts = [model.sample_graphs(2500, seed=3, shard=(i, 3)).orders for i in (1, 2, 3)]
    assert torch.equal(torch.cat(parts), whole.orders)
    assert not torch.equal(model.sample_graphs(10, seed=4).bonds, whole.bonds[:10])
    assert (whole.bonds == whole.bonds.transpose(1, 2)).all() and whole.atoms.sum(-1).eq(1).all()
    mols = model.sample(50, seed=3)
    assert len(mols) == 50 and all(mol is None or mol.GetNumAtoms() for mol in mols)
    with pytest.raises(SamplingError, match="as many atoms as it likes"):
        model.sample(3, num_atoms=4)


def test_an_exported_model_makes_the_same_molecules(run, tmp_path):
    assert main(["export", str(run[0]), "--out", str(tmp_path / "small.pt")]) == 0
    small, whole = load_model(tmp_path / "small.pt"), load_model(run[0])
    same = (small.sample_graphs(200).orders == whole.sample_graphs(200).orders).float().mean()
    assert same > 0.99  # half precision
    assert (tmp_path / "small.pt").stat().st_size < (run[0] / "checkpoints" / "last.pt").stat().st_size / 3


def test_draws_are_drawn(data, tmp_path):
    train(data, tmp_path / "run", *PUBLISHED, "--steps", "2", "--game.decision", "gumbel-straight-through")
    drawing = load_model(tmp_path / "run")
    assert drawing.decision.draws
    whole = drawing.sample_graphs(300)
    assert torch.equal(drawing.sample_graphs(100).orders, whole.orders[:100])
    # Equal noise, other draws: a hardly trained network leaves nearly everything to chance.
    assert len({row.numpy().tobytes() for row in whole.orders}) > 250


# -- words and mistakes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["qm9", "--out", "run"], "qm9"),
        (["--out", "qm9", "a.csv"], "a.csv"),
        (["--quiet", "qm9", "--out=run"], "qm9"),
        (["--out=run", "--resume", "qm9"], "qm9"),
        (["--recipe", "qm9", "--help"], None),
        (["--game.batch-statistics", "qm9", "--out", "run"], "qm9"),
        (["--game.no-feature-matching", "--steps", "3", "qm9"], "qm9"),
    ],
)
def test_data_is_found_among_the_words(words, expected):
    assert _positional(words) == expected


def test_data_decides_the_options(tmp_path):
    assert isinstance(parse(["train", "qm9", "--out", "run"]).settings, MoleculeConfig)
    assert isinstance(parse(["train", "default", "--out", "qm9"]).settings, Config)
    command = parse(["train", "nowhere.smi", "--encoding", "molecules", "--out", "run"])
    assert isinstance(command.settings, MoleculeConfig)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--recipe", "demo"], "options are not those of molecules"),
        (["--rewards.of", "beauty"], "no reward 'beauty'"),
        (["--rewards.weight", "1.5"], "rewards.weight is 1.5"),
        (["--game.share", "0"], "one of them must be 0"),
        (["--game.objective", "chess"], "unknown name 'chess'"),
        (["--max-atoms", "1"], "max_atoms is 1"),
        (["--autoencoder.share", "0"], "modern networks begin with it"),
        (["--game.temperature", "0"], "game.temperature is 0.0"),
        (["--game.batch-statistics", "--game.batch-size", "24"], "expected a multiple of 16"),
    ],
)
def test_mistakes_are_one_line(data, tmp_path, capsys, words, message):
    assert main(["train", str(data), "--out", str(tmp_path / "run"), *words]) == 2
    error = capsys.readouterr().err.strip()
    assert error.splitlines()[-1].startswith("graphgan: error:") and message in error.splitlines()[-1]


def test_a_reward_must_give_numbers():
    config = parse(["train", "qm9", "--out", "run", "--rewards.of", "operator:contains"]).settings
    with pytest.raises(RewardError, match=r"operator:contains gives shape \(\)"):
        molecule_judge(config, frozenset())([Chem.MolFromSmiles("CC")])


def test_what_looks_at_whole_batches_takes_one_process(data):
    class Two:
        size = 2

    encoding = MoleculeEncoding()
    molecules, _ = encoding.fit_encode(read_molecules(data).molecules)
    for way, what in (("statistics", "game.feature_matching"), ("reinforce", "rewards.of"), ("rewards", "α of")):
        words = [word for word in WAYS[way] if word != "--quiet"]
        config = parse(["train", str(data), "--out", "run", *words]).settings
        stages = MoleculeStages(
            config,
            encoding,
            molecules,
            molecules,
            device=torch.device("cpu"),
            judge=lambda batch: torch.ones(len(batch)),
        )
        with pytest.raises(ConfigError, match=f"{what}.* looks at a whole batch"):
            stages.trainer(list(config.stages)[-1], Two())


def test_crystal_options_are_refused(run, tmp_path, capsys):
    sample = ["sample", str(run[0]), "-n", "2", "--out", str(tmp_path / "a.smi")]
    assert main([*sample, "--symmetrize", "0.1"]) == 2
    assert main(["sample", str(run[0]), "-n", "2", "--out", str(tmp_path / "a.cif")]) == 2
    assert "Traceback" not in capsys.readouterr().err
    with pytest.raises(CommandError, match="not those of molecules"):
        parse(["train", "qm9", "--recipe", "demo", "--out", str(tmp_path)])
