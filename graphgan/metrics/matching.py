"""Uniqueness and novelty: which samples are the same crystal as another sample or as a training crystal.

Two crystals are the same if pymatgen's StructureMatcher says so (Ong et al. 2013,
doi:10.1016/j.commatsci.2012.10.028). What is done to save time leaves its answer for a pair as it is: cells are reduced
once instead of once per pair, pairs that cannot match are not tried, the others are compared by `fitting.fits`, which
asks the same question of whole arrays, and all cores share the work.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from graphgan.metrics.candidates import MAX_CANDIDATES, Cell, Crowd, formula_of, reduced_cell
from graphgan.metrics.distributions import shuffled
from graphgan.metrics.fitting import fits
from graphgan.metrics.validity import structurally_valid
from graphgan.processes import in_order

if TYPE_CHECKING:
    from pymatgen.core import Structure

TOLERANCES: dict[str, dict[str, float]] = {
    "cdvae": {"ltol": 0.3, "stol": 0.5, "angle_tol": 10},
    "mattergen": {"ltol": 0.2, "stol": 0.3, "angle_tol": 5},
}
"""StructureMatcher tolerances by the family of papers that uses them (CDVAE, DiffCSP, ADiT; MatterGen, FlowMM)."""

_MANY_PAIRS = 2000
"""Pairs from which other cores help at once: they take milliseconds each."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Comparison:
    """Which samples are unique, and which are novel.

    unique       True for one valid sample of each class of equal ones: the first in the order of examination, which
                 depends on content and seed only
    novel        True for a valid sample that matches no training crystal; None without training crystals
    comparisons  pairs that had to be compared atom by atom
    notes        sentences a reader of the numbers must see
    """

    unique: tuple[bool, ...]
    novel: tuple[bool, ...] | None
    comparisons: int
    notes: tuple[str, ...]

    @property
    def uniqueness(self) -> float:
        """Distinct valid crystals divided by the number of samples, failures included; in [0, 1]."""
        return _share(self.unique)

    @property
    def novelty(self) -> float | None:
        """Share of the samples, failures included, that are valid and match no training crystal; in [0, 1]."""
        return None if self.novel is None else _share(self.novel)

    @property
    def unique_novel_valid(self) -> float | None:
        """Share of the samples that are valid, unique and novel at once; in [0, 1]."""
        if self.novel is None:
            return None
        return _share([u and n for u, n in zip(self.unique, self.novel, strict=True)])


def compare(
    samples: Sequence[Structure | None],
    train: Sequence[Structure] | None = None,
    *,
    tolerances: str = "cdvae",
    **options: Any,
) -> Comparison:
    """`compare_all` with one set of tolerances."""
    return compare_all(samples, train, (tolerances,), **options)[tolerances]


def compare_all(
    samples: Sequence[Structure | None],
    train: Sequence[Structure] | None = None,
    tolerances: Sequence[str] = tuple(TOLERANCES),
    *,
    seed: int = 0,
    valid: Sequence[bool] | None = None,
    workers: int | None = None,
    on_progress: Progress | None = None,
) -> dict[str, Comparison]:
    """Compare every sample with the other samples and, where given, with the training crystals; by tolerances.

    Only valid samples can be unique or novel (as in ADiT, Joshi et al. 2025, arXiv:2503.03965), while the denominator
    stays the number asked for. `valid` says which are; the structurally valid ones by default. "The same" is not
    transitive, so samples are examined in an order that depends on their content and `seed` only: one that matches an
    earlier one is a repetition of it. `workers` is the number of processes, all cores by default.

    Raises ValueError for a name that is not in TOLERANCES.
    """
    for name in tolerances:
        if name not in TOLERANCES:
            raise ValueError(f"unknown tolerances {name!r}; known are {sorted(TOLERANCES)}")
    if valid is None:
        valid = [structurally_valid(sample) for sample in samples]
    ordered = [i for i in shuffled(samples, seed) if valid[i]]
    groups = _groups(samples, ordered, train or [], workers)
    found = {name: _Found() for name in tolerances}
    done = len(ordered) - sum(len(group.samples) for group in groups)
    patience = 0.0 if sum(map(_pairs, groups)) > _MANY_PAIRS else None
    work = partial(_examined, names=tuple(tolerances))
    found_in = in_order(work, groups, workers=workers, patience=patience, chunk=1)
    for group, answers in zip(groups, found_in, strict=True):
        for name, answer in answers.items():
            found[name].add(answer)
        done += len(group.samples)
        if on_progress is not None:
            on_progress(done, len(ordered))
    return {name: found[name].comparison(len(samples), ordered, train is not None) for name in tolerances}


def uniqueness(samples: Sequence[Structure | None], **options: Any) -> float:
    """Number of distinct valid crystals divided by the number asked for, in [0, 1]; options as in `compare`."""
    return _announced(compare(samples, None, **options)).uniqueness


def novelty(samples: Sequence[Structure | None], train: Sequence[Structure], **options: Any) -> float:
    """Share of the samples asked for that are valid and match no training crystal, in [0, 1]; options as in `compare`.

    Not matched says nothing about stability, nor about crystals known outside the training set.
    """
    share = _announced(compare(samples, train, **options)).novelty
    assert share is not None
    return share


