"""The product of rewards for bare arrays, as a generator gives them; repeated molecules are not computed again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from graphgan.data.molecules import Molecule, rdkit, to_mol
from graphgan.metrics.molecule_properties import is_valid
from graphgan.rewards.registry import PER_MOLECULE, computed, reward

if TYPE_CHECKING:
    from rdkit.Chem import Mol

MAX_KNOWN = 20_000
"""Molecules that are remembered, the last used ones: of 9 atoms, 10 kB each where some reward looks at all of them
together, otherwise 0.5 kB."""


class _Known(NamedTuple):
    """A molecule, None where it is not valid or not needed, and the product of its rewards that need no other."""

    mol: Mol | None
    value: float


class Product:
    """The product of named rewards, in [0, 1]; 0 for a molecule that is not valid, or in several pieces.

    `names` as `reward` takes them; without names the product is that of nothing, 1 for every valid molecule. `train`
    holds the canonical SMILES of the training set, for novelty. Rewards of PER_MOLECULE are computed once for a
    molecule; the others, and functions of the user's own, for all molecules of a call together.

    Raises RewardError for unknown names, DataError without RDKit.
    """

    def __init__(self, names: Sequence[str], train: Collection[str] = ()) -> None:
        rdkit()
        self.names = tuple(names)
        self._train = train if isinstance(train, (set, frozenset)) else frozenset(train)
        rewards = {name: reward(name) for name in self.names}
        self._alone = [(name, rewards[name]) for name in self.names if name in PER_MOLECULE]
        self._together = [(name, rewards[name]) for name in self.names if name not in PER_MOLECULE]
        self._known: OrderedDict[tuple[int, bytes], _Known] = OrderedDict()

    def __call__(self, molecules: Sequence[Molecule]) -> np.ndarray:
        """The product for every molecule, float64 [n].

        Raises RewardError for a reward of the user's own that does not give n numbers in [0, 1].
        """
        found = [self._of(molecule) for molecule in molecules]
        product = np.array([known.value for known in found], float)
        if self._together and len(found):
            mols = [known.mol for known in found]
            valid = np.array([mol is not None for mol in mols])
            for name, function in self._together:
                product *= np.where(valid, computed(name, function, mols, self._train), 0.0)
        return product

    def _of(self, molecule: Molecule) -> _Known:
        key = len(molecule.numbers), b"".join(np.ascontiguousarray(part).tobytes() for part in molecule)
        known = self._known.get(key)
        if known is not None:
            self._known.move_to_end(key)
            return known
        mol = to_mol(molecule)
        mol = mol if is_valid(mol) else None
        value = 1.0 if mol is not None else 0.0
        for name, function in self._alone:
            if value > 0:  # nothing is computed for what is not valid
                value *= float(computed(name, function, [mol], self._train)[0])
        known = self._known[key] = _Known(mol if self._together else None, value)
        if len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)
        return known
