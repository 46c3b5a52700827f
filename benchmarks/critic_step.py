"""How long does a critic's step take, against other ways to pass messages?

    python benchmarks/critic_step.py --baselines --out critic_step.json
    python benchmarks/critic_step.py --batch 16 64 256 --atoms 5 20 --threads 2

A step is WGAN-GP's whole critic loss and its gradient: scores of real and fake, and the penalty with its second
derivative, on random crystals of equal size (16 Å³ an atom). Forward is without a gradient; penalty is the second
derivative alone. Contestants take turns and the first is the yardstick; medians, ratios of medians. With one thread
on a CPU it is CPU time that counts, since other work on the machine adds to wall time; otherwise wall time.
"""

import argparse
import itertools
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import record
import torch
from baselines import BASELINES
from torch import nn
from torch.nn.functional import one_hot

from graphgan.graph_tensor import GraphTensor
from graphgan.networks import GraphCritic
from graphgan.objectives import WassersteinGP, gradient_norm

NUM_SPECIES = 60


def random_crystals(count: int, num: int, seed: int, device: str) -> GraphTensor:
    rng = torch.Generator().manual_seed(seed)
    species = one_hot(torch.randint(NUM_SPECIES, (count, num), generator=rng), NUM_SPECIES).float()
    size = (16.0 * num) ** (1 / 3)
    lattice = size * (torch.eye(3) + 0.1 * torch.randn(count, 3, 3, generator=rng))
    positions = torch.rand(count, num, 3, generator=rng)
    return GraphTensor.from_positions(species, positions, lattice, torch.full((count,), num)).to(device)


def contestants(which: list[str]) -> dict[str, nn.Module]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        networks: dict[str, nn.Module] = {name: BASELINES[name](NUM_SPECIES) for name in which}
        for lmax in (1, 2):
            networks[f"graphgan, l <= {lmax}"] = GraphCritic(NUM_SPECIES, hidden=64, layers=3, lmax=lmax)
    return networks


def moves(real: GraphTensor, fake: GraphTensor) -> dict[str, Callable[[nn.Module], None]]:
    rng = torch.Generator(real.lattice.device).manual_seed(0)

    @torch.no_grad()
    def forward(critic: nn.Module) -> None:
        critic(real)

    def penalty(critic: nn.Module) -> None:
        (gradient_norm(critic, real) - 1).square().mean().backward()

    def step(critic: nn.Module) -> None:
        WassersteinGP().critic_loss(critic, real, fake, rng)[0].backward()

    return {"forward": forward, "penalty": penalty, "step": step}


def timed(networks: dict[str, nn.Module], move: Callable[[nn.Module], None], repeats: int) -> dict[str, float]:
    """Median seconds of each; slow ones get fewer turns."""
    on_gpu = next(next(iter(networks.values())).parameters()).is_cuda
    clock = time.perf_counter if on_gpu or torch.get_num_threads() > 1 else time.process_time
    seconds: dict[str, list[float]] = {name: [] for name in networks}
    for turn in range(repeats + 1):
        for name, critic in networks.items():
            if sum(seconds[name]) > 20:
                continue
            start = clock()
            move(critic)
            if on_gpu:
                torch.cuda.synchronize()
            elapsed = clock() - start
            critic.zero_grad(set_to_none=True)
            if turn or elapsed > 10:  # the first turn warms up
                seconds[name].append(elapsed)
    return {name: statistics.median(times) for name, times in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, nargs="+", default=[64])
    parser.add_argument("--atoms", type=int, nargs="+", default=[20])
    parser.add_argument("--baselines", action="store_true", help="all of them, not PaiNN-style layers alone")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    names = list(BASELINES) if options.baselines else list(BASELINES)[:1]
    rows: list[dict[str, Any]] = []
    columns = ["network", "parameters", "batch", "atoms", "move", "ms", "ratio"]
    for batch, num in itertools.product(options.batch, options.atoms):
        real, fake = (random_crystals(batch, num, seed, options.device) for seed in (0, 1))
        networks = {name: n.to(options.device) for name, n in contestants(names).items()}
        sizes = {name: sum(p.numel() for p in n.parameters()) for name, n in networks.items()}
        for what, move in moves(real, fake).items():
            seconds = timed(networks, move, options.repeats)
            case = {"batch": batch, "atoms": num, "move": what}
            new = [
                {"network": name, "parameters": sizes[name], **case, "ms": 1e3 * t, "ratio": t / seconds[names[0]]}
                for name, t in seconds.items()
            ]
            print(record.table(new, columns), flush=True)
            rows += new
    record.write(options.out, "critic_step", rows, device=options.device, peak_gib=record.peak_gib())


if __name__ == "__main__":
    main()
