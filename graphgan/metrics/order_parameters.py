"""Local order parameters: how closely a set of neighbours resembles a named coordination motif.

Zimmermann & Jain, RSC Adv. 10, 6063 (2020), doi:10.1039/c9ra07755c; the spherical-harmonics ones are those of
Steinhardt, Nelson & Ronchetti, Phys. Rev. B 28, 784 (1983), doi:10.1103/PhysRevB.28.784. Numbers are those of
pymatgen's LocalStructOrderParams with the settings of matminer's CrystalNNFingerprint "ops". Every neighbour j is
put at the north pole in turn and every other one, k, on the prime meridian; a motif then says where the rest, m,
should be, by Gaussians in polar angles and powers of cosines in azimuths.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import numpy as np

_PARALLEL = 1e-12
"""Sine of an angle below which two directions have no azimuth."""
_TIED = 1e-12
"""Bonds whose strengths differ by less are equal."""
_SOUTH = 0.75 * np.pi
"""Polar angle from which a neighbour counts as sitting at the south pole, in most motifs."""


@dataclass(frozen=True)
class Shell:
    """The n neighbours of each of S sites.

    strength  [S, n] of the bonds; only their order matters
    cosine    [S, n, n] of the angle between neighbours j and k
    polar     [S, n, n] that angle, in radians
    azimuth   [S, n, n, n] cosine of the azimuth of m when j is the north pole and k on the prime meridian
    triples   [S, n, n, n] whether j, k and m differ, and neither k nor m is parallel to j
    others    [S, n, n, n] whether j, k and m differ, and k is not parallel to j
    """

    strength: np.ndarray
    cosine: np.ndarray
    polar: np.ndarray
    azimuth: np.ndarray
    triples: np.ndarray
    others: np.ndarray

    @classmethod
    def of(cls, vectors: np.ndarray, strength: np.ndarray) -> Shell:
        """From the vectors to the neighbours [S, n, 3], of any length above zero."""
        unit = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
        cosine = np.clip(unit @ unit.swapaxes(1, 2), -1, 1)
        # What is left of k when the part along j is taken away: [S, j, k, 3].
        meridian = unit[:, None] - cosine[..., None] * unit[:, :, None]
        sine = np.linalg.norm(meridian, axis=-1)
        slanted = sine >= _PARALLEL
        meridian /= np.where(slanted, sine, 1)[..., None]
        azimuth = np.clip(meridian @ meridian.swapaxes(2, 3), -1, 1)
        differ = _differ(vectors.shape[1])
        distinct = differ[:, :, None] & differ[:, None, :] & differ
        others = distinct & slanted[..., None]
        return cls(strength, cosine, np.arccos(cosine), azimuth, others & slanted[:, :, None], others)


@cache
def _differ(count: int) -> np.ndarray:
    return ~np.eye(count, dtype=bool)


def _gauss(x: np.ndarray) -> np.ndarray:
    return np.exp(-0.5 * x * x)


def _cos_squared(azimuth: np.ndarray, factor: float) -> np.ndarray:
    """cos²(factor · φ) from c = cos φ, for the factors 1, 1.5, 2, 2.5 and 3; no angle is needed."""
    square = azimuth * azimuth
    match factor:
        case 1:
            return square
        case 1.5:
            return 0.5 + 0.5 * azimuth * (4 * square - 3)
        case 2:
            return (2 * square - 1) ** 2
        case 2.5:
            return 0.5 + 0.5 * azimuth * ((16 * square - 20) * square + 5)
    return square * (4 * square - 3) ** 2


def _over_rest(azimuthal: np.ndarray, polar: np.ndarray) -> np.ndarray:
    """Sum over m of a term [S, j, k, m] times a term [S, j, m]."""
    return (azimuthal @ polar[..., None])[..., 0]


def _best(total: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Largest mean [S] over all choices of north pole and meridian."""
    return np.divide(total, count, out=np.zeros(total.shape), where=count > 0).max(axis=(1, 2))


def bent(shell: Shell, *, target: float, width: float) -> np.ndarray:
    """Mean over pairs; `target` and the inverse `width` in units of 180°."""
    count = shell.polar.shape[1]
    weights = _gauss(width * (shell.polar / np.pi - target)) * _differ(count)
    return weights.sum(axis=(1, 2)) / (count * (count - 1))


