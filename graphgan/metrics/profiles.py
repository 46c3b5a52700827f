"""Everything about one crystal that the metrics of a set compare, computed once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from graphgan.metrics.composition import OXIDATION_TABLES, compositionally_valid
from graphgan.metrics.properties import (
    cell_shape,
    density,
    element_fractions,
    is_finite,
    minimum_distance,
    nearest_neighbours,
    symmetry,
    volume_per_atom,
)
from graphgan.metrics.validity import MIN_VOLUME, structurally_valid

if TYPE_CHECKING:
    from pymatgen.core import Structure


@dataclass(frozen=True)
class Profile:
    """One crystal in numbers; None stands for what does not exist.

    The first block is known of every crystal, the second of those that are finite and not flat, the third of the
    structurally valid ones.

    formula                 reduced
    num_atoms               in the cell as given
    structurally_valid      see `metrics.structurally_valid`
    compositionally_valid   see `metrics.compositionally_valid`

    density                 g/cm³
    volume_per_atom         Å³
    min_distance            Å; None for one atom

    elements                atomic fractions by symbol
    nearest_neighbours      [num_atoms] Å
    neighbour_pairs         [num_atoms] elements of an atom and its nearest neighbour, in alphabetical order
    cell_lengths            [3] Å of the Niggli cell, ascending; empty where the reduction fails
    cell_angles             [3] degrees, likewise
    spacegroup, prototype   see `metrics.symmetry`
    """

    formula: str
    num_atoms: int
    structurally_valid: bool
    compositionally_valid: bool

    density: float | None = None
    volume_per_atom: float | None = None
    min_distance: float | None = None

    elements: dict[str, float] | None = None
    nearest_neighbours: tuple[float, ...] = ()
    neighbour_pairs: tuple[tuple[str, str], ...] = ()
    cell_lengths: tuple[float, ...] = ()
    cell_angles: tuple[float, ...] = ()
    spacegroup: int | None = None
    prototype: str | None = None

    @property
    def valid(self) -> bool:
        """Structurally and compositionally."""
        return self.structurally_valid and self.compositionally_valid

    @property
    def num_elements(self) -> int:
        """Distinct elements."""
        return len(self.elements or ())


def profile(
    structure: Structure | None, *, table: str = OXIDATION_TABLES[0], find_symmetry: bool = True
) -> Profile | None:
    """The profile of a crystal; None for None, which is a failure, and for a cell without atoms."""
    if structure is None or len(structure) == 0:
        return None
    valid = structurally_valid(structure)
    facts: dict = {
        "formula": structure.composition.reduced_formula,
        "num_atoms": len(structure),
        "structurally_valid": valid,
        "compositionally_valid": compositionally_valid(structure, table),
    }
    if is_finite(structure) and structure.lattice.volume >= MIN_VOLUME:
        least = minimum_distance(structure)
        facts |= {
            "density": density(structure),
            "volume_per_atom": volume_per_atom(structure),
            "min_distance": least if math.isfinite(least) else None,
        }
    if valid:
        nearest, pairs = nearest_neighbours(structure)
        lengths, angles = cell_shape(structure)
        found = symmetry(structure) if find_symmetry else None
        facts |= {
            "elements": element_fractions(structure),
            "nearest_neighbours": tuple(nearest.tolist()),
            "neighbour_pairs": tuple(pairs),
            "cell_lengths": tuple(lengths.tolist()) if np.isfinite(lengths).all() else (),
            "cell_angles": tuple(angles.tolist()) if np.isfinite(angles).all() else (),
            "spacegroup": found.space_group if found else None,
            "prototype": found.prototype if found else None,
        }
    return Profile(**facts)
