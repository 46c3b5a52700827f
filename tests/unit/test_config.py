import dataclasses

import pytest

from graphgan.config import Config, ConfigError, build, from_table, load_config, save_config
from graphgan.config.files import load_recipe
from graphgan.objectives import OBJECTIVES, WassersteinGP


def test_round_trip(tmp_path):
    config = from_table(Config, {"minutes": 3, "latent": {"objective": "hinge", "hidden": 32}})
    save_config(config, tmp_path / "c.yaml")
    assert load_config(tmp_path / "c.yaml") == config
    assert config.minutes == 3.0 and config.latent.hidden == 32 and config.autoencoder == Config().autoencoder


def test_an_empty_file_is_the_defaults(tmp_path):
    (tmp_path / "c.yaml").write_text("")
    assert load_config(tmp_path / "c.yaml") == Config()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("latnt: {}", "unknown field latnt; known are"),
        ("latent: {hiden: 3}", "unknown field latent.hiden"),
        ("latent: {hidden: wide}", "latent.hidden is 'wide', expected int"),
        ("latent: 3", "latent is 3, expected a table"),
        ("device: tpu", "device is 'tpu', expected one of auto, cpu, cuda"),
        ("steps: 0", "steps is 0, expected at least 1"),
        ("steps: true", "steps is True, expected int"),
        ("minutes: -1", "minutes is -1.0, expected more than 0"),
        ("minutes: .nan", "minutes is nan, expected more than 0 and finite"),
        ("minutes: .inf", "minutes is inf, expected more than 0 and finite"),
        ("seed: -1", "seed is -1, expected 0 or more and below 2**63"),
        ("seed: 9223372036854775808", "seed is 9223372036854775808, expected 0 or more"),
        ("threads: -1", "threads is -1, expected at least 0"),
        ("log_every: 0", "log_every is 0, expected at least 1"),
        ("encoding: {max_atoms: 0}", "encoding.max_atoms is 0, expected at least 1"),
        ("autoencoder: {hidden: 0}", "autoencoder.hidden is 0, expected at least 1"),
        ("autoencoder: {lmax: 0}", "autoencoder.lmax is 0, expected at least 1"),
        ("autoencoder: {rounds: -1}", "autoencoder.rounds is -1, expected at least 0"),
        ("autoencoder: {cutoff: 0}", "autoencoder.cutoff is 0.0, expected more than 0"),
        ("autoencoder: {kl_weight: -1}", "autoencoder.kl_weight is -1.0, expected 0 or more"),
        ("autoencoder: {heads: 5}", "autoencoder.heads is 5, does not divide autoencoder.hidden 96"),
        ("graph: {hidden: 40}", "autoencoder.channels is 16, does not divide graph.hidden 40"),
        ("latent: {hidden: 30}", "latent.heads is 4, does not divide latent.hidden 30"),
        ("latent: {critic_hidden: 30}", "latent.heads is 4, does not divide latent.critic_hidden 30"),
        ("latent: {critic_hidden: 0}", "latent.critic_hidden is 0, expected at least 1"),
        ("latent: {anchor: -1}", "latent.anchor is -1.0, expected 0 or more"),
        ("noise: {share: 1}", "noise.share is set, and prior.share is 0"),
        ("mixture: {share: 1}", "mixture.share is set, and prior.share is 0"),
        ("prior: {fade: 1.5}", "prior.fade is 1.5, expected 0 to 1"),
        ("mixture: {components: 0}", "mixture.components is 0, expected at least 1"),
        ("noise: {hidden: 30}", "latent.heads is 4, does not divide noise.hidden 30"),
        ("prior: {halved_after: 0}", "prior.halved_after is 0, expected at least 1"),
        ("autoencoder: {agreement: -1}", "autoencoder.agreement is -1.0, expected 0 or more"),
        ("autoencoder: {separations: 1}", "autoencoder.separations is 1.0, expected 0 or more and below 1"),
        ("prior: {variance: 0}", "prior.variance is 0.0, expected more than 0"),
        ("latent: {critic_steps: 0}", "latent.critic_steps is 0, expected at least 1"),
        ("latent: {ema_decay: 1}", "latent.ema_decay is 1.0, expected 0 or more and below 1"),
        ("latent: {atom_noise: 0}", "latent.atom_noise is 0, expected at least 1"),
        ("latent: {share: .nan}", "latent.share is nan, expected 0 or more and finite"),
        ("latent: {objective_options: {gamma: big}}", "latent.objective_options.gamma is 'big', expected float"),
        ("latent: {objective_options: {gamma: .inf}}", "latent.objective_options.gamma is inf, expected a finite"),
        ("graph: {learning_rate: 0}", "graph.learning_rate is 0.0, expected more than 0"),
        ("graph: {batch_size: 0}", "graph.batch_size is 0, expected at least 1"),
        ("graph: {share: -1}", "graph.share is -1.0, expected 0 or more"),
        ("[]", "the configuration is [], expected a table"),
        ("a: 2024-99-99", "not YAML"),
        ("latent: {share: 0}", "the autoencoder and a game need more than 0"),
        ("a: [", "not YAML"),
    ],
)
def test_mistakes_are_one_line_with_file_and_field(tmp_path, text, message):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert message in str(caught.value) and str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: No such file"):
        load_config(tmp_path / "nowhere.yaml")


