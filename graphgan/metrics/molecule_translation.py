"""Metrics of molecules translated into similar ones of another property: pairs of RDKit molecules in, numbers out.

A translation is judged against the molecule it was made of. Knows no model and no tensor; values of the property are
given.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from graphgan.metrics.molecule_properties import canonical_smiles, is_valid
from graphgan.metrics.molecules import fingerprints

if TYPE_CHECKING:
    from rdkit.Chem import Mol

Side = Literal["high", "low"]
CLOSE = 0.4
"""Tanimoto similarity from which a translation counts as close; the third of the four constraints of Jin et al. (2018),
arXiv:1802.04364."""
_CHUNK = 4096
"""Pairs whose fingerprints are in memory together: 64 MB."""


@dataclass(frozen=True, eq=False)
class MoleculeTranslation:
    """What became of n molecules, one place each.

    smiles      canonical SMILES of every valid output, otherwise None
    same        True where the output is valid and the molecule that was given
    similarity  float64 [n], Tanimoto similarity of the output to the molecule given; nan for an output not valid
    elsewhere   float64 [n], that of the output to another molecule given: what chance has to offer
    success     True where the output is valid and has the property
    """

    smiles: tuple[str | None, ...]
    same: tuple[bool, ...]
    similarity: np.ndarray
    elsewhere: np.ndarray
    success: tuple[bool, ...]

    def __len__(self) -> int:
        return len(self.smiles)

    @property
    def valid(self) -> int:
        """Number of valid outputs: sanitised and in one piece."""
        return len(self) - self.smiles.count(None)

    def numbers(self) -> dict[str, float]:
        """The summary, all in [0, 1]; nan where there is nothing to divide by.

        success         valid outputs that have the property / molecules given
        close_success   those of them with a similarity of at least CLOSE / molecules given
        validity        valid outputs / molecules given
        non_identity    valid outputs other than the molecule given, by canonical SMILES without stereo / valid outputs
        diversity       distinct valid outputs / valid outputs
        similarity      mean Tanimoto similarity of valid outputs to the molecule given, Morgan radius 2, 2,048 bits
        chance          the same to another molecule given, half of the list away, since neighbours are often alike

        Success, non-identity and diversity are those of Maziarka et al. (2020), doi:10.1186/s13321-019-0404-1, whose
        decoder makes valid molecules alone: here success counts what is not valid as a failure.
        """
        close = self.similarity >= CLOSE  # nan is not
        return {
            "success": _ratio(sum(self.success), len(self)),
            "close_success": _ratio(int((close & np.array(self.success, bool)).sum()), len(self)),
            "validity": _ratio(self.valid, len(self)),
            "non_identity": _ratio(self.valid - sum(self.same), self.valid),
            "diversity": _ratio(len(set(self.smiles) - {None}), self.valid),
            "similarity": _mean(self.similarity),
            "chance": _mean(self.elsewhere),
        }


def compare_translation(
    given: Sequence[Mol], made: Sequence[Mol | None], values: Sequence[float] | np.ndarray, border: float, to: Side
) -> MoleculeTranslation:
    """Hold outputs against the molecules that they were made of.

    `values` [n] are those of the property of the outputs, of which only those of valid ones count. An output has the
    property where its value is beyond the border: above it for "high", below it for "low", and never on it.
    """
    if not len(given) == len(made) == len(values):
        raise ValueError(f"{len(given)} molecules given, {len(made)} made and {len(values)} values")
    smiles = tuple(canonical_smiles(mol) if mol is not None and is_valid(mol) else None for mol in made)
    same = tuple(new is not None and new == canonical_smiles(old) for old, new in zip(given, smiles, strict=True))
    reached = tuple(
        text is not None and is_beyond(float(value), border, to) for text, value in zip(smiles, values, strict=True)
    )
    kept = [mol if text is not None else None for mol, text in zip(made, smiles, strict=True)]
    half = len(given) // 2
    others = [*given[half:], *given[:half]] if half else [None] * len(given)
    return MoleculeTranslation(smiles, same, similarities(given, kept), similarities(others, kept), reached)


def is_beyond(value: float, border: float, side: Side) -> bool:
    """Whether a value is on a side of the border; one on the border, and nan, is on none."""
    return value > border if side == "high" else value < border


def similarities(first: Sequence[Mol | None], second: Sequence[Mol | None]) -> np.ndarray:
    """Tanimoto similarity of every pair, float64 [n] in [0, 1]; nan where one of the two is None.

    Of Morgan fingerprints of radius 2 and 2,048 bits; Rogers & Hahn (2010), doi:10.1021/ci100050t. Equal molecules
    have 1, and so may some that differ in the length of a chain.
    """
    found = np.full(len(first), np.nan)
    pairs = enumerate(zip(first, second, strict=True))
    both = [(row, a, b) for row, (a, b) in pairs if a is not None and b is not None]
    for start in range(0, len(both), _CHUNK):
        rows, *sides = zip(*both[start : start + _CHUNK], strict=True)
        left, right = map(fingerprints, sides)
        shared = (left * right).sum(1)
        found[list(rows)] = shared / (left.sum(1) + right.sum(1) - shared)
    return found


def _ratio(count: int, total: int) -> float:
    return count / total if total else math.nan


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else math.nan
