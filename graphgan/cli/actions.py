"""What the commands sample, export, datasets and models do."""

from __future__ import annotations

import dataclasses
import itertools
import math
import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphgan import __version__
from graphgan.cli.commands import CommandError, Datasets, Export, Models, Sample
from graphgan.config import SEED_LIMIT

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from graphgan.data.crystals import Crystal
    from graphgan.data.molecules import Molecule
    from graphgan.data.writing import LeftOut
    from graphgan.sampling import Filters, Sampler
    from graphgan.sampling.sampler import Wishes


def sample(command: Sample) -> int:
    """`graphgan sample`."""
    from graphgan.cli.devices import choose_device, set_threads
    from graphgan.data.writing import LEFT_OUT, write_structures
    from graphgan.sampling import Filters, MoleculeModel, Tally, load_model, shard_rows

    set_threads(1)  # the last bits of a sum depend on how many threads share it, and a seed should not
    if command.n < 1:
        raise CommandError(f"-n is {command.n}, expected at least 1")
    check_seed(command.seed)
    shard = parse_shard(command.shard)
    rows = shard_rows(command.n, shard)
    # spglib crashes the process over a tolerance that is no number.
    if command.symmetrize is not None and not 0 < command.symmetrize < math.inf:
        raise CommandError(f"--symmetrize is {command.symmetrize:g}, expected more than 0 Å and finite")
    filters = Filters(**dataclasses.asdict(command.keep))
    model = load_model(command.model, choose_device(command.device), precision=command.precision)
    check_filters(filters, model)
    if model.condition_dim:
        raise CommandError(f"{command.model}: was trained with a condition, which only Model.sample in Python can take")
    if command.compile:
        model.compile()
    comment = f"graphgan {__version__}; model {model.name}, step {model.step}; seed {command.seed}"
    if command.symmetrize is not None:
        comment += f"; symmetrized within {command.symmetrize:g} A"
    if filters:
        comment += f"; filtered: {', '.join(filters.rules)}"
    # What cannot be asked for is said here, before a file is opened.
    wishes: Wishes = {"seed": command.seed, "shard": shard, "num_atoms": command.num_atoms}
    chunks = model.drawn(command.n, **wishes)

    if isinstance(model, MoleculeModel):
        return sample_molecules(command, (chunk for chunk, _ in chunks), comment, rows)
    failed, tally = 0, Tally()

    def crystals() -> Iterator[Structure | Crystal | LeftOut | None]:
        nonlocal failed
        for chunk, residuals in chunks:
            failed += sum(crystal is None for crystal in chunk)
            made = chunk if command.symmetrize is None else symmetrize_all(chunk, command.symmetrize)
            if not filters:
                yield from made
                continue
            # As they were made: what symmetrising mends was not right.
            broken = map(filters.broken, model.finished(chunk), residuals or itertools.repeat(None))
            yield from (crystal if tally.add(rule) else LEFT_OUT for crystal, rule in zip(made, broken, strict=True))

    start = time.perf_counter()
    write_structures(
        crystals(),
        command.out,
        comment=comment,
        progress=True,
        overwrite=command.overwrite,
        first=rows.start,
        total=len(rows),
    )
    if filters:
        say(f"{tally}")
    written = f", {tally.kept} written" if filters else " and written"
    say(f"{len(rows)} crystals made{written} in {_rate(len(rows), start)}, {failed} failed to decode: {command.out}")
    return 0


def check_filters(filters: Filters, model: Sampler) -> None:
    """CommandError where a model makes nothing that these can judge."""
    from graphgan.sampling import Model, MoleculeModel

    if filters and isinstance(model, MoleculeModel):
        raise CommandError("--keep is given, but this model makes molecules")
    if filters.max_residual is not None and not isinstance(model, Model):
        raise CommandError("--keep.max-residual is given, but only models of graph tensors have a residual")


def sample_molecules(command: Sample, chunks: Iterator[list[Molecule]], comment: str, rows: range) -> int:
    """The molecules of a model into a file."""
    from graphgan.data import write_molecules
    from graphgan.data.molecule_writing import PICTURED

    if command.symmetrize is not None:
        raise CommandError("--symmetrize is given, but this model makes molecules")
    start = time.perf_counter()
    write_molecules(
        (molecule for chunk in chunks for molecule in chunk),
        command.out,
        comment=comment,
        progress=True,
        overwrite=command.overwrite,
        first=rows.start,
        total=len(rows),
    )
    count = min(len(rows), PICTURED) if command.out.suffix in (".svg", ".png") else len(rows)
    say(f"{count} molecules made and written in {_rate(count, start)}, valid or not: {command.out}")
    return 0


