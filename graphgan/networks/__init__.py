"""Networks: encoder, decoder, generator and critics; their constructor arguments are all their configuration.

Names are imported on first use: sampling needs no e3nn, whose import alone takes longer than sampling 1,000 crystals.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graphgan.networks.critic import GraphCritic, LatentCritic
    from graphgan.networks.decoder import Decoder, Proposal, standardise
    from graphgan.networks.encoder import Encoder
    from graphgan.networks.generator import Generator, Noise
    from graphgan.networks.noise_encoder import NoiseEncoder

_EXPORTS = {
    "Decoder": "decoder",
    "Encoder": "encoder",
    "Generator": "generator",
    "GraphCritic": "critic",
    "LatentCritic": "critic",
    "Noise": "generator",
    "NoiseEncoder": "noise_encoder",
    "Proposal": "decoder",
    "standardise": "decoder",
}
__all__ = [
    "Decoder",
    "Encoder",
    "Generator",
    "GraphCritic",
    "LatentCritic",
    "Noise",
    "NoiseEncoder",
    "Proposal",
    "standardise",
]


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'graphgan.networks' has no attribute {name!r}")
    return getattr(import_module(f"graphgan.networks.{_EXPORTS[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_EXPORTS])
