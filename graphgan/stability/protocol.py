"""The whole path from samples to energies above the hull: relax, find the rivals in the training set, compare."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from graphgan.data.cache import cache_folder
from graphgan.data.progress import with_bar
from graphgan.processes import in_order
from graphgan.stability.elements import candidates
from graphgan.stability.hull import Hull, shares
from graphgan.stability.potentials import Potential, load_potential
from graphgan.stability.relaxation import Relaxed, Settings, relax, relax_each
from graphgan.stability.result import Row, Stability
from graphgan.stability.store import Store, key_of

if TYPE_CHECKING:
    from pymatgen.core import Structure

_REFERENCE = Settings(fmax=0.02, max_steps=500)
"""For the elements, on which every formation energy rests."""
_PATIENCE = 5.0
"""Seconds of relaxing alone before other cores are asked: each needs about as long to load torch and a potential."""
_BATCH = 128
"""Crystals that a GPU evaluates at a time; memory that does not suffice halves it."""


def stability(
    samples: Sequence[Structure | None],
    train: Sequence[Structure],
    *,
    potential: str | Potential = "chgnet",
    device: str = "auto",
    folder: str | Path | None = None,
    cache: str | Path | None = None,
    fmax: float = 0.05,
    max_steps: int = 200,
    workers: int | None = None,
    progress: bool = False,
) -> Stability:
    """Relax samples with an interatomic potential and measure them against the hull of the training set.

    The hull holds the training crystals whose elements all occur in one sample, relaxed with the same potential, and
    one reference for each element. An energy above it is a lower bound on the energy above the true hull.

    potential   'chgnet' or 'sevennet', or an object as `potentials.Potential` describes
    device      'cpu', 'cuda' or 'auto'; on the CPU, `workers` processes share the crystals, all cores by default
    folder      where relaxed samples are kept (relaxed.jsonl); a run that was killed goes on from there
    cache       where relaxed training crystals and elements are kept for all runs; `stability` in graphgan's cache
                folder by default
    fmax        eV/Å at which a relaxation ends, at the latest after max_steps

    A sample that fails is a row with a reason and counts as not stable. Raises StabilityError if the potential
    cannot be loaded or the folder cannot be used; ValueError for fmax or max_steps out of range.
    """
    settings = Settings(fmax, max_steps)
    model = load_potential(potential, device) if isinstance(potential, str) else potential
    ours = Store(None if folder is None else Path(folder))
    shared = Store(
        cache_folder() / "stability" if cache is None else Path(cache),
        f"{model.name}-{model.version}.jsonl",
        required=cache is not None,
    )
    work = partial(_relax_all, potential=model, settings=settings, workers=workers, progress=progress)
    try:
        relaxed = work(samples, ours, title="relaxing samples")
        systems = {_system(result.structure) for result in relaxed if result.structure is not None}
        rivals = relevant(train, systems)
        known = work(rivals, shared, title="relaxing training crystals")
        pure = [one for element in sorted(set().union(*systems)) for one in candidates(element)]
        # Soft crystals, of gases or with layers, are tens of meV above their minimum where forces are 0.1 eV/Å.
        tight = Settings(min(fmax, _REFERENCE.fmax), max(max_steps, _REFERENCE.max_steps))
        elements = work(pure, shared, settings=tight, title="relaxing elements")
    finally:
        ours.close()
        shared.close()
    hull = Hull(_entries(known) + _entries(elements))
    rows = tuple(_row(result, hull) for result in relaxed)
    return Stability(
        rows=rows,
        potential=f"{model.name} {model.version}",
        fmax=fmax,
        max_steps=max_steps,
        num_hull=len(_entries(known)),
        notes=tuple(_notes(rows, known)),
    )


def relevant(train: Sequence[Structure], systems: set[frozenset[str]]) -> list[Structure]:
    """The crystals whose elements all occur in one of the chemical systems: no other bears on their hulls."""
    answers: dict[frozenset[str], bool] = {}
    found = []
    for structure in train:
        mine = _system(structure)
        if mine not in answers:
            answers[mine] = any(mine <= system for system in systems)
        if answers[mine]:
            found.append(structure)
    return found


def _relax_all(
    structures: Sequence[Structure | None],
    store: Store,
    *,
    potential: Potential,
    settings: Settings,
    workers: int | None,
    progress: bool,
    title: str,
) -> list[Relaxed]:
    """Every crystal relaxed, from the store or anew; equal crystals once."""
    keys = [None if structure is None else key_of(structure, potential, settings) for structure in structures]
    missing = {
        key: structure
        for key, structure in zip(keys, structures, strict=True)
        if key is not None and structure is not None and key not in store
    }
    names, crystals = list(missing), list(missing.values())
    results: Iterator[tuple[int, Relaxed]]
    if potential.device == "cpu":
        job = partial(relax, potential=potential, settings=settings)
        results = enumerate(in_order(job, crystals, workers=workers, patience=_PATIENCE, chunk=2))
    else:
        results = relax_each(crystals, potential, settings, batch=_BATCH)
    for index, result in with_bar(results, title, total=len(crystals), shown=progress):
        store.add(names[index], result)
    failure = Relaxed(None, None, False, 0, "no crystal")
    return [failure if key is None else store[key] for key in keys]


def _entries(results: Sequence[Relaxed]) -> list[tuple[dict[str, float], float]]:
    return [
        (_composition(one.structure), one.energy_per_atom)
        for one in results
        if one.structure is not None and one.energy_per_atom is not None
    ]


def _row(result: Relaxed, hull: Hull) -> Row:
    if result.structure is None or result.energy_per_atom is None:
        return Row(reason=result.reason, steps=result.steps)
    composition, energy = _composition(result.structure), result.energy_per_atom
    above = hull.above(composition, energy)
    if math.isnan(above):
        missing = sorted(shares(composition).keys() - hull.elements.keys())
        reason = f"no reference crystal of {', '.join(missing)}" if missing else "the hull could not be solved"
        return Row(reason=reason, steps=result.steps)
    return Row(
        energy_per_atom=energy,
        formation_energy=hull.formation(composition, energy),
        e_above_hull=above,
        converged=result.converged,
        steps=result.steps,
        displacement=result.displacement,
        volume_change=result.volume_change,
        structure=result.structure,
    )


def _notes(rows: Sequence[Row], known: Sequence[Relaxed]) -> list[str]:
    notes = []
    if alone := sum(row.stable and _unrivalled(row) for row in rows):
        notes.append(
            f"{alone} of {len(rows)} samples are stable for want of rivals: no compound of the training set bears on "
            "their hull, only the elements"
        )
    if late := sum(row.structure is not None and not row.converged for row in rows):
        notes.append(f"{late} of {len(rows)} samples did not converge: their energies are upper bounds")
    if lost := sum(one.structure is None for one in known):
        notes.append(f"{lost} of {len(known)} training crystals could not be relaxed and are missing from the hull")
    return notes


def _unrivalled(row: Row) -> bool:
    """Whether the hull under a compound is made of elements alone."""
    if row.structure is None or row.formation_energy is None or row.e_above_hull is None:
        return False
    return len(_system(row.structure)) > 1 and abs(row.formation_energy - row.e_above_hull) < 1e-5


def _composition(structure: Structure) -> dict[str, float]:
    return {element.symbol: float(amount) for element, amount in structure.composition.element_composition.items()}


def _system(structure: Structure) -> frozenset[str]:
    return frozenset(element.symbol for element in structure.composition.elements)
