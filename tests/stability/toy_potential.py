"""A cheap potential with analytic forces and stress: Lennard-Jones pairs, cut off smoothly; unlike ones pull more."""

import numpy as np

from graphgan.stability import Evaluation

SIZE = {"Ar": 3.4, "Kr": 3.6, "Ne": 2.8, "Xe": 4.0}
DEPTH = {"Ar": 0.10, "Kr": 0.12, "Ne": 0.05, "Xe": 0.15}
UNLIKE = 2.0
CUTOFF = 8.0


class Toy:
    """`calls` counts crystals evaluated by formula; `breaks` maps a formula to what happens to it instead."""

    name, version, device = "toy", "1", "cpu"
    elements = frozenset(SIZE)

    def __init__(self, breaks=None):
        self.breaks = breaks or {}
        self.calls = {}

    def __call__(self, structures):
        return [self.judge(structure) for structure in structures]

    def judge(self, structure):
        formula = structure.composition.reduced_formula
        self.calls[formula] = self.calls.get(formula, 0) + 1
        if formula in self.breaks:
            return self.breaks[formula](structure, self.calls[formula])
        return pairs(structure)


def pairs(structure):
    """Energy 1/2 Σ u(r), with u = 4 e ((s/r)^12 - (s/r)^6) + a + b r so that u and its slope end at the cutoff."""
    centre, neighbour, images, distance = structure.get_neighbor_list(CUTOFF)
    symbols = [site.specie.symbol for site in structure]
    size = np.array([SIZE[s] for s in symbols])
    depth = np.array([DEPTH[s] for s in symbols])
    same = np.array(symbols)[centre] == np.array(symbols)[neighbour]
    sigma = (size[centre] + size[neighbour]) / 2
    epsilon = np.sqrt(depth[centre] * depth[neighbour]) * np.where(same, 1, UNLIKE)
    end, end_slope = lennard_jones(CUTOFF, sigma, epsilon)
    energy, slope = lennard_jones(distance, sigma, epsilon)
    energy, slope = energy - end - end_slope * (distance - CUTOFF), slope - end_slope
    cartesian = (structure.frac_coords[neighbour] + images) @ structure.lattice.matrix
    between = cartesian - structure.cart_coords[centre]
    pulls = (slope / distance)[:, None] * between
    forces = np.zeros((len(structure), 3))
    np.add.at(forces, centre, pulls)
    stress = 0.5 * np.einsum("pi,pj->ij", pulls, between) / structure.volume
    return Evaluation(0.5 * float(energy.sum()), forces, stress)


def lennard_jones(distance, sigma, epsilon):
    sixth = (sigma / distance) ** 6
    return 4 * epsilon * (sixth**2 - sixth), 4 * epsilon * (6 * sixth - 12 * sixth**2) / distance
