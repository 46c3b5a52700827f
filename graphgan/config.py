"""The configuration of a run as frozen dataclasses, read from YAML; no networks, no torch.

A field's default here is the default everywhere. Names of objectives become objects in `build`, for built-ins and for
an outsider's `package.module:Name` alike.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from graphgan.errors import UserError

STAGES = ("autoencoder", "latent", "graph")
StageName = Literal["autoencoder", "latent", "graph"]
SEED_LIMIT = 2**63
"""Seeds are at least 0 and below this: what torch's generators take."""
_MORE_THAN_ZERO = ("minutes", "cutoff", "learning_rate", "critic_learning_rate")
_NOT_NEGATIVE = ("share", "direction_weight", "lattice_weight", "kl_weight")
_FROM_ZERO = ("threads", "rounds")


class ConfigError(UserError):
    """A configuration that cannot be used; the message names the field and the cause."""


@dataclasses.dataclass(frozen=True)
class EncodingOptions:
    """What of the data the networks see."""

    max_atoms: int = 20
    """Crystals with more atoms in the cell are left out."""
    primitive: bool = True
    """Take the primitive cell of every crystal first."""


@dataclasses.dataclass(frozen=True)
class AutoencoderOptions:
    """Stage 1: graph tensors to per-atom latents and back."""

    share: float = 0.3
    """Share of the budget (--steps or --minutes)."""
    latent_dim: int = 8
    """Numbers in an atom's latent vector."""
    hidden: int = 96
    """Features an atom."""
    encoder_layers: int = 3
    """Rounds of equivariant messages."""
    decoder_layers: int = 3
    """Transformer blocks."""
    heads: int = 4
    """Attention heads of the decoder."""
    channels: int = 16
    """Channels of every l > 0, and heads of the encoder's attention; they divide hidden."""
    lmax: int = 2
    """Highest l of the e3nn irreps."""
    cutoff: float = 6.0
    """Reach of the Cartesian edge features in Å."""
    rounds: int = 3
    """Rounds of averaging directions into positions."""
    direction_weight: float = 10.0
    """Weight of 1 - cos of the direction errors."""
    lattice_weight: float = 3.0
    """Weight of the squared error of the normalised log-metric."""
    kl_weight: float = 1e-3
    """Weight of the KL divergence, nats an atom."""
    batch_size: int = 64
    """Crystals a step."""
    learning_rate: float = 1e-3
    """Of Adam with betas (0.9, 0.99)."""
    ema_decay: float = 0.998
    """Of the averaged weights, which go on to the next stage."""


@dataclasses.dataclass(frozen=True)
class LatentOptions:
    """Stage 2: the game in latent space."""

    share: float = 0.7
    """Share of the budget (--steps or --minutes)."""
    objective: str = "wgan-gp"
    """wgan-gp, wgan, non-saturating, least-squares, hinge, relativistic, or package.module:Name."""
    objective_options: dict[str, float] = dataclasses.field(default_factory=dict)
    """Arguments of the objective."""
    hidden: int = 64
    """Features an atom, in generator and critic."""
    layers: int = 3
    """Transformer blocks, in generator and critic."""
    heads: int = 4
    """Attention heads."""
    crystal_noise: int = 32
    """Noise numbers a crystal."""
    atom_noise: int = 16
    """Noise numbers an atom."""
    spectral_norm: bool = False
    """Divide the critic's weights by their largest singular value."""
    critic_steps: int = 3
    """Critic steps a generator step."""
    batch_size: int = 64
    """Crystals a step."""
    learning_rate: float = 5e-4
    """Of the generator's Adam with betas (0.0, 0.9)."""
    critic_learning_rate: float = 5e-4
    """Of the critic's Adam with betas (0.0, 0.9)."""
    ema_decay: float = 0.998
    """Of the generator that samples."""


