"""What the commands sample, encode, decode and datasets do."""

from __future__ import annotations

import dataclasses
import math
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from graphgan import __version__
from graphgan.cli.commands import CommandError, Datasets, Decode, Encode, Sample
from graphgan.config import SEED_LIMIT

if TYPE_CHECKING:
    from pymatgen.core import Structure


def sample(command: Sample) -> int:
    """`graphgan sample`."""
    from graphgan.cli.prepare import choose_device, set_threads
    from graphgan.data import write_structures
    from graphgan.sampling import load_model

    set_threads(1)  # the last bits of a sum depend on how many threads share it, and a seed should not
    if command.n < 1:
        raise CommandError(f"-n is {command.n}, expected at least 1")
    check_seed(command.seed)
    # spglib crashes the process over a tolerance that is no number.
    if command.symmetrize is not None and not 0 < command.symmetrize < math.inf:
        raise CommandError(f"--symmetrize is {command.symmetrize:g}, expected more than 0 Å and finite")
    model = load_model(command.model, choose_device(command.device))
    most = model.encoding.max_atoms
    if command.num_atoms is not None and not 1 <= command.num_atoms <= most:
        raise CommandError(f"--num-atoms is {command.num_atoms}, this model makes 1 to {most}")
    start = time.perf_counter()
    structures = model.sample(command.n, seed=command.seed, num_atoms=command.num_atoms)
    seconds = time.perf_counter() - start
    if command.symmetrize is not None:
        structures = symmetrize_all(structures, command.symmetrize)
    comment = f"graphgan {__version__}; model {model.name}, step {model.step}; seed {command.seed}"
    if command.symmetrize is not None:
        comment += f"; symmetrized within {command.symmetrize:g} A"
    write_structures(structures, command.out, comment=comment, progress=True, overwrite=command.overwrite)
    failed = sum(s is None for s in structures)
    rate = command.n / seconds
    say(f"{command.n} crystals in {seconds:.2f} s ({rate:.0f} a second), {failed} failed to decode: {command.out}")
    return 0


def symmetrize_all(structures: list[Structure | None], tolerance: float) -> list[Structure | None]:
    """Every crystal symmetrised; those without symmetry within the tolerance as they are."""
    from graphgan.cells import SymmetryError, symmetrize

    done: list[Structure | None] = []
    for structure in structures:
        try:
            done.append(None if structure is None else symmetrize(structure, tolerance))
        except SymmetryError:
            done.append(structure)
    return done


def encode(command: Encode) -> int:
    """`graphgan encode`."""
    from graphgan.cli.prepare import default_split, read_data, skipped_too
    from graphgan.config import Config, EncodingOptions
    from graphgan.encodings import GraphEncoding

    if command.out.suffix != ".npz":
        raise CommandError(f"{command.out}: --out must end in .npz")
    if command.max_atoms < 1:
        raise CommandError(f"--max-atoms is {command.max_atoms}, expected at least 1")
    if command.out.is_dir():
        raise CommandError(f"{command.out}: is a folder, --out needs a file")
    if command.out.exists() and not command.overwrite:
        raise CommandError(f"{command.out}: exists; add --overwrite to replace it")
    make_folder(command.out.parent)
    config = Config(encoding=EncodingOptions(max_atoms=command.max_atoms))
    found = read_data(command.data, command.split or default_split(command.data), config, True)
    encoding = GraphEncoding(command.max_atoms)
    crystals, kept = encoding.fit_encode(found.structures, progress=True)
    encoding.save(command.out, crystals, [found.ids[i] for i in kept])
    skipped = skipped_too(found, kept, command.max_atoms)
    listed = command.out.with_name(f"{command.out.stem}.skipped.csv")
    listed.unlink(missing_ok=True)  # of what --overwrite replaces
    if skipped:
        dataclasses.replace(found, skipped=skipped).write_skipped(listed)
        say(f"{len(skipped)} entries left out: {listed} says which and why")
    large = len(found.structures) - len(kept)
    say(f"{len(kept)} crystals encoded, {len(found.skipped)} skipped, {large} too large: {command.out}")
    return 0


def decode(command: Decode) -> int:
    """`graphgan decode`."""
    from graphgan.data import write_structures
    from graphgan.encodings import GraphEncoding

    encoding, crystals = GraphEncoding.load(command.data)
    structures = encoding.decode(crystals)
    comment = f"graphgan {__version__}; decoded from {command.data.name}"
    write_structures(structures, command.out, comment=comment, progress=True, overwrite=command.overwrite)
    say(f"{len(structures)} crystals: {command.out}")
    return 0


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
    for field in dataclasses.fields(found):
        value = getattr(found, field.name)
        if isinstance(value, dict) or hasattr(value, "items"):
            value = "; ".join(f"{key}: {text}" for key, text in value.items())
        elif isinstance(value, (list, tuple)):
            value = "\n              ".join(map(str, value))
        if value not in (None, ""):
            print(f"{field.name + ':':<13} {value}")
    return 0


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