def _around(shell: Shell, weight: np.ndarray, factor: float) -> np.ndarray:
    """Best mean where all neighbours count alike: `weight` [S, j, m] by polar angle, a cosine by azimuth."""
    differ = _differ(weight.shape[1])
    rest = _over_rest(_cos_squared(shell.azimuth, factor) * shell.triples, weight)
    return _best(weight * differ + rest, differ + shell.triples.sum(-1))


def targeted(shell: Shell, *, target: float, width: float, factor: float) -> np.ndarray:
    """Planar triangles and tetrahedra: all polar angles at `target`."""
    return _around(shell, _gauss(width * (shell.polar / np.pi - target)), factor)


def pyramid(shell: Shell, *, width: float, factor: float) -> np.ndarray:
    """T shapes and pyramids: all other neighbours on the equator."""
    return _around(shell, _gauss(width * (shell.polar / np.pi - 0.5)), factor)


def pentagon(shell: Shell) -> np.ndarray:
    """Planar pentagons: polar angles of 72° or 144°, the one on the same side of 108°."""
    target = np.where(shell.polar <= 0.6 * np.pi, 0.4, 0.8)
    return _around(shell, _gauss(19.333 * (shell.polar / np.pi - target)), 1)


def bipyramid(
    shell: Shell,
    *,
    width: float,
    south_width: float,
    factor: float,
    south: float = _SOUTH,
    target: float = 0.0,
    last_azimuth: float = -2.0,
) -> np.ndarray:
    """Motifs with neighbours on the equator, or `target` away from it, and one at the south pole.

    `last_azimuth` is a cosine: neighbours on the equator beyond that azimuth are passed over.
    """
    polar = shell.polar / np.pi
    northern = shell.polar < south
    equator = _gauss(width * (np.abs(polar - 0.5) - target)) * northern
    pole = _gauss(south_width * (polar - 1)) * ~northern
    # A neighbour at the south pole cannot set the meridian: only other ones at the pole count beside it.
    meridian = northern & _differ(polar.shape[1])
    used = shell.triples & meridian[..., None] & (shell.azimuth > last_azimuth)
    rest = _over_rest(_cos_squared(shell.azimuth, factor) * used, equator)
    rest += _over_rest(shell.others, pole)
    count = meridian + _over_rest(used, northern + 0.0) + _over_rest(shell.others, ~northern + 0.0)
    return _best(equator * meridian + rest, count)


def body_centred(shell: Shell) -> np.ndarray:
    """Cubes (Peters, J. Chem. Phys. 131, 244103 (2009)).

    The original sums over pairs j < k only, though a pair is not symmetric, so that the value of a distorted cube
    depends on the order of its neighbours: that of the strength of bonds. Among bonds equal by symmetry that order is
    one of rounding errors; here they enter with the mean over their orders.
    """
    polar, count = shell.polar, shell.polar.shape[1]
    latitude = (polar - np.pi / 2) / np.arcsin(1 / 3)
    ring = latitude * _gauss(latitude) / np.exp(-0.5)
    threefold = shell.azimuth * (4 * shell.azimuth**2 - 3)
    rest = _over_rest(threefold * shell.triples, ring) * np.where(polar > np.pi / 2, 1, -1)
    pairs = np.where(polar < 2.5261129449194057, rest, 6 * _gauss(15 * (polar / np.pi - 1)))
    lead = shell.strength[:, :, None] - shell.strength[:, None, :]
    first = np.where(np.abs(lead) < _TIED, 0.5, lead > 0) * _differ(count)
    return (pairs * first).sum(axis=(1, 2)) / (0.5 * count * (6 + (count - 2) * (count - 3)))


