"""What the image encodings share: which cell of a crystal is drawn, in which order of atoms, and what fits.

A subclass says what pixels mean. `draw` makes arrays [n, S, S, C] of crystals, in plain units; `read` makes crystals of
such arrays; `normalise` and `denormalise` go between those and what networks see.
"""

from __future__ import annotations

import abc
import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch

from graphgan.data.crystals import Crystal, lattice_from_parameters
from graphgan.data.errors import EntryError
from graphgan.encodings.arrays import to_structures
from graphgan.encodings.stored import EncodingError
from graphgan.image_tensor import ImageTensor
from graphgan.metrics import redundancy
from graphgan.processes import in_order

if TYPE_CHECKING:
    from pymatgen.core import Structure

VARIANCES: dict[str, Callable[..., float]] = {
    "lattice_parameter_variance": redundancy.lattice_parameter_variance,
    "lattice_angle_variance": redundancy.lattice_angle_variance,
    "space_group_number_variance": redundancy.space_group_number_variance,
    "fractional_coordinate_variance": redundancy.fractional_coordinate_variance,
}
"""The columns of the CrysTens table that every image with bands has."""
_BY_SITE = {"fractional_coordinate_variance", "relative_coordinate_difference"}
ATTRIBUTES = 12
"""Rows and columns of an image before the first site."""
CHUNK = 256
"""Images that are worked on at a time: float64 arrays of a whole set would be many times the set."""


