"""The crystals whose images lie beside this file; plain numbers, so that both packages can read them."""

import numpy as np

_STEPS = (0.6180339887, 0.7548776662, 0.5698402910)


def _spread(count):
    """Points that fill a cell evenly and in no order."""
    return [[(site + 1) * step % 1.0 for step in _STEPS] for site in range(count)]


def _cell(a, b, c, alpha, beta, gamma):
    """a along x, b in the xy plane."""
    cos_a, cos_b, cos_g = np.cos(np.radians([alpha, beta, gamma]))
    sin_g = np.sin(np.radians(gamma))
    across = (cos_a - cos_b * cos_g) / sin_g
    return [[a, 0, 0], [b * cos_g, b * sin_g, 0], [c * cos_b, c * across, c * np.sqrt(1 - cos_b**2 - across**2)]]


_HEXAGONAL = [[7.2, 0, 0], [-3.6, 7.2 * np.sqrt(0.75), 0], [0, 0, 9.1]]
_FACES = [[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]

# Right angles are written as zeros: 90 degrees lie between two levels, and the last digit decides.
CRYSTALS = {
    "copper": ([[0, 1.805, 1.805], [1.805, 0, 1.805], [1.805, 1.805, 0]], [29], [[0, 0, 0]]),
    "rocksalt": (
        np.diag([5.64] * 3),
        [11] * 4 + [17] * 4,
        _FACES + [[(x + 0.5) % 1 for x in face] for face in _FACES],
    ),
    "triclinic": (_cell(4.1, 5.3, 6.7, 77, 83, 101), [8, 14, 26, 92], _spread(4)),
    "skewed": (_cell(3.9, 9.7, 11.2, 41, 58, 77), [1, 6, 7, 8, 9, 118], _spread(6)),
    "twenty": (_HEXAGONAL, [3] * 4 + [25] * 6 + [8] * 10, _spread(20)),
    "full": (np.diag([9.1, 11.7, 13.2]), list(range(1, 105, 2)), _spread(52)),
    "outside": (np.diag([17.2, 1.9, 41.0]), [40, 52], [[0, 0, 0], [0.5, 0.5, 0.5]]),
}
"""Name -> lattice in Å, atomic numbers, fractional coordinates; "outside" leaves the published ranges."""
