"""Networks: encoder, decoder, generator and critics; their constructor arguments are all their configuration."""

from graphgan.networks.critic import GraphCritic, LatentCritic
from graphgan.networks.decoder import Decoder, Proposal, standardise
from graphgan.networks.encoder import Encoder
from graphgan.networks.generator import Generator, Noise

__all__ = [
    "Decoder",
    "Encoder",
    "Generator",
    "GraphCritic",
    "LatentCritic",
    "Noise",
    "Proposal",
    "standardise",
]
