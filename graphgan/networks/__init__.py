"""Networks: equivariant encoder, decoder, generator and critics; constructor arguments are their whole configuration."""

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
