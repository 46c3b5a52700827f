"""How far the copies of one quantity inside one generated tensor disagree: the columns of the CrysTens table.

Image-like crystal tensors write every number several times. Alverson et al., Digital Discovery 3, 62 (2024),
doi:10.1039/D3DD00137G, compare generators by how well these copies agree. **This is self-consistency, not quality**: a
tensor that repeats the same wrong crystal scores 0, and so does a constant or collapsed generator; a graph tensor,
which holds lattice and space group once, scores 0 in three columns by construction. Read them next to validity,
uniqueness and distances of distributions, never instead.

An image is [S, S, 4] with S = 12 + number of site slots (64 in the paper), in Å and degrees, not normalised. Site i
has row 12 + i and column 12 + i. Indices 0 to 10 across hold its atomic number, x, y, z, a, b, c, α, β, γ and the
number of the space group, alike in row, column and all four channels: eight copies a site. In the block of sites,
channel 0 holds the lengths of the fractional differences and channels 1 to 3 the differences x_i - x_j, not wrapped
to the cell.

Nothing here changes its input. Averages are taken as in the published code: lattice and space group by crystal,
coordinates by site and axis over all crystals. That code leaves out tensors whose CIF cannot be read back; pass those
that decode to follow it. A crystal without sites is left out; without any, the answer is nan.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from graphgan.errors import UserError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

ATTRIBUTES = 12
"""Rows and columns of an image before the first site; the last of them is empty."""

_ALPHA = 7
_LENGTHS, _ANGLES, _SPACE_GROUP = (4, 5, 6), (7, 8, 9), (10,)
_AXES = {"xy": (1, 2), "xyz": (1, 2, 3)}


class UnfitTensor(UserError):
    """An array whose shape or meaning is not that of the tensors described here."""


def num_sites(images: ArrayLike, *, tolerance: float = 0.2) -> np.ndarray:
    """Number of sites [n] that each image [n, S, S, 4] holds, as the published decoder finds it: `count_sites` of the
    α in channel 0 of column 7.

    The published code loses the last site of an image without an empty slot; here it counts.
    """
    return count_sites(_images(images)[:, ATTRIBUTES:, _ALPHA, 0].astype(float), tolerance=tolerance)


def count_sites(alphas: np.ndarray, *, tolerance: float = 0.2) -> np.ndarray:
    """Number of sites [n] by the α of every slot [n, N]: up to the first that is off that of the first site by the
    share `tolerance` or more; 0 where the first α is not a positive number."""
    first = alphas[:, :1]
    with np.errstate(invalid="ignore"):
        near = (np.abs(alphas - first) < tolerance * first) & (first > 0) & np.isfinite(first)
    return np.logical_and.accumulate(near, axis=1).sum(axis=1)


def lattice_parameter_variance(images: ArrayLike, sites: Sequence[int] | None = None) -> float:
    """Mean variance, in Å², of the 8 copies a site of a, b and c; column 1 of the table, 0 for a perfect tensor.

    The variance is over all copies of one parameter in one image, and is averaged over parameters and images
    [n, S, S, 4]. `sites` [n] are the numbers of sites where they are known, else `num_sites`. It measures redundancy,
    not quality: see the module.
    """
    return _band_variance(images, sites, _LENGTHS)


def lattice_angle_variance(images: ArrayLike, sites: Sequence[int] | None = None) -> float:
    """Mean variance, in square degrees, of the copies of α, β and γ; column 2, otherwise as
    `lattice_parameter_variance`."""
    return _band_variance(images, sites, _ANGLES)


def space_group_number_variance(images: ArrayLike, sites: Sequence[int] | None = None) -> float:
    """Mean variance of the copies of the space-group number; column 3, otherwise as `lattice_parameter_variance`."""
    return _band_variance(images, sites, _SPACE_GROUP)


def fractional_coordinate_variance(images: ArrayLike, sites: Sequence[int] | None = None, *, axes: str = "xy") -> float:
    """Mean variance, fractional, of the 8 copies of one coordinate of one site; column 4, 0 for a perfect tensor.

    Averaged over sites, axes and images [n, S, S, 4]. The published code reads x and y only; `axes="xyz"` takes all
    three. It measures redundancy, not quality: see the module. Raises UnfitTensor for other axes.
    """
    if axes not in _AXES:
        raise UnfitTensor(f"axes is {axes!r}, expected 'xy' (as published) or 'xyz'")
    variances = [_variance(_bands(image)[list(_AXES[axes])], axis=-1).ravel() for image in _crystals(images, sites)]
    return _mean(variances)


def relative_coordinate_difference(
    images: ArrayLike, sites: Sequence[int] | None = None, *, sign: int = 1, periodic: bool = False
) -> float:
    """Mean shift, fractional, that the differences impose on the coordinates, over n sites; column 5.

    Every site i says where site j is: x_i - M[i, j]. The decoder moves x_j by the share 1 - 1/(n + 12) towards the mean
    of what all say. The absolute move divided by the number of sites is averaged over sites, axes and images
    [n, S, S, 4]. `sign=-1` is for images with M[i, j] = x_j - x_i; `periodic` is for differences wrapped to half a cell
    and measures on the torus. Large cells give smaller numbers than small ones at equal noise. It measures redundancy,
    not quality: see the module.
    """
    moves = []
    for image in _crystals(images, sites):
        positions, differences = _positions(image), _differences(image, sign, periodic)
        moved = averaged_positions(positions, differences, periodic=periodic)
        moves.append(np.abs(shortest(positions - moved, periodic=periodic)).ravel() / len(positions))
    return _mean(moves)


def reconstructed_pairwise_difference(
    images: ArrayLike, sites: Sequence[int] | None = None, *, sign: int = 1, periodic: bool = False
) -> float:
    """Summed gap of the lengths in channel 0 and those from the decoded positions, divided by n sites; a sixth column.

    Lengths are fractional, without the metric of the lattice. The sum runs over all ordered pairs, so the number grows
    with the number of sites. Averaged over images [n, S, S, 4]; options as in `relative_coordinate_difference`. It is
    in the public code but not in the table, and measures redundancy, not quality: see the module.
    """
    gaps = []
    for image in _crystals(images, sites):
        moved = averaged_positions(_positions(image), _differences(image, sign, periodic), periodic=periodic)
        lengths = np.linalg.norm(shortest(moved[:, None] - moved, periodic=periodic), axis=-1)
        block = image[ATTRIBUTES:, ATTRIBUTES:, 0]
        gaps.append(np.array([np.abs(0.5 * (block + block.T) - lengths).sum() / len(moved)]))
    return _mean(gaps)


def graph_relative_coordinate_difference(
    directions: ArrayLike, positions: ArrayLike, num_atoms: Sequence[int] | np.ndarray
) -> float:
    """`relative_coordinate_difference` of graph tensors, on the torus; fractional, 0 for consistent tensors.

    directions [n, 3, N, N] with directions[:, :, i, j] = where atom j is as seen from atom i; positions [n, N, 3],
    fractional; num_atoms [n]. Directions are made antisymmetric first. It measures whether directions and positions
    say the same, and nothing about the crystal: a constant generator scores 0.
    """
    moves = []
    for direction, position in _graphs(directions, positions, num_atoms):
        differences = _antisymmetric(-direction, periodic=True)
        moved = averaged_positions(position, differences, periodic=True)
        moves.append(np.abs(shortest(position - moved, periodic=True)).ravel() / len(position))
    return _mean(moves)


def graph_pairwise_difference(
    directions: ArrayLike,
    positions: ArrayLike,
    num_atoms: Sequence[int] | np.ndarray,
    lattices: ArrayLike | None = None,
) -> float:
    """Summed gap of the lengths of directions and of differences of positions, divided by the number of atoms.

    Arrays as in `graph_relative_coordinate_difference`. Fractional; in Å with `lattices` [n, 3, 3], rows a, b, c. A
    difference is taken to the periodic image nearest to its direction. Averaged over crystals; redundancy, not quality:
    a constant generator scores 0.
    """
    metrics = None if lattices is None else np.asarray(lattices, dtype=float)
    if metrics is not None and metrics.shape != (len(num_atoms), 3, 3):
        raise UnfitTensor(f"lattices have shape {metrics.shape}, expected ({len(num_atoms)}, 3, 3)")
    gaps = []
    for index, (direction, position) in enumerate(_graphs(directions, positions, num_atoms)):
        seen = np.moveaxis(direction, 0, -1)
        found = seen + shortest(position - position[:, None] - seen, periodic=True)
        if metrics is not None:
            seen, found = seen @ metrics[index], found @ metrics[index]
        gap = np.abs(np.linalg.norm(seen, axis=-1) - np.linalg.norm(found, axis=-1)).sum()
        gaps.append(np.array([gap / len(position)]))
    return _mean(gaps)


def averaged_positions(positions: np.ndarray, differences: np.ndarray, *, periodic: bool) -> np.ndarray:
    """Positions [..., n, 3] after the averaging of the published decoder: towards what all sites say of each other.

    `differences` [..., 3, n, n] are x_i - x_j; with `periodic`, everything is measured on the torus. The share of what
    others say is 1 - 1/(n + 12).
    """
    # What site i says of site j, relative to where site j says it is.
    said = positions[..., :, None, :] - np.moveaxis(differences, -3, -1) - positions[..., None, :, :]
    share = 1 - 1 / (positions.shape[-2] + ATTRIBUTES)
    return positions + share * shortest(said, periodic=periodic).mean(axis=-3)


def shortest(differences: np.ndarray, *, periodic: bool) -> np.ndarray:
    """Fractional differences as they are or, with `periodic`, to the nearest image, in [-1/2, 1/2)."""
    return differences - np.floor(differences + 0.5) if periodic else differences


def _images(given: ArrayLike) -> np.ndarray:
    images = np.asarray(given)
    shape = images.shape
    if len(shape) != 4 or shape[1] != shape[2] or shape[1] <= ATTRIBUTES or shape[3] != 4:
        raise UnfitTensor(f"images have shape {shape}, expected [n, S, S, 4] with S above {ATTRIBUTES}, such as 64")
    return images


def _crystals(given: ArrayLike, sites: Sequence[int] | None) -> Iterator[np.ndarray]:
    """The filled corner [12 + n, 12 + n, 4] of every image that has sites, as float64."""
    images = _images(given)
    counts = num_sites(images) if sites is None else np.asarray(sites)
    slots = images.shape[1] - ATTRIBUTES
    if counts.shape != (len(images),) or not np.all((counts >= 0) & (counts <= slots)):
        raise UnfitTensor(f"sites must be {len(images)} numbers from 0 to {slots}, not {counts.tolist()}")
    for image, count in zip(images, counts, strict=True):
        if count:
            size = ATTRIBUTES + int(count)
            yield np.asarray(image[:size, :size], dtype=float)


def _bands(image: np.ndarray) -> np.ndarray:
    """All copies [12, sites, 8] of every attribute of every site."""
    across = np.moveaxis(image[ATTRIBUTES:, :ATTRIBUTES], 0, 1)
    return np.concatenate([image[:ATTRIBUTES, ATTRIBUTES:], across], axis=-1)


def _variance(copies: np.ndarray, axis: int) -> np.ndarray:
    """Variance over an axis; exactly 0 for equal copies, which rounding of their mean would spoil."""
    return np.var(copies - np.take(copies, [0], axis=axis), axis=axis)


def _band_variance(images: ArrayLike, sites: Sequence[int] | None, attributes: tuple[int, ...]) -> float:
    rows = list(attributes)
    return _mean([_variance(_bands(i)[rows].reshape(len(rows), -1), axis=-1) for i in _crystals(images, sites)])


def _positions(image: np.ndarray) -> np.ndarray:
    """Fractional coordinates [sites, 3]: means of the eight copies."""
    return _bands(image)[1:4].mean(axis=-1).T


def _differences(image: np.ndarray, sign: int, periodic: bool) -> np.ndarray:
    """Differences x_i - x_j, [3, sites, sites], made antisymmetric."""
    if sign not in (1, -1):
        raise UnfitTensor(f"sign is {sign!r}, expected 1 for x_i - x_j or -1 for x_j - x_i")
    return _antisymmetric(sign * np.moveaxis(image[ATTRIBUTES:, ATTRIBUTES:, 1:], -1, 0), periodic)


def _antisymmetric(differences: np.ndarray, periodic: bool) -> np.ndarray:
    """Differences [3, n, n] with what i says of j and what j says of i averaged."""
    transposed = differences.swapaxes(-1, -2)
    if periodic:
        return differences - 0.5 * shortest(differences + transposed, periodic=True)
    # The published code averages magnitudes where the entry above the diagonal is positive, and differences elsewhere.
    # The diagonal, 0 in a real crystal, keeps what that code makes of it: minus its positive part.
    above = np.triu(np.where(differences > 0, differences + np.abs(transposed), differences - transposed) / 2, k=1)
    diagonal = -np.maximum(np.diagonal(differences, axis1=-2, axis2=-1), 0)
    return above - above.swapaxes(-1, -2) + diagonal[..., None] * np.eye(differences.shape[-1])


def _graphs(
    directions: ArrayLike, positions: ArrayLike, num_atoms: Sequence[int] | np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Directions [3, n, n] and positions [n, 3] of every crystal without its padding."""
    seen, placed = np.asarray(directions, dtype=float), np.asarray(positions, dtype=float)
    counts = np.asarray(num_atoms)
    crystals, largest = len(counts) if counts.ndim == 1 else -1, placed.shape[1] if placed.ndim == 3 else -1
    if seen.shape != (crystals, 3, largest, largest) or placed.shape != (crystals, largest, 3):
        raise UnfitTensor(
            f"directions {seen.shape}, positions {placed.shape} and num_atoms {counts.shape} do not go together; "
            "expected [n, 3, N, N], [n, N, 3] and [n]"
        )
    if not np.all((counts >= 1) & (counts <= largest)):
        raise UnfitTensor(f"num_atoms must be from 1 to {largest}, not {counts.tolist()}")
    for direction, position, count in zip(seen, placed, counts, strict=True):
        yield direction[:, :count, :count], position[:count]


def _mean(parts: Sequence[np.ndarray]) -> float:
    """Mean of all numbers of all crystals; nan without any."""
    return float(np.concatenate(parts).mean()) if parts else float("nan")
