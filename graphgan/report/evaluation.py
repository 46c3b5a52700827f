"""All metrics of a set of crystals in one call."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from graphgan import metrics
from graphgan.metrics.distributions import NUM_DRAWS, draw, element_histogram
from graphgan.metrics.matching import MAX_COMPARISONS
from graphgan.metrics.properties import SYMPREC
from graphgan.report.result import COLUMNS, Report

if TYPE_CHECKING:
    from pymatgen.core import Structure
    from rich.progress import Progress

Values = dict[str, list]

NUM_SPLITS = 5
"""Random splits of the reference whose mean gives the noise floor."""

# Each distance with the column of values it compares; the functions of graphgan.metrics give the same
# numbers.
DISTANCES: dict[str, tuple[str, Callable[[list, list, int], float]]] = {
    "density_wasserstein": (
        "density",
        lambda ours, theirs, seed: metrics.wasserstein(ours, theirs, num_draws=NUM_DRAWS, seed=seed),
    ),
    "num_elements_wasserstein": (
        "num_elements",
        lambda ours, theirs, seed: metrics.wasserstein(ours, theirs, num_draws=NUM_DRAWS, seed=seed),
    ),
    "nearest_neighbour_wasserstein": (
        "nearest_neighbours",
        lambda ours, theirs, seed: metrics.wasserstein(chain(*ours), chain(*theirs)),
    ),
    "num_atoms_total_variation": (
        "num_atoms",
        lambda ours, theirs, seed: metrics.total_variation(Counter(ours), Counter(theirs)),
    ),
    "element_total_variation": (
        "elements",
        lambda ours, theirs, seed: metrics.total_variation(element_histogram(ours), element_histogram(theirs)),
    ),
    "spacegroup_total_variation": (
        "spacegroup",
        lambda ours, theirs, seed: metrics.total_variation(Counter(ours), Counter(theirs)),
    ),
}


def evaluate(
    samples: Sequence[Structure | None],
    reference: Sequence[Structure] | None = None,
    train: Sequence[Structure] | None = None,
    *,
    seed: int = 0,
    ids: Sequence[str] | None = None,
    progress: bool = False,
    tolerances: str = "cdvae",
    max_comparisons: int | None = MAX_COMPARISONS,
) -> Report:
    """Every metric of `samples` that the given data allow.

    Failed samples are None and stay in the denominator of every share. Distances need `reference` and are
    taken over the structurally valid samples; novelty needs `train`. `ids` name the samples in
    per_structure.csv.

    Raises ValueError for no samples, an empty reference or training set, or ids of another number.
    """
    for name, given in {"samples": samples, "reference": reference, "train": train}.items():
        if given is not None and len(given) == 0:
            raise ValueError(f"{name} holds no crystals")
    if ids is not None and len(ids) != len(samples):
        raise ValueError(f"{len(ids)} ids for {len(samples)} samples")
    start = time.perf_counter()
    with _progress_bar(progress) as bar:
        valid = [metrics.structurally_valid(s) for s in bar.track(samples, description="validity")]
        kept = [s for s, ok in zip(samples, valid, strict=True) if s is not None and ok]
        ours = _values(kept, kept, bar, "samples")
        drawn = draw(reference, NUM_DRAWS, seed) if reference is not None else []
        theirs = _values(reference, drawn, bar, "reference") if reference is not None else None
        task = bar.add_task("uniqueness and novelty", total=len(samples))
        comparison = metrics.compare(
            samples,
            train,
            tolerances=tolerances,
            seed=seed,
            max_comparisons=max_comparisons,
            valid=valid,
            on_progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
        bar.update(task, completed=len(samples))
    numbers = _shares(samples, valid, comparison)
    floor: dict[str, float] = {}
    if theirs is not None:
        numbers |= _distances(ours, theirs, seed)
        floor = _noise_floor(theirs, len(kept), seed)
    numbers["wall_seconds"] = time.perf_counter() - start
    return Report(
        metrics={name: value for name, value in numbers.items() if not math.isnan(value)},
        per_structure=_rows(samples, ids, valid, ours, comparison),
        warnings=_warnings(len(kept), reference, comparison),
        settings={
            "seed": seed,
            "tolerances": {"name": tolerances, **metrics.TOLERANCES[tolerances]},
            "symprec": SYMPREC,
            "min_distance": metrics.MIN_DISTANCE,
            "min_volume": metrics.MIN_VOLUME,
            "num_draws": NUM_DRAWS,
            "num_valid": len(kept),
            "num_reference": None if reference is None else len(reference),
            "num_train": None if train is None else len(train),
            "num_examined": sum(comparison.examined),
            "num_comparisons": comparison.comparisons,
        },
        noise_floor=floor,
        distributions={"generated": ours, **({"reference": theirs} if theirs is not None else {})},
        samples=samples,
        reference=reference if reference is not None else (),
    )


def _progress_bar(shown: bool) -> Progress:
    from rich.console import Console
    from rich.progress import Progress

    # On stderr, so that what a command prints stays clean.
    return Progress(console=Console(stderr=True), disable=not shown, transient=True)


def _values(structures: Sequence[Structure], for_symmetry: Sequence[Structure], bar: Progress, what: str) -> Values:
    """The properties that distances compare, one list each; symmetry is slow and may cover fewer crystals."""
    values: Values = {column: [] for column, _ in DISTANCES.values()}
    for structure in bar.track(structures, description=f"properties of {what}"):
        values["density"].append(metrics.density(structure))
        values["num_elements"].append(metrics.num_elements(structure))
        values["num_atoms"].append(len(structure))
        values["elements"].append(metrics.element_fractions(structure))
        values["nearest_neighbours"].append(metrics.nearest_neighbour_distances(structure).tolist())
    for structure in bar.track(for_symmetry, description=f"space groups of {what}"):
        values["spacegroup"].append(metrics.space_group(structure))
    return values


def _distances(ours: Values, theirs: Values, seed: int) -> dict[str, float]:
    return {name: function(ours[c], theirs[c], seed) for name, (c, function) in DISTANCES.items()}


def _noise_floor(values: Values, num_samples: int, seed: int) -> dict[str, float]:
    """Mean distance of some reference crystals, as many as there are samples, from the other reference
    crystals.

    At most half of the reference plays the samples. A perfect model scores about this.
    """
    rng = np.random.default_rng(seed)
    floor: dict[str, float] = {}
    for name, (column, function) in DISTANCES.items():
        pool = values[column]
        size = min(num_samples, len(pool) // 2)
        scores = []
        for _ in range(NUM_SPLITS if size else 0):
            order = rng.permutation(len(pool))
            ours, theirs = ([pool[i] for i in part] for part in (order[:size], order[size:]))
            scores.append(function(ours, theirs, seed))
        if scores:
            floor[name] = float(np.mean(scores))
    return floor


def _shares(
    samples: Sequence[Structure | None], valid: Sequence[bool], comparison: metrics.Comparison
) -> dict[str, float]:
    shares = {
        "num_samples": metrics.num_samples(samples),
        "decode_failures": metrics.decode_failures(samples),
        "structural_validity": sum(valid) / len(valid),
        "uniqueness": comparison.uniqueness,
    }
    if comparison.novelty is not None and comparison.unique_novel_valid is not None:
        shares["novelty"] = comparison.novelty
        shares["unique_novel_valid"] = comparison.unique_novel_valid
    return shares


def _rows(
    samples: Sequence[Structure | None],
    ids: Sequence[str] | None,
    valid: Sequence[bool],
    values: Values,
    comparison: metrics.Comparison,
) -> list[dict[str, Any]]:
    """One row a sample; `values` hold the valid samples only, in order."""
    rows, position = [], 0
    for index, structure in enumerate(samples):
        row: dict[str, Any] = dict.fromkeys(COLUMNS, "")
        row |= {
            "index": index,
            "id": index if ids is None else ids[index],
            "structurally_valid": valid[index],
        }
        if structure is not None:
            row |= _size(structure)
        if valid[index]:
            row["spacegroup"] = values["spacegroup"][position] or ""
            position += 1
        if comparison.examined[index]:
            row["unique"] = comparison.unique[index]
            if comparison.novel is not None:
                row["novel"] = comparison.novel[index]
        rows.append(row)
    return rows


def _size(structure: Structure) -> dict[str, Any]:
    """Composition and size of a crystal, valid or not; what is infinite or undefined is left out."""
    facts: dict[str, Any] = {"formula": structure.composition.reduced_formula, "num_atoms": len(structure)}
    if len(structure) and structure.lattice.volume >= metrics.MIN_VOLUME:
        facts["density"] = metrics.density(structure)
        facts["volume_per_atom"] = float(structure.lattice.volume / len(structure))
        facts["min_distance"] = metrics.minimum_distance(structure)
    return {name: fact for name, fact in facts.items() if isinstance(fact, str) or math.isfinite(fact)}


def _warnings(num_valid: int, reference: Sequence[Structure] | None, comparison: metrics.Comparison) -> list[str]:
    warnings = list(comparison.notes)
    if num_valid == 0:
        warnings.insert(0, "no sample is structurally valid: there is nothing to compare")
    elif reference is not None and num_valid < NUM_DRAWS:
        warnings.append(
            f"distances use all {num_valid} valid samples; the published protocol draws {NUM_DRAWS:,}, and "
            "fewer samples raise the noise floor"
        )
    if reference is not None and len(reference) < 100:
        warnings.append(f"the reference holds {len(reference)} crystals only: distances from it are mostly noise")
    return warnings
