"""Which representation of crystals learns best from the same data in the same time? Graph tensors against images.

    python benchmarks/representations.py small perov_5/train.csv.gz perov_5/val.csv.gz --out compared --workers 2

Every run of the preset (`representations.yaml`) is a `graphgan train` of its own; then raw samples of its last averaged
weights are judged by `graphgan.evaluate` against the reference. A run that was stopped is resumed, one that is done is
not done again: start the same command again to go on. OUT holds a folder a run, representations.json with every number,
table.md with medians and ranges over seeds, and figures.

Redundancy columns say how far copies of one number inside a generated tensor disagree, nothing about its quality.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TextIO

import record
import yaml

PRESETS = Path(__file__).with_name("representations.yaml")
DONE, ASKED = "cell.json", "asked.json"
REAL = "real crystals"
# Columns of the table: metric, heading.
COLUMNS = [
    ("structural_validity", "structural"),
    ("compositional_validity", "compositional"),
    ("coverage_recall", "COV-R"),
    ("coverage_precision", "COV-P"),
    ("density_wasserstein", "density"),
    ("num_elements_wasserstein", "elements"),
    ("element_total_variation", "element TV"),
    ("nearest_neighbour_wasserstein", "neighbour, Å"),
    ("uniqueness", "unique"),
    ("novelty", "novel"),
    ("unique_novel_valid", "unique, novel, valid"),
    ("decode_failures", "undecoded"),
    ("steps", "steps"),
    ("seconds", "seconds of training"),
    ("parameters", "parameters of the sampler"),
    ("crystals_per_second", "crystals/s"),
]
REDUNDANCY = [
    ("lattice_parameter_variance", "a, b, c, Å²"),
    ("lattice_angle_variance", "angles, deg²"),
    ("space_group_number_variance", "space group"),
    ("fractional_coordinate_variance", "x, y"),
    ("relative_coordinate_difference", "relative coordinates"),
    ("reconstructed_pairwise_difference", "pairs"),
]


class RunError(Exception):
    """A run that could not be trained or judged."""


@dataclasses.dataclass(frozen=True)
class Cell:
    """One run: a row of the preset with one seed."""

    representation: str
    game: str
    flags: tuple[str, ...]
    seed: int
    minutes: float
    samples: int

    def asked(self, data: str, reference: str) -> dict[str, Any]:
        """What its numbers depend on, as JSON keeps it."""
        facts = {"data": Path(data).name, "reference": Path(reference).name, **dataclasses.asdict(self)}
        return json.loads(json.dumps(facts))

    @property
    def folder(self) -> str:
        """Of its run, below OUT."""
        return f"{self.representation} {self.game} {self.seed}".replace(" ", "-").lower()


def cells_of(preset: str, minutes: float | None = None, seeds: Sequence[int] | None = None) -> list[Cell]:
    """The runs of a preset, seed by seed, so that a table of all rows is there early."""
    presets = yaml.safe_load(PRESETS.read_text())
    if preset not in presets:
        raise SystemExit(f"{preset}: no such preset; there are {', '.join(presets)}")
    table = presets[preset]
    return [
        Cell(
            row["representation"],
            row["game"],
            (*table["flags"], *row["flags"]),
            seed,
            minutes or table["minutes"],
            row.get("samples", table["samples"]),
        )
        for seed in (table["seeds"] if seeds is None else seeds)
        for row in table["rows"]
    ]


def train_command(cell: Cell, data: str, reference: str, out: Path) -> list[str]:
    """The `graphgan train` of a run; samples are looked at once, at its end."""
    run = out / cell.folder
    words = ["train", data, "--out", str(run), "--validation", reference, *cell.flags]
    words += ["--minutes", str(cell.minutes), "--seed", str(cell.seed), "--evaluate-every", str(10**9)]
    return [*words, "--resume"] if (run / "checkpoints" / "last.pt").exists() else words


def play(cell: Cell, data: str, reference: str, out: Path) -> dict[str, Any]:
    """Train and judge one run in processes of their own, or read what was found before. A run that fails, as by a loss
    that is no number, has no metrics, and the word why under "failed"."""
    done, asked = out / cell.folder / DONE, cell.asked(data, reference)
    facts = {"representation": cell.representation, "game": cell.game, "seed": cell.seed}
    if not done.exists():
        started = time.monotonic()
        try:
            with (out / f"{cell.folder}.log").open("a") as log:
                _run(["-m", "graphgan", *train_command(cell, data, reference, out)], log)
                (out / cell.folder / ASKED).write_text(json.dumps(asked))
                _run(_judge_words(out / cell.folder, data, reference, cell.samples), log)
        except RunError as error:
            print(f"{cell.folder}: {error}", flush=True)
            return facts | {"metrics": {}, "failed": str(error)}
        print(f"{cell.folder}: {time.monotonic() - started:.0f} s", flush=True)
    found = json.loads((out / cell.folder / ASKED).read_text())
    if found != asked:
        differs = next(name for name in asked if found.get(name) != asked[name])
        raise SystemExit(f"{done}: {differs} was {found.get(differs)}, is {asked[differs]}; take another --out")
    return facts | json.loads(done.read_text())


def play_real(data: str, reference: str, out: Path, samples: int) -> dict[str, Any]:
    """The same numbers of crystals of the training set: what a perfect model would score."""
    folder = out / REAL.replace(" ", "-")
    folder.mkdir(exist_ok=True)
    if not (folder / DONE).exists():
        with (out / f"{folder.name}.log").open("a") as log:
            _run(_judge_words(folder, data, reference, samples), log)
    return {"representation": REAL, "game": "", "seed": 0} | json.loads((folder / DONE).read_text())


def _judge_words(folder: Path, data: str, reference: str, samples: int) -> list[str]:
    return [__file__, "judge", data, reference, "--out", str(folder), "--samples", str(samples)]


def _run(words: list[str], log: TextIO) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    run = subprocess.run([sys.executable, *words], stdout=log, stderr=log, env=environment, check=False)
    if run.returncode:
        raise RunError(f"ended with code {run.returncode}; {log.name} says why")


def judge(folder: Path, data: str, reference: str, samples: int) -> None:
    """Sample the last averaged weights of a run, evaluate, and write cell.json."""
    import numpy as np
    import torch

    import graphgan as gg
    from graphgan.cli.devices import choose_device
    from graphgan.cli.train import read_log
    from graphgan.sampling import ImageModel

    torch.set_num_threads(1)
    train, real = gg.read_structures(data), gg.read_structures(reference)
    numbers: dict[str, Any] = {}
    if folder.name == REAL.replace(" ", "-"):
        rows = np.random.default_rng(0).choice(len(train), min(samples, len(train)), replace=False)
        made: Sequence[Any] = [train[i] for i in rows]
    else:
        checkpoint = folder / "checkpoints" / "last.pt"
        device = choose_device(gg.load_model(checkpoint).config["device"])  # samples where it was trained
        model = gg.load_model(checkpoint, device)
        start = time.perf_counter()
        if isinstance(model, ImageModel):
            images = model.sample_images(samples, seed=0)
            made = model.encoding.decode(images)
        else:
            made = model.sample(samples, seed=0)
        numbers["crystals_per_second"] = samples / (time.perf_counter() - start)
        is_image = isinstance(model, ImageModel)
        numbers |= model.encoding.redundancy(images) if is_image else graph_redundancy(model, samples)
        numbers["parameters"] = sum(p.numel() for network in model.networks().values() for p in network.parameters())
        stages = {row["stage"]: row for row in read_log(folder / "log.jsonl")}
        numbers["seconds"] = sum(row["seconds"] for row in stages.values())
        numbers["steps"] = sum(row["step"] for row in stages.values())
    start = time.perf_counter()
    report = gg.evaluate(made, reference=real, train=train if numbers else None, workers=1)
    numbers["evaluation_seconds"] = time.perf_counter() - start
    found = {"metrics": report.metrics | numbers, "distributions": report.distributions, "floor": report.noise_floor}
    unfinished = folder / f".{DONE}"
    unfinished.write_text(json.dumps(found, default=float))
    unfinished.rename(folder / DONE)


def graph_redundancy(model: Any, samples: int) -> dict[str, float]:
    """The columns that a graph tensor has, of the directions that the decoder proposes against their average; lattice
    and space group stand in it once."""
    import torch

    from graphgan import metrics

    model = dataclasses.replace(model, generator=model.generator.cpu(), decoder=model.decoder.cpu())
    counts, noise = model._draw(range(min(samples, 1000)), 0)
    with torch.inference_mode():
        latents = model.generator(noise, counts)
        proposal = model.decoder.propose(latents)
        positions = model.decoder.average(proposal, latents).frac_coords
    seen = proposal.directions.numpy(), positions.numpy(), counts.numpy()
    return {
        "relative_coordinate_difference": metrics.graph_relative_coordinate_difference(*seen),
        "reconstructed_pairwise_difference": metrics.graph_pairwise_difference(*seen),
    }


def summary(results: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row a representation and game: the median over seeds of every number, and its lowest and highest value."""
    rows: dict[tuple[str, str], list[dict[str, float]]] = {}
    for result in results:
        rows.setdefault((result["representation"], result["game"]), []).append(result["metrics"])
    summed = []
    for (representation, game), runs in rows.items():
        names = dict.fromkeys(name for run in runs for name in run)
        values = {name: [run[name] for run in runs if name in run] for name in names}
        summed.append(
            {"representation": representation, "game": game, "seeds": len(runs)}
            | {
                name: {"median": statistics.median(v), "low": min(v), "high": max(v), "of": len(v)}
                for name, v in values.items()
            }
        )
    return summed


