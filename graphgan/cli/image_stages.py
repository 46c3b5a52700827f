"""The one stage of a run on images: a game of generator and critic, or a diffusion."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import nn

from graphgan.cli.stages import autocast, build_objective
from graphgan.config import DIFFUSION, ConfigError, ImageConfig
from graphgan.config.images import CrystensOptions, ImageOptions, Xtal2pngOptions
from graphgan.draws import Share, normal
from graphgan.encodings import image_encoding
from graphgan.encodings.images import ImageEncoding
from graphgan.image_tensor import ImageTensor
from graphgan.images import ElucidatedDiffusion
from graphgan.ranks import ALONE, Ranks
from graphgan.sampling import ImageModel, Sampler
from graphgan.sampling.images import network_of
from graphgan.training import Player, Trainer, adversaries

if TYPE_CHECKING:
    from pymatgen.core import Structure


PUBLISHED = {
    "non-saturating": {"generator": "CrystensGanGenerator", "critic": "CrystensGanCritic"},
    "wgan-gp": {"generator": "CrystensWganGenerator", "critic": "CrystensWganCritic"},
    DIFFUSION: {"generator": "CascadedDiffusion"},
}
"""Networks of the CrysTens paper by the objective that they were trained with."""


class ImageSettings(Protocol):
    """What says which image: the options of a run, or of `graphgan encode`."""

    @property
    def encoding(self) -> str: ...

    @property
    def image(self) -> ImageOptions: ...

    @property
    def crystens(self) -> CrystensOptions: ...

    @property
    def xtal2png(self) -> Xtal2pngOptions: ...


def new_image_encoding(settings: ImageSettings) -> ImageEncoding:
    """The image encoding asked for, not fitted yet."""
    options = {**dataclasses.asdict(settings.image), **dataclasses.asdict(getattr(settings, settings.encoding))}
    return image_encoding(settings.encoding, **options)


class ImageStages:
    """The stage "images" (`graphgan.cli.stages.Stages`); `crystals` is the training set."""

    def __init__(
        self, config: ImageConfig, encoding: ImageEncoding, crystals: ImageTensor, *, device: torch.device
    ) -> None:
        self.config, self.encoding, self.crystals = config, encoding, crystals.to(device)
        self.arguments = _arguments(config, encoding)
        # torch initialises from its global generator: seed a fork of it, and leave the caller's as it was.
        with torch.random.fork_rng():
            torch.manual_seed(config.seed)
            try:
                self.networks = {name: network_of(**arguments).to(device) for name, arguments in self.arguments.items()}
            except ValueError as error:  # of a shape that published networks are not for
                raise ConfigError(f"networks is {config.networks}: {error}") from None

    def trainer(self, stage: str, ranks: Ranks = ALONE) -> Trainer:
        config, generator = self.config, self.networks["generator"]
        rng = Share(self.crystals.device, ranks).manual_seed(config.seed)
        options = config.diffusion if config.objective == DIFFUSION else config.game
        return Trainer(
            self._denoiser(generator) if config.objective == DIFFUSION else self._adversaries(generator),
            self.crystals,
            batch_size=options.batch_size,
            rng=rng,
            ema_decay=options.ema_decay,
            autocast=autocast(config),
            capture=config.cuda_graph,
        )

    def averaged(self, stage: str, trainer: Trainer) -> dict[str, nn.Module]:
        return {"generator": trainer.average.network}

    def finish(self, stage: str, trainer: Trainer) -> None:
        self.networks["generator"].load_state_dict(trainer.average.network.state_dict())

    def makes_crystals(self, stage: str) -> bool:
        return True

    def measure(self, used: dict[str, nn.Module], stage: str) -> dict[str, float]:
        return {}

    def model(self, used: dict[str, nn.Module], name: str, step: int) -> ImageModel:
        return ImageModel(
            name=name,
            encoding=self.encoding,
            generator=used["generator"],
            config=dataclasses.asdict(self.config),
            step=step,
        )

    def sample(self, model: Sampler, n: int) -> Sequence[Structure | None]:
        return model.sample(n, seed=self.config.seed)

    def _denoiser(self, diffusion: Any) -> list[Player]:
        if isinstance(diffusion, ElucidatedDiffusion):
            diffusion.set_scale(self.crystals)
        rate = self.config.diffusion.learning_rate
        return [Player("denoiser", diffusion, diffusion.loss, rate, betas=(0.9, 0.99), clip_norm=1.0)]

    def _adversaries(self, generator: Any) -> list[Player]:
        config, options = self.config, self.config.game

        def fake(real: ImageTensor, rng: torch.Generator) -> ImageTensor:
            return ImageTensor(generator.sample(lambda *shape: normal(len(real), *shape, rng=rng)))

        return adversaries(
            build_objective(config.objective, config.objective_options),
            self.networks["critic"],
            generator,
            real=lambda batch, rng: batch,
            fake=fake,
            critic_steps=options.critic_steps,
            learning_rate=options.learning_rate,
            critic_learning_rate=options.critic_learning_rate,
            betas=(options.beta1, options.beta2),
        )


def _arguments(config: ImageConfig, encoding: ImageEncoding) -> dict[str, dict[str, Any]]:
    """Kind and arguments of every network (`graphgan.sampling.images.network_of`)."""
    shape = {"channels": encoding.channels, "side": encoding.side}
    if config.networks == "published":
        if config.objective not in PUBLISHED:
            known = ", ".join(PUBLISHED)
            raise ConfigError(f"objective is {config.objective}: published networks are those of {known}")
        return {name: {"kind": kind, **shape} for name, kind in PUBLISHED[config.objective].items()}
    if config.objective == DIFFUSION:
        options = config.diffusion
        size = {"width": options.width, "steps": options.sampling_steps}
        return {"generator": {"kind": "ElucidatedDiffusion", **shape, **size}}
    width = {"width": config.game.width}
    return {
        "generator": {"kind": "ImageGenerator", **shape, "noise": config.game.noise, **width},
        "critic": {"kind": "ImageCritic", **shape, **width},
    }
