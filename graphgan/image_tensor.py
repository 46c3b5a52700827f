"""ImageTensor: a frozen batch of crystals as images, a point set for the games and a data set for the trainer.

What the pixels mean is for an image encoding to say (`graphgan.encodings`). Knows torch, no chemistry and no files.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor


@dataclasses.dataclass(frozen=True, eq=False)
class ImageTensor:
    """B crystals as square images.

    values  [B, C, S, S]  floating point, normalised: in [0, 1] for crystals within the ranges of the encoding

    Raises ValueError at birth for another shape.
    """

    values: Tensor

    def __post_init__(self) -> None:
        shape = tuple(self.values.shape)
        if len(shape) != 4 or shape[2] != shape[3]:
            raise ValueError(f"values has shape {shape}, expected [B, C, S, S]")

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: Tensor | slice | Sequence[int]) -> ImageTensor:
        """The images of an index, slice or list; an index on the CPU is taken to the images' device."""
        if isinstance(index, Tensor):
            index = index.to(self.device, non_blocking=True)
        return ImageTensor(self.values[index])

    def subset(self, index: Tensor | slice | Sequence[int]) -> ImageTensor:
        """The images of an index, as `[index]`: what `graphgan.crystal_set.CrystalSet` calls so."""
        return self[index]

    @property
    def device(self) -> torch.device:
        """Where the images lie."""
        return self.values.device

    def to(self, device: torch.device | str) -> ImageTensor:
        """The images on a device."""
        return ImageTensor(self.values.to(device))

    def digest(self) -> str:
        """sha256 of shape and pixels, as hexadecimal digits: by it a resumed run knows its crystals."""
        digest = hashlib.sha256(repr(tuple(self.values.shape)).encode())
        for part in self.values.split(1024):
            digest.update(part.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    # -- what a game needs (`graphgan.objectives.SamplePoint`) ---------------------------------------------------------

    def coordinates(self) -> tuple[Tensor, ...]:
        """What a game differentiates: the pixels."""
        return (self.values,)

    def with_coordinates(self, values: Tensor) -> ImageTensor:
        """Images of other pixels."""
        return ImageTensor(values)

    def join(self, other: ImageTensor) -> ImageTensor:
        """Both batches as one."""
        return ImageTensor(torch.cat([self.values, other.values]))

    def interpolate(self, other: ImageTensor, t: Tensor) -> ImageTensor:
        """The images a share t [B] of the way to `other`, pixel by pixel."""
        return ImageTensor(torch.lerp(self.values, other.values, t[:, None, None, None].to(self.values)))

    def dual_norm(self, gradients: Sequence[Tensor]) -> Tensor:
        """Euclidean norm [B] over all pixels, dual to d² = sum over pixels of dvalues²: the metric of Gulrajani et al.
        (2017), arXiv:1704.00028."""
        (gradient,) = gradients
        return torch.sqrt(gradient.square().flatten(1).sum(1) + 1e-12)
