"""Fingerprints of compositions: statistics of the properties of their elements.

Ward, Agrawal, Choudhary and Wolverton, npj Comput. Mater. 2, 16028 (2016), doi:10.1038/npjcompumats.2016.28: 22
properties times six statistics. The numbers are those of ElementProperty, preset "magpie", of matminer 0.10.1 with
impute_nan=False: a property that is not known of an element is nan (matminer's present default fills in the mean over
all elements; the versions that CDVAE was published with did not). `standardise` then makes nan the mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pymatgen.core import Composition

STATISTICS = ("minimum", "maximum", "range", "mean", "avg_dev", "mode")
"""Over the elements of a composition, in the order of the features. `mean` and `avg_dev`, the mean absolute deviation
from it, are weighted by amount; `mode` is the value of the most abundant element, the least value among several."""


def feature_labels() -> list[str]:
    """Names [132] of the features, as in matminer: six statistics of the first property, then of the second."""
    return [f"MagpieData {statistic} {name}" for name in _elements()[0] for statistic in STATISTICS]


def composition_fingerprint(composition: Composition) -> np.ndarray:
    """Magpie features [132] of a composition, in the units of the properties; columns as in `feature_labels`.

    Only elements and the ratios of their amounts count; charges do not. A feature is nan where a property of an
    element that it depends on is not known; elements beyond Cn and dummies have no known property. All are nan for an
    empty composition.
    """
    return composition_fingerprints([composition])[0]


def composition_fingerprints(compositions: Sequence[Composition]) -> np.ndarray:
    """`composition_fingerprint` of each composition [n, 132]; much faster than one by one."""
    _, rows, table = _elements()
    unknown = len(table) - 1
    parts = [_amounts(composition) or {"": 1.0} for composition in compositions]
    width = max(map(len, parts), default=1)
    element = np.full((len(parts), width), unknown)
    amount = np.zeros((len(parts), width))
    for row, part in enumerate(parts):
        element[row, : len(part)] = [rows.get(symbol, unknown) for symbol in part]
        amount[row, : len(part)] = list(part.values())
    present = np.arange(width) < np.array([len(part) for part in parts], int)[:, None]
    return _statistics(table[element], amount[..., None], present[..., None])


def standardise(fingerprints: np.ndarray) -> np.ndarray:
    """(x - mean) / std of Magpie features [..., 132] with the fixed scaler of CDVAE; nan becomes 0.

    Xie et al. (2022), arXiv:2110.06197.
    """
    mean, std = _scaler()
    return np.nan_to_num((np.asarray(fingerprints, float) - mean) / std, nan=0.0)


def _statistics(value: np.ndarray, amount: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Features [n, 132] from properties [n, k, 22] of elements of which some are `present` [n, k, 1]."""
    features = np.empty((len(value), value.shape[2], len(STATISTICS)))
    lowest, highest, extent, mean, deviation, mode = features.transpose(2, 0, 1)
    np.min(value, axis=1, out=lowest, initial=np.inf, where=present)
    np.max(value, axis=1, out=highest, initial=-np.inf, where=present)
    np.subtract(highest, lowest, out=extent)
    share = amount / amount.sum(axis=1, keepdims=True)
    known = np.where(present, value, 0)  # nan times a share of 0 would be nan
    np.einsum("nkp,nkq->np", known, share, out=mean)
    np.einsum("nkp,nkq->np", np.abs(known - mean[:, None]), share, out=deviation)
    # Amounts equal within 1e-5 count as equal, as in matminer.
    largest = amount.max(axis=1, keepdims=True)
    np.min(value, axis=1, out=mode, initial=np.inf, where=present & (largest - amount <= 1e-5 * largest + 1e-8))
    return features.reshape(len(value), value.shape[2] * len(STATISTICS))


def _amounts(composition: Composition) -> dict[str, float]:
    """Amount by symbol of the element, whatever its charge."""
    amounts: dict[str, float] = {}
    for species, amount in composition.items():
        amounts[species.symbol] = amounts.get(species.symbol, 0.0) + amount
    return amounts


@cache
def _elements() -> tuple[tuple[str, ...], dict[str, int], np.ndarray]:
    """Names of the properties, row by symbol, and their values [E + 1, 22]; the last row is all nan."""
    header, *lines = _read("magpie.csv")
    values = [[float(cell) if cell else np.nan for cell in line[1:]] for line in lines]
    table = np.array([*values, [np.nan] * (len(header) - 1)])
    return tuple(header[1:]), {line[0]: row for row, line in enumerate(lines)}, table


@cache
def _scaler() -> tuple[np.ndarray, np.ndarray]:
    """Means [132] and standard deviations [132]."""
    mean, std = np.array([line[1:] for line in _read("magpie_scaler.csv")[1:]], float).T
    return mean, std


def _read(name: str) -> list[list[str]]:
    """Cells of a table, line by line, the header first."""
    from importlib.resources import files

    text = (files("graphgan.metrics") / "tables" / name).read_text(encoding="utf-8")
    return [line.split(",") for line in text.splitlines() if not line.startswith("#")]
