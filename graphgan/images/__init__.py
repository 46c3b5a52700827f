"""Networks and diffusion on images of crystals: a fair pair, a U-Net, two diffusions, CrysTens's published networks.

What makes images has `sample(draw) -> [B, C, S, S]`, where `draw(*shape) -> [B, *shape]` gives each of the B crystals
its next standard normal numbers; a critic is `ImageTensor -> scores [B]`. Knows torch, no chemistry, no files and no
config. Names are imported on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graphgan.images.diffusion import CascadedDiffusion, ElucidatedDiffusion
    from graphgan.images.networks import Draw, ImageCritic, ImageGenerator
    from graphgan.images.published import (
        CrystensGanCritic,
        CrystensGanGenerator,
        CrystensWganCritic,
        CrystensWganGenerator,
    )
    from graphgan.images.unet import UNet

_EXPORTS = {
    "CascadedDiffusion": "diffusion",
    "CrystensGanCritic": "published",
    "CrystensGanGenerator": "published",
    "CrystensWganCritic": "published",
    "CrystensWganGenerator": "published",
    "Draw": "networks",
    "ElucidatedDiffusion": "diffusion",
    "ImageCritic": "networks",
    "ImageGenerator": "networks",
    "UNet": "unet",
}
__all__ = [
    "CascadedDiffusion",
    "CrystensGanCritic",
    "CrystensGanGenerator",
    "CrystensWganCritic",
    "CrystensWganGenerator",
    "Draw",
    "ElucidatedDiffusion",
    "ImageCritic",
    "ImageGenerator",
    "UNet",
]


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'graphgan.images' has no attribute {name!r}")
    return getattr(import_module(f"graphgan.images.{_EXPORTS[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_EXPORTS])
