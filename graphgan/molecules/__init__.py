"""Networks, decisions and rewards of molecular graphs: MolGAN as published and a modern variant. Knows no chemistry."""

from graphgan.molecules.discrete import HOW, Discretisation
from graphgan.molecules.modern import (
    MoleculeCritic,
    MoleculeDecoder,
    MoleculeEncoder,
    MoleculePosterior,
    MoleculeReconstruction,
)
from graphgan.molecules.molgan import Logits, MolganCritic, MolganGenerator, decided
from graphgan.molecules.translation import LatentCritic, Translator

__all__ = [
    "HOW",
    "Discretisation",
    "LatentCritic",
    "Logits",
    "MoleculeCritic",
    "MoleculeDecoder",
    "MoleculeEncoder",
    "MoleculePosterior",
    "MoleculeReconstruction",
    "MolganCritic",
    "MolganGenerator",
    "Translator",
    "decided",
]
