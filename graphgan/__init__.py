"""graphgan: learn from crystal structures, generate new ones in one network pass.

Names are imported on first use, so that `import graphgan` and `graphgan --help` stay fast: torch, torch-geometric
and pymatgen cost seconds.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_EXPORTS = {
    "load_dataset": "graphgan.data",
    "read_structures": "graphgan.data",
    "write_structures": "graphgan.data",
    "evaluate": "graphgan.report",
    "load_model": "graphgan.sampling",
    "GraphTensor": "graphgan.graph_tensor",
    "GraphEncoding": "graphgan.encodings",
}
__all__ = [*_EXPORTS]


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'graphgan' has no attribute {name!r}")
    return getattr(import_module(_EXPORTS[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_EXPORTS])
