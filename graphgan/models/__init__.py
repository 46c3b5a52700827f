"""The models that come with the package: a card (TOML) and a file of weights for each; reads no weights."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent


@dataclass(frozen=True)
class ModelCard:
    """What is known of a shipped model.

    name      as users type it, in lower case with hyphens
    title     one line
    data      what it learned from
    rows      crystals it learned from
    source    addresses of the data
    licence   of data and weights
    citation  references with DOI
    command   lines that train, export and judge such a model
    training  budget, machine and seed
    metrics   name -> value, of raw samples
    judged    against what, and how many samples
    limits    what it cannot do
    file      path of the weights
    sha256    of the file
    """

    name: str
    title: str
    data: str
    rows: int
    source: tuple[str, ...]
    licence: str
    citation: tuple[str, ...]
    command: tuple[str, ...]
    training: str
    metrics: Mapping[str, float]
    judged: str
    limits: tuple[str, ...]
    file: Path
    sha256: str


@cache
def list_models() -> tuple[ModelCard, ...]:
    """Every card, by name."""
    return tuple(_read_card(path) for path in sorted(FOLDER.glob("*.toml")))


def find_model(name: str) -> ModelCard | None:
    """The card of a name, whatever its case and its hyphens or underscores; None when there is none."""
    wanted = name.strip().lower().replace("_", "-")
    return next((card for card in list_models() if card.name == wanted), None)


def _read_card(path: Path) -> ModelCard:
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}
    return ModelCard(**values | {"file": path.parent / table["file"]})
