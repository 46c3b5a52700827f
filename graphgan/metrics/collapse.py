"""Mode collapse: what the reference holds and the samples never make, and whether large cells fail."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

SIZE_BINS = (4, 8, 12, 16, 20)
"""Largest number of atoms of each bin of `validity_by_size`; larger cells share one more."""


@dataclass(frozen=True)
class Missing:
    """Classes of the reference that no sample belongs to.

    classes    (class, share of the reference crystals that belong to it), the most frequent first
    share      of the reference crystals that belong to a missing class
    total      number of classes in the reference
    expected   how many classes as many crystals drawn from the reference at random would miss on average
    """

    classes: tuple[tuple[Hashable, float], ...]
    share: float
    total: int
    expected: float

    def __len__(self) -> int:
        return len(self.classes)


def missing_classes(samples: Iterable[Collection[Hashable]], reference: Sequence[Collection[Hashable]]) -> Missing:
    """What a generator leaves out, after Bau et al. (2019), Seeing what a GAN cannot generate, arXiv:1910.11626.

    Every crystal comes as the classes it belongs to: its elements, or its one space group or prototype. Rare classes
    are missing from any finite set, hence `expected`: the sum over classes of (1 - share)^(number of samples).
    """
    made: set[Hashable] = set()
    num_samples = 0
    for classes in samples:
        made.update(classes)
        num_samples += 1
    counts = Counter(c for classes in reference for c in set(classes))
    shares = {c: count / len(reference) for c, count in counts.items()}
    missing = sorted(((c, s) for c, s in shares.items() if c not in made), key=lambda pair: (-pair[1], str(pair[0])))
    absent = {c for c, _ in missing}
    hit = sum(not absent.isdisjoint(classes) for classes in reference)
    return Missing(
        classes=tuple(missing),
        share=hit / len(reference) if reference else float("nan"),
        total=len(shares),
        expected=math.fsum((1 - share) ** num_samples for share in shares.values()),
    )


def validity_by_size(num_atoms: Sequence[int], valid: Sequence[bool]) -> dict[str, dict[str, Any]]:
    """Share of valid crystals by number of atoms: bin -> {"count", "validity"}; empty bins are left out.

    Failures have no size and belong to no bin. Published models lose validity as cells grow, which an average over a
    set of mostly small cells hides.
    """
    bins: dict[str, list[bool]] = {}
    for count, ok in sorted(zip(num_atoms, valid, strict=True)):
        bins.setdefault(_bin(count), []).append(ok)
    return {name: {"count": len(flags), "validity": sum(flags) / len(flags)} for name, flags in bins.items()}


def _bin(count: int) -> str:
    low = 1
    for high in SIZE_BINS:
        if count <= high:
            return f"{low}-{high}"
        low = high + 1
    return f"{low}+"
