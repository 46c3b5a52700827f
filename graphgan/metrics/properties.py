"""Properties of one crystal that the metrics compare: plain functions of a pymatgen Structure."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from pymatgen.core import PeriodicSite, Structure

SYMPREC = 0.1
"""Tolerance in Å of the space-group search; loose on purpose, since generated positions are never exact."""

DALTON_PER_CUBIC_ANGSTROM = 1.66053906892
"""g/cm³ (CODATA 2022)."""


def density(structure: Structure) -> float:
    """Mass density in g/cm³; dummy species weigh nothing."""
    mass = sum(amount * _atomic_mass(element.symbol) for element, amount in _amounts(structure))
    return mass * DALTON_PER_CUBIC_ANGSTROM / structure.lattice.volume


@cache
def _atomic_mass(symbol: str) -> float:
    from pymatgen.core import Element

    return float(Element(symbol).atomic_mass) if Element.is_valid_symbol(symbol) else 0.0


def _amounts(structure: Structure) -> Iterable[tuple[Any, float]]:
    return structure.composition.element_composition.items()


def is_finite(structure: Structure) -> bool:
    """Whether cell and positions are numbers; C libraries crash the process over what is not."""
    return bool(np.isfinite(structure.lattice.matrix).all() and np.isfinite(structure.frac_coords).all())


def volume_per_atom(structure: Structure) -> float:
    """Volume of the cell in Å³ divided by its number of atoms."""
    return float(structure.lattice.volume / len(structure))


def num_elements(structure: Structure) -> int:
    """Number of distinct elements; charge states of one element count once."""
    return len(structure.composition.element_composition)


def element_fractions(structure: Structure) -> dict[str, float]:
    """Share of each element among the atoms, by symbol; the shares of a crystal sum to 1."""
    composition = structure.composition.element_composition
    total = composition.num_atoms
    return {element.symbol: amount / total for element, amount in composition.items()}


class Symmetry(NamedTuple):
    """What spglib finds: the space-group number (1 to 230), and a label of the structure type, see `symmetry`."""

    space_group: int
    prototype: str


def symmetry(structure: Structure, symprec: float = SYMPREC) -> Symmetry | None:
    """Symmetry within `symprec` Å by spglib (Togo et al. 2024, doi:10.1080/27660400.2024.2384822); None if it gives up.

    The prototype reads "ABC3 221 4/mmm|m-3m|m-3m": formula with the elements' names taken off, space group, and for
    each element the site symmetries of its orbits. Unlike Wyckoff letters, these do not depend on the choice of origin,
    so crystals of one structure type share their label; a few types of equal site symmetries share one label too.
    """
    if not is_finite(structure):
        return None
    # spglib prints a line on stderr for every tolerance that it gives up.
    os.environ.setdefault("SPGLIB_WARNING", "OFF")
    import spglib

    # One integer per kind of site: spglib only needs to tell them apart.
    kinds: dict[str, int] = {}
    names = [site.species_string for site in structure]
    numbers = [kinds.setdefault(name, len(kinds) + 1) for name in names]
    cell = (structure.lattice.matrix.tolist(), structure.frac_coords.tolist(), numbers)
    try:
        dataset = spglib.get_symmetry_dataset(cell, symprec=symprec)
    except Exception:  # newer spglib raises its own error type where older ones return None
        return None
    if dataset is None:
        return None
    # Dots only tell which axes a symbol refers to, and that depends on the setting.
    sites = [symbol.replace(".", "") for symbol in dataset.site_symmetry_symbols]
    orbits = set(zip(names, dataset.crystallographic_orbits.tolist(), sites, strict=True))
    by_element = sorted(",".join(sorted(site for n, _, site in orbits if n == name)) for name in kinds)
    formula = structure.composition.anonymized_formula
    return Symmetry(int(dataset.number), f"{formula} {dataset.number} {'|'.join(by_element)}")


def space_group(structure: Structure, symprec: float = SYMPREC) -> int | None:
    """The number of `symmetry` alone."""
    found = symmetry(structure, symprec)
    return None if found is None else found.space_group


def cell_shape(structure: Structure) -> tuple[np.ndarray, np.ndarray]:
    """Edges [3] in Å, ascending, and angles [3] in degrees, ascending, of the Niggli cell; nan where the reduction
    fails.

    The Niggli cell belongs to the lattice of the cell as given: a supercell has another.
    """
    import spglib
    from pymatgen.core import Lattice

    reduced = spglib.niggli_reduce(structure.lattice.matrix) if is_finite(structure) else None
    if reduced is None:
        return np.full(3, np.nan), np.full(3, np.nan)
    lattice = Lattice(reduced)
    return np.sort(lattice.abc), np.sort(lattice.angles)


def _pair_distances(structure: Structure) -> np.ndarray:
    """Minimum-image distances [N, N] in Å, infinite on the diagonal.

    pymatgen searches the images of the LLL-reduced cell; wrapping differences to half a cell would be wrong
    for skewed cells.
    """
    distances = structure.lattice.get_all_distances(structure.frac_coords, structure.frac_coords)
    np.fill_diagonal(distances, np.inf)
    return distances


def minimum_distance(structure: Structure) -> float:
    """Smallest minimum-image distance in Å between two different atoms of the cell.

    An atom's own images are left out, as in CDVAE (Xie et al. 2022, arXiv:2110.06197): infinite for one atom.
    """
    return float(_pair_distances(structure).min())


def nearest_neighbours(structure: Structure) -> tuple[np.ndarray, list[tuple[str, str]]]:
    """Distance [N] in Å from each atom to its nearest neighbour, and the two elements, in alphabetical order.

    Periodic images of the atom itself are neighbours too. Of several at the same distance (within 1e-6 Å), the first
    in the list of atoms gives the element.
    """
    distances = _pair_distances(structure)
    np.fill_diagonal(distances, _shortest_translation(structure))
    nearest = distances.min(axis=1)
    partners = np.argmax(distances <= nearest[:, None] + 1e-6, axis=1)
    names = [main_element(site) for site in structure]
    pairs = [tuple(sorted((names[i], names[j]))) for i, j in enumerate(partners.tolist())]
    return nearest, [(a, b) for a, b in pairs]


def main_element(site: PeriodicSite) -> str:
    """Symbol of the element that has most of a site."""
    amounts = site.species.element_composition
    return max(amounts, key=lambda element: amounts[element]).symbol


def nearest_neighbour_distances(structure: Structure) -> np.ndarray:
    """The distances of `nearest_neighbours` alone."""
    return nearest_neighbours(structure)[0]


def _shortest_translation(structure: Structure) -> float:
    reduced = structure.lattice.get_lll_reduced_lattice().matrix
    shifts = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    shifts = shifts[np.any(shifts != 0, axis=1)]
    return float(np.linalg.norm(shifts @ reduced, axis=1).min())
