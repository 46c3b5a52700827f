"""The image of CrysTens: bands of elements, coordinates, cell and space group, and a block of coordinate differences.

Alverson et al., Digital Discovery 3, 62 (2024), doi:10.1039/D3DD00137G; constants of the published normalisations from
https://github.com/michaeldalverson/CrysTens (MIT). Site i has row 12 + i and column 12 + i. Indices 0 to 10 across
hold its atomic number, x, y, z, a, b, c, α, β, γ and the number of the space group, alike in row, column and all four
channels. Where row i meets column j, channel 0 holds the length of the fractional difference of their coordinates and
channels 1 to 3 the difference. Index 11, the corner and what is beyond the last site are 0.

As an image the tensor loses nothing: real crystals of up to 52 sites come back. What the public code gets wrong is not
repeated here: pairs are normalised for all sites, differences that contradict each other are averaged with their signs,
no site of a full image is lost, and nothing is clustered or dropped unless asked for.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np

from graphgan.data.crystals import SYMBOLS, Crystal
from graphgan.encodings.arrays import to_crystals
from graphgan.encodings.images import ATTRIBUTES, ImageEncoding, lattice_of
from graphgan.encodings.stored import EncodingError
from graphgan.image_tensor import ImageTensor
from graphgan.metrics import redundancy

_BANDS = 11
_NUMBER, _POSITION, _CELL, _ALPHA, _SPACE_GROUP, _SHARED = 0, slice(1, 4), slice(4, 10), 7, 10, slice(4, 11)
_QUANTITIES = (*"Zxyzabc", "alpha", "beta", "gamma", "space group", "length", "difference")

# (mean, standard deviation, deviations below the mean, deviations above it) of each of _QUANTITIES.
_AVG_STD = np.array(
    [
        [27.5035177, 22.4170313, 1.18229382, 3.18938228],
        [0.425202628, 0.293463257, 1.44891266, 1.95864624],
        [0.436386684, 0.291906738, 1.49495242, 1.93077643],
        [0.444294463, 0.293083504, 1.51593132, 1.89603143],
        [7.576402, 2.97693714, 1.9530147, 11.786476],
        [7.90142069, 3.55955364, 1.72466026, 10.473667],
        [9.93085175, 6.7499882, 1.15005412, 15.7428643],
        [89.9627072, 3.13733042, 9.62464999, 9.57415661],
        [93.7868877, 9.61828441, 3.5437596, 4.64075612],
        [95.6597502, 12.2375492, 3.00229642, 1.98898075],
        [99.5018877, 76.6564049, 1.28497922, 1.70237715],
        [0.669346435, 0.23688725, 2.73534326, 4.15947579],
        [0.0, 0.409935043, 2.4393946, 2.4393946],
    ]
)
# What each of _QUANTITIES is divided by; to differences 0.99999 is added first.
_NEAR_MAX = np.array([83, 0.979, 0.9813, 0.9782, 19.866, 26.43, 42.5, 107.69, 131.3, 120, 227, 1.27791133, 0.89146])

_LARGEST = 1e90
"""Greater numbers are taken for none: their products overflow."""


@dataclasses.dataclass
class CrystensEncoding(ImageEncoding):
    """Structure <-> the image of CrysTens, four channels.

    normalisation  "avg_std" and "near_max": by published constants ("near_max" sends differences to [0, 2.25]);
                   "fitted": every quantity to [0, 1] by the ranges of the training set
    sign           1: row i, column j holds x_i - x_j, as published; -1: x_j - x_i, where j is as seen from i
    wrapped        differences and their lengths to the nearest periodic image, in [-1/2, 1/2)
    site_tolerance a site whose α is off that of the first one by this share is no site
    average        move sites towards where the others see them, as published, when decoding
    max_elements   elements of a decoded crystal that has more are brought down to so many by K-means
    coordinate_clusters  the same for the values of its coordinates, x, y and z together
    ranges         [lowest, highest] of the 11 bands, lengths and differences; found by `fit` where "fitted"

    EncodingError for options that are none, and for "fitted" before `fit`.
    """

    normalisation: Literal["avg_std", "near_max", "fitted"] = "avg_std"
    sign: Literal[1, -1] = 1
    wrapped: bool = False
    site_tolerance: float = 0.2
    average: bool = True
    max_elements: int | None = None
    coordinate_clusters: int | None = None
    ranges: list[list[float]] = dataclasses.field(default_factory=list)

    name: ClassVar[str] = "crystens"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.normalisation not in ("avg_std", "near_max", "fitted"):
            raise EncodingError(f"normalisation is {self.normalisation!r}, expected avg_std, near_max or fitted")
        if self.sign not in (1, -1):
            raise EncodingError(f"sign is {self.sign!r}, expected 1 for x_i - x_j or -1 for x_j - x_i")
        if not 0 < self.site_tolerance < 1:
            raise EncodingError(f"site_tolerance is {self.site_tolerance}, expected a number between 0 and 1")
        for name in ("max_elements", "coordinate_clusters"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise EncodingError(f"{name} is {value}, expected at least 1, or none")
        if self.ranges:
            _check_ranges(self.ranges)

    @property
    def channels(self) -> int:
        return 4

    def take_ranges(self, crystals: Sequence[Crystal], space_groups: Sequence[int]) -> None:
        """With "fitted", the ranges of a training set: those of the cell a twentieth wider than found, those of whole
        numbers by a half, those of coordinates and differences as wide as these can be."""
        if self.normalisation != "fitted":
            return
        numbers = np.concatenate([crystal.numbers for crystal in crystals]).astype(float)
        cells = _parameters(np.array([crystal.lattice for crystal in crystals]))
        low, high = cells.min(0), cells.max(0)
        # What never varies needs a range as well.
        margin = np.maximum(0.05 * (high - low), 0.01 * high)
        low_alpha = low[3]
        low, high = low - margin, high + margin
        # Where there is no site the pixel is 0, whose α must not pass for one: a set of cubic cells would have 90
        # degrees there. So 0 is an angle that no cell has, as far below the smallest one accepted as this is below
        # the smallest one found.
        low[3] = (1 - 2 * self.site_tolerance) * low_alpha
        reach = 0.5 if self.wrapped else 1.0
        found = [
            [numbers.min() - 0.5, numbers.max() + 0.5],
            *[[0.0, 1.0]] * 3,
            *np.column_stack([low, high]).tolist(),
            [min(space_groups) - 0.5, max(space_groups) + 0.5],
            [0.0, reach * 3**0.5],
            [-reach, reach],
        ]
        self.ranges = [[float(bottom), float(top)] for bottom, top in found]

    def draw(self, crystals: Sequence[Crystal], space_groups: Sequence[int]) -> np.ndarray:
        """Arrays [n, S, S, 4] of crystals, in Å and degrees.

        Lengths and angles do not tell a left-handed cell from its mirror image; such a cell is drawn with all three
        vectors reversed, which is the same crystal in a right-handed one.
        """
        lattices = np.array([crystal.lattice for crystal in crystals], dtype=float).reshape(-1, 3, 3)
        bands = np.zeros((len(crystals), self.max_sites, _BANDS))
        cells, mirrored = _parameters(lattices), (np.linalg.det(lattices) < 0).tolist()
        for band, crystal, cell, group, turn in zip(bands, crystals, cells, space_groups, mirrored, strict=True):
            count = len(crystal.numbers)
            if count > self.max_sites:
                raise EncodingError(f"a crystal has {count} sites, at most {self.max_sites}")
            band[:count, _NUMBER] = crystal.numbers
            band[:count, _POSITION] = -crystal.frac_coords % 1.0 if turn else crystal.frac_coords
            band[:count, _CELL] = cell
            band[:count, _SPACE_GROUP] = group
        arrays = np.zeros((len(crystals), self.side, self.side, self.channels))
        arrays[:, ATTRIBUTES:, :_BANDS] = bands[..., None]
        arrays[:, :_BANDS, ATTRIBUTES:] = bands.swapaxes(1, 2)[..., None]
        row, column = bands[:, :, None, _POSITION], bands[:, None, :, _POSITION]
        pairs = arrays[:, ATTRIBUTES:, ATTRIBUTES:]
        pairs[..., 1:] = redundancy.shortest(row - column if self.sign == 1 else column - row, periodic=self.wrapped)
        pairs[..., 0] = np.sqrt(np.einsum("...k,...k->...", pairs[..., 1:], pairs[..., 1:]))
        return _emptied(arrays, bands[..., _NUMBER] == 0)

    def normalise(self, arrays: np.ndarray) -> np.ndarray:
        """Pixels of arrays of `draw`. Sites that are none stay 0, and so do pairs of a site and itself."""
        low, span = self._scales()
        with np.errstate(all="ignore"):
            return _emptied((arrays - low) / span, arrays[:, ATTRIBUTES:, _NUMBER, 0] == 0)

    def denormalise(self, arrays: np.ndarray) -> np.ndarray:
        """Plain units of pixels, for every slot as if it held a site, unless it holds none for certain.

        That is a slot whose cell and space group are nearer to 0 everywhere than to those of the first site. α alone
        does not tell in "avg_std", where the pixel 0 is an α of 59.8 degrees.
        """
        low, span = self._scales()
        with np.errstate(all="ignore"):
            shared = _bands(arrays)[..., _SHARED]
            off = shared - shared[:, :1]
            empty = np.einsum("nik,nik->ni", shared, shared) <= np.einsum("nik,nik->ni", off, off)
            return _emptied(arrays * span + low, empty & _whole(arrays)[:, None])

    def read(self, arrays: np.ndarray) -> list[Crystal | None]:
        """Crystals of arrays [n, S, S, 4]; None where a pixel is no number, no site or no cell is found, or the volume
        is below 0.1 Å^3.

        Sites are counted by α. What a number's copies say is averaged, the two differences of a pair likewise; then
        sites move towards where the others see them. Space groups are not imposed.
        """
        bands, counts = self._seen(arrays)
        crystals: list[Crystal | None] = [None] * len(arrays)
        for count in np.unique(counts[counts > 0]).tolist():  # those of one size go together
            rows = np.flatnonzero(counts == count)
            end = ATTRIBUTES + count
            with np.errstate(all="ignore"):
                found = self._crystals(bands[rows, :count], arrays[rows, ATTRIBUTES:end, ATTRIBUTES:end, 1:])
            for row, crystal in zip(rows.tolist(), found, strict=True):
                crystals[row] = crystal
        return crystals

    def space_groups(self, images: ImageTensor) -> list[int]:
        """The number of the space group that each image names, 1 to 230; 0 where it names none or holds no sites."""
        numbers: list[int] = []
        for part in self.parts(images):
            bands, counts = self._seen(part)
            for band, count in zip(bands[..., _SPACE_GROUP], counts.tolist(), strict=True):
                numbers.append(int(np.clip(np.rint(band[:count].mean()), 0, 230)) if count else 0)
        return numbers

    def judged(self, arrays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return arrays, self._seen(arrays)[1]

    def columns(self) -> dict[str, Callable[..., float]]:
        """All six."""
        pairs: dict[str, Any] = {"sign": self.sign, "periodic": self.wrapped}
        return super().columns() | {
            "relative_coordinate_difference": partial(redundancy.relative_coordinate_difference, **pairs),
            "reconstructed_pairwise_difference": partial(redundancy.reconstructed_pairwise_difference, **pairs),
        }

    def _scales(self) -> tuple[np.ndarray, np.ndarray]:
        """The value of pixel 0 and what a unit is worth, [S, S, 4]."""
        low, high = np.array(self._bounds()).T
        images = []
        for values, neutral in ((low, 0.0), (high - low, 1.0)):
            image = np.full((self.side, self.side, self.channels), neutral)
            image[ATTRIBUTES:, :_BANDS] = values[:_BANDS, None]
            image[:_BANDS, ATTRIBUTES:] = values[:_BANDS, None, None]
            image[ATTRIBUTES:, ATTRIBUTES:] = values[[_BANDS, *[_BANDS + 1] * 3]]
            image[np.arange(ATTRIBUTES, self.side), np.arange(ATTRIBUTES, self.side)] = neutral
            images.append(image)
        return images[0], images[1]

    def _bounds(self) -> list[list[float]]:
        """[value of pixel 0, value of pixel 1] of _QUANTITIES."""
        if self.normalisation == "avg_std":
            mean, deviation, below, above = _AVG_STD.T
            return np.column_stack([mean - below * deviation, mean + above * deviation]).tolist()
        if self.normalisation == "near_max":
            low = np.zeros(len(_NEAR_MAX))
            low[-1] = -0.99999
            return np.column_stack([low, low + _NEAR_MAX]).tolist()
        if not self.ranges:
            raise EncodingError("fit the encoding before use: normalisation is fitted")
        return self.ranges

    def _seen(self, arrays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Means [n, N, 11] of the copies of all bands, and the number of sites [n]."""
        with np.errstate(all="ignore"):
            bands = _bands(arrays)
            counts = redundancy.count_sites(bands[..., _ALPHA], tolerance=self.site_tolerance)
        return bands, np.where(_whole(arrays), counts, 0)

    def _crystals(self, bands: np.ndarray, pairs: np.ndarray) -> list[Crystal | None]:
        """Crystals of bands [m, n, 11] and differences [m, n, n, 3] of n sites."""
        many, count = bands.shape[:2]
        positions, numbers = bands[..., _POSITION], bands[..., _NUMBER]
        if self.average:
            said = self.sign * np.moveaxis(pairs, -1, 1)
            said = said - 0.5 * redundancy.shortest(said + said.swapaxes(-1, -2), periodic=self.wrapped)
            said[..., np.arange(count), np.arange(count)] = 0.0
            positions = redundancy.averaged_positions(positions, said, periodic=self.wrapped)
        if self.coordinate_clusters is not None:
            positions = np.array([_few_coordinates(places, self.coordinate_clusters) for places in positions])
        if self.max_elements is not None:
            numbers = np.array([_few_elements(kinds, self.max_elements) for kinds in numbers])
        kinds = np.clip(np.rint(numbers), 1, len(SYMBOLS) - 1).astype(int) - 1
        cells = bands[..., _CELL].mean(axis=1)
        lattices = np.array([lattice_of(cell) for cell in cells.tolist()]).reshape(-1, 3, 3)
        return to_crystals(SYMBOLS[1:], kinds, positions, lattices, np.full(many, count))