def _rate(count: int, start: float) -> str:
    seconds = time.perf_counter() - start
    return f"{seconds:.2f} s ({count / seconds:.0f} a second)"


def parse_shard(text: str | None) -> tuple[int, int]:
    """(i, k) of I/K; the whole, (1, 1), of None."""
    found = re.fullmatch(r"(\d{1,18})/(\d{1,18})", "1/1" if text is None else text)
    if found is None:
        raise CommandError(f"--shard is {text}, expected I/K with I from 1 to K, as in 2/4")
    return int(found[1]), int(found[2])


def export(command: Export) -> int:
    """`graphgan export`."""
    from graphgan.sampling import load_model

    out = command.out
    if out.suffix != ".pt":
        raise CommandError(f"{out}: --out must end in .pt")
    if out.is_dir():
        raise CommandError(f"{out}: is a folder, --out needs a file")
    if out.exists() and not command.overwrite:
        raise CommandError(f"{out}: exists; add --overwrite to replace it")
    model = load_model(command.model)
    make_folder(out.parent)
    model.save(out)
    say(f"{model.name}, step {model.step}, {out.stat().st_size / 1e6:.1f} MB: {out}")
    return 0


def symmetrize_all(crystals: list[Crystal | None], tolerance: float) -> list[Structure | None]:
    """Every crystal symmetrised; those without symmetry within the tolerance as they are."""
    from graphgan.cells import SymmetryError, symmetrize
    from graphgan.encodings.arrays import to_structures

    done: list[Structure | None] = []
    for structure in to_structures(crystals):
        try:
            done.append(None if structure is None else symmetrize(structure, tolerance))
        except SymmetryError:
            done.append(structure)
    return done


def datasets(command: Datasets) -> int:
    """`graphgan datasets`."""
    from graphgan.data import cache_folder, clear_cache, list_datasets
    from graphgan.data.cards import find_card

    if command.clear_cache:
        print(f"{clear_cache()} files removed from {cache_folder()}")
        return 0
    cards = list_datasets()
    if command.name is None:
        for card in cards:
            print(f"{card.name:<20} {'shipped' if card.file else 'remote ':<8} {card.title}")
        print(f"\ngraphgan datasets NAME tells how to get one. Parsed files are cached in {cache_folder()}.")
        return 0
    found = find_card(command.name)
    if found is None:
        raise CommandError(f"{command.name}: no such data set; there are {', '.join(c.name for c in cards)}")
    print_card(found)
    return 0


def models(command: Models) -> int:
    """`graphgan models`."""
    from graphgan.models import find_model, list_models

    cards = list_models()
    if command.name is None:
        for card in cards:
            print(f"{card.name:<12} {card.title}")
        print("\ngraphgan models NAME tells more; graphgan sample NAME -n 1000 --out crystals/ makes crystals.")
        return 0
    found = find_model(command.name)
    if found is None:
        raise CommandError(f"{command.name}: no such model; there are {', '.join(c.name for c in cards)}")
    print_card(found)
    return 0


def print_card(card: Any) -> None:
    """What a card says, a line or more for each field."""
    for field in dataclasses.fields(card):
        value = getattr(card, field.name)
        if isinstance(value, dict) or hasattr(value, "items"):
            value = "; ".join(f"{key}: {text}" for key, text in value.items())
        elif isinstance(value, (list, tuple)):
            value = "\n              ".join(map(str, value))
        if value not in (None, ""):
            print(f"{field.name + ':':<13} {value}")


def make_folder(path: Path) -> None:
    """Make a folder to write into; CommandError where there can be none."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        file = next(p for p in (path, *path.parents) if p.exists() and not p.is_dir())
        raise CommandError(f"--out {path}: {file} is a file, expected a folder") from None
    if not os.access(path, os.W_OK):
        raise CommandError(f"--out {path}: Permission denied")


def check_seed(seed: int) -> None:
    if not 0 <= seed < SEED_LIMIT:
        raise CommandError(f"--seed is {seed}, expected 0 or more and below 2**63")


def say(line: str) -> None:
    """News on stderr, so that what a command prints stays clean."""
    print(line, file=sys.stderr)
