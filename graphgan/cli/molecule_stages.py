"""The stages of a run on molecules: an autoencoder, the game of graphs, the game with rewards, or a translation."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from graphgan.cli.stages import anchored, autocast, build_objective, initialising
from graphgan.cli.translation_stage import TranslationStage, translation_arguments
from graphgan.config import ConfigError, MoleculeConfig
from graphgan.draws import Share, normal
from graphgan.encodings.molecules import MoleculeEncoding
from graphgan.molecule_tensor import MoleculeSet, MoleculeTensor
from graphgan.molecules import Discretisation, Logits, MoleculeReconstruction, decided
from graphgan.molecules.rewarding import (
    FeatureMatching,
    Judge,
    Logistic,
    Published,
    Rewarded,
    prediction_loss,
    score_function_loss,
)
from graphgan.objectives import Loss
from graphgan.ranks import ALONE, Ranks
from graphgan.rewards import PER_MOLECULE
from graphgan.sampling import MoleculeModel, Sampler
from graphgan.sampling.molecules import network_of
from graphgan.training import Player, Trainer, adversaries

KINDS = {
    "modern": {"generator": "MoleculeDecoder", "critic": "MoleculeCritic"},
    "molgan": {"generator": "MolganGenerator", "critic": "MolganCritic"},
}


MEASURED = 1000
"""Molecules that are reconstructed at a time."""


class MoleculeStages:
    """Stages of molecules (`graphgan.cli.stages.Stages`); `crystals` is the training set.

    validation  what `measure` reconstructs
    judge       the rewards of molecules, where the configuration has some
    """

    samples = 2000

    def __init__(
        self,
        config: MoleculeConfig,
        encoding: MoleculeEncoding,
        molecules: MoleculeSet,
        validation: MoleculeSet,
        *,
        device: torch.device,
        judge: Judge | None = None,
    ) -> None:
        self.config, self.encoding, self.judge = config, encoding, judge
        self.crystals, self.validation = molecules.to(device), validation.to(device)
        self.decision = Discretisation(config.game.decision, config.game.temperature)
        self.arguments = _arguments(config, molecules)
        with initialising(config.seed):
            self.networks = {name: network_of(**arguments).to(device) for name, arguments in self.arguments.items()}
        if config.translation.share > 0:
            self.translation = TranslationStage(config, encoding, self.crystals, self.networks)

    def trainer(self, stage: str, ranks: Ranks = ALONE) -> Trainer:
        if stage == "translation":
            return self.translation.trainer(ranks)
        if ranks.size > 1 and (why := self._needs_whole_batches(stage)):
            raise ConfigError(f"{why} looks at a whole batch: train with one process")
        rng = Share(self.crystals.device, ranks).manual_seed(self.config.seed)
        options = self.config.autoencoder if stage == "autoencoder" else self.config.game
        return Trainer(
            [self._autoencoder()] if stage == "autoencoder" else self._players(stage),
            self.crystals,
            batch_size=options.batch_size,
            rng=rng,
            ema_decay=options.ema_decay,
            autocast=autocast(self.config) if stage == "autoencoder" else None,
        )

    def averaged(self, stage: str, trainer: Trainer) -> dict[str, nn.Module]:
        if stage == "translation":
            return self.translation.averaged(trainer)
        return dict(trainer.average.network.named_children())

    def finish(self, stage: str, trainer: Trainer) -> None:
        for name, network in self.averaged(stage, trainer).items():
            self.networks[name].load_state_dict(network.state_dict())

    def generates(self, stage: str) -> bool:
        return stage not in ("autoencoder", "translation")

    @torch.no_grad()
    def measure(self, used: dict[str, nn.Module], stage: str) -> dict[str, float]:
        """How many molecules of the validation set come back from the means of their latents, every atom and bond; of a
        translation, how its validation molecules fare."""
        if stage == "translation":
            return self.translation.measure(used, self.validation)
        if "encoder" not in used:
            return {}
        same = []
        for start in range(0, len(self.validation), MEASURED):
            real = self.validation[start : start + MEASURED]
            found = decided(used["generator"](used["encoder"](real).mean), Discretisation("straight-through"))
            same.append((found.kinds == real.kinds).all(1) & (found.orders == real.orders).flatten(1).all(1))
        return {"reconstructed": float(torch.cat(same).double().mean())}

    def model(self, used: dict[str, nn.Module], name: str, step: int) -> MoleculeModel:
        return MoleculeModel(
            name=name,
            encoding=self.encoding,
            generator=used["generator"],
            decision=self.decision,
            config=dataclasses.asdict(self.config),
            step=step,
        )

    def sample(self, model: Sampler, n: int) -> Sequence[Any]:
        return model.sample(n, seed=self.config.seed)

    # -- players -------------------------------------------------------------------------------------------------------

    def _needs_whole_batches(self, stage: str) -> str | None:
        """What of a stage is no mean over single molecules, which processes could share; None without such."""
        game, rewards = self.config.game, self.config.rewards
        if stage == "autoencoder":
            return None
        if game.feature_matching or game.batch_statistics:
            return "game.feature_matching" if game.feature_matching else "game.batch_statistics"
        if not set(rewards.names) <= PER_MOLECULE:
            return f"rewards.of {rewards.of}"
        if stage == "rewards" and (rewards.path == "reinforce" or self.config.networks == "molgan"):
            return "rewards.path reinforce" if rewards.path == "reinforce" else "α of the published rewards"
        return None

    @property
    def _trained(self) -> nn.ModuleDict:
        """What the generator's player trains: with the modern networks, the encoder too."""
        return nn.ModuleDict({name: self.networks[name] for name in ("encoder", "generator") if name in self.networks})

    def _reconstruct(self, batch: MoleculeTensor, rng: torch.Generator) -> Loss:
        loss = MoleculeReconstruction(self.config.autoencoder.kl_weight)
        return loss(self.networks["encoder"], self.networks["generator"], batch, rng)

    def _autoencoder(self) -> Player:
        rate = self.config.autoencoder.learning_rate
        return Player("autoencoder", self._trained, self._reconstruct, rate, betas=(0.9, 0.99), clip_norm=1.0)

    def _logits(self, count: int, rng: torch.Generator) -> Logits:
        generator = self.networks["generator"]
        return generator(normal(count, generator.noise, rng=rng))  # type: ignore[arg-type]

    def _decided(self, logits: Logits, how: Discretisation, rng: torch.Generator) -> MoleculeTensor:
        numbers = [torch.special.ndtr(normal(*part.shape, rng=rng)) for part in logits] if how.draws else [None, None]
        return decided(logits, how, *numbers)

    def _fake(self, real: MoleculeTensor, rng: torch.Generator) -> MoleculeTensor:
        return self._decided(self._logits(len(real), rng), self.decision, rng)

    def _players(self, stage: str) -> list[Player]:
        """Critic, reward network where there is one, generator."""
        options, rewards = self.config.game, self.config.rewards
        by_network = stage == "rewards" and rewards.path == "network"
        objective = build_objective(options.objective, options.objective_options)
        if options.feature_matching:
            objective = FeatureMatching(objective, self.networks["critic"].features)  # type: ignore[arg-type]
        if by_network:
            objective = Rewarded(objective, self._how, self.networks["reward"])
        critic, generator = adversaries(
            objective,
            self.networks["critic"],
            self._trained,
            real=lambda batch, rng: batch,
            fake=self._fake,
            critic_steps=options.critic_steps,
            learning_rate=options.learning_rate,
            critic_learning_rate=options.critic_learning_rate,
            betas=(options.beta1, options.beta2),
        )
        if stage == "rewards" and not by_network:
            generator = dataclasses.replace(generator, loss=self._reinforced(generator.loss))
        if "encoder" in self.networks:
            loss = anchored(generator.loss, self._reconstruct, options.reconstruction_weight)
            generator = dataclasses.replace(generator, loss=loss)
        return [critic, *([self._predictor()] if "reward" in self.networks else []), generator]

    @property
    def _how(self) -> Published | Logistic:
        kind = Published if self.config.networks == "molgan" else Logistic
        return kind(self.config.rewards.weight)

    def _predictor(self) -> Player:
        """The player of the reward network, which learns before rewards count."""
        network, judge = self.networks["reward"], self.judge
        assert judge is not None

        def loss(batch: MoleculeTensor, rng: torch.Generator) -> Loss:
            with torch.no_grad():
                made = self._fake(batch, rng)
            return prediction_loss(self._how, network, judge, batch, made)

        return Player("reward", network, loss, self.config.rewards.learning_rate)

    def _reinforced(self, played: Callable[[Any, torch.Generator], Loss]) -> Callable[[Any, torch.Generator], Loss]:
        """The generator's loss, and REINFORCE on draws of its own."""
        judge, how = self.judge, Discretisation("gumbel-straight-through")
        assert judge is not None

        def loss(batch: MoleculeTensor, rng: torch.Generator) -> Loss:
            game, stats = played(batch, rng)
            logits = self._logits(len(batch), rng)
            drawn = self._decided(logits, how, rng).detach()
            rewards = judge(drawn).to(drawn.device)
            reward: Tensor = score_function_loss(logits, drawn, rewards)
            stats |= {"reward_generated": rewards.mean(), "reward_loss": reward.detach()}
            weight = self.config.rewards.weight
            return (1 - weight) * game + weight * reward, stats

        return loss


