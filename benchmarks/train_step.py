"""How long does a training step take on real data? Every stage and player, with batches of mixed and of like sizes.

    python benchmarks/train_step.py mp_20/train.csv.gz perov_5/train.csv.gz --crystals 2000 --out train_step.json

Seconds of this process's CPU time with one thread, wall time otherwise; the mean over POOL batches, which is what
training pays. Peak memory is that of the process. `critic_step.py` compares a critic's step with other networks'.
"""

import argparse
import dataclasses
import time
from pathlib import Path
from typing import Any

import record
import torch

from graphgan.cli.graph_stages import GraphStages
from graphgan.config import STAGES, Config
from graphgan.crystal_set import CrystalSet
from graphgan.data import read
from graphgan.encodings import GraphEncoding
from graphgan.training import POOL, Trainer


def seconds_by_player(trainer: Trainer) -> dict[str, float]:
    """Mean seconds of one move of each player, over POOL batches after one that warms up."""
    seconds = {}
    on_gpu = trainer.rng.device.type == "cuda"
    clock = time.perf_counter if on_gpu or torch.get_num_threads() > 1 else time.process_time
    for player in trainer.players:
        trainer._give_turn(player)
        for turn in range(POOL + 1):
            if turn == 1:
                trainer.check()  # waits for a GPU
                start = clock()
            with trainer._precision():
                loss, _ = player.loss(trainer._draw(), trainer.rng)
            trainer._update(player, loss)
        trainer.check()
        seconds[player.name] = (clock() - start) / POOL
    return seconds


def measured(crystals: CrystalSet, encoding: GraphEncoding, stages: list[str], config: Config) -> list[dict[str, Any]]:
    rows = []
    device = torch.device(config.device)
    crystals = crystals.to(device)
    for stage in stages:
        by_player: dict[str, dict[str, Any]] = {}
        for batches in ("mixed", "like sizes"):
            held = crystals[[0]]  # measures nothing here
            trainer = GraphStages(config, encoding, crystals, held, device=device).trainer(stage)
            trainer.sizes = crystals.sizes if batches == "like sizes" else None
            for player, seconds in seconds_by_player(trainer).items():
                row = by_player.setdefault(player, {"stage": stage, "player": player})
                row[f"{batches}, ms"] = 1e3 * seconds
                row["peak GiB"] = record.peak_gib()
        for row in by_player.values():
            row["ratio"] = row["mixed, ms"] / row["like sizes, ms"]
        rows += by_player.values()
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+", help="any forms of DATA")
    parser.add_argument("--crystals", type=int, default=2000)
    parser.add_argument("--max-atoms", type=int, default=20)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", choices=("float32", "bf16"), default="float32")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    config = Config(device=options.device, precision=options.precision)
    parts = {stage: dataclasses.replace(getattr(config, stage), batch_size=options.batch) for stage in STAGES}
    config = dataclasses.replace(config, **parts)
    rows: list[dict[str, Any]] = []
    for data in options.data:
        encoding = GraphEncoding(options.max_atoms)
        crystals = encoding.fit_encode(read(data).structures[: options.crystals])[0]
        new = [{"data": Path(data).parent.name, **r} for r in measured(crystals, encoding, options.stages, config)]
        print(record.table(new, list(new[0])), flush=True)
        rows += new
    record.write(options.out, "train_step", rows, config=dataclasses.asdict(config))


if __name__ == "__main__":
    main()
