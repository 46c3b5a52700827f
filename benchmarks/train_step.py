"""How long does a training step take? Every stage, with batches of mixed and of like sizes, in one run.

python benchmarks/train_step.py mp_20/train.csv.gz perov_5/train.csv.gz --crystals 2000 --out train_step.json

Seconds of this process's CPU time, one thread; the mean over POOL batches, which is what training pays. Peak memory is
that of the process.
"""

import argparse
import dataclasses
import json
import platform
import resource
import subprocess
import time
from pathlib import Path
from typing import Any

import torch

from graphgan.cli.stages import build_networks, build_trainer
from graphgan.config import Config
from graphgan.data import read
from graphgan.encodings import GraphEncoding
from graphgan.graph_tensor import GraphTensor
from graphgan.training import POOL, Trainer

STAGES = ("autoencoder", "latent", "graph")


def seconds_by_player(trainer: Trainer) -> dict[str, float]:
    """Mean CPU seconds of one move of each player, over POOL batches after one that warms up."""
    seconds = {}
    for player in trainer.players:
        trainer._give_turn(player)
        for turn in range(POOL + 1):
            if turn == 1:
                start = time.process_time()
            loss, _ = player.loss(trainer._draw(), trainer.rng)
            trainer._update(player, loss)
        seconds[player.name] = (time.process_time() - start) / POOL
    return seconds


def measured(crystals: GraphTensor, encoding: GraphEncoding, stages: list[str]) -> list[dict[str, Any]]:
    rows = []
    for stage in stages:
        for batches in ("mixed", "like sizes"):
            networks = build_networks(Config(), encoding, 0, torch.device("cpu"))
            trainer = build_trainer(stage, Config(), networks, crystals)
            trainer.sizes = crystals.num_atoms if batches == "like sizes" else None
            for player, seconds in seconds_by_player(trainer).items():
                memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
                rows.append(
                    {"stage": stage, "player": player, "batches": batches, "seconds": seconds, "peak_gib": memory}
                )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+", help="any forms of DATA")
    parser.add_argument("--crystals", type=int, default=2000)
    parser.add_argument("--max-atoms", type=int, default=20)
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    result: dict[str, Any] = {
        "machine": {"processor": platform.machine(), "torch": torch.__version__, "commit": commit.stdout.strip()},
        "config": dataclasses.asdict(Config()),
        "data": {},
    }
    print("| data | stage | player | mixed, ms | like sizes, ms | ratio |\n|---|---|---|---|---|---|")
    for data in options.data:
        encoding = GraphEncoding(options.max_atoms)
        crystals = encoding.fit_encode(read(data).structures[: options.crystals])[0]
        rows = result["data"][data] = measured(crystals, encoding, options.stages)
        half = {(row["stage"], row["player"], row["batches"]): row["seconds"] for row in rows}
        for stage, player in dict.fromkeys((row["stage"], row["player"]) for row in rows):
            mixed, like = (1e3 * half[stage, player, batches] for batches in ("mixed", "like sizes"))
            print(f"| {data} | {stage} | {player} | {mixed:.0f} | {like:.0f} | {mixed / like:.2f} |", flush=True)
    if options.out:
        options.out.write_text(json.dumps(result, indent=1, default=str) + "\n")


if __name__ == "__main__":
    main()
