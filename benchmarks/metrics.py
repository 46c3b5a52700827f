"""How long does each metric take, and do the numbers of published samples come out?

python benchmarks/metrics.py DiffCSP_mp_20.npz --reference mp_20/val.csv.gz --train mp_20/train.csv.gz \
    --out metrics.json --expect structural_validity=1.0000 compositional_validity=0.8325

Times are wall-clock seconds per 1,000 crystals: one process for the metrics called alone, all cores for the whole
evaluation, which starts with an empty cache. --matminer N times matminer's fingerprints of N samples in the same run
and shows the largest difference from ours (needs matminer). Exits with 1 if an expected value does not come out to the
digits given.
"""

import argparse
import json
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import record
from pymatgen.core import Structure

from graphgan import metrics
from graphgan.data import read
from graphgan.metrics import magpie
from graphgan.report import evaluate


def timed(function: Callable[..., Any], *arguments: Any, **options: Any) -> tuple[float, Any]:
    start = time.perf_counter()
    result = function(*arguments, **options)
    return time.perf_counter() - start, result


def alone(samples: list[Structure], reference: list[Structure], train: list[Structure]) -> dict[str, float]:
    """Seconds per 1,000 samples of each metric in one process, what the reference costs included."""
    valid = [True] * len(samples)
    one = {"workers": 1}
    seconds = {}
    jobs: dict[str, Callable[[], Any]] = {
        "structural validity": lambda: metrics.structural_validity(samples),
        "compositional validity": lambda: metrics.compositional_validity(samples),
        "density": lambda: [metrics.density(s) for s in samples],
        "nearest neighbours": lambda: [metrics.nearest_neighbours(s) for s in samples],
        "Niggli cell": lambda: [metrics.cell_shape(s) for s in samples],
        "symmetry (spglib)": lambda: [metrics.symmetry(s) for s in samples],
        "average minimum distances": lambda: [metrics.average_minimum_distances(s) for s in samples],
        "Magpie fingerprint": lambda: magpie.composition_fingerprints([s.composition for s in samples]),
        "CrystalNN fingerprint": lambda: metrics.fingerprints(samples, **one),
        "uniqueness (.3/.5/10)": lambda: metrics.compare(samples, valid=valid, **one),
        "uniqueness and novelty (.3/.5/10)": lambda: metrics.compare(samples, train, valid=valid, **one),
        "GAN-train and GAN-test": lambda: metrics.volume_transfer(samples, reference, train),
    }
    for name, job in jobs.items():
        seconds[name] = timed(job)[0] / len(samples) * 1000
    ours, theirs = metrics.fingerprints(samples, **one), metrics.fingerprints(reference, **one)
    seconds["coverage, given fingerprints"] = timed(metrics.coverage_of, ours, theirs)[0] / len(samples) * 1000
    return seconds


def against_matminer(samples: list[Structure]) -> dict[str, float]:
    """Seconds per 1,000 of matminer's structure fingerprint and of ours, and their largest difference."""
    from matminer.featurizers.site.fingerprint import CrystalNNFingerprint

    featurizer = CrystalNNFingerprint.from_preset("ops")

    def reference() -> list[np.ndarray]:
        return [np.mean([featurizer.featurize(s, i) for i in range(len(s))], axis=0) for s in samples]

    slow, theirs = timed(reference)
    fast, ours = timed(metrics.fingerprints, samples, workers=1)
    differences = np.abs(ours.structure - np.array(theirs)).max(axis=1)
    return {
        "crystals": len(samples),
        "matminer": slow / len(samples) * 1000,
        "graphgan": fast / len(samples) * 1000,
        "ratio": slow / fast,
        "largest_difference": float(differences.max()),
        "crystals_above_1e-6": int((differences > 1e-6).sum()),
    }


def whole(samples: list[Structure], reference: list[Structure], train: list[Structure], **options: Any) -> Any:
    """An evaluation on all cores with an empty cache."""
    with tempfile.TemporaryDirectory() as cache:
        os.environ["GRAPHGAN_CACHE"] = cache
        return timed(evaluate, samples, reference, train, **options)


def unexpected(expectations: list[str], found: dict[str, float]) -> list[str]:
    """What did not come out, in sentences; digits after the point say how closely it must."""
    wrong = []
    for expectation in expectations:
        name, text = expectation.split("=")
        digits = len(text.partition(".")[2])
        if f"{found[name]:.{digits}f}" != text:
            wrong.append(f"{name} is {found[name]:.{digits + 2}f}, expected {text}")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("samples", help="any form of DATA")
    parser.add_argument("--reference", required=True)
    parser.add_argument("--train", required=True)
    parser.add_argument("--benchmark", choices=list(metrics.CUTOFFS))
    parser.add_argument("-n", type=int, default=1000, help="samples for the metrics called alone and for coverage")
    parser.add_argument("--matminer", type=int, default=0, metavar="N")
    parser.add_argument("--expect", nargs="*", default=[], metavar="KEY=VALUE")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    warnings.filterwarnings("ignore", message="No Pauling electronegativity")
    samples = read(options.samples, check=False).structures
    reference, train = read(options.reference).structures, read(options.train).structures
    result: dict[str, Any] = {"samples": len(samples), "reference": len(reference)}

    few = samples[: options.n]
    seconds, report = whole(samples, reference, train, benchmark=options.benchmark, coverage=False)
    result["evaluation_without_coverage"], result["metrics"] = seconds, report.metrics
    print(report)
    print(f"\nevaluation of {len(samples):,} without coverage, all cores: {seconds:.1f} s", flush=True)
    seconds, report = whole(few, reference, train, benchmark=options.benchmark)
    result["evaluation_with_coverage"] = {"samples": len(few), "seconds": seconds, "metrics": report.metrics}
    print(f"evaluation of {len(few):,} with coverage, all cores: {seconds:.1f} s", flush=True)

    result["seconds_per_1000"] = alone(few, reference, train)
    print("\n| metric, one process | seconds per 1,000 |\n|---|---|")
    for name, value in result["seconds_per_1000"].items():
        print(f"| {name} | {value:.2f} |")
    if options.matminer:
        result["matminer"] = against_matminer(samples[: options.matminer])
        print("\nstructure fingerprints:", json.dumps(result["matminer"]))
    record.write(options.out, "metrics", [result])
    wrong = unexpected(options.expect, result["metrics"])
    print("\n".join(wrong) if wrong else f"all {len(options.expect)} expected values came out")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