@dataclasses.dataclass(frozen=True)
class GraphOptions:
    """Stage 3, off unless it has a share: fine-tuning generator and decoder against a critic of graph tensors."""

    share: float = 0.0
    """Share of the budget (--steps or --minutes)."""
    objective: str = "wgan-gp"
    """As in the latent stage."""
    objective_options: dict[str, float] = dataclasses.field(default_factory=dict)
    """Arguments of the objective."""
    hidden: int = 64
    """Features an atom of the critic."""
    layers: int = 2
    """Rounds of equivariant messages of the critic."""
    spectral_norm: bool = False
    """Divide the critic's weights by their largest singular value."""
    species: Literal["straight-through", "soft"] = "straight-through"
    """How generated species meet the critic: one-hot with the gradient of the softmax, or the softmax itself."""
    critic_steps: int = 3
    """Critic steps a generator step."""
    batch_size: int = 64
    """Crystals a step."""
    learning_rate: float = 3e-5
    """Of generator and decoder: they are good already."""
    critic_learning_rate: float = 3e-4
    """Of the critic."""
    ema_decay: float = 0.998
    """Of the generator and decoder that sample."""


@dataclasses.dataclass(frozen=True)
class Config:
    """A whole run. The budget is --minutes or else --steps, split over the stages by their shares."""

    steps: int = 20000
    """Steps of all stages together, unless minutes is given."""
    minutes: float | None = None
    """Minutes of training of all stages together."""
    seed: int = 0
    """Of weights, batches and noise."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto takes a GPU where there is one."""
    precision: Literal["float32", "bf16"] = "float32"
    """bf16 halves the width of the networks' products in the autoencoder and latent stages; gradient penalty, weights
    and the graph stage stay in float32. For GPUs."""
    cuda_graph: bool = False
    """Play whole steps of the latent game as one CUDA graph; on one GPU."""
    threads: int = 1
    """CPU threads; 0 takes all cores. More than one helps large cells on an idle machine; on a busy one it can be 30
    times slower. Equal numbers need equal threads."""
    log_every: int = 25
    """Steps between rows of log.jsonl."""
    checkpoint_every: int = 250
    """Steps between checkpoints."""
    evaluate_every: int = 500
    """Steps of a game between evaluations of a small sample, which choose checkpoints/best.pt."""
    encoding: EncodingOptions = dataclasses.field(default_factory=EncodingOptions)
    autoencoder: AutoencoderOptions = dataclasses.field(default_factory=AutoencoderOptions)
    latent: LatentOptions = dataclasses.field(default_factory=LatentOptions)
    graph: GraphOptions = dataclasses.field(default_factory=GraphOptions)

    def __post_init__(self) -> None:
        # All is judged here rather than in each part: only the whole knows the names that users type, and tyro draws
        # boxes of many lines around the errors of a part.
        _check_values(self)
        channels = self.autoencoder.channels
        for name, field, heads in (
            ("autoencoder", "autoencoder.heads", self.autoencoder.heads),
            ("autoencoder", "autoencoder.channels", channels),
            ("latent", "latent.heads", self.latent.heads),
            ("graph", "autoencoder.channels", channels),
        ):
            if (hidden := getattr(self, name).hidden) % heads:
                raise ConfigError(f"{field} is {heads}, does not divide {name}.hidden {hidden}")
        shares = [getattr(self, stage).share for stage in STAGES]
        if shares[0] <= 0 or sum(shares[1:]) <= 0:
            raise ConfigError(f"shares are {shares}: the autoencoder and a game need more than 0, none less")

    def stage_share(self, stage: str) -> float:
        """This stage's part of the budget, in [0, 1]."""
        return getattr(self, stage).share / sum(getattr(self, s).share for s in STAGES)

    def stage_budget(self, stage: str) -> tuple[int | None, float | None]:
        """(steps, seconds) of a stage; one of them is None."""
        share = self.stage_share(stage)
        if self.minutes is not None:
            return None, 60 * self.minutes * share
        return (max(1, round(self.steps * share)) if share > 0 else 0), None


