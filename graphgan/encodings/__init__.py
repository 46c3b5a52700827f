"""Encodings: crystals, molecules <-> tensors. Names are imported on first use: what only writes sets needs no torch."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from graphgan.encodings.stored import EncodingError

if TYPE_CHECKING:
    from graphgan.encodings.crystens import CrystensEncoding
    from graphgan.encodings.graph import GraphEncoding
    from graphgan.encodings.images import ImageEncoding
    from graphgan.encodings.molecules import MoleculeEncoding
    from graphgan.encodings.xtal2png import Xtal2pngEncoding

_PLACES = {
    "GraphEncoding": "graphgan.encodings.graph",
    "CrystensEncoding": "graphgan.encodings.crystens",
    "MoleculeEncoding": "graphgan.encodings.molecules",
    "Xtal2pngEncoding": "graphgan.encodings.xtal2png",
}
_IMAGES = {"crystens": "CrystensEncoding", "xtal2png": "Xtal2pngEncoding"}

__all__ = [
    "CrystensEncoding",
    "EncodingError",
    "GraphEncoding",
    "MoleculeEncoding",
    "Xtal2pngEncoding",
    "image_encoding",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'graphgan.encodings' has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)


def image_encoding(name: str, **options: Any) -> "ImageEncoding":
    """The image encoding of a name, crystens or xtal2png; also from its `state_dict`. EncodingError for another name,
    TypeError for options that it does not have."""
    if name not in _IMAGES:
        raise EncodingError(f"{name!r} is no image encoding; there are {', '.join(_IMAGES)}")
    return __getattr__(_IMAGES[name])(**options)
