"""Parsed sets kept as .npz in a cache folder under a hash of what they were parsed from; knows not what is in them."""

import hashlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from graphgan.data.errors import DataError

Parsed = TypeVar("Parsed")

READER_VERSION = 2
"""Raise it whenever a reader gives another result for the same bytes."""


def cache_folder() -> Path:
    """The folder of parsed sets: GRAPHGAN_CACHE, or graphgan in the user's cache folder. Need not exist."""
    if chosen := os.environ.get("GRAPHGAN_CACHE"):
        return Path(chosen).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("graphgan", appauthor=False)


def clear_cache() -> int:
    """Remove every cached set; the number of files removed. Nothing else in the folder is touched."""
    removed = 0
    for path in [*_folder().glob("*.npz"), *_folder().glob(".writing-*.npz")]:
        path.unlink(missing_ok=True)
        removed += 1
    return removed


def key_of(files: Iterable[tuple[str, Path]], options: object) -> str:
    """The name of a cached set: a hash of the files' names and contents, the options and the version of the readers."""
    digest = hashlib.sha256(f"{READER_VERSION} {options!r}".encode())
    for name, path in files:
        try:
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").digest()
        except OSError as error:
            content = str(error.strerror).encode()
        # A file name of bytes that are no UTF-8 holds surrogates.
        for part in (name.encode("utf-8", "surrogatepass"), content):
            digest.update(len(part).to_bytes(8, "little"))
            digest.update(part)
    return digest.hexdigest()[:40]


def lookup(key: str, load: Callable[[Path], Parsed]) -> Parsed | None:
    """The cached set, or None when it is absent or `load` finds it damaged (DataError)."""
    try:
        return load(_folder() / f"{key}.npz")
    except (DataError, OSError):
        return None


def store(key: str, parsed: Parsed, save: Callable[[Parsed, Path], None]) -> None:
    """Keep a parsed set; a folder that cannot be written is no error, since the cache only saves time."""
    try:
        save(parsed, _folder() / f"{key}.npz")
    except OSError:
        return


def _folder() -> Path:
    return cache_folder() / "parsed"