def _check_ranges(ranges: list[list[float]]) -> None:
    if len(ranges) != len(_QUANTITIES) or any(len(pair) != 2 for pair in ranges):
        raise EncodingError(f"ranges are not {len(_QUANTITIES)} pairs of numbers, one for each quantity")
    for name, (low, high) in zip(_QUANTITIES, ranges, strict=True):
        if not (np.isfinite([low, high]).all() and low < high):
            raise EncodingError(f"ranges: {name} is {[low, high]}, expected two numbers, the lower one first")


def _bands(arrays: np.ndarray) -> np.ndarray:
    """Means [n, N, 11] of the eight copies of every number of a slot."""
    down = arrays[:, ATTRIBUTES:, :_BANDS].mean(axis=-1)
    across = arrays[:, :_BANDS, ATTRIBUTES:].mean(axis=-1)
    return 0.5 * (down + across.swapaxes(1, 2))


def _whole(arrays: np.ndarray) -> np.ndarray:
    """Which images [n] hold numbers only."""
    return (np.abs(arrays) < _LARGEST).all(axis=(1, 2, 3))


def _emptied(images: np.ndarray, empty: np.ndarray) -> np.ndarray:
    """The same images with rows and columns of the slots `empty` [n, N] set to 0, in place."""
    images[:, ATTRIBUTES:][empty] = 0.0
    images.swapaxes(1, 2)[:, ATTRIBUTES:][empty] = 0.0
    return images


