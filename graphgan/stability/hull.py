"""The convex hull of energies per atom over composition; numbers in, numbers out, knows no potential.

The hull at a composition is the lowest energy that any mixture of the entries with that composition has: a linear
programme, min Σ w e with Σ w x = the composition and w >= 0 (Ong et al. 2008, doi:10.1021/cm702327g). Solving it
needs no facets, so systems of many elements, which bad generators propose, cost no more than others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property

import numpy as np

Composition = Mapping[str, float]
"""Amounts by element, on any scale."""

DIGITS = 6
"""Decimals of an energy above the hull in eV/atom; what is below is the solver's tolerance."""


class Hull:
    """The hull of entries: (composition, energy in eV/atom) pairs, elements among them."""

    def __init__(self, entries: Iterable[tuple[Composition, float]]) -> None:
        # Of all crystals of one composition, only the lowest can be on the hull.
        lowest: dict[tuple[tuple[str, float], ...], float] = {}
        for composition, energy in entries:
            key = tuple((element, round(share, 9)) for element, share in sorted(shares(composition).items()))
            lowest[key] = min(energy, lowest.get(key, np.inf))
        self._lowest = lowest
        self._groups: dict[frozenset[str], list[tuple[tuple[str, float], ...]]] = {}
        for key in lowest:
            self._groups.setdefault(frozenset(element for element, _ in key), []).append(key)
        self._systems: dict[frozenset[str], tuple[list[str], np.ndarray, np.ndarray]] = {}

    @cached_property
    def elements(self) -> dict[str, float]:
        """Energy per atom in eV of the lowest crystal of each element."""
        return {key[0][0]: energy for key, energy in self._lowest.items() if len(key) == 1}

    def energy(self, composition: Composition) -> float:
        """Energy of the hull in eV/atom; nan where the entries lack an element on its own."""
        wanted = shares(composition)
        if not wanted.keys() <= self.elements.keys():
            return float("nan")
        if len(wanted) == 1:
            return self.elements[next(iter(wanted))]
        from scipy.optimize import linprog

        elements, fractions, energies = self._system(frozenset(wanted))
        # Formation energies: small numbers, to which the solver's absolute tolerance is small too.
        base = np.array([self.elements[element] for element in elements])
        target = np.array([wanted[element] for element in elements])
        answer = linprog(energies - base @ fractions, A_eq=fractions, b_eq=target, bounds=(0, None), method="highs")
        return float(answer.fun + base @ target) if answer.status == 0 else float("nan")

    def above(self, composition: Composition, energy: float) -> float:
        """Energy above the hull in eV/atom, negative below it; nan where the hull is not known."""
        return round(energy - self.energy(composition), DIGITS) + 0.0

    def formation(self, composition: Composition, energy: float) -> float:
        """Energy in eV/atom relative to the elements; nan where one of them is not known."""
        wanted = shares(composition)
        return energy - sum(share * self.elements.get(element, np.nan) for element, share in wanted.items())

    def _system(self, system: frozenset[str]) -> tuple[list[str], np.ndarray, np.ndarray]:
        """Elements, shares [elements, entries] and energies [entries] of the entries within a chemical system."""
        if system not in self._systems:
            elements = sorted(system)
            inside = [key for group, keys in self._groups.items() if group <= system for key in keys]
            table = np.zeros((len(elements), len(inside)))
            for column, key in enumerate(inside):
                for element, share in key:
                    table[elements.index(element), column] = share
            table /= table.sum(axis=0)
            self._systems[system] = elements, table, np.array([self._lowest[key] for key in inside])
        return self._systems[system]


def shares(composition: Composition) -> dict[str, float]:
    """Atomic fractions by element, sum 1."""
    total = sum(composition.values())
    return {str(element): amount / total for element, amount in composition.items() if amount > 0}
