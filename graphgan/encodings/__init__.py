"""Encodings: the only bridge between the bank that knows pymatgen and the bank that knows torch."""

from graphgan.encodings.graph import GraphEncoding

__all__ = ["GraphEncoding"]
