"""Uniqueness and novelty: which samples are the same crystal as another sample or as a training crystal.

Two crystals are the same if pymatgen's StructureMatcher says so (Ong et al. 2013,
doi:10.1016/j.commatsci.2012.10.028). Everything done here to save time leaves its answer as it is: cells are
reduced once instead of once per pair, and pairs that cannot match by formula, number of atoms or cell lengths
are not tried.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from graphgan.metrics.validity import structurally_valid

if TYPE_CHECKING:
    from pymatgen.analysis.structure_matcher import StructureMatcher
    from pymatgen.core import Structure

TOLERANCES: dict[str, dict[str, float]] = {
    "cdvae": {"ltol": 0.3, "stol": 0.5, "angle_tol": 10},
    "mattergen": {"ltol": 0.2, "stol": 0.3, "angle_tol": 5},
}
"""StructureMatcher tolerances by the family of papers that uses them (CDVAE, DiffCSP, ADiT; MatterGen,
FlowMM)."""

MAX_COMPARISONS = 20_000
"""Calls of StructureMatcher (3 to 40 ms each) before the rest of the samples is left unexamined, with a
note."""

MAX_LATTICE_POINTS = 20_000
"""StructureMatcher lists all lattice points in a sphere of 1.3 times the longest edge: about this many for a
cell of 3 x 3 x 140 Å, where one pair takes a second, growing with the square of the length."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Comparison:
    """Which samples are unique, and which are novel, among the samples that were examined.

    examined     one flag a sample; all True unless `max_comparisons` ran out
    unique       True for the sample that comes first in the list among all that match it
    novel        True for a sample that matches no training crystal; None without training crystals
    comparisons  calls of StructureMatcher
    notes        sentences a reader of the numbers must see
    """

    examined: tuple[bool, ...]
    unique: tuple[bool, ...]
    novel: tuple[bool, ...] | None
    comparisons: int
    notes: tuple[str, ...]

    @property
    def uniqueness(self) -> float:
        """Distinct crystals divided by the number of samples examined, failures included; in [0, 1]."""
        return self._share(self.unique)

    @property
    def novelty(self) -> float | None:
        """Share of the samples examined, failures included, that match no training crystal; in [0, 1]."""
        return None if self.novel is None else self._share(self.novel)

    @property
    def unique_novel_valid(self) -> float | None:
        """Share of the samples examined that are valid, unique and novel at once; in [0, 1]."""
        if self.novel is None:
            return None
        return self._share([u and n for u, n in zip(self.unique, self.novel, strict=True)])

    def _share(self, flags: Sequence[bool]) -> float:
        return sum(flags) / sum(self.examined) if any(self.examined) else float("nan")


def compare(
    samples: Sequence[Structure | None],
    train: Sequence[Structure] | None = None,
    *,
    tolerances: str = "cdvae",
    seed: int = 0,
    max_comparisons: int | None = MAX_COMPARISONS,
    valid: Sequence[bool] | None = None,
    on_progress: Progress | None = None,
) -> Comparison:
    """Compare every sample with the other samples and, where given, with the training crystals.

    Only structurally valid samples can be unique or novel (as in ADiT, Joshi et al. 2025, arXiv:2503.03965),
    while the denominator stays the number asked for. Samples are examined in an order that depends on their
    content and the seed only. When `max_comparisons` is spent, those examined so far are a random subset,
    failures included, and the shares are taken over that subset: sets of one element would need millions of
    comparisons otherwise. A uniqueness of a subset is higher than one of the whole. `valid` saves testing
    validity again where it is known.

    Raises ValueError for a name that is not in TOLERANCES.
    """
    if tolerances not in TOLERANCES:
        raise ValueError(f"unknown tolerances {tolerances!r}; known are {sorted(TOLERANCES)}")
    if valid is None:
        valid = [structurally_valid(sample) for sample in samples]
    known = _Library(tolerances, train if train is not None else [])
    classes = _Library(tolerances, [])
    examined = [False] * len(samples)
    novel = [False] * len(samples)
    first_of_class: dict[int, int] = {}
    for done, index in enumerate(_order(samples, seed)):
        if max_comparisons is not None and known.comparisons + classes.comparisons >= max_comparisons:
            break
        examined[index] = True
        sample = samples[index]
        if sample is not None and valid[index]:
            cell = _Cell(sample)
            novel[index] = train is not None and known.find(cell) is None
            label = classes.find(cell)
            if label is None:
                label = classes.add(cell)
            first_of_class[label] = min(index, first_of_class.get(label, index))
        if on_progress is not None:
            on_progress(done + 1, len(samples))
    firsts = set(first_of_class.values())
    return Comparison(
        examined=tuple(examined),
        unique=tuple(index in firsts for index in range(len(samples))),
        novel=tuple(novel) if train is not None else None,
        comparisons=known.comparisons + classes.comparisons,
        notes=tuple(_notes(examined, classes.too_long | known.too_long, max_comparisons)),
    )


def uniqueness(samples: Sequence[Structure | None], **options: Any) -> float:
    """Number of distinct valid crystals divided by the number asked for, in [0, 1]; options as in
    `compare`."""
    return _announced(compare(samples, None, **options)).uniqueness


