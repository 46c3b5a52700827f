"""A trained model as a user meets it: load it, sample crystals in one network pass, save what sampling needs."""

from graphgan.sampling.graphs import Model
from graphgan.sampling.images import ImageModel
from graphgan.sampling.loading import find_checkpoint, load_model
from graphgan.sampling.rows import BLOCK, SamplingError, shard_rows
from graphgan.sampling.sampler import Precision, Sampler

__all__ = [
    "BLOCK",
    "ImageModel",
    "Model",
    "Precision",
    "Sampler",
    "SamplingError",
    "find_checkpoint",
    "load_model",
    "shard_rows",
]
