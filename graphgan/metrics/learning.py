"""GAN-train and GAN-test: can one learn from samples what holds for real crystals, and the other way round?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from graphgan.metrics.magpie import composition_fingerprints, standardise
from graphgan.metrics.properties import volume_per_atom

if TYPE_CHECKING:
    from pymatgen.core import Composition, Structure

MAX_CRYSTALS = 2000
"""Crystals that each side of a comparison is reduced to, drawn at random."""
MIN_CRYSTALS = 20
_LARGEST_VOLUME = 1e6
"""Å³ an atom: more is no crystal, and one such number would decide a mean."""


@dataclass(frozen=True)
class Transfer:
    """Mean absolute errors, in the unit of the property, of a regressor from composition to the property.

    gan_train  trained on samples, tested on real crystals: high where samples lack variety or do not obey chemistry
    gan_test   trained on real crystals, tested on samples: high where samples do not obey chemistry
    real       trained and tested on real crystals: what a perfect generator scores in both
    spread     mean absolute deviation of the real property from its median: what knowing nothing scores
    """

    gan_train: float
    gan_test: float
    real: float
    spread: float


def volume_transfer(
    samples: Sequence[Structure], reference: Sequence[Structure], train: Sequence[Structure], *, seed: int = 0
) -> Transfer:
    """`transfer` with the volume per atom in Å³: do samples have the size that their composition calls for?"""
    sides = []
    for side in (samples, reference, train):
        usable = [(s.composition, volume_per_atom(s)) for s in side if len(s)]
        usable = [(c, v) for c, v in usable if 0 < v < _LARGEST_VOLUME]
        sides.append(([c for c, _ in usable], [v for _, v in usable]))
    return transfer(*sides, seed=seed)


def transfer(
    samples: tuple[Sequence[Composition], Sequence[float]],
    reference: tuple[Sequence[Composition], Sequence[float]],
    train: tuple[Sequence[Composition], Sequence[float]],
    *,
    seed: int = 0,
) -> Transfer:
    """GAN-train and GAN-test (Shmelkov, Schmid and Alahari 2018, arXiv:1807.09499) for a property of crystals.

    Each side is compositions and the property of each. A forest of regression trees on Magpie features is trained on
    the samples and, for comparison, on as many real crystals of `train`; both are tested on `reference`, and the second
    on the samples too. Each side is reduced to the size of the smallest, at most MAX_CRYSTALS, so that no score gains
    from more data. All values are nan with fewer than MIN_CRYSTALS on a side, or if the reference has one composition
    only.
    """
    size = min(MAX_CRYSTALS, *(len(values) for _, values in (samples, reference, train)))
    if size < MIN_CRYSTALS or len({c.reduced_formula for c in reference[0]}) < 2:
        return Transfer(*[float("nan")] * 4)
    rng = np.random.default_rng(seed)
    (x, y), (x_ref, y_ref), (x_train, y_train) = (_drawn(side, size, rng) for side in (samples, reference, train))
    from_samples, from_real = (_forest(seed).fit(*pair) for pair in ((x, y), (x_train, y_train)))
    return Transfer(
        gan_train=_error(from_samples, x_ref, y_ref),
        gan_test=_error(from_real, x, y),
        real=_error(from_real, x_ref, y_ref),
        spread=float(np.abs(y_ref - np.median(y_ref)).mean()),
    )


def _drawn(
    side: tuple[Sequence[Composition], Sequence[float]], size: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    compositions, values = side
    # Sorted first: the draw then depends on the set and not on its order.
    order = sorted(range(len(values)), key=lambda i: (compositions[i].formula, values[i]))
    chosen = [order[i] for i in rng.permutation(len(order))[:size]]
    features = standardise(composition_fingerprints([compositions[i] for i in chosen]))
    return features, np.array([values[i] for i in chosen])


def _forest(seed: int):
    from sklearn.ensemble import ExtraTreesRegressor

    return ExtraTreesRegressor(n_estimators=100, min_samples_leaf=2, max_features=0.3, random_state=seed)


def _error(model, x: np.ndarray, y: np.ndarray) -> float:
    return float(np.abs(model.predict(x) - y).mean())
