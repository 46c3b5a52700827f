"""Whether two reduced cells are the same crystal: pymatgen's StructureMatcher.fit, all lattice mappings at once.

The question is that of StructureMatcher (Ong et al. 2013, doi:10.1016/j.commatsci.2012.10.028): is there a basis of one
lattice as long and as bent as the other's cell, within ltol and angle_tol, and a translation, such that atoms pair up
by element, none further from its partner than stol times (volume per atom)^(1/3)? pymatgen tries mapping after mapping
in Python, twenty milliseconds for a near-cubic cell of five atoms; here they are rows of arrays. Quirks that decide are
kept and commented.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

_MAX_ELEMENTS = 4_000_000
"""Numbers in an array: mappings are worked on in parts that stay below it."""
_IMAGES = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
_FORBIDDEN = 1e20
"""Squared distance of atoms that cannot be partners."""


class Arrays(NamedTuple):
    """A reduced cell: rows of the lattice [3, 3] in Å, fractional positions [N, 3], and what is on each site [N]."""

    lattice: np.ndarray
    frac: np.ndarray
    kinds: np.ndarray


def fits(known: Arrays, cell: Arrays, ltol: float, stol: float, angle_tol: float) -> bool:
    """The answer of `StructureMatcher(ltol, stol, angle_tol).fit(known, cell, skip_structure_reduction=True)`.

    Both cells are reduced and hold the same number of atoms of every kind.
    """
    # Volumes are scaled to their geometric mean.
    ratio = abs(np.linalg.det(cell.lattice) / np.linalg.det(known.lattice)) ** (1 / 6)
    target = cell.lattice / ratio
    bases = _bases(known.lattice * ratio, target, ltol, angle_tol)
    if not len(bases):
        return False
    mask = cell.kinds[:, None] != known.kinds[None, :]
    # The translations tried put the first of the rarest atoms of the cell on each of its kind.
    anchor = int(np.argmax(mask.sum(axis=1)))
    landings = np.flatnonzero(~mask[anchor])
    cart = known.frac @ (known.lattice * ratio)
    most = max(1, _MAX_ELEMENTS // (len(landings) * mask.size * 3))
    start, step = 0, 2
    while start < len(bases):  # few at first: the likely ones come first
        part = bases[start : start + step]
        if _any_fits(part, cart, target, cell.frac, mask, anchor, landings, stol):
            return True
        start, step = start + step, min(4 * step, most)
    return False


def _bases(lattice: np.ndarray, target: np.ndarray, ltol: float, angle_tol: float) -> np.ndarray:
    """Bases [M, 3, 3] of `lattice` whose lengths and angles are those of `target` within the tolerances, nearest
    first."""
    lengths = np.linalg.norm(target, axis=1)
    reach = lengths.max() * (1 + ltol)
    # A point within reach has coordinates below reach over the spacing of lattice planes.
    most = np.floor(reach * np.linalg.norm(np.linalg.inv(lattice), axis=0)).astype(int)
    grid = np.stack(np.meshgrid(*[np.arange(-m, m + 1) for m in most], indexing="ij"), axis=-1).reshape(-1, 3)
    points = grid @ lattice
    distances = np.linalg.norm(points, axis=1)
    within = [
        np.flatnonzero((distances <= reach) & (distances / n < 1 + ltol) & (distances / n > 1 / (1 + ltol)))
        for n in lengths
    ]
    unit = points / np.where(distances > 0, distances, 1)[:, None]
    wanted = _angles(target)

    def near(i: int, j: int, angle: float) -> np.ndarray:
        cosines = np.clip(unit[within[i]] @ unit[within[j]].T, -1, 1)
        return np.abs(np.degrees(np.arccos(cosines)) - angle) <= angle_tol

    alpha, beta, gamma = near(1, 2, wanted[0]), near(0, 2, wanted[1]), near(0, 1, wanted[2])
    a, b, c = np.nonzero(gamma[:, :, None] & beta[:, None, :] & alpha[None])
    chosen = np.stack([within[0][a], within[1][b], within[2][c]], axis=1)
    # Of one cell's volume: determinants are whole numbers.
    if not len(chosen):
        return np.empty((0, 3, 3))
    bases = points[chosen[np.abs(np.abs(np.linalg.det(grid[chosen])) - 1) < 0.5]]
    metric = target @ target.T
    unlike = np.abs(bases @ bases.transpose(0, 2, 1) - metric).sum(axis=(1, 2))
    return bases[np.argsort(unlike, kind="stable")]


def _angles(lattices: np.ndarray) -> np.ndarray:
    """α, β, γ [..., 3] in degrees of lattices [..., 3, 3]."""
    unit = lattices / np.linalg.norm(lattices, axis=-1, keepdims=True)
    cosines = np.stack([(unit[..., i, :] * unit[..., j, :]).sum(-1) for i, j in ((1, 2), (0, 2), (0, 1))], axis=-1)
    return np.degrees(np.arccos(np.clip(cosines, -1, 1)))


def _mean_lattices(bases: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Lattices [M, 3, 3] whose lengths and angles are the means of those of each basis and of the target."""
    lengths = (np.linalg.norm(bases, axis=-1) + np.linalg.norm(target, axis=-1)) / 2
    cosines, sines = (f(np.radians((_angles(bases) + _angles(target)) / 2)) for f in (np.cos, np.sin))
    # a in the x-z plane and c along z; any orientation would do.
    third = (cosines[:, 0] * cosines[:, 1] - cosines[:, 2]) / (sines[:, 0] * sines[:, 1])
    third = np.arccos(np.clip(third, -1, 1))
    zero = np.zeros(len(bases))
    rows = [
        [sines[:, 1], zero, cosines[:, 1]],
        [-sines[:, 0] * np.cos(third), sines[:, 0] * np.sin(third), cosines[:, 0]],
        [zero, zero, zero + 1],
    ]
    unit = np.stack([np.stack(row, axis=-1) for row in rows], axis=1)
    return unit * lengths[:, :, None]


