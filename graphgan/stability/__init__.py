"""Stability of generated crystals against the training set, with an interatomic potential and without a network.

Knows structures and potentials; no model, no report. Importing it loads neither torch nor a potential.
"""

from graphgan.stability.errors import StabilityError
from graphgan.stability.hull import Hull
from graphgan.stability.potentials import Evaluation, Potential, load_potential
from graphgan.stability.protocol import stability
from graphgan.stability.relaxation import Relaxed, Settings, relax, relax_each
from graphgan.stability.result import METASTABLE, Row, Stability

__all__ = [
    "METASTABLE",
    "Evaluation",
    "Hull",
    "Potential",
    "Relaxed",
    "Row",
    "Settings",
    "Stability",
    "StabilityError",
    "load_potential",
    "relax",
    "relax_each",
    "stability",
]