@dataclasses.dataclass
class ImageEncoding(abc.ABC):
    """Structure <-> square image with a row and a column for each site.

    max_sites  sites that an image has room for; its side is 12 + max_sites
    cell       "given": the cell of the structure; "standard": primitive and Niggli-reduced, as in graph tensors
    order      "given": sites as the structure has them; "number": by atomic number, then by coordinates
    origin     "given": coordinates as they are; "first": the first site, in that order, at 0
    """

    max_sites: int = 52
    cell: Literal["given", "standard"] = "given"
    order: Literal["given", "number"] = "given"
    origin: Literal["given", "first"] = "given"

    name: ClassVar[str]
    """What commands call the encoding."""

    def __post_init__(self) -> None:
        if self.max_sites < 1:
            raise EncodingError(f"max_sites is {self.max_sites}, expected at least 1")
        for name, other in (("cell", "standard"), ("order", "number"), ("origin", "first")):
            if (value := getattr(self, name)) not in ("given", other):
                raise EncodingError(f"{name} is {value!r}, expected 'given' or {other!r}")

    # -- what a subclass says ------------------------------------------------------------------------------------------

    @property
    @abc.abstractmethod
    def channels(self) -> int:
        """C, the numbers of a pixel."""

    @abc.abstractmethod
    def draw(self, crystals: Sequence[Crystal], space_groups: Sequence[int]) -> np.ndarray:
        """Arrays [n, S, S, C] of crystals in the cell and order drawn, in Å and degrees."""

    @abc.abstractmethod
    def read(self, arrays: np.ndarray) -> list[Crystal | None]:
        """Crystals of arrays [n, S, S, C] as `draw` makes them; None where there is none. The input is not changed."""

    @abc.abstractmethod
    def normalise(self, arrays: np.ndarray) -> np.ndarray:
        """What networks see [n, S, S, C], of arrays of `draw`."""

    @abc.abstractmethod
    def denormalise(self, arrays: np.ndarray) -> np.ndarray:
        """Arrays in plain units [n, S, S, C], of what `normalise` made."""

    @abc.abstractmethod
    def judged(self, arrays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Arrays that show crystals in the layout of `graphgan.metrics.redundancy` [n, S, S, 4], and their numbers of
        sites [n]."""

    def columns(self) -> dict[str, Callable[..., float]]:
        """The columns of `redundancy` that the image has."""
        return dict(VARIANCES)

    def take_ranges(self, crystals: Sequence[Crystal], space_groups: Sequence[int]) -> None:  # noqa: B027
        """Learn from the training set what `normalise` needs; nothing, unless a subclass says so."""

    # -- what all share ------------------------------------------------------------------------------------------------

    @property
    def side(self) -> int:
        """S, the rows and columns of an image."""
        return ATTRIBUTES + self.max_sites

    def fit(self, structures: Sequence[Structure], *, workers: int | None = None) -> ImageEncoding:
        """Learn from a training set what there is to learn; EncodingError if none of it has room in an image.

        Here and below `workers` is the number of processes, all cores by default; it changes no number.
        """
        self.take_ranges(*self._fitting(self._prepared(structures, workers)))
        return self

    def fit_encode(
        self, structures: Sequence[Structure], *, progress: bool = False, workers: int | None = None
    ) -> tuple[ImageTensor, list[int]]:
        """`fit`, then `encode` of the structures that have room in an image; their indices beside."""
        prepared = self._prepared(structures, workers, progress)
        fitting = self._fitting(prepared)
        self.take_ranges(*fitting)
        return self._images(*fitting), [i for i, (c, _) in enumerate(prepared) if len(c.numbers) <= self.max_sites]

    def encodable(self, structures: Sequence[Structure], *, workers: int | None = None) -> list[int]:
        """Indices of the structures that `encode` takes: at most max_sites in the cell drawn."""
        prepared = enumerate(self._prepared(structures, workers))
        return [i for i, (crystal, _) in prepared if len(crystal.numbers) <= self.max_sites]

    def encode(self, structures: Sequence[Structure], *, workers: int | None = None) -> ImageTensor:
        """Images [n, C, S, S], float32; EncodingError for a crystal with too many sites."""
        prepared = self._prepared(structures, workers)
        for row, (crystal, _) in enumerate(prepared):
            if (count := len(crystal.numbers)) > self.max_sites:
                formula = structures[row].composition.formula
                raise EncodingError(f"crystal {row} ({formula}) has {count} sites, at most {self.max_sites}")
        return self._images([crystal for crystal, _ in prepared], [group for _, group in prepared])

    def decode(self, images: ImageTensor) -> list[Structure | None]:
        """Structures, and None where an image shows no crystal."""
        return to_structures(self.to_crystals(images))

    def to_crystals(self, images: ImageTensor) -> list[Crystal | None]:
        """`decode` to bare arrays."""
        return [crystal for part in self.parts(images) for crystal in self.read(part)]

    def parts(self, images: ImageTensor) -> Iterator[np.ndarray]:
        """`arrays` of at most CHUNK images at a time; one part without images where there are none."""
        for part in images.values.split(CHUNK):
            yield self.arrays(ImageTensor(part))

    def arrays(self, images: ImageTensor) -> np.ndarray:
        """Images in plain units [n, S, S, C], float64: Å, degrees, atomic numbers."""
        shape = tuple(images.values.shape)
        if shape[1:] != (self.channels, self.side, self.side):
            raise EncodingError(f"images have shape {shape}, expected (n, {self.channels}, {self.side}, {self.side})")
        return self.denormalise(images.values.detach().cpu().permute(0, 2, 3, 1).double().numpy())

    def redundancy(self, images: ImageTensor) -> dict[str, float]:
        """How far the copies of one quantity in an image disagree, by column, over the images that show a crystal; nan
        if none does.

        In Å², square degrees, numbers and fractions (`graphgan.metrics.redundancy`). They measure how well copies
        agree, not whether the crystal is any good: every generator that repeats itself scores 0.
        """
        columns = self.columns()
        sums, weights = dict.fromkeys(columns, 0.0), dict.fromkeys(columns, 0)
        for part in self.parts(images):
            shown = [row for row, crystal in enumerate(self.read(part)) if crystal is not None]
            if not shown:
                continue
            arrays, sites = self.judged(part[shown])
            for name, column in columns.items():
                weight = int(sites.sum()) if name in _BY_SITE else len(shown)
                sums[name] += weight * column(arrays, sites.tolist())
                weights[name] += weight
        return {name: sums[name] / weights[name] if weights[name] else math.nan for name in columns}

    def state_dict(self) -> dict[str, Any]:
        """Plain data that rebuilds the encoding (`graphgan.encodings.image_encoding`)."""
        return {"name": self.name, **dataclasses.asdict(self)}

    def _prepared(
        self, structures: Sequence[Structure], workers: int | None, progress: bool = False
    ) -> list[tuple[Crystal, int]]:
        """The crystals as they are drawn, and the numbers of their space groups."""
        from graphgan.cells import arranged, cell_of
        from graphgan.data.progress import with_bar

        work = partial(
            arranged, standard=self.cell == "standard", sort=self.order == "number", shift=self.origin == "first"
        )
        done = in_order(work, map(cell_of, structures), workers=workers)
        return [(Crystal(*cell), group) for cell, group in with_bar(done, "Encoding", len(structures), shown=progress)]

    def _fitting(self, prepared: Sequence[tuple[Crystal, int]]) -> tuple[list[Crystal], list[int]]:
        fitting = [pair for pair in prepared if len(pair[0].numbers) <= self.max_sites]
        if not fitting:
            raise EncodingError(f"none of {len(prepared)} crystals has at most {self.max_sites} sites")
        return [crystal for crystal, _ in fitting], [group for _, group in fitting]

    def _images(self, crystals: Sequence[Crystal], space_groups: Sequence[int]) -> ImageTensor:
        images = np.empty((len(crystals), self.channels, self.side, self.side), dtype=np.float32)
        for start in range(0, len(crystals), CHUNK):
            part = slice(start, start + CHUNK)
            images[part] = self.normalise(self.draw(crystals[part], space_groups[part])).transpose(0, 3, 1, 2)
        return ImageTensor(torch.from_numpy(images))


def lattice_of(parameters: Sequence[float]) -> np.ndarray:
    """Lattice vectors [3, 3] of a, b, c, α, β, γ; nan where they make no cell."""
    try:
        return lattice_from_parameters(parameters[:3], parameters[3:])
    except EntryError:
        return np.full((3, 3), np.nan)
