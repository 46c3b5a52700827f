"""Which samples are crystals at all: decoding failures and the structural-validity test of CDVAE."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from graphgan.metrics.properties import is_finite, minimum_distance

if TYPE_CHECKING:
    from pymatgen.core import Structure

MIN_DISTANCE = 0.5
"""Å; two atoms closer than this make a crystal invalid."""
MIN_VOLUME = 0.1
"""Å³; a cell smaller than this is flat."""


def num_samples(samples: Sequence[Structure | None]) -> int:
    """Number of samples asked for, failures included: the denominator of every share."""
    return len(samples)


def decode_failures(samples: Sequence[Structure | None]) -> float:
    """Share of the samples asked for that gave no crystal (None), in [0, 1]; nan without samples."""
    return _share([sample is None for sample in samples])


def structurally_valid(structure: Structure | None) -> bool:
    """Whether a crystal passes the structural test of CDVAE (Xie et al. 2022, arXiv:2110.06197, appendix B).

    Finite cell and positions, at least one atom, volume >= 0.1 Å³, and no two different atoms whose
    minimum-image distance is below 0.5 Å. Quirk kept from the published code: an atom's own images are not
    tested, so a one-atom cell fails only by its volume.
    """
    if structure is None or len(structure) == 0:
        return False
    if not is_finite(structure):
        return False
    # A positive statement, so that a volume that is not a number fails.
    if not MIN_VOLUME <= structure.lattice.volume < float("inf"):
        return False
    return minimum_distance(structure) >= MIN_DISTANCE


def structural_validity(samples: Sequence[Structure | None]) -> float:
    """Share of the samples asked for that are `structurally_valid`, in [0, 1]; nan without samples.

    Xie et al. (2022), Crystal Diffusion Variational Autoencoder, arXiv:2110.06197.
    """
    return _share([structurally_valid(sample) for sample in samples])


def _share(flags: Sequence[bool]) -> float:
    return sum(flags) / len(flags) if flags else float("nan")
