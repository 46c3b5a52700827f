"""The slow part of an evaluation: what is found out about every crystal, on all cores. Knows no number of a set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from graphgan import metrics
from graphgan.metrics.distributions import NUM_DRAWS, shuffled
from graphgan.metrics.nearness import CUTOFFS, Fingerprints, Nearness, joined, nearness
from graphgan.metrics.profiles import Profile, profile
from graphgan.processes import in_order
from graphgan.report.fingerprints import kept_fingerprints

if TYPE_CHECKING:
    from pymatgen.core import Structure
    from rich.progress import Progress

T = TypeVar("T")

DEFAULT_BENCHMARK = "mp_20"
"""Whose coverage cut-offs hold for a set that is no benchmark."""


@dataclass(frozen=True)
class Options:
    """What an evaluation was asked for."""

    seed: int
    table: str
    tolerances: str
    benchmark: str | None
    coverage: bool
    genmetrics: bool
    workers: int | None


@dataclass(frozen=True)
class Prints:
    """Fingerprints of samples, reference and, where they were asked for, training crystals.

    nearness  of samples and reference to each other
    failures  number of samples without a fingerprint, None among them
    nearest   a row a sample: distance to the nearest reference crystal by structure and by composition, nan without
              a fingerprint
    """

    ours: Fingerprints
    theirs: Fingerprints
    train: Fingerprints | None
    nearness: Nearness
    failures: int
    nearest: np.ndarray


@dataclass(frozen=True)
class Findings:
    """Profiles, comparisons and fingerprints.

    profiles     one a sample, None for a failure
    reference    profiles of the structurally valid reference crystals; None without a reference
    symmetric    those whose symmetry was searched: at most NUM_DRAWS, drawn at random
    comparisons  by tolerances
    prints       None unless asked for and possible
    """

    samples: Sequence[Structure | None]
    profiles: list[Profile | None]
    reference: list[Profile] | None
    symmetric: list[Profile]
    comparisons: dict[str, metrics.Comparison]
    prints: Prints | None

    def population(self, name: str) -> list[Profile]:
        """The samples that are `valid`, or `structurally_valid`."""
        return [p for p in self.profiles if p is not None and getattr(p, name)]


def find_out(
    samples: Sequence[Structure | None],
    reference: Sequence[Structure] | None,
    train: Sequence[Structure] | None,
    options: Options,
    bar: Progress,
) -> Findings:
    """Everything that takes long."""
    profiles = _profiles(samples, [True] * len(samples), options, bar, "samples")
    # In an order that depends on what the crystals are: draws and splits below do not depend on how they are listed.
    real = [(reference or [])[i] for i in shuffled(reference or [], options.seed)]
    theirs = _profiles(real, [i < NUM_DRAWS for i in range(len(real))], options, bar, "reference")
    task = bar.add_task("uniqueness and novelty", total=len(samples))
    comparisons = metrics.compare_all(
        samples,
        None if train is None else [crystal for crystal in train if metrics.structurally_valid(crystal)],
        tuple(metrics.TOLERANCES),
        seed=options.seed,
        valid=[p is not None and p.structurally_valid for p in profiles],
        workers=options.workers,
        on_progress=lambda done, total: bar.update(task, completed=done, total=total),
    )
    bar.update(task, completed=len(samples), total=len(samples))
    prints = None
    if options.coverage and reference is not None:
        prints = _prints(samples, reference, train if options.genmetrics else None, options, bar)
    return Findings(
        samples=samples,
        profiles=profiles,
        reference=_usable(theirs) if reference is not None else None,
        symmetric=_usable(theirs[:NUM_DRAWS]),
        comparisons=comparisons,
        prints=prints,
    )


def _profiles(
    structures: Sequence[Structure | None], symmetric: Sequence[bool], options: Options, bar: Progress, what: str
) -> list[Profile | None]:
    jobs = zip(structures, symmetric, strict=True)
    made = in_order(partial(_profile, table=options.table), jobs, workers=options.workers, chunk=50)
    return list(tracked(bar, made, len(structures), f"properties of {what}"))


def _usable(profiles: Iterable[Profile | None]) -> list[Profile]:
    """Structurally valid crystals: real ones should be, and the others have no neighbours to speak of."""
    return [p for p in profiles if p is not None and p.structurally_valid]


def _profile(job: tuple[Structure | None, bool], table: str) -> Profile | None:
    return profile(job[0], table=table, find_symmetry=job[1])


def _prints(
    samples: Sequence[Structure | None],
    reference: Sequence[Structure],
    train: Sequence[Structure] | None,
    options: Options,
    bar: Progress,
) -> Prints:
    sides: list[tuple[str, Sequence[Structure | None]]] = [("samples", samples), ("reference", reference)]
    if train is not None:
        sides.append(("training crystals", train))
    found: list[Fingerprints] = []
    has = []
    for what, structures in sides:
        computed = kept_fingerprints(structures, workers=options.workers)
        of_structure = list(tracked(bar, computed, len(structures), f"fingerprints of {what}"))
        found.append(joined(structures, of_structure))
        has.append([f is not None for f in of_structure])
    ours, theirs = found[:2]
    near = nearness(ours, theirs, CUTOFFS[options.benchmark or DEFAULT_BENCHMARK])
    nearest = np.full((len(samples), 2), np.nan)
    nearest[has[0]] = np.where(np.isfinite(near.of_samples), near.of_samples, np.nan)
    return Prints(ours, theirs, found[2] if train is not None else None, near, has[0].count(False), nearest)


def tracked(bar: Progress, items: Iterable[T], total: int, what: str) -> Iterator[T]:
    """The items, each of which moves a bar of its own."""
    task = bar.add_task(what, total=total)
    for item in items:
        yield item
        bar.advance(task)
