"""Rewards by name: those that come with the package, and functions of the user's own."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from graphgan.errors import UserError
from graphgan.rewards.logp import logp
from graphgan.rewards.novelty import novelty
from graphgan.rewards.qed import qed
from graphgan.rewards.sa import sa
from graphgan.rewards.uniqueness import uniqueness
from graphgan.rewards.validity import validity

if TYPE_CHECKING:
    from rdkit.Chem import Mol

    Reward: TypeAlias = Callable[[Sequence[Mol | None], Collection[str]], np.ndarray]
    """Molecules, None where one is not valid, and the canonical SMILES of the training set -> float64 [n] in [0, 1]."""

REWARDS: Mapping[str, Reward] = MappingProxyType(
    {"qed": qed, "logp": logp, "sa": sa, "validity": validity, "uniqueness": uniqueness, "novelty": novelty}
)
PER_MOLECULE = frozenset({"qed", "logp", "sa", "validity", "novelty"})
"""Rewards whose value of one molecule does not depend on the others."""


class RewardError(UserError):
    """A reward that cannot be had, or that gives something else than numbers in [0, 1]; the message is one line."""


def reward(name: str) -> Reward:
    """The reward of a name of REWARDS, or the function that "package.module:function" names.

    Raises RewardError for a name that is neither, and for a module or function that is not there.
    """
    if name in REWARDS:
        return REWARDS[name]
    module, colon, function = name.partition(":")
    if not (module and colon and function):
        raise RewardError(f"no reward {name!r}: there are {', '.join(REWARDS)}, or package.module:function of your own")
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise RewardError(f"reward {name}: {error}") from error
    if not callable(found):
        raise RewardError(f"reward {name} is no function")
    return found


def computed(name: str, function: Reward, molecules: Sequence[Mol | None], train: Collection[str]) -> np.ndarray:
    """The values of a reward, float64 [n]. Raises RewardError where they are not n numbers in [0, 1]."""
    values = np.asarray(function(molecules, train), float)
    if values.shape != (len(molecules),):
        raise RewardError(f"reward {name} gives shape {values.shape} for {len(molecules)} molecules")
    if not ((values >= 0) & (values <= 1)).all():
        raise RewardError(f"reward {name} gives numbers outside of [0, 1]")
    return values