def _check_values(options: Any, prefix: str = "") -> None:
    """ConfigError for the first number, of the parts too, that no run can use. A whole number counts something, and
    something must be there, unless its name says otherwise."""
    for field in dataclasses.fields(options):
        name, value = field.name, getattr(options, field.name)
        if dataclasses.is_dataclass(value):
            _check_values(value, f"{prefix}{name}.")
            continue
        for key, number in value.items() if isinstance(value, dict) else ():
            if isinstance(number, float) and not math.isfinite(number):
                raise ConfigError(f"{prefix}{name}.{key} is {number}, expected a finite number")
        if isinstance(value, (bool, str, dict)) or value is None:
            continue
        if expected := _complaint(name, value):
            raise ConfigError(f"{prefix}{name} is {value}, expected {expected}")


def _complaint(name: str, value: float) -> str | None:
    """What a number of this name should have been, or None where it is right."""
    if name == "seed":
        return None if 0 <= value < SEED_LIMIT else "0 or more and below 2**63"
    if name == "ema_decay":
        return None if 0 <= value < 1 else "0 or more and below 1"
    if name in _MORE_THAN_ZERO:
        return None if 0 < value < math.inf else "more than 0 and finite"
    if name in _NOT_NEGATIVE:
        return None if 0 <= value < math.inf else "0 or more and finite"
    least = 0 if name in _FROM_ZERO else 1
    return None if value >= least else f"at least {least}"


def load_config(path: Path | str) -> Config:
    """A Config from a YAML file; ConfigError, one line, for what it does not know."""
    import yaml

    try:
        table = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: not UTF-8, or a date like 2024-99-99
        raise ConfigError(f"{path}: not YAML ({' '.join(str(error).split())[:120]})") from None
    try:
        return from_table(Config, {} if table is None else table)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def save_config(config: Config, path: Path | str) -> None:
    """Write the resolved configuration as YAML."""
    import yaml

    Path(path).write_text(yaml.safe_dump(dataclasses.asdict(config), sort_keys=False), encoding="utf-8")


T = typing.TypeVar("T")


def from_table(kind: type[T], table: Any, prefix: str = "") -> T:
    """A dataclass from nested dicts; ConfigError names an unknown field or a value of the wrong type."""
    if not isinstance(table, dict):
        raise ConfigError(f"{prefix.rstrip('.') or 'the configuration'} is {table!r}, expected a table")
    hints = typing.get_type_hints(kind)
    values: dict[str, Any] = {}
    for name, value in table.items():
        if name not in hints:
            raise ConfigError(f"unknown field {prefix}{name}; known are {', '.join(hints)}")
        hint = hints[name]
        if dataclasses.is_dataclass(hint):
            values[name] = from_table(typing.cast(type, hint), value, f"{prefix}{name}.")
        else:
            values[name] = _checked(hint, value, prefix + name)
    return kind(**values)


def _checked(hint: Any, value: Any, name: str) -> Any:
    if typing.get_origin(hint) is Literal:
        if value not in typing.get_args(hint):
            raise ConfigError(f"{name} is {value!r}, expected one of {', '.join(typing.get_args(hint))}")
        return value
    if isinstance(hint, types.UnionType):
        if value is None:
            return None
        hint = next(h for h in typing.get_args(hint) if h is not types.NoneType)
    kind = typing.get_origin(hint) or hint
    if kind is float and isinstance(value, (int, str)) and not isinstance(value, bool):
        try:  # of a string too: YAML 1.1 reads 1e-3 as one
            return float(value)
        except (ValueError, OverflowError):
            raise ConfigError(f"{name} is {value!r}, expected float") from None
    if kind is dict and isinstance(value, dict):
        _, number = typing.get_args(hint)
        return {str(key): _checked(number, item, f"{name}.{key}") for key, item in value.items()}
    if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
        raise ConfigError(f"{name} is {value!r}, expected {kind.__name__}")
    return value


def build(name: str, builtin: dict[str, Any], options: dict[str, Any]) -> Any:
    """The object that a name stands for: a built-in, or `package.module:Name` of somebody else's package."""
    if ":" in name:
        module, attribute = name.split(":", 1)
        try:
            factory = getattr(import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise ConfigError(f"{name}: {error}") from None
    elif name in builtin:
        factory = builtin[name]
    else:
        raise ConfigError(
            f"unknown name {name!r}; built in are {', '.join(sorted(builtin))}, or give package.module:Name"
        )
    try:
        return factory(**options)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{name}: {error}") from None
