"""MolGAN as published against the modern variant: the same molecules, the same minutes, three seeds.

    python benchmarks/molgan.py qm9 --minutes 30 --out compared --workers 2

Every run is a `graphgan train` of its own, on one thread; then raw samples of its best checkpoint are judged by
`evaluate_molecules` against the parts train (novelty) and val (distances). A run that was stopped is resumed,
one that is done is not done again: start the same command again to go on. OUT holds a folder a run, molgan.json with
every number and table.md with medians and ranges over seeds.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import record

REWARDED = ("--game.share", "0.4", "--rewards.share", "0.6", "--rewards.of", "validity", "--rewards.weight", "1")
VARIANTS = {
    "MolGAN": ("--recipe", "molgan"),
    "MolGAN, rewarded": ("--recipe", "molgan", *REWARDED),
    "modern, no rewards": ("--game.share", "0.6", "--rewards.share", "0"),
    "modern": (),
}
"""Flags of `graphgan train`; rewarded with validity, which is the default of the modern variant."""
COLUMNS = {
    "validity": "valid",
    "uniqueness": "unique",
    "novelty": "novel",
    "unique_novel_valid": "valid, unique, novel",
    "internal_diversity": "diversity",
    "steps": "steps of the sampler",
}


def main() -> None:
    """Train, judge, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="qm9, or any DATA of molecules")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=30.0, help="of training, each run")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--variants", nargs="+", default=["MolGAN", "modern"], choices=list(VARIANTS))
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=1, help="runs at a time")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    cells = [(variant, seed) for seed in options.seeds for variant in options.variants]
    with ThreadPoolExecutor(options.workers) as pool:
        rows = list(pool.map(lambda cell: play(*cell, options), cells))
    record.write(options.out / "molgan.json", "molgan", rows)
    text = table(rows, options.variants)
    (options.out / "table.md").write_text(text + "\n")
    print(text)
    if failed := [row for row in rows if "failed" in row]:
        raise SystemExit("\n".join(f"{row['variant']}, seed {row['seed']}: {row['failed']}" for row in failed))


def play(variant: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Train and judge one run, or read what was found before."""
    folder = options.out / f"{variant} {seed}".replace(",", "").replace(" ", "-").lower()
    asked = {
        "data": options.data,
        "variant": variant,
        "flags": list(VARIANTS[variant]),
        "seed": seed,
        "minutes": options.minutes,
        "samples": options.samples,
    }
    done = folder / "cell.json"
    if done.is_file() and (found := json.loads(done.read_text()))["asked"] == asked:
        return found["row"]
    words = ["train", options.data, "--out", str(folder), *VARIANTS[variant], "--quiet"]
    words += ["--minutes", str(options.minutes), "--seed", str(seed)]
    if (folder / "checkpoints" / "last.pt").exists():
        if json.loads((folder / "asked.json").read_text()) != asked:
            raise SystemExit(f"{folder}: holds a run with other options; take another --out")
        words.append("--resume")
    folder.mkdir(exist_ok=True)
    (folder / "asked.json").write_text(json.dumps(asked))
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    start = time.perf_counter()
    result = subprocess.run([sys.executable, "-m", "graphgan", *words], env=environment, capture_output=True, text=True)
    row = {"variant": variant, "seed": seed, "minutes": options.minutes}
    if result.returncode:
        return row | {"failed": (result.stderr.strip().splitlines() or ["no word why"])[-1]}
    row |= judge(folder, options) | {"wall_minutes": (time.perf_counter() - start) / 60}
    done.write_text(json.dumps({"asked": asked, "row": row}, indent=1))
    return row


def judge(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Metrics of raw samples of a run."""
    from graphgan import load_model
    from graphgan.data.cards import default_split
    from graphgan.data.molecule_files import read_molecules
    from graphgan.report.molecules import evaluate_molecules

    model = load_model(folder)
    train = read_molecules(options.data, split=default_split(options.data))
    val = read_molecules(options.data, split=default_split(options.data, "val"))
    # Other random numbers than those by which the checkpoint was chosen.
    samples = model.sample(options.samples, seed=10**6)
    report = evaluate_molecules(samples, train=train.smiles, reference=val.smiles)
    return {"steps": model.step, **report.metrics}


def table(rows: list[dict[str, Any]], variants: list[str]) -> str:
    """Medians over seeds, ranges in brackets; rewards are means over valid samples."""
    rewards = {
        name: name for row in rows for name in row if name.startswith("reward_") or name in ("qed", "logp", "sa")
    }
    columns = COLUMNS | rewards
    lines = []
    for variant in variants:
        of = [row for row in rows if row["variant"] == variant and "failed" not in row]
        line: dict[str, Any] = {"variant": variant, "seeds": len(of)}
        for name, heading in columns.items():
            values = [row[name] for row in of if name in row]
            if values:
                line[heading] = f"{statistics.median(values):.3g} ({min(values):.3g} to {max(values):.3g})"
        lines.append(line)
    return record.table(lines, ["variant", "seeds", *columns.values()])


if __name__ == "__main__":
    main()
