"""How fast are crystals made and written? Against padded passes, and against a sampler of 1,000 evaluations.

python benchmarks/sampling.py perov-5 runs/mp --out sampling.json

Seconds of this process's CPU time, one thread, the least of --repeats; microseconds a crystal. `before` is what
graphgan 0.1.0 did: passes of 512 crystals in the order drawn, padded to the largest, the residual by averaging again,
Structures by pymatgen's constructor. `1000 evaluations` calls the same generator and decoder 1,000 times in a row, on
--few crystals of one size, the root mean square of the training set's: what a diffusion sampler of as many steps costs
at least, with networks as small as ours. Start-up times and memory are those of fresh processes.
"""

import argparse
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import record
import torch
from pymatgen.core import Lattice, Structure

from graphgan.data import write_structures
from graphgan.graph_tensor import GraphTensor
from graphgan.networks import Noise
from graphgan.reconstruction import consistency
from graphgan.sampling import Model, load_model
from graphgan.sampling import graphs as sampling

FORMS = ("crystals.csv", "crystals.extxyz", "crystals.json", "crystals.zip", "crystals")
EVALUATIONS = 1000


def cpu_seconds(work: Callable[[], Any], repeats: int) -> float:
    """The least CPU time of `work` over some repeats."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


@torch.inference_mode()
def padded_graphs(model: Model, n: int) -> Iterator[GraphTensor]:
    """The passes of `before`."""
    counts, noise = model._draw(range(n), 0)
    for start in range(0, n, 512):
        part = counts[start : start + 512]
        rows = slice(start, start + len(part))
        most = int(part.max())
        some = Noise(noise.crystal[rows], noise.atoms[rows, :most], noise.slots[rows, :most])
        latents = model.generator(some, part)
        proposal = model.decoder.propose(latents)
        yield model.decoder.average(proposal, latents)
        consistency(proposal.directions, latents.mask, model.decoder.rounds)


def constructed(model: Model, graphs: GraphTensor) -> list[Structure]:
    """The Structures of `before`."""
    kinds, x = graphs.species.argmax(-1).tolist(), graphs.frac_coords.double().numpy() % 1.0
    return [
        Structure(Lattice(cell), [model.encoding.elements[k] for k in kind[:n]], places[:n])
        for n, kind, places, cell in zip(graphs.num_atoms.tolist(), kinds, x, graphs.lattice.double(), strict=True)
    ]


@torch.inference_mode()
def networks_alone(model: Model, n: int) -> None:
    """Generator and pair head of crystals of one size a pass, nothing averaged."""
    counts, noise = model._draw(range(n), 0)
    for size in counts.unique().tolist():
        for rows in (counts == size).nonzero()[:, 0].split(max(1, sampling.PAIRS["cpu"] // size**2)):
            some = Noise(noise.crystal[rows], noise.atoms[rows, :size], noise.slots[rows, :size])
            model.decoder.propose(model.generator(some, counts[rows]))


@torch.inference_mode()
def many_evaluations(model: Model, n: int) -> None:
    """The networks EVALUATIONS times in a row, in one pass."""
    frequencies = torch.tensor(model.encoding.atom_counts, dtype=torch.float64)
    squares = torch.arange(len(frequencies)) ** 2
    size = round(float((frequencies * squares).sum() / frequencies.sum()) ** 0.5)
    _, noise = model._draw(range(n), 0)
    some = Noise(noise.crystal, noise.atoms[:, :size], noise.slots[:, :size])
    for _ in range(EVALUATIONS):
        model.decoder.propose(model.generator(some, torch.full((n,), size)))


def drain(chunks: Iterator[Any]) -> None:
    for _ in chunks:
        pass


def parts(model: Model, n: int, few: int, repeats: int) -> Iterator[tuple[str, int, float]]:
    """(what, crystals, CPU seconds), one after the other."""
    networks_alone(model, 64)
    yield "before: graphs", n, cpu_seconds(lambda: drain(padded_graphs(model, n)), repeats)
    yield (
        "before: Structures",
        n,
        cpu_seconds(lambda: [constructed(model, graphs) for graphs in padded_graphs(model, n)], repeats),
    )
    yield "random numbers", n, cpu_seconds(lambda: model._draw(range(n), 0), repeats)
    yield "+ networks", n, cpu_seconds(lambda: networks_alone(model, n), repeats)
    yield "+ averaging", n, cpu_seconds(lambda: drain(model._chunks(range(n), 0, None, None)), repeats)
    yield "+ arrays (stream)", n, cpu_seconds(lambda: drain(model.stream(n)), repeats)
    yield "+ Structures (sample)", n, cpu_seconds(lambda: model.sample(n), repeats)
    yield f"{EVALUATIONS} evaluations", few, cpu_seconds(lambda: many_evaluations(model, few), 1)


def writing(model: Model, n: int, repeats: int) -> Iterator[tuple[str, int, float]]:
    """Writing alone, by form, from arrays in memory."""
    crystals = list(chain.from_iterable(model.stream(n)))
    folder = Path(tempfile.mkdtemp())
    try:
        for form in FORMS:
            seconds = cpu_seconds(
                lambda out=folder / form: write_structures(crystals, out, comment="benchmark", overwrite=True), repeats
            )
            yield f"write {Path(form).suffix or 'folder of CIFs'}", n, seconds
    finally:
        shutil.rmtree(folder)


def sweeps(model: Model, n: int, repeats: int) -> Iterator[tuple[str, int, float]]:
    """The stream by the size of a pass and by how many crystals are asked for."""
    chosen = sampling.PAIRS["cpu"]
    for power in (8, 10, 12, 13, 14, 15, 16, 18):
        sampling.PAIRS["cpu"] = 2**power
        yield f"2^{power} pairs a pass", n, cpu_seconds(lambda: drain(model.stream(n)), repeats)
    sampling.PAIRS["cpu"] = chosen
    for few in (1, 10, 100, 1000, 10000):
        yield f"n = {few}", few, cpu_seconds(lambda few=few: drain(model.stream(few)), repeats)


# A process counts what the one that started it held: only its own status file knows better.
OWN_MEMORY = """
import sys
from graphgan.cli import main
try:
    main(sys.argv[1:])