def unique_novel_valid(samples: Sequence[Structure | None], train: Sequence[Structure], **options: Any) -> float:
    """Share of the samples asked for that are valid, unique and novel at once, in [0, 1].

    Options as in `compare`. A class counts when the sample that stands for it is novel.
    """
    share = _announced(compare(samples, train, **options)).unique_novel_valid
    assert share is not None
    return share


class _Group(NamedTuple):
    """Crystals that could be the same: of one formula and number of atoms in the primitive cell.

    samples  (number, cell) in the order of examination
    train    cells of the training crystals
    """

    samples: list[tuple[int, Cell]]
    train: list[Cell]


def _groups(
    samples: Sequence[Structure | None], ordered: Sequence[int], train: Sequence[Structure], workers: int | None
) -> list[_Group]:
    """The groups with company for a sample, large ones first, so that no core ends with the longest."""
    by_formula: dict[str, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
    crystals = {i: s for i in ordered if (s := samples[i]) is not None}
    for i, sample in crystals.items():
        by_formula[formula_of(sample)][0].append(i)
    for i, structure in enumerate(train):
        if (formula := formula_of(structure)) in by_formula:
            by_formula[formula][1].append(i)
    # A cell is reduced only if there is another crystal of its formula.
    shared = {formula: both for formula, both in by_formula.items() if len(both[0]) + len(both[1]) > 1}
    wanted = [crystals[i] for ours, _ in shared.values() for i in ours]
    wanted += [train[i] for _, theirs in shared.values() for i in theirs]
    cells = in_order(reduced_cell, wanted, workers=workers, chunk=20)
    groups: dict[tuple[str, int], _Group] = defaultdict(lambda: _Group([], []))
    for formula, (ours, _) in shared.items():
        for i, cell in zip(ours, cells, strict=False):
            groups[formula, len(cell.structure)].samples.append((i, cell))
    for formula, (_, theirs) in shared.items():
        for _, cell in zip(theirs, cells, strict=False):
            groups[formula, len(cell.structure)].train.append(cell)
    social = [g for g in groups.values() if g.samples and len(g.samples) + len(g.train) > 1]
    social.sort(key=_pairs)
    # One small group first, which this process examines alone before the others help.
    return social[:1] + social[:0:-1]


def _pairs(group: _Group) -> int:
    return len(group.samples) * (len(group.samples) + len(group.train))


class _Found:
    """What comparing with one set of tolerances has found.

    same_as   sample -> the earlier sample that it repeats
    known     samples that match a training crystal
    """

    def __init__(self) -> None:
        self.same_as: dict[int, int] = {}
        self.known: set[int] = set()
        self.comparisons = 0
        self.too_long = 0
        self.crowded = 0

    def add(self, other: _Found) -> None:
        self.same_as |= other.same_as
        self.known |= other.known
        self.comparisons += other.comparisons
        self.too_long += other.too_long
        self.crowded += other.crowded

    def comparison(self, count: int, ordered: Sequence[int], trained: bool) -> Comparison:
        distinct, fresh = set(ordered) - self.same_as.keys(), set(ordered) - self.known
        return Comparison(
            unique=tuple(index in distinct for index in range(count)),
            novel=tuple(index in fresh for index in range(count)) if trained else None,
            comparisons=self.comparisons,
            notes=tuple(self._notes()),
        )

    def _notes(self) -> Iterator[str]:
        if self.crowded:
            yield (
                f"{self.crowded} times a sample had so many crystals of its formula beside it that it was compared with"
                f" the {MAX_CANDIDATES} nearest by average minimum distance only: a few per cent of the repetitions may"
                " have escaped"
            )
        if self.too_long:
            yield (
                f"{self.too_long} sample(s) have cells too elongated to compare with others of their formula; "
                "they count as matching nothing"
            )


def _examined(group: _Group, names: tuple[str, ...]) -> dict[str, _Found]:
    """Every sample of the group against the training crystals and the distinct samples before it."""
    # Loosest first: what does not fit loosely does not fit tightly.
    refused: set[tuple[int, int]] = set()
    by_looseness = sorted(names, key=lambda name: TOLERANCES[name]["stol"], reverse=True)
    return {name: _examined_within(group, name, refused) for name in by_looseness}


def _examined_within(group: _Group, name: str, refused: set[tuple[int, int]]) -> _Found:
    ltol = TOLERANCES[name]["ltol"]
    found, known, distinct, numbers = _Found(), Crowd(ltol, group.train), Crowd(ltol), list[int]()
    for number, cell in group.samples:
        if cell.too_long(ltol):
            found.too_long += 1
            continue
        if _first_match(cell, known, name, found, refused) is not None:
            found.known.add(number)
        place = _first_match(cell, distinct, name, found, refused)
        if place is None:
            distinct.add(cell)
            numbers.append(number)
        else:
            found.same_as[number] = numbers[place]
    found.crowded = known.crowded + distinct.crowded
    return found


def _first_match(cell: Cell, crowd: Crowd, name: str, found: _Found, refused: set[tuple[int, int]]) -> int | None:
    for place in crowd.candidates(cell):
        pair = id(crowd.cells[place]), id(cell)
        if pair in refused:
            continue
        found.comparisons += 1
        if fits(crowd.cells[place].arrays, cell.arrays, **TOLERANCES[name]):
            return place
        refused.add(pair)
    return None


def _share(flags: Sequence[bool]) -> float:
    return sum(flags) / len(flags) if flags else float("nan")


def _announced(comparison: Comparison) -> Comparison:
    for note in comparison.notes:
        warnings.warn(note, stacklevel=3)
    return comparison
