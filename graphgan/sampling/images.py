"""The model of images: a generator or a diffusion, and an encoding that reads crystals from what it makes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, Self, Unpack

import torch
from torch import nn

from graphgan import images as kinds
from graphgan.data.crystals import Crystal
from graphgan.encodings import image_encoding
from graphgan.encodings.images import ImageEncoding
from graphgan.image_tensor import ImageTensor
from graphgan.sampling.rows import BLOCK, Draw
from graphgan.sampling.sampler import Precision, Request, Sampler, Wishes

CHUNK = 4 * BLOCK
"""Images that are made in one network pass."""


@dataclasses.dataclass(eq=False, kw_only=True)
class ImageModel(Sampler):
    """Generator and image encoding of one checkpoint. How many sites a crystal has is a part of its image, so its
    methods take no `num_atoms`, and no `condition`."""

    stage = "images"
    encoding: ImageEncoding
    generator: nn.Module
    largest = None
    condition_dim = 0

    @classmethod
    def of_checkpoint(
        cls, content: dict[str, Any], name: str, device: torch.device | str, precision: Precision = "float32"
    ) -> Self:
        """The model of a checkpoint's content; any exception where it is no such content."""
        generator = network_of(**content["arguments"]["generator"])
        generator.load_state_dict(content["weights"]["generator"])
        encoding = image_encoding(**content["encoding"])
        return cls(
            name=name,
            encoding=encoding,
            generator=generator.to(device).eval().requires_grad_(False),
            config=content["config"],
            step=content["trainer"]["step"],
            arguments=content["arguments"],
            precision=precision,
        )

    def networks(self) -> dict[str, nn.Module]:
        return {"generator": self.generator}

    def items_of(self, request: Request) -> Iterator[list[Crystal | None]]:
        """In lists of at most CHUNK."""
        return map(self.encoding.to_crystals, self._chunks(request))

    def sample_images(self, n: int, **wishes: Unpack[Wishes]) -> ImageTensor:
        """The images [n, C, S, S] of the crystals of `sample`, normalised, on the CPU."""
        return ImageTensor(torch.cat([made.values for made in self._chunks(self.request(n, **wishes))]))

    def compile(self, backend: str = "inductor") -> None:
        """Let torch.compile make the network pass; the first crystals then take longer."""
        self.generator.compile(dynamic=True, backend=backend)

    def _chunks(self, request: Request) -> Iterator[ImageTensor]:
        rows, seed = request.rows, request.seed
        device = next(self.generator.parameters()).device
        for start in range(rows.start, rows.stop, CHUNK):
            draw = Draw(range(start, min(start + CHUNK, rows.stop)), seed, device)
            bf16 = self.precision == "bf16"
            with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                yield ImageTensor(self.generator.sample(draw).float().cpu())  # type: ignore[operator]


def network_of(kind: str, **arguments: Any) -> nn.Module:
    """A network of `graphgan.images` by its name; ValueError for another name."""
    if kind not in kinds.__all__:
        raise ValueError(f"{kind!r} is no network of images")
    return getattr(kinds, kind)(**arguments)
