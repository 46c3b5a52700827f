"""Filters: rules that a generated crystal has to meet to be kept. They trade yield for certainty, and say so."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from graphgan import metrics
from graphgan.errors import UserError
from graphgan.metrics.properties import is_finite

if TYPE_CHECKING:
    from pymatgen.core import Structure

CRYSTAL = "a crystal"
"""What a sample has to be before any rule is asked."""


class FilterError(UserError):
    """A filter that cannot be applied."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Filters:
    """Rules for crystals; None and False ask for nothing. What was no crystal at all meets none of them.

    min_distance  Å from any atom to the nearest, its own periodic images included
    max_residual  consistency residual at most: how far, as RMS in fractions of the cell, the direction matrices were
                  from being differences of positions before they were averaged (`graphgan.reconstruction.consistency`)
    neutral       charges can balance (`graphgan.metrics.compositionally_valid`), with the oxidation states of `table`

    FilterError for a limit that is not positive and finite.
    """

    min_distance: float | None = None
    max_residual: float | None = None
    neutral: bool = False
    table: str = metrics.OXIDATION_TABLES[0]

    def __post_init__(self) -> None:
        for name in ("min_distance", "max_residual"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise FilterError(f"{name} is {value:g}, expected more than 0 and finite")

    def __bool__(self) -> bool:
        return bool(self.rules)

    @property
    def rules(self) -> tuple[str, ...]:
        """Every rule in words. ASCII, since they go into CIFs and to terminals of any kind."""
        said = []
        if self.max_residual is not None:
            said.append(f"consistency residual at most {self.max_residual:g}")
        if self.min_distance is not None:
            said.append(f"atoms at least {self.min_distance:g} A apart")
        if self.neutral:
            said.append("charges can balance")
        return tuple(said)

    def broken(self, structure: Structure | None, residual: float | None = None) -> str | None:
        """The first rule that a crystal does not meet, in words; None where it meets all.

        `residual` is what the model that made it says; FilterError where a limit is set and none is given.
        """
        if self.max_residual is not None and residual is None:
            raise FilterError("max_residual needs crystals fresh from a model of graph tensors: no others have one")
        if structure is None or not _is_crystal(structure):
            return CRYSTAL
        met = self._met(structure, residual)
        return next((rule for rule, is_met in zip(self.rules, met, strict=True) if not is_met), None)

    def _met(self, structure: Structure, residual: float | None) -> Iterator[bool]:
        """Whether each of `rules` is met, in their order."""
        if self.max_residual is not None:
            yield residual is not None and residual <= self.max_residual
        if self.min_distance is not None:
            yield bool(metrics.nearest_neighbour_distances(structure).min() >= self.min_distance)
        if self.neutral:
            yield metrics.compositionally_valid(structure, self.table)


def _is_crystal(structure: Structure) -> bool:
    """Whether there are atoms, all somewhere, in a cell that is not flat."""
    return bool(len(structure)) and is_finite(structure) and structure.lattice.volume >= metrics.MIN_VOLUME


@dataclasses.dataclass
class Tally:
    """What became of the crystals that were drawn: how many there were, were kept, and were left out by which rule
    first."""

    drawn: int = 0
    kept: int = 0
    left_out: Counter[str] = dataclasses.field(default_factory=Counter)

    def add(self, broken: str | None) -> bool:
        """Count a crystal by the rule that it breaks; whether it is kept."""
        self.drawn += 1
        self.kept += broken is None
        if broken is not None:
            self.left_out[broken] += 1
        return broken is None

    @property
    def acceptance(self) -> float:
        """Kept of drawn; nan before the first."""
        return self.kept / self.drawn if self.drawn else math.nan

    def __str__(self) -> str:
        said = f"{self.kept} of {self.drawn} crystals kept ({100 * self.acceptance:.1f} %)"
        return said + "".join(f"; {count} left out: not {rule}" for rule, count in self.left_out.most_common())
