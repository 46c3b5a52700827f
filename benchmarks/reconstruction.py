"""How noise in direction matrices reaches positions: rounds of averaging against angular synchronisation.

    python benchmarks/reconstruction.py carbon_24/val.csv.gz --out reconstruction.json

Adds antisymmetric noise of size sigma to the exact directions of real crystals and prints the RMS error of positions
(fractional, after the best common translation) for 1, 2, 3 and 5 rounds, for synchronisation, and for the two obvious
wrong ways: the first atom's map alone, and a plain mean of wrapped proposals.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import record
import torch
from torch import Tensor

from graphgan.data import read
from graphgan.encodings import GraphEncoding
from graphgan.geometry import TAU, wrap
from graphgan.graph_tensor import GraphTensor
from graphgan.reconstruction import positions_from_directions, synchronise


def position_error(found: Tensor, crystals: GraphTensor, exact: Tensor) -> float:
    """RMS over atoms and axes of the wrapped difference, after removing its circular mean."""
    mask = crystals.mask[..., None].double()
    angle = TAU * (found - exact)
    shift = torch.atan2((angle.sin() * mask).sum(1), (angle.cos() * mask).sum(1)) / TAU
    error = wrap(found - exact - shift[:, None]) * mask
    return float((error.square().sum() / (3 * mask.sum())).sqrt())


def plain_mean(directions: Tensor, mask: Tensor) -> Tensor:
    """The wrong way: an ordinary mean of the column of what all atoms say."""
    return (directions.sum(2) / mask.sum(1)[:, None, None]).mT


def measure(crystals: GraphTensor, exact: Tensor, sigma: float, rng: torch.Generator) -> dict[str, float]:
    noise = sigma * torch.randn(crystals.directions.shape, generator=rng, dtype=torch.float64)
    pairs = (crystals.mask[:, :, None] & crystals.mask[:, None, :])[:, None]
    # Each of D_ij and D_ji is measured once, so their common noise keeps the size sigma / sqrt 2 after averaging.
    directions = wrap(crystals.directions + 0.5 * (noise - noise.mT) * 2**0.5 * pairs)
    ways = {
        "plain mean": lambda: plain_mean(directions, crystals.mask),
        "first map": lambda: positions_from_directions(directions, crystals.mask, 0),
        **{f"{r} rounds": lambda r=r: positions_from_directions(directions, crystals.mask, r) for r in (1, 2, 3, 5)},
        "synchronisation": lambda: synchronise(directions, crystals.mask),
    }
    return {name: position_error(way(), crystals, exact) for name, way in ways.items()}


def seconds_per_crystal(crystals: GraphTensor) -> dict[str, float]:
    directions = wrap(crystals.directions + 0.01)
    ways = {
        "3 rounds": lambda: positions_from_directions(directions, crystals.mask, 3),
        "synchronisation": lambda: synchronise(directions, crystals.mask),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(5):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            times[name].append((time.perf_counter() - start) / len(crystals))
    return {name: float(np.median(t)) for name, t in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="any form of DATA")
    parser.add_argument("--crystals", type=int, default=300)
    parser.add_argument("--max-atoms", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    structures = read(options.data).structures
    encoding = GraphEncoding(options.max_atoms)
    crystals = encoding.fit_encode(structures)[0][: options.crystals].to(dtype=torch.float64)
    exact = positions_from_directions(crystals.directions, crystals.mask)
    rng = torch.Generator().manual_seed(options.seed)
    rows = {sigma: measure(crystals, exact, sigma, rng) for sigma in (0.0, 0.05, 0.1, 0.15, 0.2, 0.25)}
    names = list(next(iter(rows.values())))
    print(f"{len(crystals)} crystals, {float(crystals.num_atoms.double().mean()):.1f} atoms on average")
    print("| sigma | " + " | ".join(names) + " |\n" + "|---" * (len(names) + 1) + "|")
    for sigma, errors in rows.items():
        print(f"| {sigma:.2f} | " + " | ".join(f"{errors[name]:.3f}" for name in names) + " |")
    times = seconds_per_crystal(crystals)
    print("; ".join(f"{name}: {1e6 * t:.1f} µs a crystal" for name, t in times.items()))
    table = [{"sigma": sigma, **errors} for sigma, errors in rows.items()]
    record.write(options.out, "reconstruction", table, seconds_per_crystal=times, seed=options.seed)


if __name__ == "__main__":
    main()
