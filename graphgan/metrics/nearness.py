"""Coverage: how much of the real crystals the samples reach, and how many samples lie near a real crystal.

Nearness is measured between fingerprints of the structure (mean CrystalNN order parameters) and of the composition
(standardised Magpie features).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from graphgan.metrics.crystalnn import structure_fingerprints
from graphgan.metrics.magpie import composition_fingerprints, standardise
from graphgan.processes import in_order

if TYPE_CHECKING:
    from pymatgen.core import Structure


class Cutoffs(NamedTuple):
    """Largest distances at which two crystals are near: of structure and of composition fingerprints."""

    structure: float
    composition: float


CUTOFFS: dict[str, Cutoffs] = {
    "mp_20": Cutoffs(0.4, 10.0),
    "carbon_24": Cutoffs(0.2, 4.0),
    "perov_5": Cutoffs(0.2, 4.0),
}
"""By benchmark, as published with CDVAE (Xie et al. 2022, arXiv:2110.06197)."""

PROTOCOLS = ("cdvae", "paper")
BATCH = 25
"""Crystals whose structure fingerprints are computed together."""
_BLOCK = 2048


@dataclass(frozen=True, eq=False)
class Fingerprints:
    """Fingerprints of n crystals; those of which there are none are left out.

    structure  [n, 61] mean over sites of CrystalNN order parameters
    magpie     [n, 132] Magpie features of the composition
    """

    structure: np.ndarray
    magpie: np.ndarray

    def __len__(self) -> int:
        return len(self.structure)

    @cached_property
    def composition(self) -> np.ndarray:
        """[n, 132] standardised as CDVAE does."""
        return standardise(self.magpie)


@dataclass(frozen=True)
class Coverage:
    """Coverage of a reference by samples, in [0, 1], and mean distances to the nearest.

    recall          share of the reference crystals that have a sample near them (COV-R)
    precision       share of the samples asked for that lie near a reference crystal (COV-P)
    amsd_recall     mean over the reference of the structure distance to the nearest sample (AMSD-R)
    amsd_precision  mean over the samples of the structure distance to the nearest reference crystal (AMSD-P)
    amcd_recall, amcd_precision  the same with composition distances
    """

    recall: float
    precision: float
    amsd_recall: float
    amsd_precision: float
    amcd_recall: float
    amcd_precision: float

    def as_dict(self) -> dict[str, float]:
        """By the names of metrics.json."""
        values = asdict(self)
        return {"coverage_recall": values.pop("recall"), "coverage_precision": values.pop("precision"), **values}


def fingerprints(structures: Sequence[Structure | None], *, workers: int | None = None) -> Fingerprints:
    """Fingerprints of all structures that have them, on all cores."""
    batches = [structures[i : i + BATCH] for i in range(0, len(structures), BATCH)]
    found = in_order(structure_fingerprints, batches, workers=workers, chunk=1)
    return joined(structures, list(chain.from_iterable(found)))


def joined(structures: Sequence[Structure | None], of_structure: Sequence[np.ndarray | None]) -> Fingerprints:
    """Fingerprints from those of the structures, None where there is none."""
    pairs = [(s, f) for s, f in zip(structures, of_structure, strict=True) if s is not None and f is not None]
    magpie = composition_fingerprints([s.composition for s, _ in pairs])
    return Fingerprints(np.array([f for _, f in pairs]).reshape(-1, 61), magpie.reshape(-1, 132))


def coverage(
    samples: Sequence[Structure | None],
    reference: Sequence[Structure],
    *,
    cutoffs: str | Cutoffs = "mp_20",
    protocol: str = "cdvae",
    workers: int | None = None,
) -> Coverage:
    """Coverage of `reference` by `samples`; see `coverage_of`, which takes fingerprints, and CUTOFFS."""
    ours, theirs = (fingerprints(crystals, workers=workers) for crystals in (samples, reference))
    return coverage_of(ours, theirs, num_samples=len(samples), cutoffs=cutoffs, protocol=protocol)


def coverage_of(
    ours: Fingerprints,
    theirs: Fingerprints,
    *,
    num_samples: int | None = None,
    cutoffs: str | Cutoffs = "mp_20",
    protocol: str = "cdvae",
) -> Coverage:
    """Coverage of reference crystals by samples (Xie et al. 2022, arXiv:2110.06197, appendix; Ganea et al. 2021).

    With `protocol` "cdvae", as in the code behind all published numbers, a crystal is covered if its nearest by
    structure is within the one cut-off and its nearest by composition within the other, even if these are two crystals.
    With "paper" one crystal must be within both, which is what the text of the paper says and never gives more. Samples
    without fingerprints count as not covered: precision is divided by `num_samples` (by default, the fingerprints). All
    values are nan if either side is empty.

    Raises ValueError for unknown names of cut-offs or protocol.
    """
    if isinstance(cutoffs, str):
        if cutoffs not in CUTOFFS:
            raise ValueError(f"unknown cutoffs {cutoffs!r}; known are {sorted(CUTOFFS)}")
        cutoffs = CUTOFFS[cutoffs]
    if protocol not in PROTOCOLS:
        raise ValueError(f"unknown protocol {protocol!r}; known are {sorted(PROTOCOLS)}")
    return nearness(ours, theirs, cutoffs).coverage(protocol, len(ours) if num_samples is None else num_samples)


@dataclass(frozen=True, eq=False)
class Nearness:
    """How near n samples and m reference crystals are to each other, infinite where there is nothing to be near to.

    of_samples     [n, 2] distance of each sample to the nearest reference crystal by structure and by composition
    of_reference   [m, 2] of each reference crystal to the nearest sample
    both_samples   [n] whether one reference crystal is within both cut-offs
    both_reference [m] whether one sample is
    """

    of_samples: np.ndarray
    of_reference: np.ndarray
    both_samples: np.ndarray
    both_reference: np.ndarray
    cutoffs: Cutoffs

    def coverage(self, protocol: str, num_samples: int) -> Coverage:
        """The numbers; see `coverage_of`."""
        if not len(self.of_reference) or not num_samples:
            return Coverage(*[math.nan] * 6)
        if not len(self.of_samples):
            return Coverage(0.0, 0.0, *[math.nan] * 4)
        recalled, precise = self.both_reference, self.both_samples
        if protocol == "cdvae":
            recalled, precise = (np.all(side <= self.cutoffs, axis=1) for side in (self.of_reference, self.of_samples))
        return Coverage(
            recall=float(recalled.mean()),
            precision=float(precise.sum() / num_samples),
            amsd_recall=_mean(self.of_reference[:, 0]),
            amsd_precision=_mean(self.of_samples[:, 0]),
            amcd_recall=_mean(self.of_reference[:, 1]),
            amcd_precision=_mean(self.of_samples[:, 1]),
        )


def nearness(ours: Fingerprints, theirs: Fingerprints, cutoffs: Cutoffs) -> Nearness:
    """All distances between samples and reference, in one pass and in blocks."""
    samples, reference = np.full((len(ours), 2), np.inf), np.full((len(theirs), 2), np.inf)
    both_samples, both_reference = np.zeros(len(ours), bool), np.zeros(len(theirs), bool)
    if len(ours) and len(theirs):
        for block, structure, composition in _distances(ours, theirs):
            both = (structure <= cutoffs.structure) & (composition <= cutoffs.composition)
            both_samples[block] = np.any(both, axis=1)
            np.logical_or(both_reference, both.any(axis=0), out=both_reference)
            for column, distances in enumerate((structure, composition)):
                samples[block, column] = distances.min(axis=1)
                reference[:, column] = np.minimum(reference[:, column], distances.min(axis=0))
    return Nearness(samples, reference, both_samples, both_reference, cutoffs)


def _distances(ours: Fingerprints, theirs: Fingerprints) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Blocks of Euclidean distances [block, reference], so that 10,000 x 10,000 fit into memory."""
    from scipy.spatial.distance import cdist

    for start in range(0, len(ours), _BLOCK):
        block = slice(start, start + _BLOCK)
        yield (
            block,
            cdist(ours.structure[block], theirs.structure),
            cdist(ours.composition[block], theirs.composition),
        )


def _mean(values: np.ndarray) -> float:
    """Exactly rounded, so that it does not depend on the order of the crystals."""
    return math.fsum(values) / len(values)
