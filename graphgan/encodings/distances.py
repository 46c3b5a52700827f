"""Coordinates that agree with periodic distances: least squares on the torus of a known lattice.

Distances alone do not determine a crystal: small cells have different crystals with the same matrix of distances to
the nearest images. So distances mend coordinates that are roughly known, and do not replace them.
"""

from __future__ import annotations

import itertools

import numpy as np

from graphgan.data.crystals import Crystal

_OFFSETS = np.array(list(itertools.product((-1.0, 0.0, 1.0), repeat=3)))
_STEPS = 30
_SMALL = 1e-4


def mended(
    crystal: Crystal, distances: np.ndarray, *, noise: tuple[float, float], longest: float = np.inf
) -> np.ndarray:
    """Coordinates [N, 3] near those of a crystal of N > 1 sites with periodic distances near those given [N, N], in Å.

    The sum of squares of what moves, over the noise of coordinates (fractional), and of what remains of the distances,
    over the noise of distances (Å), becomes least near the coordinates given, by Levenberg-Marquardt steps: Marquardt
    (1963), doi:10.1137/0111030. Distances count symmetrised; one of `longest` or more says only that it is no less.
    """
    problem = _Problem(crystal, distances, noise, longest)
    here = crystal.frac_coords
    state, damping = problem.at(here), 1e-3
    for _ in range(_STEPS):
        if state.cost < _SMALL:
            break
        tried = here - problem.step(state, damping)
        found = problem.at(tried)
        if found.cost < state.cost:
            enough = state.cost - found.cost < _SMALL * state.cost
            here, state, damping = tried, found, max(damping / 3, 1e-9)
            if enough:
                break
        elif (damping := damping * 5) > 1e8:
            break
    return here


class _State:
    """Residuals, in units of noise, at one place: of distances [P] with their slopes [P, 3], and of coordinates."""

    def __init__(self, distances: np.ndarray, slopes: np.ndarray, moves: np.ndarray) -> None:
        self.distances, self.slopes, self.moves = distances, slopes, moves
        self.cost = float((distances**2).sum() + (moves**2).sum())


class _Problem:
    """The sum of squares for one crystal."""

    def __init__(self, crystal: Crystal, distances: np.ndarray, noise: tuple[float, float], longest: float) -> None:
        self._start, self._lattice = crystal.frac_coords, crystal.lattice
        self._count = len(crystal.numbers)
        self._first, self._second = np.triu_indices(self._count, 1)
        given = (distances + distances.T)[self._first, self._second] / 2
        self._given, self._beyond, self._noise = given, given >= longest * (1 - 1e-9), noise
        # In a reduced cell the nearest image of a wrapped difference is among 27.
        reduced = _reduced(crystal.lattice)
        self._change, self._reduced = crystal.lattice @ np.linalg.inv(reduced), reduced
        self._offsets = _OFFSETS @ reduced
        self._squares = (self._offsets**2).sum(1)

    def at(self, places: np.ndarray) -> _State:
        """Residuals at fractional coordinates [N, 3]."""
        apart = (places[self._second] - places[self._first]) @ self._change
        vectors = (apart - np.round(apart)) @ self._reduced
        nearest = (2 * vectors @ self._offsets.T + self._squares).argmin(1)
        vectors = vectors + self._offsets[nearest]
        lengths = np.sqrt((vectors**2).sum(1))
        gaps = lengths - self._given
        counted = ~(self._beyond & (gaps > 0)) / self._noise[1]
        slopes = (vectors / np.maximum(lengths, 1e-9)[:, None]) @ self._lattice.T
        return _State(gaps * counted, slopes * counted[:, None], (places - self._start) / self._noise[0])

    def step(self, state: _State, damping: float) -> np.ndarray:
        """The damped Gauss-Newton step [N, 3]: what to subtract from the coordinates."""
        n, first, second = self._count, self._first, self._second
        blocks = np.zeros((n, n, 3, 3))
        products = state.slopes[:, :, None] * state.slopes[:, None]
        blocks[first, second] = blocks[second, first] = -products
        sums = -blocks.sum(1)
        blocks[np.arange(n), np.arange(n)] = sums
        matrix = blocks.transpose(0, 2, 1, 3).reshape(3 * n, 3 * n)
        diagonal = matrix.diagonal() + 1 / self._noise[0] ** 2
        matrix[np.arange(3 * n), np.arange(3 * n)] = diagonal * (1 + damping)
        pulls = np.zeros((n, n, 3))
        pulls[second, first] = state.slopes * state.distances[:, None]
        pulls[first, second] = -pulls[second, first]
        downhill = pulls.sum(1) + state.moves / self._noise[0]
        return np.linalg.solve(matrix, downhill.ravel()).reshape(n, 3)


def _reduced(lattice: np.ndarray) -> np.ndarray:
    """A reduced basis of the lattice; the lattice itself where spglib finds none, as for cells that are nearly flat."""
    import spglib

    try:
        found = spglib.niggli_reduce(lattice, 1e-5)
    except Exception:
        return lattice
    return lattice if found is None else found
