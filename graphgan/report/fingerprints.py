"""Structure fingerprints kept between evaluations: the slowest part of coverage is done once a crystal."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from graphgan.data import cache_folder
from graphgan.metrics.crystalnn import structure_fingerprints
from graphgan.metrics.nearness import BATCH
from graphgan.processes import in_order

if TYPE_CHECKING:
    from pymatgen.core import Structure

VERSION = 1
"""Raise it whenever a crystal gets another fingerprint."""
MAX_KEPT = 200_000
"""Fingerprints in the file (0.5 kB each) above which it is begun anew."""
_RECORD = np.dtype([("key", "V16"), ("values", "<f8", 61)])
_BLOCK = 500


def kept_fingerprints(
    structures: Sequence[Structure | None], *, workers: int | None = None, cache: bool = True
) -> Iterator[np.ndarray | None]:
    """`metrics.structure_fingerprint` of every structure, in order; what was computed before comes from the cache
    folder.

    New ones are written every few hundred crystals, so an interrupted evaluation loses little. A cache that cannot be
    read or written is done without.
    """
    keys = [structure_key(structure) for structure in structures]
    known = _load() if cache else {}
    fresh = {key: s for key, s in zip(keys, structures, strict=True) if key not in known}
    computed = _computed(list(fresh.values()), workers)
    unsaved: list[tuple[bytes, np.ndarray]] = []
    for key in keys:
        if key not in known:
            found = next(computed)
            known[key] = np.full(61, np.nan) if found is None else found
            unsaved.append((key, known[key]))
        if cache and len(unsaved) >= _BLOCK:
            _append(unsaved)
            unsaved = []
        yield None if np.isnan(known[key]).all() else known[key]
    if cache:
        _append(unsaved)


def _computed(structures: list[Structure | None], workers: int | None) -> Iterator[np.ndarray | None]:
    batches = (structures[i : i + BATCH] for i in range(0, len(structures), BATCH))
    return chain.from_iterable(in_order(structure_fingerprints, batches, workers=workers, chunk=1))


def structure_key(structure: Structure | None) -> bytes:
    """Sixteen bytes that stand for cell, elements and positions, to the last bit."""
    digest = hashlib.blake2b(digest_size=16)
    if structure is not None:
        digest.update(structure.lattice.matrix.tobytes())
        digest.update(" ".join(site.species_string for site in structure).encode())
        digest.update(structure.frac_coords.tobytes())
    return digest.digest()


def _path() -> Path:
    return cache_folder() / f"fingerprints-{VERSION}.bin"


def _load() -> dict[bytes, np.ndarray]:
    try:
        content = _path().read_bytes()
    except OSError:
        return {}
    # Whole records only: the last may have been cut off.
    records = np.frombuffer(content, _RECORD, count=len(content) // _RECORD.itemsize)
    return {key.tobytes(): values for key, values in zip(records["key"], records["values"], strict=True)}


def _append(fingerprints: Sequence[tuple[bytes, np.ndarray]]) -> None:
    if not fingerprints:
        return
    records = np.zeros(len(fingerprints), _RECORD)
    for record, (key, values) in zip(records, fingerprints, strict=True):
        record["key"], record["values"] = np.void(key), values
    path = _path()
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        size = path.stat().st_size if path.exists() else 0
        # One write, appended: evaluations that run side by side do not mix their records. A cut-off record is cut.
        if size > MAX_KEPT * _RECORD.itemsize:
            path.unlink()
        elif size % _RECORD.itemsize:
            with open(path, "r+b") as file:
                file.truncate(size - size % _RECORD.itemsize)
        with open(path, "ab") as file:
            file.write(records.tobytes())
