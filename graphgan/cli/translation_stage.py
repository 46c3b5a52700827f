"""The stage "translation" of a run on molecules: two classes of the training set, and a game of each direction."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from graphgan.cli.stages import build_objective
from graphgan.config import ConfigError, MoleculeConfig
from graphgan.data.molecules import Molecule, to_mol
from graphgan.draws import Share
from graphgan.encodings.molecules import MoleculeEncoding
from graphgan.metrics.molecule_translation import MoleculeTranslation, Side, compare_translation, is_beyond
from graphgan.molecule_tensor import MoleculeSet
from graphgan.molecules import MoleculePosterior, Translator
from graphgan.molecules.translation import DIRECTIONS, ClassPairs, translation_players
from graphgan.ranks import ALONE, Ranks
from graphgan.rewards import property_values
from graphgan.sampling.translation import NETWORKS, TranslationModel
from graphgan.training import Trainer

MOST = 40_000
"""Molecules of the training set that classes are made of, so that a slow property takes a minute and not an hour."""
OPPOSITE: dict[Side, Side] = {"high": "low", "low": "high"}


class TranslationStage:
    """Translators between the halves of a training set, on the latents of an autoencoder that no longer changes.

    At most MOST molecules of the training set, drawn with the seed of the run, are sorted by the property: at most
    20,000 on either side of its median; those on it are of no class. The property is computed before the run starts, so
    that one that cannot make classes does not wait for the autoencoder.

    Raises ConfigError and RewardError for an objective or a property that cannot be had, and ConfigError for one that
    has nothing above or nothing below its median.
    """

    def __init__(
        self,
        config: MoleculeConfig,
        encoding: MoleculeEncoding,
        molecules: MoleculeSet,
        networks: dict[str, nn.Module],
    ) -> None:
        self.config, self.encoding, self.networks = config, encoding, networks
        options = config.translation
        self.objective = build_objective(options.objective, options.objective_options)
        rows = torch.randperm(len(molecules), generator=torch.Generator().manual_seed(config.seed))[:MOST]
        self.molecules = molecules.subset(rows)
        values = property_values(options.property, encoding.to_molecules(self.molecules))
        self.border, *sides = halves(options.property, values)
        self.low, self.high = (torch.from_numpy(side).to(molecules.device) for side in sides)

    def trainer(self, ranks: Ranks = ALONE) -> Trainer:
        options, latents = self.config.translation, self._latents()
        for name in DIRECTIONS:
            self._translator(name).fit(latents, self.border)
        standard = self._translator("forward").standardised(latents.mean)
        players = translation_players(
            self.objective,
            self.networks,
            cycle_weight=options.cycle_weight,
            identity_weight=options.identity_weight,
            learning_rate=options.learning_rate,
        )
        return Trainer(
            players,
            ClassPairs(standard[self.low], standard[self.high]),
            batch_size=options.batch_size,
            rng=Share(standard.device, ranks).manual_seed(self.config.seed),
            ema_decay=options.ema_decay,
        )

    def averaged(self, trainer: Trainer) -> dict[str, nn.Module]:
        """What translating takes: averages of the translators, and the autoencoder as it is."""
        averages = dict(zip(DIRECTIONS, trainer.average.network.children(), strict=True))
        return {name: averages.get(name, self.networks[name]) for name in NETWORKS if name in self.networks}

    def measure(self, used: dict[str, nn.Module], held: MoleculeSet) -> dict[str, float]:
        """The numbers of `MoleculeTranslation` for held-out molecules of both classes, as to_high_... and to_low_..."""
        model = TranslationModel.of_networks(
            used, name="", encoding=self.encoding, config=dataclasses.asdict(self.config), step=0
        )
        molecules = self.encoding.to_molecules(held)
        values = property_values(model.property_name, molecules)
        measures: dict[str, float] = {}
        for to, other in OPPOSITE.items():
            given = [m for m, x in zip(molecules, values, strict=True) if is_beyond(x, model.border, other)]
            found, _ = judged(model, given, model.translate(given, to), to)
            measures |= {f"to_{to}_{name}": x for name, x in found.numbers().items() if x == x}
        return measures

    def _translator(self, name: str) -> Translator:
        return self.networks[name]  # type: ignore[return-value]

    @torch.no_grad()
    def _latents(self, batch_size: int = 1024) -> MoleculePosterior:
        encoder, starts = self.networks["encoder"], range(0, len(self.molecules), batch_size)
        parts = [encoder(self.molecules[start : start + batch_size]) for start in starts]
        return MoleculePosterior(
            torch.cat([part.mean for part in parts]), torch.cat([part.log_variance for part in parts])
        )


def translation_arguments(config: MoleculeConfig) -> dict[str, dict[str, Any]]:
    """Kind and arguments of the networks of the stage (`graphgan.sampling.molecules.network_of`)."""
    size = {"latent_dim": config.autoencoder.latent_dim, "hidden": config.translation.hidden}
    translators = {name: {"kind": "Translator", **size} for name in DIRECTIONS}
    return translators | {f"{name}_critic": {"kind": "LatentCritic", **size} for name in DIRECTIONS}


def halves(name: str, values: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """(median, rows below it, rows above it) of the values of a property, nan left out; ConfigError where either would
    be empty."""
    known = values[~np.isnan(values)]
    border = float(np.median(known)) if known.size else float("nan")
    low, high = np.flatnonzero(values < border), np.flatnonzero(values > border)
    if not low.size or not high.size:
        share, side = (known == border).mean() if known.size else 1.0, "below" if not low.size else "above"
        raise ConfigError(
            f"translation.property {name}: none of {len(values)} molecules is {side} the median {border:.3g}, which "
            f"{share:.0%} have"
        )
    return border, low, high


def judged(
    model: TranslationModel, given: Sequence[Molecule], made: Sequence[Molecule], to: Side
) -> tuple[MoleculeTranslation, np.ndarray]:
    """How outputs fare against the molecules that they were made of, and their values of the property, nan where an
    output is not valid."""
    values = property_values(model.property_name, made)
    before, after = ([to_mol(molecule) for molecule in side] for side in (given, made))
    return compare_translation(before, after, values, model.border, to), values  # type: ignore[arg-type]