def cuboctahedron(shell: Shell) -> np.ndarray:
    """Cuboctahedra: neighbours at 60°, 90° and 120° from the pole, and one opposite to it."""
    near, far, south = 1.3089969389957472, 1.8325957145940461, 2.792526803190927
    polar = shell.polar
    middle, upper, lower = (near < polar) & (polar < far), polar < near, (polar > far) & (polar < south)
    opposite = 1.8 * ((polar >= south) & _differ(polar.shape[1]))
    used = shell.triples & middle[..., None]
    sine = np.sqrt(1 - shell.azimuth**2)
    straight, tilted = shell.azimuth**2 * used, _gauss(0.0556 * (sine - 0.81649658)) * used
    rest = _over_rest(straight, _gauss(25.5 * (polar / np.pi - 0.5)) * middle)
    third = _gauss(31.25 * (polar / np.pi - 1 / 3)) * upper + _gauss(31.25 * (polar / np.pi - 2 / 3)) * lower
    rest += _over_rest(tilted, third)
    count = opposite + _over_rest(used, (middle | upper | lower) + 0.0)
    return _best(opposite * _gauss(28.75 * (polar / np.pi - 1)) + rest, count)


def steinhardt(shell: Shell, *, degree: int) -> np.ndarray:
    """Bond-orientational order q_l, by the addition theorem: no spherical harmonic is needed."""
    legendre = np.polynomial.legendre.legval(shell.cosine, [0] * degree + [1])
    return np.sqrt(np.maximum(legendre.mean(axis=(1, 2)), 0))


Motif = Callable[[Shell], np.ndarray]

_BOOP: list[tuple[str, Motif]] = [(f"q{degree}", partial(steinhardt, degree=degree)) for degree in (2, 4, 6)]
_TETRAHEDRAL = 0.6081734479693927
"""109.47° in units of 180°."""

MOTIFS: dict[int, list[tuple[str, Motif]]] = {
    2: [
        ("L-shaped", partial(bent, target=0.5, width=15.15)),
        ("water-like", partial(bent, target=0.5802777777777778, width=13.95)),
        ("bent 120 degrees", partial(bent, target=0.666666666667, width=13.25)),
        ("bent 150 degrees", partial(bent, target=0.833333333333333, width=12.45)),
        ("linear", partial(bent, target=1, width=8.667)),
    ],
    3: [
        ("trigonal planar", partial(targeted, target=0.66666666667, width=17.5, factor=1)),
        ("trigonal non-coplanar", partial(targeted, target=_TETRAHEDRAL, width=18.33, factor=1.5)),
        ("T-shaped", partial(pyramid, width=15.5, factor=1)),
    ],
    4: [
        ("square co-planar", partial(bipyramid, width=17.7, south_width=13.5, factor=1)),
        ("tetrahedral", partial(targeted, target=_TETRAHEDRAL, width=18.5, factor=1.5)),
        (
            "rectangular see-saw-like",
            partial(bipyramid, width=27, south_width=11.5, factor=2, last_azimuth=np.cos(0.75 * np.pi)),
        ),
        ("see-saw-like", partial(bipyramid, width=15.75, south_width=12.75, factor=1.5)),
        ("trigonal pyramidal", partial(pyramid, width=15.5, factor=1.5)),
    ],
    5: [
        ("pentagonal planar", pentagon),
        ("square pyramidal", partial(pyramid, width=14.9, factor=2)),
        ("trigonal bipyramidal", partial(bipyramid, width=16.6, south_width=12, factor=1.5)),
    ],
    6: [
        (
            "hexagonal planar",
            partial(bipyramid, width=25, south_width=7.5, factor=1, south=2.6179938779914944, target=0.16666667),
        ),
        ("octahedral", partial(bipyramid, width=18, south_width=15, factor=2)),
        ("pentagonal pyramidal", partial(pyramid, width=13.8, factor=2.5)),
    ],
    7: [
        ("hexagonal pyramidal", partial(pyramid, width=12.5, factor=3)),
        ("pentagonal bipyramidal", partial(bipyramid, width=14.75, south_width=12.5, factor=2.5)),
    ],
    8: [
        ("body-centered cubic", body_centred),
        ("hexagonal bipyramidal", partial(bipyramid, width=13.6, south_width=14.1, factor=3)),
    ],
    9: _BOOP,
    10: _BOOP,
    11: _BOOP,
    12: [("cuboctahedral", cuboctahedron), *_BOOP],
}
"""Motifs by the number of neighbours, in the order of matminer's fingerprint."""
