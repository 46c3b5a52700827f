"""The image of xtal2png 0.9.4: one channel of levels 0 to 255, with the periodic distances of the sites in Å.

Baird, Jablonka et al., https://github.com/sparks-baird/xtal2png (MIT). Ordered crystals give the bytes that its
`XtalConverter()` gives. Site i has row 12 + i and column 12 + i. Indices 0 to 11 across hold its atomic number, x, y,
z, a, b, c, α, β, γ, the number of sites and the number of the space group; the block of sites holds distances to the
nearest periodic image. Every number is scaled by a range of its own. The corner and what is beyond the last site are 0.

Eight bits are coarse: in the published ranges one level is 0.05 Å of a and b, 0.13 Å of c, 0.7 degrees, 1/255 of a
coordinate and 0.07 Å of a distance. 90 degrees lie between two levels and decode as 90.35.
"""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal

import numpy as np
import torch

from graphgan.data.crystals import SYMBOLS, Crystal
from graphgan.encodings.arrays import to_crystals
from graphgan.encodings.distances import mended
from graphgan.encodings.images import ATTRIBUTES, CHUNK, ImageEncoding, lattice_of
from graphgan.encodings.stored import EncodingError
from graphgan.image_tensor import ImageTensor

RANGES = {
    "atom": (1.0, 118.0),
    "frac": (0.0, 1.0),
    "a": (2.0, 15.3),
    "b": (2.0, 15.0),
    "c": (2.0, 36.0),
    "angles": (0.0, 180.0),
    "num_sites": (0.0, 52.0),
    "space_group": (1.0, 230.0),
    "distance": (0.0, 18.0),
}
"""The published ranges, in Å and degrees. Here num_sites reaches to max_sites where that is more than 52."""

_COLUMNS = ("atom", "frac", "frac", "frac", "a", "b", "c", "angles", "angles", "angles", "num_sites", "space_group")
_FRAC, _LATTICE = slice(1, 4), slice(4, 10)
_NUM_SITES, _SPACE_GROUP = 10, 11
_LARGEST = 1e9
_NOTHING = 1e-9
"""A pixel no further than this above the low end of its range, which is 1, tells nothing."""
_ELEMENTS = SYMBOLS[1:]
_ROUNDING = 1 / 255 / math.sqrt(12)
"""Standard deviation of a number rounded to one of 255 steps."""


class RangeWarning(UserWarning):
    """Crystals outside the ranges of an encoding; the message says how many, and in which quantities."""


