"""The whole path in a few minutes, on embedded data: train, sample, evaluate, report."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from graphgan import __version__
from graphgan.cli.actions import say
from graphgan.cli.commands import CommandError, Demo, Train
from graphgan.cli.evaluate import finish_report
from graphgan.config import Config, load_recipe

# A recipe for minutes, not for quality: small cells, small networks.
RECIPE = "demo"


def demo(command: Demo) -> int:
    """`graphgan demo`."""
    from graphgan.cli.devices import choose_device
    from graphgan.cli.prepare import train
    from graphgan.cli.train import read_log
    from graphgan.data import load_dataset, write_structures
    from graphgan.report import evaluate
    from graphgan.sampling import load_model

    folder, run = command.out, command.out / "run"
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CommandError(f"{folder}: is there already; take another --out")
    if command.minutes <= 0 or command.n < 1:
        raise CommandError("--minutes and -n must be more than 0")
    recipe = load_recipe(RECIPE)
    assert isinstance(recipe, Config)
    options = replace(recipe, minutes=command.minutes, seed=command.seed, device=command.device)
    code = train(Train(data="default", split="train", out=run, options=options))
    if code:
        return code
    model = load_model(run, choose_device(command.device))
    start = time.perf_counter()
    structures = model.sample(command.n, seed=command.seed)
    seconds = time.perf_counter() - start
    comment = f"graphgan {__version__} demo; step {model.step}; seed {command.seed}"
    write_structures(structures, folder / "crystals", comment=comment)
    most = options.encoding.max_atoms
    real = {part: [s for s in load_dataset("default", part) if len(s) <= most] for part in ("train", "val")}
    report = evaluate(structures, real["val"], real["train"], seed=command.seed, progress=True)
    parameters = sum(p.numel() for m in model.networks().values() for p in m.parameters())
    details = {
        "training set": f"default, {len(real['train'])} crystals of at most {most} atoms",
        "budget": f"{command.minutes:g} minutes of training",
        "parameters of the sampler": f"{parameters:,}",
        "sampling": f"{command.n} crystals in {seconds:.2f} s, one network pass each",
        "seed": str(command.seed),
        "graphgan": __version__,
    }
    finish_report(report, folder, "graphgan demo", read_log(run / "log.jsonl"), details)
    say(f"crystals: {Path(folder / 'crystals')}")
    return 0
