"""The configuration of a run as frozen dataclasses, read from YAML; no networks, no torch."""

from graphgan.config.crystals import STAGES, Config
from graphgan.config.files import load_config, load_recipe, save_config
from graphgan.config.images import DIFFUSION, ImageConfig
from graphgan.config.molecules import MOLECULE_STAGES, MoleculeConfig
from graphgan.config.run import RunConfig
from graphgan.config.tables import SEED_LIMIT, ConfigError, build, from_table

__all__ = [
    "DIFFUSION",
    "MOLECULE_STAGES",
    "SEED_LIMIT",
    "STAGES",
    "Config",
    "ConfigError",
    "ImageConfig",
    "MoleculeConfig",
    "RunConfig",
    "build",
    "from_table",
    "load_config",
    "load_recipe",
    "save_config",
]
