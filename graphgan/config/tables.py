"""Tables of YAML become frozen dataclasses, and names objects; a mistake is one line that names the field."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from importlib import import_module
from typing import Any, Literal

from graphgan.errors import UserError

SEED_LIMIT = 2**63
"""Seeds are at least 0 and below this: what torch's generators take."""
_MORE_THAN_ZERO = (
    "minutes",
    "cutoff",
    "learning_rate",
    "critic_learning_rate",
    "site_tolerance",
    "temperature",
    "variance",
)
_NOT_NEGATIVE = (
    "share",
    "direction_weight",
    "lattice_weight",
    "kl_weight",
    "reconstruction_weight",
    "cycle_weight",
    "identity_weight",
    "weight",
    "anchor",
    "agreement",
    "least_validity",
)
_BELOW_ONE = ("separations", "ema_decay", "beta1", "beta2", "dropout")
_FROM_ZERO = ("threads", "rounds")
_ANY = ("sign",)


class ConfigError(UserError):
    """A configuration that cannot be used; the message names the field and the cause."""


def check_values(options: Any, prefix: str = "") -> None:
    """ConfigError for the first number, of the parts too, that no run can use. A whole number counts something, and
    something must be there, unless its name says otherwise."""
    for field in dataclasses.fields(options):
        name, value = field.name, getattr(options, field.name)
        if dataclasses.is_dataclass(value):
            check_values(value, f"{prefix}{name}.")
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
    if name == "fade":
        return None if 0 <= value <= 1 else "0 to 1"
    if name in _BELOW_ONE:
        return None if 0 <= value < 1 else "0 or more and below 1"
    if name in _MORE_THAN_ZERO:
        return None if 0 < value < math.inf else "more than 0 and finite"
    if name in _NOT_NEGATIVE:
        return None if 0 <= value < math.inf else "0 or more and finite"
    if name in _ANY:
        return None
    least = 0 if name in _FROM_ZERO else 1
    return None if value >= least else f"at least {least}"


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
            raise ConfigError(f"{name} is {value!r}, expected one of {', '.join(map(str, typing.get_args(hint)))}")
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