@dataclasses.dataclass
class Xtal2pngEncoding(ImageEncoding):
    """Structure <-> the image of xtal2png.

    num_channels  equal channels of an image; what is read is their mean
    bits          levels of a pixel are 0 to 2**bits - 1; None: numbers as they are, neither rounded nor clipped
    ranges        [lowest, highest] of quantities, in Å and degrees; those of `RANGES` where nothing is given
    fitted        `fit` takes the ranges of atom, a, b, c, space_group and distance from the training set
    quantile      of a, b, c and the longest distance, where fitted ranges end; xtal2png takes 0.99
    coordinates   "bands": as in the bands of x, y and z; "distances": these, mended by the distances
    count         "published": by the numbers of sites of the first two sites; "fitted": by where the bands of cell
                  and space group end, which noise hardly moves

    EncodingError for ranges that are none, or too wide or too narrow to count max_sites.
    """

    num_channels: int = 1
    bits: int | None = 8
    ranges: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    fitted: bool = False
    quantile: float = 1.0
    coordinates: Literal["bands", "distances"] = "bands"
    count: Literal["published", "fitted"] = "published"

    name: ClassVar[str] = "xtal2png"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_channels < 1:
            raise EncodingError(f"num_channels is {self.num_channels}, expected at least 1")
        if self.bits is not None and not 1 <= self.bits <= 16:
            raise EncodingError(f"bits is {self.bits}, expected 1 to 16, or none")
        if self.coordinates not in ("bands", "distances"):
            raise EncodingError(f"coordinates is {self.coordinates!r}, expected 'bands' or 'distances'")
        if self.count not in ("published", "fitted"):
            raise EncodingError(f"count is {self.count!r}, expected 'published' or 'fitted'")
        if not 0 < self.quantile <= 1:
            raise EncodingError(f"quantile is {self.quantile}, expected a number above 0 and up to 1")
        self.ranges = _checked(self.ranges, self.max_sites)
        low, high = self.ranges["num_sites"]
        if low > 0 or high < self.max_sites:
            raise EncodingError(f"ranges: num_sites is {[low, high]}, but crystals have 1 to {self.max_sites} sites")
        if self._levels and high - low > self._levels:
            raise EncodingError(f"{self._levels + 1} levels cannot count {high:g} sites")

    @property
    def channels(self) -> int:
        return self.num_channels

    def take_ranges(self, crystals: Sequence[Crystal], space_groups: Sequence[int]) -> None:
        """With `fitted`, the ranges of a training set: lowest values and, of a, b, c and the longest distance of a
        crystal, quantiles."""
        if not self.fitted:
            return
        numbers = np.concatenate([crystal.numbers for crystal in crystals]).astype(float)
        lengths = np.array([_parameters(crystal)[:3] for crystal in crystals])
        longest = [_distances(crystal).max() for crystal in crystals]
        ends = np.quantile(np.column_stack([lengths, longest]), self.quantile, axis=0)
        groups = np.maximum(space_groups, 1)
        found = {
            "atom": (numbers.min(), numbers.max()),
            **{name: (lengths[:, k].min(), ends[k]) for k, name in enumerate("abc")},
            "space_group": (groups.min(), groups.max()),
            "distance": (0.0, ends[3]),
        }
        # A set in which nothing varies, such as one of a single element, still needs a range.
        wide = {name: [float(low), float(high if high > low else low + 1)] for name, (low, high) in found.items()}
        self.ranges = self.ranges | wide

    def draw(self, crystals: Sequence[Crystal], space_groups: Sequence[int]) -> np.ndarray:
        """Arrays [n, S, S, C]; pixels that tell nothing hold the low end of their range, which is 0 in an image."""
        arrays = np.repeat(np.repeat(self._bounds_of_pixels()[0][None], len(crystals), 0), self.channels, -1)
        for array, crystal, group in zip(arrays, crystals, space_groups, strict=True):
            count = len(crystal.numbers)
            band = np.empty((count, ATTRIBUTES))
            band[:, 0] = crystal.numbers
            band[:, _FRAC] = crystal.frac_coords
            band[:, _LATTICE] = _parameters(crystal)
            band[:, _NUM_SITES] = count
            band[:, _SPACE_GROUP] = group
            end = ATTRIBUTES + count
            array[ATTRIBUTES:end, :ATTRIBUTES] = band[..., None]
            array[:ATTRIBUTES, ATTRIBUTES:end] = band.T[..., None]
            array[ATTRIBUTES:end, ATTRIBUTES:end] = _distances(crystal)[..., None]
        return arrays

    def normalise(self, arrays: np.ndarray) -> np.ndarray:
        """Levels over the highest one, in [0, 1]; without levels neither rounded nor clipped."""
        return self._clipped(self._scaled(arrays))

    def denormalise(self, arrays: np.ndarray) -> np.ndarray:
        """Plain units, of the nearest level where there are levels; nan in images with a pixel that is no number."""
        good = _whole(arrays)
        values = np.where(good, arrays, 0.0)
        if self._levels:
            values = np.round(np.clip(values, 0, 1) * self._levels) / self._levels
        low, high = self._bounds_of_pixels()
        return np.where(good, low + (high - low) * values, np.nan)

    def num_sites(self, arrays: np.ndarray) -> np.ndarray:
        """How many sites [n] arrays [n, S, S, C] in plain units hold, by `count`; 0 where they say nothing."""
        good = _whole(arrays)
        band = self._bands(np.where(good, arrays, 0.0))
        counts = self._said(band) if self.count == "published" else self._fitted_counts(band.mean(1))
        return np.where(good[:, 0, 0, 0], np.clip(counts, 0, self.max_sites), 0)

    def read(self, arrays: np.ndarray) -> list[Crystal | None]:
        """Crystals; of several copies of a number the mean, of elements the nearest. Space groups are not used.

        As in xtal2png, lengths and angles at the low end of their range count as no copies where others are above it.
        """
        counts = self.num_sites(arrays)
        mean = np.where(_whole(arrays), arrays, 0.0).mean(-1)
        band = self._bands(mean[..., None]).mean(1)
        there = (np.arange(self.max_sites) < counts[:, None])[..., None]
        low, span = self._bounds_of_bands()
        parameters = _mean_where(band, there & (np.abs(band - low) > _NOTHING * span))[:, _LATTICE]
        parameters = np.where(np.isnan(parameters), low[_LATTICE], parameters)
        lattices = np.array([lattice_of(six) for six in parameters.tolist()]).reshape(-1, 3, 3)
        # Halfway between two elements it is the lighter one.
        kinds = np.clip(np.ceil(band[..., 0] - 0.5), 1, len(_ELEMENTS)).astype(int) - 1
        crystals = to_crystals(_ELEMENTS, kinds, band[..., _FRAC], lattices, counts)
        if self.coordinates == "distances":
            crystals = [c and self._mended(c, image) for c, image in zip(crystals, mean, strict=True)]
        return crystals

    def _mended(self, crystal: Crystal, image: np.ndarray) -> Crystal:
        """The crystal with coordinates that agree with the distances of its image [S, S], too.

        Both count by their noise: rounding, and half of what the two copies differ by.
        """
        if (count := len(crystal.numbers)) < 2:
            return crystal
        sites = slice(ATTRIBUTES, ATTRIBUTES + count)
        block, longest = image[sites, sites], self.ranges["distance"][1]
        spans = [self.ranges[name][1] - self.ranges[name][0] for name in ("frac", "distance")]
        differ = [image[sites, _FRAC] - image[_FRAC, sites].T, (block - block.T)[np.triu_indices(count, 1)]]
        halves = [0.5 * math.sqrt((difference**2).mean()) for difference in differ]
        noise = (math.hypot(spans[0] * _ROUNDING, halves[0]), math.hypot(spans[1] * _ROUNDING, halves[1]))
        places = mended(crystal, block, noise=noise, longest=longest)
        return crystal._replace(frac_coords=places % 1.0)

    def judged(self, arrays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Channels are averaged first, and the column of the space group goes where CrysTens has it. Its columns of
        coordinate differences do not exist for images that hold distances."""
        mean = arrays.mean(-1, keepdims=True)
        mean[:, :, 10], mean[:, 10] = mean[:, :, _SPACE_GROUP].copy(), mean[:, _SPACE_GROUP].copy()
        return np.broadcast_to(mean, (*mean.shape[:3], 4)), self.num_sites(arrays)

    def to_pixels(self, images: ImageTensor) -> np.ndarray:
        """Levels [n, S, S, C], uint8, as in a PNG file (`graphgan.encodings.png`); EncodingError without 8 bits."""
        if self.bits != 8:
            raise EncodingError(f"bits is {self.bits}, but PNG files hold 8: write arrays (.npz) instead")
        values = np.nan_to_num(images.values.detach().cpu().permute(0, 2, 3, 1).double().numpy())
        return np.round(np.clip(values, 0, 1) * 255).astype(np.uint8)

    def of_pixels(self, pixels: np.ndarray) -> ImageTensor:
        """Images of levels [n, S, S, any number of channels], uint8: other than `channels`, their mean is taken."""
        if pixels.shape[1:3] != (self.side, self.side):
            raise EncodingError(f"images are {pixels.shape[1:3]}, expected {(self.side, self.side)}: 12 + max_sites")
        values = np.asarray(pixels, dtype=np.float32).transpose(0, 3, 1, 2) / np.float32(255)
        if values.shape[1] != self.channels:
            values = values.mean(1, keepdims=True).repeat(self.channels, axis=1)
        return ImageTensor(torch.from_numpy(np.ascontiguousarray(values)))

    @property
    def _levels(self) -> int:
        return 0 if self.bits is None else 2**self.bits - 1

    def _images(self, crystals: Sequence[Crystal], space_groups: Sequence[int]) -> ImageTensor:
        images = np.empty((len(crystals), self.channels, self.side, self.side), dtype=np.float32)
        outside: Counter[str] = Counter()
        for start in range(0, len(crystals), CHUNK):
            part = slice(start, start + CHUNK)
            scaled = self._scaled(self.draw(crystals[part], space_groups[part]))
            outside.update(self._outside(scaled))
            images[part] = self._clipped(scaled).transpose(0, 3, 1, 2)
        if total := outside.pop("", 0):
            which = ", ".join(name for name in RANGES if name in outside)
            fate = "clipped" if self._levels else "outside [0, 1]"
            text = f"{total} of {len(crystals)} crystals are out of the ranges of xtal2png images and {fate}: {which}"
            warnings.warn(text, RangeWarning, stacklevel=3)
        return ImageTensor(torch.from_numpy(images))

    def _outside(self, scaled: np.ndarray) -> Iterator[str]:
        """For every crystal that is out of a range, the names of the quantities, and "" once."""
        out = (scaled < -_NOTHING) | (scaled > (self._levels or 1) + _NOTHING)
        columns = np.any(out[:, ATTRIBUTES:, :, 0], axis=1)
        for row in columns[np.any(columns, axis=1)]:
            yield from {*(_COLUMNS[k] if k < ATTRIBUTES else "distance" for k in np.flatnonzero(row).tolist()), ""}

    def _scaled(self, arrays: np.ndarray) -> np.ndarray:
        """Levels of arrays in plain units, not clipped; shares of the range where there are no levels."""
        low, high = self._bounds_of_pixels()
        values = (arrays - low) / (high - low)
        return np.round(values * self._levels) if self._levels else values

    def _clipped(self, scaled: np.ndarray) -> np.ndarray:
        return np.clip(scaled, 0, self._levels) / self._levels if self._levels else scaled

    def _bounds_of_bands(self) -> tuple[np.ndarray, np.ndarray]:
        """Lowest value and width of the range of the 12 bands."""
        low, high = np.array([self.ranges[name] for name in _COLUMNS]).T
        return low, high - low

    def _bounds_of_pixels(self) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest value of every pixel, [S, S, 1]."""
        bands = np.array([self.ranges[name] for name in _COLUMNS])
        bounds = np.empty((self.side, self.side, 2))
        bounds[:] = self.ranges["distance"]
        bounds[:, :ATTRIBUTES], bounds[:ATTRIBUTES] = bands, bands[:, None]
        bounds[:ATTRIBUTES, :ATTRIBUTES] = 0, 1
        return bounds[..., :1], bounds[..., 1:]

    def _bands(self, arrays: np.ndarray) -> np.ndarray:
        """The row and the column [n, 2, N, 12] of every site, each the mean of its channels."""
        mean = arrays.mean(-1)
        return np.stack([mean[:, ATTRIBUTES:, :ATTRIBUTES], mean[:, :ATTRIBUTES, ATTRIBUTES:].swapaxes(1, 2)], axis=1)

    def _said(self, band: np.ndarray) -> np.ndarray:
        """The mean, rounded, of the numbers of sites above 0 in row and column of the first two sites."""
        first = np.concatenate([band[:, 0, :2], band[:, 1, :2]], axis=1)[..., _NUM_SITES, None]
        low, span = self._bounds_of_bands()
        said = _mean_where(first, first > low[_NUM_SITES] + _NOTHING * span[_NUM_SITES])[:, 0]
        return np.round(np.nan_to_num(said)).astype(int)

    def _fitted_counts(self, band: np.ndarray) -> np.ndarray:
        """The number of sites [n] that leaves least to bands [n, N, 12] of cell and space group, which are the same for
        all sites and 0 beyond, by the sum of squares."""
        low, span = self._bounds_of_bands()
        sums = np.cumsum((band - low) / span, axis=1)[..., [*range(4, 10), _SPACE_GROUP]]
        kept = (sums**2).sum(-1) / np.arange(1, self.max_sites + 1)
        return np.concatenate([np.zeros((len(kept), 1)), kept], axis=1).argmax(1)


def _checked(given: dict[str, list[float]], max_sites: int) -> dict[str, list[float]]:
    """All ranges, those given among them; EncodingError for one that is none."""
    ranges = {name: list(bounds) for name, bounds in RANGES.items()}
    ranges["num_sites"][1] = max(ranges["num_sites"][1], float(max_sites))
    for name, bounds in given.items():
        if name not in ranges:
            raise EncodingError(f"ranges: {name!r} is no quantity; there are {', '.join(ranges)}")
        try:
            low, high = map(float, bounds)
        except (TypeError, ValueError):
            low = high = math.nan
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise EncodingError(f"ranges: {name} is {bounds}, expected two numbers, the lower one first")
        ranges[name] = [low, high]
    return ranges


def _parameters(crystal: Crystal) -> tuple[float, ...]:
    """a, b, c in Å, α, β, γ in degrees, by pymatgen: its last digit decides to which level 90 degrees are rounded."""
    from pymatgen.core import Lattice

    return Lattice(crystal.lattice).parameters


def _distances(crystal: Crystal) -> np.ndarray:
    """Distances [N, N] in Å to the nearest periodic image, in cells of any shape."""
    from pymatgen.core import Lattice

    return Lattice(crystal.lattice).get_all_distances(crystal.frac_coords, crystal.frac_coords)


def _whole(arrays: np.ndarray) -> np.ndarray:
    """Which arrays [n, S, S, C] hold numbers throughout, [n, 1, 1, 1]; products of greater ones than these overflow."""
    with np.errstate(invalid="ignore"):
        return np.all(np.abs(arrays) < _LARGEST, axis=(1, 2, 3), keepdims=True)


def _mean_where(values: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Means along the second axis of what `where` takes; nan where it takes nothing."""
    total = where.sum(1)
    return np.where(total > 0, np.where(where, values, 0.0).sum(1) / np.maximum(total, 1), np.nan)