def _any_fits(
    bases: np.ndarray,
    cart: np.ndarray,
    target: np.ndarray,
    frac: np.ndarray,
    mask: np.ndarray,
    anchor: int,
    landings: np.ndarray,
    stol: float,
) -> bool:
    mean = _mean_lattices(bases, target)
    solid = np.abs(np.linalg.det(mean)) > 1e-6  # angles can average to a flat cell
    mean, bases = mean[solid], bases[solid]
    scale = (len(frac) / np.abs(np.linalg.det(mean))) ** (1 / 3)
    known = cart @ np.linalg.inv(bases)
    known -= np.floor(known)
    shifts = known[:, landings] - frac[anchor]
    moved = frac + shifts[:, :, None, :]  # [mapping, landing, atom of the cell, 3]
    off = known[:, None, None, :, :] - moved[:, :, :, None, :]
    off -= np.round(off)
    tolerance = _tolerance(mean, scale, stol)
    near = (np.abs(off) <= tolerance[:, None, None, None, :]).all(axis=-1) & ~mask
    # A quick test: every atom of the cell has an atom of its kind nearby.
    mappings, places = np.nonzero(near.any(axis=-1).all(axis=-1))
    used, rows = np.unique(mappings, return_inverse=True)
    reduced = _reduced(mean[used])
    step = max(1, _MAX_ELEMENTS // (mask.size * len(_IMAGES) * 3))
    for start in range(0, len(mappings), step):
        part = slice(start, start + step)
        of, m = rows[part], mappings[part]
        if _any_paired(reduced[of], mean[m], known[m], moved[m, places[part]], mask, scale[m], stol):
            return True
    return False


def _tolerance(lattices: np.ndarray, scale: np.ndarray, stol: float) -> np.ndarray:
    """Fractional distances [M, 3] that are 2 stol (volume per atom)^(1/3) across the lattice planes."""
    return 2 * stol * np.linalg.norm(np.linalg.inv(lattices), axis=-2) / scale[:, None]


def _any_paired(
    reduced: np.ndarray,
    mean: np.ndarray,
    known: np.ndarray,
    moved: np.ndarray,
    mask: np.ndarray,
    scale: np.ndarray,
    stol: float,
) -> bool:
    """Whether for any of K placements the best pairs, by the sum of squares, lie within stol after a common
    translation."""
    change = mean @ np.linalg.inv(reduced)
    theirs, ours = ((f @ change) % 1 for f in (known, moved))
    off = theirs[:, None, :, :] - ours[:, :, None, :]
    tolerance = _tolerance(reduced, scale, stol)
    possible = (np.abs(off - np.round(off)) <= tolerance[:, None, None, :]).all(axis=-1) & ~mask
    which, first, second = np.nonzero(possible)
    lattices = reduced[which]
    vectors = (off[which, first, second][:, None, :] + _IMAGES) @ lattices
    squares = np.einsum("pix,pix->pi", vectors, vectors)
    nearest = squares.argmin(axis=1)
    rows = np.arange(len(which))
    costs = np.full((len(reduced), *mask.shape), _FORBIDDEN)
    costs[which, first, second] = squares[rows, nearest]
    shortest = np.zeros((*costs.shape, 3))
    shortest[which, first, second] = vectors[rows, nearest]
    partners, paired = _assigned(costs)
    chosen = np.take_along_axis(shortest, partners[:, :, None, None], axis=2)[:, :, 0]
    distances = np.linalg.norm(chosen - chosen.mean(axis=1, keepdims=True), axis=-1).max(axis=1)
    return bool((paired & (distances * scale < stol)).any())


def _assigned(costs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Partners [K, N] of least total cost, and whether there are any; where each takes its nearest, no more is
    asked."""
    partners = costs.argmin(axis=2)
    atoms = np.arange(costs.shape[1])
    for k in np.flatnonzero((np.sort(partners, axis=1) != atoms).any(axis=1)):
        from scipy.optimize import linear_sum_assignment

        partners[k] = linear_sum_assignment(costs[k])[1]
    paired = np.take_along_axis(costs, partners[:, :, None], axis=2) < _FORBIDDEN
    return partners, np.all(paired, axis=(1, 2))


def _reduced(lattices: np.ndarray) -> np.ndarray:
    """LLL-reduced bases [M, 3, 3]: by pymatgen where the conditions of Lenstra, Lenstra and Lovász (δ = 3/4) do not
    hold already."""
    a, b, c = lattices[:, 0], lattices[:, 1], lattices[:, 2]

    def share(vectors: np.ndarray, along: np.ndarray) -> np.ndarray:
        return (vectors * along).sum(axis=1) / (along * along).sum(axis=1)

    ba, ca = share(b, a), share(c, a)
    b_star = b - ba[:, None] * a
    cb = share(c, b_star)
    squares = [(v * v).sum(axis=1) for v in (a, b_star, c - ca[:, None] * a - cb[:, None] * b_star)]
    holds = np.maximum(np.maximum(np.abs(ba), np.abs(ca)), np.abs(cb)) <= 0.5
    holds &= (squares[1] >= (0.75 - ba**2) * squares[0]) & (squares[2] >= (0.75 - cb**2) * squares[1])
    reduced = lattices.copy()
    for m in np.flatnonzero(~holds):
        from pymatgen.core import Lattice

        reduced[m] = Lattice(lattices[m]).get_lll_reduced_lattice().matrix
    return reduced
