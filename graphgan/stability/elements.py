"""Candidates for the ground state of every element: the zero of formation energies, whatever the training set holds.

The structures are those of Donohue, The Structures of the Elements (1974); lattice constants of metals are ase's. They
only start a relaxation: the candidate of lowest energy is the reference, so that one more does no harm. Gases are taken
as molecular crystals, and sulfur as rings of six, whose cell is a fifth of that of the rings of eight.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pymatgen.core import Structure

Sites = tuple[tuple[float, float, float], ...]

# Space group, a, b, c in Å, alpha, beta, gamma in degrees, one site an orbit.
_CRYSTALS: dict[str, tuple[tuple[str, tuple[float, ...], Sites], ...]] = {
    "H": (("Pa-3", (5.31, 5.31, 5.31, 90, 90, 90), ((0.0403, 0.0403, 0.0403),)),),
    "B": (("R-3m", (4.91, 4.91, 12.57, 90, 90, 120), ((0.1189, -0.1189, 0.8913), (0.8035, -0.8035, 0.9757))),),
    "C": (("P6_3/mmc", (2.464, 2.464, 6.711, 90, 90, 120), ((0, 0, 0.25), (1 / 3, 2 / 3, 0.25))),),
    "N": (("Pa-3", (5.66, 5.66, 5.66, 90, 90, 90), ((0.0561, 0.0561, 0.0561),)),),
    "O": (("C2/m", (5.403, 3.429, 5.086, 90, 132.53, 90), ((0.1027, 0, 0.1614),)),),
    "F": (("Cmce", (5.10, 3.70, 6.75, 90, 90, 90), ((0, 0.1, 0.09),)),),
    "P": (("Cmce", (3.3136, 10.478, 4.3763, 90, 90, 90), ((0, 0.10168, 0.08056),)),),
    "S": (("R-3", (10.818, 10.818, 4.280, 90, 90, 120), ((0.1454, 0.1882, 0.1055),)),),
    "Cl": (("Cmce", (6.29, 4.50, 8.21, 90, 90, 90), ((0, 0.117, 0.1015),)),),
    "Mn": (
        (
            "I-43m",
            (8.9125, 8.9125, 8.9125, 90, 90, 90),
            ((0, 0, 0), (0.316, 0.316, 0.316), (0.356, 0.356, 0.034), (0.089, 0.089, 0.282)),
        ),
    ),
    "Ga": (("Cmce", (4.5197, 7.6602, 4.5260, 90, 90, 90), ((0, 0.1549, 0.0810),)),),
    "Se": (("P3_121", (4.3662, 4.3662, 4.9536, 90, 90, 120), ((0.2254, 0, 1 / 3),)),),
    "Br": (("Cmce", (6.737, 4.548, 8.761, 90, 90, 90), ((0, 0.135, 0.110),)),),
    "Te": (("P3_121", (4.4572, 4.4572, 5.9290, 90, 90, 120), ((0.2633, 0, 1 / 3),)),),
    "I": (("Cmce", (7.136, 4.686, 9.784, 90, 90, 90), ((0, 0.1543, 0.1174),)),),
    "Pa": (("I4/mmm", (3.925, 3.925, 3.238, 90, 90, 90), ((0, 0, 0),)),),
    "U": (("Cmcm", (2.8537, 5.8695, 4.9548, 90, 90, 90), ((0, 0.1025, 0.25),)),),
    "Np": (("Pnma", (6.663, 4.723, 4.887, 90, 90, 90), ((0.036, 0.25, 0.208), (0.319, 0.25, 0.842))),),
}

_VOLUMES = {"He": 11.0, "Mn": 12.2, "Ga": 19.6, "Pm": 33.6, "Pa": 24.9, "U": 20.8, "Np": 19.2, "Pu": 20.0, "Am": 29.3}
"""Å³ an atom, where ase has no simple lattice to take it from."""
_PLAIN = {"fcc", "bcc", "hcp", "sc", "diamond", "bct", "rhombohedral"}
_DIAMOND = {"C": 3.567, "Sn": 6.489}
_NOT_METALS = {"H", "B", "C", "N", "O", "F", "P", "S", "Cl", "Se", "Br", "Te", "I"}


def candidates(symbol: str) -> list[Structure]:
    """Primitive cells of an element that may be its ground state; none for an element of unknown structure."""
    from pymatgen.core import Lattice, Structure

    found = []
    for group, cell, sites in _CRYSTALS.get(symbol, ()):
        crystal = Structure.from_spacegroup(group, Lattice.from_parameters(*cell), [symbol] * len(sites), sites)
        found.append(crystal.get_primitive_structure())
    found += _simple(symbol)
    volume = _VOLUMES.get(symbol, float(found[0].volume) / len(found[0]) if found else None)
    if symbol not in _NOT_METALS and volume is not None:
        found += [_packed(symbol, volume, kind) for kind in ("fcc", "bcc", "hcp", "dhcp")]
    return found


def _simple(symbol: str) -> list[Structure]:
    """The lattice that ase knows, where its reference is a plain one; diamond for those that also take it."""
    from ase.build import bulk
    from ase.data import atomic_numbers, reference_states
    from pymatgen.io.ase import AseAtomsAdaptor

    known = reference_states[atomic_numbers[symbol]] or {}
    atoms = [bulk(symbol)] if known.get("symmetry") in _PLAIN and symbol not in _CRYSTALS else []
    if symbol in _DIAMOND:
        atoms.append(bulk(symbol, "diamond", a=_DIAMOND[symbol]))
    return [AseAtomsAdaptor.get_structure(one) for one in atoms]


def _packed(symbol: str, volume: float, kind: str) -> Structure:
    """A packing of spheres with `volume` Å³ an atom."""
    from pymatgen.core import Lattice, Structure

    if kind == "fcc":
        edge = (4 * volume) ** (1 / 3) / 2
        return Structure(Lattice([[0, edge, edge], [edge, 0, edge], [edge, edge, 0]]), [symbol], [[0, 0, 0]])
    if kind == "bcc":
        edge = (2 * volume) ** (1 / 3) / 2
        return Structure(
            Lattice([[-edge, edge, edge], [edge, -edge, edge], [edge, edge, -edge]]), [symbol], [[0, 0, 0]]
        )
    layers = {"hcp": "AB", "dhcp": "ABAC"}[kind]
    edge = (volume * 2**0.5) ** (1 / 3)
    shifts = {"A": (0, 0), "B": (1 / 3, 2 / 3), "C": (2 / 3, 1 / 3)}
    height = edge * (2 / 3) ** 0.5 * len(layers)
    sites = [(*shifts[layer], number / len(layers)) for number, layer in enumerate(layers)]
    return Structure(Lattice.hexagonal(edge, height), [symbol] * len(sites), sites)
