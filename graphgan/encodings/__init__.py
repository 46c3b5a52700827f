"""Encodings: structures <-> tensors. Names are imported on first use: what only writes sets needs no torch."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graphgan.encodings.graph import GraphEncoding

__all__ = ["GraphEncoding"]


def __getattr__(name: str) -> Any:
    if name != "GraphEncoding":
        raise AttributeError(f"module 'graphgan.encodings' has no attribute {name!r}")
    from graphgan.encodings.graph import GraphEncoding

    return GraphEncoding