finally:
    try:
        lines = open("/proc/self/status").read().splitlines()
    except OSError:
        lines = []
    print("peak", *(line.split()[1] for line in lines if line.startswith("VmHWM")), file=sys.stderr)
"""


def fresh(words: list[str]) -> tuple[float, float, float | None]:
    """Wall seconds, CPU seconds and GiB at most of `graphgan words` in a process of its own."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run([sys.executable, "-c", OWN_MEMORY, *words], capture_output=True, text=True, check=True)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    peak = re.search(r"^peak (\d+)", done.stderr, flags=re.M)
    return wall, cpu, int(peak[1]) / 2**20 if peak else None


def processes(name: str, many: int, repeats: int) -> Iterator[dict[str, Any]]:
    """Start-up times, and memory by how many crystals are written."""
    folder = Path(tempfile.mkdtemp())
    try:
        cases = [(["--help"], repeats)]
        for n, times in ((100, repeats), (many // 10, 1), (many, 1)):
            out = str(folder / "crystals.csv")
            cases.append((["sample", name, "-n", str(n), "--overwrite", "--device", "cpu", "--out", out], times))
        for words, times in cases:
            wall, cpu, memory = min(fresh(words) for _ in range(times))
            shown = "graphgan " + " ".join(words[:4])
            yield {"model": name, "case": shown, "wall": wall, "cpu": cpu, "peak_gib": memory}
    finally:
        shutil.rmtree(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="shipped names, run folders or checkpoints")
    parser.add_argument("-n", type=int, default=4096, help="crystals of a timing")
    parser.add_argument("--few", type=int, default=128, help="crystals for the sampler of 1,000 evaluations")
    parser.add_argument("--many", type=int, default=50_000, help="crystals for the memory of a process")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    for name in options.models:
        model = load_model(name)
        for measured in (
            parts(model, options.n, options.few, options.repeats),
            writing(model, options.n, options.repeats),
            sweeps(model, options.n, options.repeats),
        ):
            for case, n, seconds in measured:
                rows.append({"model": name, "case": case, "n": n, "µs": 1e6 * seconds / n, "per second": n / seconds})
                print(rows[-1], file=sys.stderr, flush=True)
        rows += processes(name, options.many, options.repeats)
    print(record.table((r for r in rows if "n" in r), ("model", "case", "n", "µs", "per second")))
    print("\n" + record.table((r for r in rows if "wall" in r), ("model", "case", "wall", "cpu", "peak_gib")))
    record.write(options.out, "sampling", rows)


if __name__ == "__main__":
    main()