def _arguments(config: MoleculeConfig, molecules: MoleculeSet) -> dict[str, dict[str, Any]]:
    """Kind and arguments of every network (`graphgan.sampling.molecules.network_of`)."""
    kinds, auto, game = KINDS[config.networks], config.autoencoder, config.game
    channels = {"num_kinds": molecules.num_kinds, "num_orders": molecules.num_orders}
    shape = {"places": molecules.max_atoms, **channels}
    statistics = {"batch_statistics": game.batch_statistics}
    found: dict[str, dict[str, Any]] = {}
    if config.networks == "modern":
        latent = {"latent_dim": auto.latent_dim}
        size = {"hidden": auto.hidden, "layers": auto.layers}
        found["encoder"] = {"kind": "MoleculeEncoder", **shape, **latent, **size}
        found["generator"] = {"kind": kinds["generator"], **shape, **latent, "width": auto.width}
        if config.translation.share > 0:
            return found | translation_arguments(config)
        found["critic"] = {"kind": kinds["critic"], **channels, **statistics}
        reward: dict[str, Any] = {"kind": kinds["critic"], **channels}
    else:
        dropout = {"dropout": game.dropout, "seed": config.seed}
        found["generator"] = {"kind": kinds["generator"], **shape, "noise": game.noise}
        found["critic"] = {"kind": kinds["critic"], **channels, **statistics, **dropout}
        reward = {"kind": kinds["critic"], **channels, **dropout, "bounded": True}
    if config.rewards.share > 0 and config.rewards.path == "network":
        found["reward"] = reward
    return found
