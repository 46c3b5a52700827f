"""A trained model as a user meets it: load it, sample crystals in one network pass, save what sampling needs."""

from graphgan.sampling.filters import FilterError, Filters, Tally
from graphgan.sampling.graphs import Model
from graphgan.sampling.images import ImageModel
from graphgan.sampling.loading import find_checkpoint, load_model, load_translation
from graphgan.sampling.molecules import MoleculeModel
from graphgan.sampling.rows import BLOCK, SamplingError, shard_rows
from graphgan.sampling.sampler import Precision, Sampler
from graphgan.sampling.translation import TranslationModel

__all__ = [
    "BLOCK",
    "FilterError",
    "Filters",
    "ImageModel",
    "Model",
    "MoleculeModel",
    "Precision",
    "Sampler",
    "SamplingError",
    "Tally",
    "TranslationModel",
    "find_checkpoint",
    "load_model",
    "load_translation",
    "shard_rows",
]
