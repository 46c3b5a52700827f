"""The outcome of a stability calculation: a row a sample, and the shares that follow. Knows no potential."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pymatgen.core import Structure

METASTABLE = 0.1
"""eV/atom above the hull up to which a crystal is called metastable, as in MatterGen (Zeni et al. 2025)."""


@dataclass(frozen=True)
class Row:
    """What is known of one sample; everything but `reason` is None or False where it failed.

    energy_per_atom   eV, of the relaxed crystal
    formation_energy  eV/atom, relative to the elements
    e_above_hull      eV/atom above the hull of the training set, negative below it: a lower bound on the energy
                      above the true hull, which knows more crystals
    converged         whether the relaxation ended before max_steps
    steps             of the relaxation
    displacement      Å; root mean square move of the atoms from the sample to the relaxed crystal
    volume_change     relaxed volume over that of the sample, minus 1
    reason            why it failed, in one line; empty if it did not
    structure         the relaxed crystal
    """

    energy_per_atom: float | None = None
    formation_energy: float | None = None
    e_above_hull: float | None = None
    converged: bool = False
    steps: int = 0
    displacement: float | None = None
    volume_change: float | None = None
    reason: str = ""
    structure: Structure | None = None

    @property
    def stable(self) -> bool:
        """On or below the hull of the training set."""
        return self.e_above_hull is not None and self.e_above_hull <= 0

    @property
    def metastable(self) -> bool:
        """At most METASTABLE eV/atom above the hull of the training set; stable crystals included."""
        return self.e_above_hull is not None and self.e_above_hull <= METASTABLE


@dataclass(frozen=True, eq=False)
class Stability:
    """Stability of samples against the training set, by one potential.

    rows       one a sample, in the order given
    potential  name and version
    fmax, max_steps  of the relaxations
    num_hull   training crystals that entered the hull
    notes      sentences a reader of the numbers must see
    """

    rows: tuple[Row, ...]
    potential: str
    fmax: float
    max_steps: int
    num_hull: int
    notes: tuple[str, ...] = ()

    @property
    def stable(self) -> float:
        """Share of the samples asked for that are on or below the hull of the training set, in [0, 1].

        An upper bound: a hull of more crystals lies lower. Failures count as not stable.
        """
        return self._share([row.stable for row in self.rows])

    @property
    def metastable(self) -> float:
        """Share of the samples asked for at most 0.1 eV/atom above the hull of the training set, in [0, 1]."""
        return self._share([row.metastable for row in self.rows])

    @property
    def failed(self) -> float:
        """Share of the samples asked for without an energy above the hull: `reason` of the row says why."""
        return self._share([row.e_above_hull is None for row in self.rows])

    @property
    def structures(self) -> list[Structure | None]:
        """The relaxed crystals, None where a sample failed; `graphgan.write_structures` takes this list."""
        return [row.structure for row in self.rows]

    def sun(self, unique: Sequence[bool], novel: Sequence[bool]) -> float:
        """Share of the samples asked for that are stable against the training set, unique and novel, in [0, 1].

        The flags are those of `metrics.compare(samples, train)`, one a sample. Raises ValueError for another number.
        """
        return self._joint([row.stable for row in self.rows], unique, novel)

    def msun(self, unique: Sequence[bool], novel: Sequence[bool]) -> float:
        """As `sun`, for metastable ones: at most 0.1 eV/atom above the hull of the training set."""
        return self._joint([row.metastable for row in self.rows], unique, novel)

    def _joint(self, low: Sequence[bool], unique: Sequence[bool], novel: Sequence[bool]) -> float:
        if not len(low) == len(unique) == len(novel):
            raise ValueError(f"{len(unique)} and {len(novel)} flags for {len(low)} samples")
        return self._share([a and b and c for a, b, c in zip(low, unique, novel, strict=True)])

    def _share(self, flags: Sequence[bool]) -> float:
        return sum(map(bool, flags)) / len(flags) if flags else float("nan")