def _parameters(lattices: np.ndarray) -> np.ndarray:
    """a, b, c in Å, α, β, γ in degrees, [n, 6]."""
    lengths = np.linalg.norm(lattices, axis=-1)
    directions = lattices / lengths[..., None]
    cosines = np.einsum("nik,nik->ni", directions[:, [1, 2, 0]], directions[:, [2, 0, 1]])
    return np.concatenate([lengths, np.degrees(np.arccos(np.clip(cosines, -1, 1)))], axis=1)


def _few_elements(numbers: np.ndarray, most: int) -> np.ndarray:
    """Atomic numbers [n] of at most so many elements, each the mean of its cluster."""
    if len(np.unique(np.rint(numbers))) <= most:
        return numbers
    labels, centres = _clusters(numbers[:, None], most)
    return centres[labels, 0]


def _few_coordinates(positions: np.ndarray, most: int) -> np.ndarray:
    """Positions [n, 3] with at most so many values; they are clustered on the circle, where 0.99 is near 0.01."""
    if len(np.unique(np.round(positions, 6) % 1.0)) <= most:
        return positions
    turns = 2 * np.pi * positions.ravel()
    labels, centres = _clusters(np.column_stack([np.cos(turns), np.sin(turns)]), most)
    return (np.arctan2(centres[:, 1], centres[:, 0]) / (2 * np.pi))[labels].reshape(positions.shape)


def _clusters(values: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels and centres of K-means, the same at every call."""
    from sklearn.cluster import KMeans

    found = KMeans(n_clusters=count, n_init=10, random_state=0).fit(values)
    return found.labels_, found.cluster_centers_
