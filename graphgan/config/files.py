"""Configurations as YAML files: a user's, a run's, and the recipes that come with graphgan."""

from __future__ import annotations

import dataclasses
from importlib import resources
from pathlib import Path
from typing import Any

from graphgan.config.crystals import Config
from graphgan.config.images import ImageConfig
from graphgan.config.molecules import MoleculeConfig
from graphgan.config.run import RunConfig
from graphgan.config.tables import ConfigError, from_table


def load_config(path: Path | str) -> RunConfig:
    """The configuration of a YAML file; ConfigError, one line, for what it does not know.

    An encoding that is a name, molecules or that of an image, makes it a MoleculeConfig or an ImageConfig; one that is
    a table, or none, a Config.
    """
    import yaml

    try:
        table = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: not UTF-8, or a date like 2024-99-99
        raise ConfigError(f"{path}: not YAML ({' '.join(str(error).split())[:120]})") from None
    try:
        return _of_table({} if table is None else table)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def load_recipe(name: str) -> RunConfig:
    """A configuration that comes with graphgan; ConfigError, with the names that there are, for another name."""
    with resources.as_file(resources.files("graphgan") / "recipes") as folder:
        recipes = {path.stem: path for path in sorted(folder.glob("*.yaml"))}
        if name not in recipes:
            raise ConfigError(f"{name}: no such recipe; there are {', '.join(recipes)}")
        return load_config(recipes[name])


def save_config(config: RunConfig, path: Path | str) -> None:
    """Write the resolved configuration as YAML."""
    import yaml

    Path(path).write_text(yaml.safe_dump(dataclasses.asdict(config), sort_keys=False), encoding="utf-8")


def _of_table(table: Any) -> RunConfig:
    if isinstance(table, dict) and isinstance(table.get("encoding"), str):
        return from_table(MoleculeConfig if table["encoding"] == "molecules" else ImageConfig, table)
    return from_table(Config, table)
