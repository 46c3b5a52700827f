"""What papers report on the benchmark sets, to stand beside our numbers."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

from graphgan.errors import UserError

BENCHMARKS = {"perov_5": "Perov-5", "carbon_24": "Carbon-24", "mp_20": "MP-20"}
"""Name -> how it is written."""
TEST_ROWS = {"perov_5": 3785, "carbon_24": 2030, "mp_20": 9046}
"""Crystals of the official test parts, the reference of published numbers."""
NUM_SAMPLES = 10_000
"""Samples that published numbers are of."""
COLUMNS = (
    "structural_validity",
    "compositional_validity",
    "coverage_recall",
    "coverage_precision",
    "density_wasserstein",
    "num_elements_wasserstein",
)
"""Metrics of the tables, as papers order them."""
MOLECULE_BENCHMARKS = {"qm9": "QM9"}
MOLECULE_COLUMNS = ("validity_molgan", "uniqueness_molgan", "novelty_molgan")
_SHARES = {"structural_validity", "compositional_validity", "coverage_recall", "coverage_precision", *MOLECULE_COLUMNS}


class UnknownBenchmark(UserError):
    """A name that is not in BENCHMARKS."""


@dataclass(frozen=True)
class Published:
    """One row of a paper: `metrics` as in metrics.json, `passes` network evaluations a crystal where known."""

    model: str
    source: str
    passes: int | None
    metrics: dict[str, float]


def published_rows(benchmark: str) -> list[Published]:
    """The rows of a benchmark, of crystals or of molecules. Raises UnknownBenchmark."""
    if benchmark not in MOLECULE_BENCHMARKS:
        check_benchmark(benchmark)
    table, columns = _table(), MOLECULE_COLUMNS if benchmark in MOLECULE_BENCHMARKS else COLUMNS
    rows = [row for row in table["row"] if row["benchmark"] == benchmark]
    return [
        Published(
            model=row["model"],
            source=table["sources"][row["source"]],
            passes=row.get("passes"),
            metrics={name: row[name] / (100 if name in _SHARES else 1) for name in columns if name in row},
        )
        for row in rows
    ]


def check_benchmark(name: str) -> None:
    """Raises UnknownBenchmark, in one line, for a name that is not in BENCHMARKS."""
    if name not in BENCHMARKS:
        raise UnknownBenchmark(f"unknown benchmark {name!r}; known are {', '.join(BENCHMARKS)}")


def benchmark_of(data: str | Path, benchmarks: Iterable[str] = BENCHMARKS) -> str | None:
    """The benchmark that a path or name of DATA speaks of: "data/perov_5/val.csv.gz" and "MP-20.csv" do."""
    text = re.sub(r"[^a-z0-9]+", "_", str(data).lower())
    found = [name for name in benchmarks if re.search(rf"(^|_){name.replace('_', '_?')}(_|$)", text)]
    return found[0] if len(found) == 1 else None


@cache
def _table() -> dict:
    return tomllib.loads(files("graphgan.report").joinpath("published.toml").read_text(encoding="utf-8"))
