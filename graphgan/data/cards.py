"""The cards of the data sets (TOML): what each is, where it comes from, its licence and citation; reads no
crystal.
"""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from graphgan.data.errors import DataError


@dataclass(frozen=True)
class Card:
    """What is known of a data set.

    name      as users type it, in lower case with hyphens
    title     one line
    kind      "crystals" or "molecules"
    get       how to obtain it, one line
    format    what the files look like
    columns   name -> meaning and unit
    rows      part -> number of rows (train, val, test, all)
    split     how it was divided
    licence   of the data
    citation  references with DOI
    source    addresses
    file      path of the shipped file beside the card, or None for a set to be fetched
    sha256    of the shipped file
    """

    name: str
    title: str
    kind: str
    get: str
    format: str
    columns: Mapping[str, str]
    rows: Mapping[str, int]
    split: str
    licence: str
    citation: tuple[str, ...]
    source: tuple[str, ...]
    file: Path | None = None
    sha256: str | None = None


def datasets_folder() -> Path:
    """The folder of cards: `graphgan/datasets` when installed, `datasets` beside the package in a source
    tree.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "datasets", package.parent / "datasets"):
        if (folder / "default.toml").is_file():
            return folder
    raise DataError(f"the data set cards are missing from the installation at {package}")


def read_card(path: Path) -> Card:
    """One card. Raises DataError naming the card where it is no TOML or lacks a key."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        return Card(
            name=table["name"],
            title=table["title"],
            kind=table["kind"],
            get=" ".join(table["get"].split()),
            format=table["format"],
            columns=table["columns"],
            rows=table["rows"],
            split=table["split"],
            licence=table["licence"],
            citation=tuple(table["citation"]),
            source=tuple(table["source"]),
            file=path.parent / table["file"] if "file" in table else None,
            sha256=table.get("sha256"),
        )
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"{path}: {error}") from None
    except KeyError as error:
        raise DataError(f"{path}: the card lacks {error.args[0]!r}") from None


@cache
def _cards() -> tuple[Card, ...]:
    return tuple(read_card(path) for path in sorted(datasets_folder().glob("*.toml")))


def list_datasets() -> list[Card]:
    """Every card, those that come with the package first."""
    return sorted(_cards(), key=lambda card: (card.file is None, card.name))


def find_card(name: str) -> Card | None:
    """The card of a name, whatever its case and its hyphens or underscores; None when there is none."""
    wanted = name.strip().lower().replace("_", "-")
    return next((card for card in _cards() if card.name == wanted), None)


def default_split(data: str, part: str = "train") -> str | None:
    """The part that a named set stands for where none is given: `part`, if it has one; None for a path."""
    card = None if Path(data).exists() else find_card(data)
    return part if card is not None and part in card.rows else None


def downloads_folder() -> Path:
    """Where fetched data sets are looked for, as NAME/train.csv and so on: GRAPHGAN_DATA or the user's data
    folder.
    """
    if chosen := os.environ.get("GRAPHGAN_DATA"):
        return Path(chosen).expanduser()
    from platformdirs import user_data_path

    return user_data_path("graphgan", appauthor=False)


def downloaded(card: Card) -> Path | None:
    """The folder of a fetched data set, spelled with hyphens or underscores; None where there is none."""
    names = (card.name, card.name.replace("-", "_"))
    return next((folder for name in names if (folder := downloads_folder() / name).is_dir()), None)
