"""What a report tells beyond single numbers: missing classes, validity by size, bond lengths by pair, GAN-train and
GAN-test, and distances within sets of one element."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from graphgan import metrics
from graphgan.metrics.distributions import MIN_PAIR_COUNT, draw, pair_distances
from graphgan.metrics.nearness import Fingerprints
from graphgan.processes import in_order
from graphgan.report.findings import Findings

if TYPE_CHECKING:
    from pymatgen.core import Structure

MAX_LISTED = 20
"""Missing classes, and pairs of elements, that are named."""
MAX_AMD = 2000
"""Crystals of each side, drawn at random, whose AMD are compared."""


def missing(findings: Findings) -> dict[str, Any]:
    """Elements, space groups and prototypes of the reference that no structurally valid sample has."""
    if not findings.reference:
        return {}
    ours = findings.population("structurally_valid")
    real = findings.reference
    absent_classes = {
        "elements": metrics.missing_classes([p.elements or {} for p in ours], [p.elements or {} for p in real]),
        "spacegroups": metrics.missing_classes(
            [{p.spacegroup} - {None} for p in ours], [{p.spacegroup} - {None} for p in findings.symmetric]
        ),
        "prototypes": metrics.missing_classes(
            [{p.prototype} - {None} for p in ours], [{p.prototype} - {None} for p in findings.symmetric]
        ),
    }
    found = {}
    for name, absent in absent_classes.items():
        found[name] = {
            "missing": len(absent),
            "of": absent.total,
            "expected": absent.expected,
            "share_of_reference": absent.share,
            "most_frequent": [[label, share] for label, share in absent.classes[:MAX_LISTED]],
        }
    return found


def by_size(findings: Findings) -> dict[str, dict[str, Any]]:
    """Structural validity by number of atoms."""
    made = [p for p in findings.profiles if p is not None]
    return metrics.validity_by_size([p.num_atoms for p in made], [p.structurally_valid for p in made])


def bond_lengths(findings: Findings) -> list[dict[str, Any]]:
    """Bond lengths in Å of the most frequent pairs of elements of the reference: mean and standard deviation of both
    sides, and their Wasserstein distance."""
    if not findings.reference:
        return []
    ours, theirs = (
        pair_distances((p.nearest_neighbours, p.neighbour_pairs) for p in side)
        for side in (findings.population("structurally_valid"), findings.reference)
    )
    rows = []
    for pair in sorted(theirs, key=lambda pair: (-len(theirs[pair]), pair))[:MAX_LISTED]:
        # Sorted, so that rounding does not depend on the order of the crystals.
        made, real = sorted(ours.get(pair, [])), sorted(theirs[pair])
        if len(real) < MIN_PAIR_COUNT:
            continue
        row: dict[str, Any] = {"pair": "-".join(pair), "real_count": len(real), "count": len(made)}
        row |= {"real_mean": float(np.mean(real)), "real_std": float(np.std(real))}
        if made:
            row |= {"mean": float(np.mean(made)), "std": float(np.std(made))}
            row["wasserstein"] = metrics.wasserstein(made, real)
        rows.append(row)
    return rows


def volume_transfer(
    findings: Findings, reference: Sequence[Structure] | None, train: Sequence[Structure] | None, seed: int
) -> dict[str, float]:
    """GAN-train and GAN-test for the volume per atom, by the names of metrics.json; nothing without all three sets."""
    if reference is None or train is None:
        return {}
    valid = [s for s, p in zip(findings.samples, findings.profiles, strict=True) if p and p.structurally_valid and s]
    scores = asdict(metrics.volume_transfer(valid, reference, train, seed=seed))
    return {
        "gan_train_volume_mae": scores["gan_train"],
        "gan_test_volume_mae": scores["gan_test"],
        "real_volume_mae": scores["real"],
    }


def genmetrics(
    findings: Findings,
    reference: Sequence[Structure] | None,
    train: Sequence[Structure] | None,
    workers: int | None,
) -> dict[str, float]:
    """The four of matbench-genmetrics, the reference as its held-out part; nothing without all three sets."""
    prints = findings.prints
    if prints is None or prints.train is None or reference is None or train is None:
        return {}
    (comp, struct), (comp_test, struct_test), (comp_train, struct_train) = (
        _padded(known, len(side))
        for known, side in ((prints.ours, findings.samples), (prints.theirs, reference), (prints.train, train))
    )
    groups, real_groups = (
        list(chain.from_iterable(in_order(metrics.genmetrics_space_groups, [[s] for s in side], workers=workers)))
        for side in (findings.samples, [*train, *reference])
    )
    numbers, real_numbers = map(metrics.pettifor_histogram, (findings.samples, [*train, *reference]))
    return {
        "genmetrics_validity": metrics.genmetrics_validity(groups, real_groups, numbers, real_numbers),
        "genmetrics_coverage": metrics.genmetrics_coverage(comp, struct, comp_test, struct_test),
        "genmetrics_novelty": metrics.genmetrics_novelty(comp, struct, comp_train, struct_train),
        "genmetrics_uniqueness": metrics.genmetrics_uniqueness(comp, struct),
    }


def _padded(known: Fingerprints, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Composition and structure fingerprints of `count` crystals: those without are rows of nan, which match nothing
    and count in the denominators."""
    missing = count - len(known)
    comp, struct = (np.pad(f, ((0, missing), (0, 0)), constant_values=np.nan) for f in (known.magpie, known.structure))
    return comp, struct


def amd_distances(findings: Findings, train: Sequence[Structure] | None, seed: int) -> dict[str, float]:
    """Mean AMD distance to the nearest other sample and to the nearest training crystal, for sets of one element.

    There StructureMatcher has millions of pairs to judge and its yes or no depends on loose tolerances; a distance in Å
    is continuous. The distance of two vectors is the largest difference of their entries. At most MAX_AMD crystals a
    side.
    """
    pairs = zip(findings.samples, findings.profiles, strict=True)
    valid = [(s, p) for s, p in pairs if s is not None and p is not None and p.structurally_valid]
    elements = {element for _, p in valid for element in p.elements or ()}
    if len(elements) != 1 or len(valid) < 2:
        return {}
    ours = _amd([s for s, _ in valid], seed)
    own = _chebyshev(ours, ours)
    np.fill_diagonal(own, np.inf)
    found = {"amd_between_samples": float(np.sort(own.min(axis=1)).mean())}
    # AMD does not look at elements.
    rivals = [s for s in train or [] if set(metrics.element_fractions(s)) == elements and metrics.structurally_valid(s)]
    if rivals:
        found["amd_to_train"] = float(np.sort(_chebyshev(ours, _amd(rivals, seed)).min(axis=1)).mean())
    return found


def _amd(structures: Sequence[Structure], seed: int) -> np.ndarray:
    return np.array([metrics.average_minimum_distances(s) for s in draw(structures, MAX_AMD, seed)])


def _chebyshev(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    from scipy.spatial.distance import cdist

    return cdist(ours, theirs, "chebyshev")