def shown(value: dict[str, float] | None, seeds: int) -> str:
    """Median (lowest to highest), with the number of seeds where not all have a value; a dash where none has."""
    if value is None:
        return "-"
    numbers = [value["median"], value["low"], value["high"]]
    digits = [f"{number:.0f}" if abs(number) >= 100 else f"{number:.3g}" for number in numbers]
    text = digits[0] if len(set(digits)) == 1 else f"{digits[0]} ({digits[1]} to {digits[2]})"
    return text if value["of"] == seeds else f"{text}; {value['of']:.0f} of {seeds} seeds"


def tables(summed: Sequence[dict[str, Any]]) -> str:
    """Two Markdown tables: metrics, and redundancy."""
    parts = []
    for columns in (COLUMNS, REDUNDANCY):
        rows = [
            {"": f"{row['representation']} {row['game']}".strip()}
            | {heading: shown(row.get(name), row["seeds"]) for name, heading in columns}
            for row in summed
            if columns is COLUMNS or any(name in row for name, _ in columns)
        ]
        parts.append(record.table(rows, ["", *(heading for _, heading in columns)]))
    return "\n\n".join(parts) + "\n"


def figures(results: Sequence[dict[str, Any]], out: Path) -> None:
    """Distributions and element histograms of the first seed, a panel a representation and game."""
    import matplotlib

    matplotlib.use("Agg")
    from itertools import chain

    import matplotlib.pyplot as plt
    import numpy as np

    from graphgan.metrics.distributions import element_histogram

    def shares(fractions: list[dict[str, float]]) -> dict[str, float]:
        return {element: total / len(fractions) for element, total in element_histogram(fractions).items()}

    played = [result for result in results if result["representation"] != REAL and "failed" not in result]
    chosen = [result for result in played if result["seed"] == min(other["seed"] for other in played)]
    if not chosen:
        return
    kinds = [
        ("neighbours.png", "nearest neighbour, Å", "nearest_neighbours", (0, 5)),
        ("densities.png", "density, g/cm³", "density", (0, 25)),
    ]
    for name, label, column, limits in kinds:
        figure, panels = plt.subplots(len(chosen), 1, figsize=(7, 1.3 * len(chosen)), sharex=True, squeeze=False)
        for panel, result in zip(panels[:, 0], chosen, strict=True):
            for side, colour in (("reference", "0.75"), ("generated", "tab:blue")):
                values = result["distributions"][side][column]
                flat = list(chain.from_iterable(values)) if values and isinstance(values[0], list) else values
                if flat:  # what lies beyond the limits stands in the last bar
                    seen = np.clip(flat, *limits)
                    shares_of = np.full(len(seen), 1 / len(seen))
                    panel.hist(seen, bins=80, range=limits, weights=shares_of, color=colour, alpha=0.7)
            panel.set_yticks([])
            panel.set_title(f"{result['representation']} {result['game']}", fontsize=8, loc="left", pad=2)
        panels[-1, 0].set_xlabel(label)
        figure.tight_layout()
        figure.savefig(out / name, dpi=110)
        plt.close(figure)
    real = shares(chosen[0]["distributions"]["reference"]["elements"])
    common = [*sorted(real, key=lambda symbol: -real[symbol])[:30], "other"]
    figure, panels = plt.subplots(len(chosen), 1, figsize=(8, 1.3 * len(chosen)), sharex=True, squeeze=False)
    for panel, result in zip(panels[:, 0], chosen, strict=True):
        made = shares(result["distributions"]["generated"]["elements"])
        for share, colour, width in ((real, "0.75", 0.9), (made, "tab:blue", 0.5)):
            rest = sum(value for symbol, value in share.items() if symbol not in common)
            heights = [share.get(symbol, 0.0) for symbol in common[:-1]]
            panel.bar(range(len(common)), [*heights, rest], color=colour, width=width)
        panel.set_yticks([])
        panel.set_title(f"{result['representation']} {result['game']}", fontsize=8, loc="left", pad=2)
    panels[-1, 0].set_xticks(range(len(common)), common, fontsize=7)
    figure.tight_layout()
    figure.savefig(out / "elements.png", dpi=110)
    plt.close(figure)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset", help="small, full, or another key of representations.yaml")
    parser.add_argument("data", help="crystals to train on: any DATA of graphgan")
    parser.add_argument("reference", help="crystals to compare with, and to choose nothing by")
    parser.add_argument("--out", type=Path, required=True, help="folder; what is done there is not done again")
    parser.add_argument("--workers", type=int, default=1, help="runs at a time, with one thread each")
    parser.add_argument("--minutes", type=float, help="of training a run, in place of the preset's")
    parser.add_argument("--seeds", type=int, nargs="+", help="in place of the preset's")
    parser.add_argument("--samples", type=int, default=1000, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.preset == "judge":
        judge(options.out, options.data, options.reference, options.samples)
        return
    options.out.mkdir(parents=True, exist_ok=True)
    cells = cells_of(options.preset, options.minutes, options.seeds)
    with ThreadPoolExecutor(options.workers) as pool:
        results = list(pool.map(lambda cell: play(cell, options.data, options.reference, options.out), cells))
    results.append(play_real(options.data, options.reference, options.out, cells[0].samples))
    summed = summary(results)
    text = tables(summed)
    (options.out / "table.md").write_text(text)
    rows = [{key: value for key, value in result.items() if key != "distributions"} for result in results]
    facts = {"preset": options.preset, "minutes": cells[0].minutes, "workers": options.workers, "summary": summed}
    record.write(options.out / "representations.json", "representations", rows, **facts)
    figures(results, options.out)
    print(text)


if __name__ == "__main__":
    main()
