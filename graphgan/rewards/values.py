"""The value of one reward for many molecules as bare arrays, on all cores: a property by which molecules are sorted."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import partial

import numpy as np

from graphgan.data.molecules import Molecule, rdkit, to_mol
from graphgan.metrics.molecule_properties import is_valid
from graphgan.processes import in_order
from graphgan.rewards.registry import PER_MOLECULE, REWARDS, RewardError, computed, reward

_CHUNK = 500
"""Molecules that another process is sent at a time."""


def property_values(name: str, molecules: Iterable[Molecule], *, workers: int | None = None) -> np.ndarray:
    """The reward `name` of every molecule, float64 [n]; nan for one that is not valid.

    A function of the user's own is called with one molecule at a time, and without a training set. `workers` is the
    number of processes, all cores by default: 10,000 small molecules take two seconds of a core for logP, ten for QED.

    Raises RewardError for a name that is none, for a reward that looks at other molecules too, and for values outside
    of [0, 1]; DataError without RDKit.
    """
    check_property(name)
    rdkit()
    return np.array(list(in_order(partial(_value, name), molecules, workers=workers, chunk=_CHUNK)), float)


def check_property(name: str) -> None:
    """RewardError where a name stands for no reward, or for one whose value depends on other molecules."""
    reward(name)
    if name in REWARDS and name not in PER_MOLECULE:
        raise RewardError(f"{name} is no property of a molecule alone: it depends on the others")


def _value(name: str, molecule: Molecule) -> float:
    mol = to_mol(molecule)
    return float(computed(name, reward(name), [mol], ())[0]) if is_valid(mol) else math.nan
