"""What the commands encode and decode do."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from graphgan import __version__
from graphgan.cli.actions import make_folder, say
from graphgan.cli.commands import CommandError, Decode, Encode
from graphgan.config.images import CrystensOptions, ImageOptions, Xtal2pngOptions

if TYPE_CHECKING:
    from graphgan.data.crystals import Crystal

DECODED = 1000
"""Crystals that `graphgan decode` holds at a time."""


def encode(command: Encode) -> int:
    """`graphgan encode`."""
    from graphgan.data.cards import default_split
    from graphgan.encodings.stored import stored_kind

    out = command.out
    if command.max_atoms < 1:
        raise CommandError(f"--max-atoms is {command.max_atoms}, expected at least 1")
    if out.suffix not in (".npz", ""):
        raise CommandError(f"{out}: --out must end in .npz, or have no suffix, for a folder")
    if not out.suffix and command.encoding == "crystens":
        raise CommandError(f"{out}: images of CrysTens are numbers, no pictures; --out must end in .npz")
    if out.suffix and out.is_dir():
        raise CommandError(f"{out}: is a folder, --out needs a file")
    if not out.suffix and out.is_file():
        raise CommandError(f"{out}: is a file, --out without .npz makes a folder")
    if out.exists() and not command.overwrite:
        raise CommandError(f"{out}: exists; add --overwrite to replace it")
    if out.is_dir() and stored_kind(out) != command.encoding:
        raise CommandError(f"{out}: holds something else than a set of --encoding {command.encoding}, is not replaced")
    pictured = (command.image, command.crystens, command.xtal2png)
    if command.encoding == "graph" and pictured != (ImageOptions(), CrystensOptions(), Xtal2pngOptions()):
        raise CommandError("--image, --crystens and --xtal2png are of images: add --encoding crystens or xtal2png")
    make_folder(out.parent)
    split = command.split or default_split(command.data)
    return (_encode_graphs if command.encoding == "graph" else _encode_images)(command, split)


def _encode_graphs(command: Encode, split: str | None) -> int:
    from graphgan.encodings.stored import skipped_file
    from graphgan.encodings.streaming import encode_to_disk

    out = command.out
    written = encode_to_disk(command.data, out, max_atoms=command.max_atoms, split=split, progress=True)
    if written.skipped or written.large:
        say(f"{written.skipped + written.large} entries left out: {skipped_file(out)} says which and why")
    say(f"{written.crystals} crystals encoded, {written.skipped} skipped, {written.large} too large: {out}")
    return 0


def _encode_images(command: Encode, split: str | None) -> int:
    """The images are in memory at once: 16 kB a crystal of CrysTens with 20 sites, 66 kB with 52."""
    import dataclasses

    from graphgan.cli.image_stages import new_image_encoding, range_warnings
    from graphgan.cli.prepare import read_data, skipped_too
    from graphgan.encodings.image_files import write_images
    from graphgan.encodings.stored import skipped_file

    out = command.out
    encoding = new_image_encoding(command)
    found = read_data(command.data, split, encoding, True)
    with range_warnings(say):
        images, kept = encoding.fit_encode(found.structures, progress=True)
    ids = [found.ids[i] for i in kept]
    write_images(out, encoding, images, ids)
    skipped = skipped_too(found, kept, encoding.max_sites)
    if skipped:
        dataclasses.replace(found, skipped=skipped).write_skipped(skipped_file(out))
        say(f"{len(skipped)} entries left out: {skipped_file(out)} says which and why")
    say(f"{len(kept)} crystals encoded, {len(skipped)} left out: {out}")
    return 0


def decode(command: Decode) -> int:
    """`graphgan decode`."""
    from graphgan.data import write_structures
    from graphgan.encodings.stored import stored_kind

    graphs = stored_kind(command.data) == "graph" or command.data.suffix not in (".npz", ".png", "")
    count, made = (_stored_graphs if graphs else _stored_images)(command.data)
    failed = 0

    def crystals() -> Iterator[Crystal | None]:
        nonlocal failed
        for crystal in made:
            failed += crystal is None
            yield crystal

    write_structures(
        crystals(),
        command.out,
        comment=f"graphgan {__version__}; decoded from {command.data.name}",
        progress=True,
        overwrite=command.overwrite,
        total=count,
    )
    say(f"{count} crystals, {failed} failed to decode: {command.out}")
    return 0


def _stored_graphs(path: Path) -> tuple[int, Iterator[Crystal | None]]:
    from graphgan.encodings import GraphEncoding
    from graphgan.encodings.arrays import to_crystals

    encoding, crystals = GraphEncoding.load(path)
    # From the stored positions, chunk by chunk: the directions of all pairs are not needed, nor all crystals at once.
    chunks = (slice(start, start + DECODED) for start in range(0, len(crystals), DECODED))
    made = (
        to_crystals(
            encoding.elements,
            crystals.species[chunk].numpy(),
            crystals.frac_coords[chunk].numpy(),
            crystals.lattice[chunk].numpy(),
            crystals.sizes[chunk].numpy(),
        )
        for chunk in chunks
    )
    return len(crystals), itertools.chain.from_iterable(made)


def _stored_images(path: Path) -> tuple[int, Iterator[Crystal | None]]:
    from graphgan.encodings.image_files import read_images

    encoding, images = read_images(path)
    chunks = (slice(start, start + DECODED) for start in range(0, len(images), DECODED))
    return len(images), itertools.chain.from_iterable(encoding.to_crystals(images[chunk]) for chunk in chunks)
