"""Relaxed crystals in a file, one JSON line each, so that a run that was killed goes on where it stopped.

Lines are appended and flushed one by one. A line that was cut short is skipped; what it held is done again. Floats
are written in full: a crystal read back is equal to the last bit.
"""

from __future__ import annotations

import hashlib
import json
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from graphgan.stability.errors import StabilityError
from graphgan.stability.relaxation import OUT_OF_MEMORY, Relaxed, Settings

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from graphgan.stability.potentials import Potential

RELAXATION_VERSION = 1
"""Raise it whenever a relaxation gives another result for the same crystal."""


def key_of(structure: Structure, potential: Potential, settings: Settings) -> str:
    """The name of a relaxation: a hash of the crystal (1e-6 Å and fractions), the potential and the settings."""
    digest = hashlib.sha256(
        f"{RELAXATION_VERSION} {potential.name} {potential.version} {settings.fmax!r} {settings.max_steps}".encode()
    )
    digest.update(" ".join(site.species_string for site in structure).encode())
    for numbers in (structure.lattice.matrix, structure.frac_coords):
        digest.update((np.round(np.asarray(numbers, float), 6) + 0.0).tobytes())
    return digest.hexdigest()[:32]


class Store:
    """Relaxed crystals by key: in memory, and in a file of `folder` unless that is None.

    With `required`, a folder that cannot be used raises StabilityError; without, the file only saves time and is
    given up.
    """

    def __init__(self, folder: Path | None, name: str = "relaxed.jsonl", *, required: bool = True) -> None:
        self._known: dict[str, dict[str, Any]] = {}
        self._file: FileIO | None = None
        self._required = required
        if folder is None:
            return
        self._path = folder / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # Unbuffered: every line is one write, so two processes that share a cache do not tear each other's lines.
            self._file = open(self._path, "ab+", buffering=0)  # noqa: SIM115
            self._file.seek(0)
            self._load(self._file.read())
        except OSError as error:
            if required:
                raise StabilityError(f"{folder}: {error.strerror or error}") from error
            self._file = None

    def __len__(self) -> int:
        return len(self._known)

    def __contains__(self, key: str) -> bool:
        return key in self._known

    def __getitem__(self, key: str) -> Relaxed:
        return _relaxed(self._known[key])

    def add(self, key: str, result: Relaxed) -> None:
        """Keep a result; it is on its way to the disk when this returns."""
        line = _line(result)
        self._known[key] = line
        if self._file is None or result.reason == OUT_OF_MEMORY:  # another time it may work
            return
        try:
            self._file.write(json.dumps({"key": key, **line}).encode() + b"\n")
        except OSError as error:
            self.close()
            if self._required:
                raise StabilityError(f"{self._path}: {error.strerror or error}") from error

    def close(self) -> None:
        """Close the file; what is known stays known."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _load(self, content: bytes) -> None:
        for text in content.splitlines():
            try:
                line = json.loads(text)
                _relaxed(line)
                self._known[line.pop("key")] = line
            except (ValueError, KeyError, TypeError):
                continue
        if content and not content.endswith(b"\n") and self._file is not None:
            self._file.write(b"\n")


def _line(result: Relaxed) -> dict[str, Any]:
    line: dict[str, Any] = {
        "energy_per_atom": result.energy_per_atom,
        "converged": result.converged,
        "steps": result.steps,
        "reason": result.reason,
        "displacement": result.displacement,
        "volume_change": result.volume_change,
    }
    if (structure := result.structure) is not None:
        line["species"] = [site.species_string for site in structure]
        line["lattice"] = structure.lattice.matrix.tolist()
        line["positions"] = structure.frac_coords.tolist()
    return line


def _relaxed(line: dict[str, Any]) -> Relaxed:
    from pymatgen.core import Lattice, Structure

    structure = None
    if "lattice" in line:
        structure = Structure(Lattice(line["lattice"]), line["species"], line["positions"])
    return Relaxed(
        structure=structure,
        energy_per_atom=line["energy_per_atom"],
        converged=line["converged"],
        steps=line["steps"],
        reason=line["reason"],
        displacement=line["displacement"],
        volume_change=line["volume_change"],
    )