def test_numbers_like_1e_3_are_numbers(tmp_path):
    (tmp_path / "c.yaml").write_text("autoencoder: {learning_rate: 1e-3}")
    assert load_config(tmp_path / "c.yaml").autoencoder.learning_rate == 1e-3
    (tmp_path / "c.yaml").write_text("latent: {objective_options: {penalty_weight: 1e-3}}")
    assert load_config(tmp_path / "c.yaml").latent.objective_options == {"penalty_weight": 1e-3}


def test_the_edges_of_the_ranges_are_in():
    edges = {"seed": 2**63 - 1, "threads": 0, "autoencoder": {"rounds": 0, "kl_weight": 0.0, "ema_decay": 0.0}}
    config = from_table(Config, edges)
    assert config.seed == 2**63 - 1 and config.autoencoder.kl_weight == 0


def test_budgets_follow_the_shares():
    config = from_table(Config, {"steps": 100, "autoencoder": {"share": 1.0}, "latent": {"share": 3.0}})
    assert config.stage_budget("autoencoder") == (25, None)
    assert config.stage_budget("latent") == (75, None)
    assert config.stage_budget("graph") == (0, None)
    assert dataclasses.replace(config, minutes=2.0).stage_budget("latent") == (None, 90.0)


def test_build_takes_built_in_and_foreign_names():
    assert build("wgan-gp", OBJECTIVES, {"penalty_weight": 3.0}) == WassersteinGP(3.0)
    assert build("graphgan.objectives:WassersteinGP", {}, {}) == WassersteinGP()
    with pytest.raises(ConfigError, match="unknown name 'wgangp'; built in are"):
        build("wgangp", OBJECTIVES, {})
    with pytest.raises(ConfigError, match=r"no_such_package:X: No module named"):
        build("no_such_package:X", OBJECTIVES, {})
    with pytest.raises(ConfigError, match="unexpected keyword argument"):
        build("wgan-gp", OBJECTIVES, {"lambda_": 1})


@pytest.mark.parametrize("name", ["perov_5", "carbon_24", "mp_20"])
def test_recipes_of_benchmark_sets_have_a_budget_and_all_their_stages(name):
    config = load_recipe(name)
    assert config.minutes is not None and "prior" in config.stages
    assert sum(config.stages.values()) == pytest.approx(1)
    written = [getattr(config, stage).share for stage in config.stages]
    assert sum(written) == pytest.approx(1)  # shares that can be read as parts of the budget
    assert config.encoding.max_atoms == {"perov_5": 5, "carbon_24": 24, "mp_20": 20}[name]
