"""Rewards of molecules: a reward is one function in one file. Knows RDKit; no model, no tensor.

A reward takes molecules and the canonical SMILES of the training set, and gives each a number in [0, 1], 0 to None.
"""

from graphgan.rewards.product import Product
from graphgan.rewards.registry import PER_MOLECULE, REWARDS, RewardError, computed, reward
from graphgan.rewards.values import check_property, property_values

__all__ = [
    "PER_MOLECULE",
    "REWARDS",
    "Product",
    "RewardError",
    "check_property",
    "computed",
    "property_values",
    "reward",
]
