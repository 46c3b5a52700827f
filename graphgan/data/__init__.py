"""Data in and out: any common file, folder or data set to pymatgen structures and back, molecules to bare arrays and
back; knows no torch.

Names are imported on first use, so that `import graphgan.data` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graphgan.data.cache import cache_folder, clear_cache
    from graphgan.data.cards import Card, list_datasets
    from graphgan.data.errors import DataError
    from graphgan.data.molecule_files import MoleculeReadResult, holds_molecules, read_molecules, write_molecules
    from graphgan.data.molecule_sources import MOLECULE_FORMATS
    from graphgan.data.molecules import Molecule
    from graphgan.data.reading import ReadResult, Skipped, load_dataset, read, read_structures
    from graphgan.data.sources import FORMATS
    from graphgan.data.writing import cif_string, write_structures

_EXPORTS = {
    "Card": "cards",
    "DataError": "errors",
    "FORMATS": "sources",
    "MOLECULE_FORMATS": "molecule_sources",
    "Molecule": "molecules",
    "MoleculeReadResult": "molecule_files",
    "ReadResult": "reading",
    "Skipped": "reading",
    "cache_folder": "cache",
    "cif_string": "writing",
    "clear_cache": "cache",
    "holds_molecules": "molecule_files",
    "list_datasets": "cards",
    "load_dataset": "reading",
    "read": "reading",
    "read_molecules": "molecule_files",
    "read_structures": "reading",
    "write_molecules": "molecule_files",
    "write_structures": "writing",
}
__all__ = [
    "FORMATS",
    "MOLECULE_FORMATS",
    "Card",
    "DataError",
    "Molecule",
    "MoleculeReadResult",
    "ReadResult",
    "Skipped",
    "cache_folder",
    "cif_string",
    "clear_cache",
    "holds_molecules",
    "list_datasets",
    "load_dataset",
    "read",
    "read_molecules",
    "read_structures",
    "write_molecules",
    "write_structures",
]


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'graphgan.data' has no attribute {name!r}")
    return getattr(import_module(f"graphgan.data.{_EXPORTS[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_EXPORTS])
