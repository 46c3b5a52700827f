"""The one stage of a run on images: a game of generator and critic, or a diffusion."""

from __future__ import annotations

import contextlib
import dataclasses
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import nn

from graphgan.cli.stages import autocast, build_objective, initialising
from graphgan.config import DIFFUSION, ConfigError, ImageConfig
from graphgan.config.images import CrystensOptions, ImageOptions, Xtal2pngOptions
from graphgan.draws import Share, normal
from graphgan.encodings import image_encoding
from graphgan.encodings.images import ImageEncoding
from graphgan.encodings.xtal2png import RangeWarning
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


def as_drawn(config: ImageConfig, encoding: ImageEncoding) -> ImageConfig:
    """The configuration with what an encoding really does, which may have come with encoded images."""
    state = encoding.state_dict()

    def of(options: Any) -> Any:
        names = (field.name for field in dataclasses.fields(options))
        return dataclasses.replace(options, **{name: state[name] for name in names})

    own = {config.encoding: of(getattr(config, config.encoding))}
    return dataclasses.replace(config, image=of(config.image), **own)


def share_beyond(images: ImageTensor) -> float:
    """The share of pixels outside [0, 1], where no network of `graphgan.images` reaches."""
    outside = ((part < -1e-6) | (part > 1 + 1e-6) for part in images.values.split(1024))
    return sum(int(part.sum()) for part in outside) / images.values.numel()


@contextlib.contextmanager
def range_warnings(say: Callable[[str], Any]) -> Iterator[None]:
    """Say what an encoding warns of, crystals outside its ranges, as a line of ours."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", RangeWarning)
        yield
    for warning in caught:
        say(str(warning.message)) if issubclass(warning.category, RangeWarning) else warnings.warn_explicit(
            warning.message, warning.category, warning.filename, warning.lineno
        )


class ImageStages:
    """The stage "images" (`graphgan.cli.stages.Stages`); `crystals` is the training set."""

    samples = 500

    def __init__(
        self, config: ImageConfig, encoding: ImageEncoding, crystals: ImageTensor, *, device: torch.device
    ) -> None:
        self.config, self.encoding, self.crystals = config, encoding, crystals.to(device)
        self.arguments = _arguments(config, encoding)
        try:
            with initialising(config.seed):
                self.networks = {name: network_of(**arguments).to(device) for name, arguments in self.arguments.items()}
        except ValueError as error:  # of a shape that published networks are not for, or too few steps
            raise ConfigError(str(error)) from None

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

    def generates(self, stage: str) -> bool:
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
        kinds = PUBLISHED[config.objective]
        dropout = {"critic": {"seed": config.seed}}
        return {name: {"kind": kind, **shape, **dropout.get(name, {})} for name, kind in kinds.items()}
    if config.objective == DIFFUSION:
        options = config.diffusion
        size = {"width": options.width, "steps": options.sampling_steps}
        return {"generator": {"kind": "ElucidatedDiffusion", **shape, **size}}
    width = {"width": config.game.width}
    return {
        "generator": {"kind": "ImageGenerator", **shape, "noise": config.game.noise, **width},
        "critic": {"kind": "ImageCritic", **shape, **width, "spectral_norm": config.game.spectral_norm},
    }