def novelty(samples: Sequence[Structure | None], train: Sequence[Structure], **options: Any) -> float:
    """Share of the samples asked for that are valid and match no training crystal, in [0, 1]; options as in
    `compare`.

    Not matched says nothing about stability, nor about crystals known outside the training set.
    """
    share = _announced(compare(samples, train, **options)).novelty
    assert share is not None
    return share


def unique_novel_valid(samples: Sequence[Structure | None], train: Sequence[Structure], **options: Any) -> float:
    """Share of the samples asked for that are structurally valid, unique and novel at once, in [0, 1].

    Options as in `compare`. A class counts when the sample that comes first in the list is novel.
    """
    share = _announced(compare(samples, train, **options)).unique_novel_valid
    assert share is not None
    return share


class _Cell:
    """A crystal as StructureMatcher sees it after its own reduction: elements only, Niggli, primitive.

    The reduction takes milliseconds and most formulas occur once, so it waits until it is asked for.
    """

    def __init__(self, structure: Structure) -> None:
        self.formula: str = structure.composition.element_composition.reduced_formula
        self._given = structure

    @cached_property
    def structure(self) -> Structure:
        """The reduced cell; a cell that cannot be reduced stays as given."""
        from pymatgen.core import Structure

        species = [site.species.element_composition for site in self._given]
        bare = Structure(self._given.lattice, species, self._given.frac_coords)
        try:  # what StructureMatcher does to both sides of every pair, through public calls
            return bare.get_reduced_structure(reduction_algo="niggli").get_primitive_structure()
        except Exception:  # the reduction of an extreme cell can fail to converge, in several ways
            return bare

    @cached_property
    def lengths(self) -> np.ndarray:
        """Edges [3], ascending, in units of (volume per atom)^(1/3): StructureMatcher scales volumes away."""
        free_length = (self.structure.volume / len(self.structure)) ** (1 / 3)
        return np.sort(self.structure.lattice.abc) / free_length

    def num_lattice_points(self, ltol: float) -> float:
        """Lattice points in the sphere in which StructureMatcher looks for vectors like this cell's edges."""
        return 4 / 3 * np.pi * ((1 + ltol) * self.lengths[2]) ** 3 / len(self.structure)


class _Library:
    """Crystals that can be asked whether they hold one that matches a cell."""

    def __init__(self, tolerances: str, structures: Sequence[Structure]) -> None:
        self.tolerances = TOLERANCES[tolerances]
        self.comparisons = 0
        self.too_long: set[_Cell] = set()
        self._size = 0
        self._cells: dict[str, list[tuple[int, _Cell]]] = defaultdict(list)
        self._matcher: StructureMatcher | None = None
        for structure in structures:
            self.add(_Cell(structure))

    def add(self, cell: _Cell) -> int:
        """Add a cell and return its number."""
        self._cells[cell.formula].append((self._size, cell))
        self._size += 1
        return self._size - 1

    def find(self, cell: _Cell) -> int | None:
        """Number of the first crystal here that matches, or None."""
        return next(self._matches(cell), None)

    def _matches(self, cell: _Cell) -> Iterator[int]:
        if self._matcher is None:
            from pymatgen.analysis.structure_matcher import StructureMatcher

            ltol, stol, angle_tol = (self.tolerances[name] for name in ("ltol", "stol", "angle_tol"))
            self._matcher = StructureMatcher(ltol, stol, angle_tol)
        for number, known in self._cells.get(cell.formula, []):
            if not self._may_match(known, cell):
                continue
            if cell.num_lattice_points(self.tolerances["ltol"]) > MAX_LATTICE_POINTS:
                self.too_long.add(cell)
                continue
            self.comparisons += 1
            if self._matcher.fit(known.structure, cell.structure, skip_structure_reduction=True):
                yield number

    def _may_match(self, known: _Cell, cell: _Cell) -> bool:
        """Necessary for a match: equal numbers of atoms, and cell lengths within the tolerance.

        A match maps a basis of the known lattice onto the cell's edges, each at most 1 + ltol times as long
        as its edge. The sorted lengths of any basis are at least those of the Niggli cell, hence the
        inequality.
        """
        if len(known.structure) != len(cell.structure):
            return False
        return bool(np.all(known.lengths <= (1 + self.tolerances["ltol"]) * cell.lengths + 1e-6))


def _order(samples: Sequence[Structure | None], seed: int) -> list[int]:
    """A random order of the samples that does not depend on the order in which they are listed."""

    def content(index: int) -> tuple:
        sample = samples[index]
        if sample is None:
            return ()
        return (sample.formula, sample.lattice.matrix.tobytes(), sample.frac_coords.tobytes())

    by_content = sorted(range(len(samples)), key=content)
    return [by_content[i] for i in np.random.default_rng(seed).permutation(len(samples))]


def _notes(examined: Sequence[bool], too_long: set[_Cell], max_comparisons: int | None) -> Iterator[str]:
    if not all(examined):
        yield (
            f"uniqueness and novelty are shares of a random {sum(examined)} of the {len(examined)} samples: "
            f"the limit of {max_comparisons} comparisons was reached. Uniqueness falls as a set grows"
        )
    if too_long:
        yield (
            f"{len(too_long)} sample(s) have cells too elongated to compare with others of their formula; "
            "they count as matching nothing"
        )


def _announced(comparison: Comparison) -> Comparison:
    for note in comparison.notes:
        warnings.warn(note, stacklevel=3)
    return comparison
