"""What `graphgan translate` does: molecules of one class in, a table of their translations and a summary out."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import torch

from graphgan import __version__
from graphgan.cli.actions import check_seed, make_folder, say
from graphgan.cli.commands import CommandError
from graphgan.cli.devices import choose_device, set_threads
from graphgan.cli.molecule_commands import Translate
from graphgan.cli.translation_stage import OPPOSITE, judged
from graphgan.data.cards import default_split
from graphgan.data.molecules import Molecule, raw_smiles
from graphgan.metrics.molecule_translation import MoleculeTranslation, is_beyond
from graphgan.molecules.translation import random_steps
from graphgan.sampling import TranslationModel, load_translation

if TYPE_CHECKING:
    from graphgan.data import Skipped

COLUMNS = ("id", "source", "translated", "valid", "similarity", "property_source", "property_translated", "success")
_BATCH = 1000
"""Molecules whose property is looked up at a time, until there are enough."""


class Given(NamedTuple):
    """Molecules to translate: arrays, canonical SMILES, ids, and values of the property."""

    molecules: list[Molecule]
    smiles: list[str]
    ids: list[str]
    values: list[float]


class Files(NamedTuple):
    """What is written."""

    table: Path
    summary: Path
    skipped: Path
    pairs: Path | None


def translate(command: Translate) -> int:
    """`graphgan translate`."""
    from graphgan.data.reading import write_skipped

    set_threads(1)
    files = _files(command)
    check_seed(command.seed)
    if command.n is not None and command.n < 1:
        raise CommandError(f"-n is {command.n}, expected at least 1")
    model = load_translation(command.model, choose_device(command.device))
    given, skipped = _given(command, model)
    latents = model.encode(given.molecules)
    moved = model.move(latents, command.to)
    made = model.decode(moved)
    found, values = judged(model, given.molecules, made, command.to)
    # What the latent space gives away: as long a step anywhere, and none at all.
    rng = torch.Generator().manual_seed(command.seed)
    anywhere, nowhere = model.decode(random_steps(latents, moved, rng)), model.decode(latents)
    by = {
        "translation": found,
        "random_step": judged(model, given.molecules, anywhere, command.to)[0],
        "no_step": judged(model, given.molecules, nowhere, command.to)[0],
    }
    rows = _rows(given, made, found, values)
    _write(files.table, lambda file: file.write(_table(rows).encode()))
    summary = _summary(command, model, len(rows), len(skipped), by)
    _write(files.summary, lambda file: file.write(json.dumps(summary, indent=2).encode() + b"\n"))
    if files.pairs is not None:
        _picture(files.pairs, rows, model.property_name)
    files.skipped.unlink(missing_ok=True)
    if skipped:
        write_skipped(skipped, files.skipped)
        say(f"{len(skipped)} molecules left out: {files.skipped} says which and why")
    for name, one in by.items():
        say(f"{name.replace('_', ' ')}: {_words(one)}")
    say(f"{len(rows)} molecules translated to {command.to} {model.property_name}: {files.table}")
    return 0


def _files(command: Translate) -> Files:
    """The files to write, which must be free; CommandError otherwise."""
    out, pairs = command.out, command.pairs
    if out.suffix != ".csv":
        raise CommandError(f"{out}: --out must end in .csv")
    if pairs is not None and pairs.suffix != ".svg":
        raise CommandError(f"{pairs}: --pairs must end in .svg")
    files = Files(out, out.with_suffix(".json"), out.with_suffix(".skipped.csv"), pairs)
    for path in files:
        if path is None:
            continue
        if path.is_dir():
            raise CommandError(f"{path}: is a folder, expected a file")
        if path.exists() and not command.overwrite:
            raise CommandError(f"{path}: exists; add --overwrite to replace it")
        make_folder(path.parent)
    return files


def _given(command: Translate, model: TranslationModel) -> tuple[Given, list[Skipped]]:
    """The molecules that can be translated, in their order, at most as many as asked for; and why others cannot. Raises
    CommandError where there is none."""
    from graphgan.data import Skipped
    from graphgan.data.molecule_files import read_molecules

    data, other = command.molecules, OPPOSITE[command.to]
    found = read_molecules(data, split=command.split or default_split(data, "val"), progress=True)
    usable = set(model.encoding.encodable(found.molecules))
    reason = f"more than {model.encoding.max_atoms} atoms, or other ones than {', '.join(model.encoding.kinds)}"
    skipped = [*found.skipped, *(Skipped(name, reason) for i, name in enumerate(found.ids) if i not in usable)]
    rows = sorted(usable)
    if command.n is not None:  # sets are sorted, by size or by name: the first ones would be special
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(command.seed)).tolist()
        rows = [rows[place] for place in order]
    values: dict[int, float] = {}
    there: dict[int, Skipped] = {}
    for row, value in _values(model.property_name, found.molecules, rows):
        if is_beyond(value, model.border, other):
            values[row] = value
        else:
            reason = f"{model.property_name} is {value:.4g}, which is not {other}: the border is {model.border:.4g}"
            there[row] = Skipped(found.ids[row], reason)
        if len(values) == command.n:
            break
    skipped += [there[row] for row in sorted(there)]
    if not values:
        first = f"{skipped[0].entry}: {skipped[0].reason}"
        raise CommandError(f"{data}: no molecule can be translated to {command.to}; the first: {first}")
    chosen = sorted(values)
    parts = ([column[row] for row in chosen] for column in (found.molecules, found.smiles, found.ids, values))
    return Given(*parts), skipped  # type: ignore[arg-type]


def _values(name: str, molecules: Sequence[Molecule], rows: Sequence[int]) -> Iterator[tuple[int, float]]:
    """Rows and the values of their molecules, looked up when they are asked for."""
    from graphgan.rewards import property_values

    for start in range(0, len(rows), _BATCH):
        part = rows[start : start + _BATCH]
        values = property_values(name, [molecules[row] for row in part])
        yield from zip(part, values.tolist(), strict=True)


def _rows(given: Given, made: Sequence[Molecule], found: MoleculeTranslation, values: Any) -> list[tuple]:
    """The cells of COLUMNS; a failure has its SMILES as it is, and no similarity or property."""
    rows = []
    for i, smiles in enumerate(found.smiles):
        valid = smiles is not None
        measured = (f"{found.similarity[i]:.4f}", f"{values[i]:.6g}") if valid else ("", "")
        shown = smiles if smiles is not None else raw_smiles(made[i])
        cells = (given.ids[i], given.smiles[i], shown, int(valid), measured[0], f"{given.values[i]:.6g}", measured[1])
        rows.append((*cells, int(found.success[i])))
    return rows


def _table(rows: list[tuple]) -> str:
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(COLUMNS)
    table.writerows(rows)
    return text.getvalue()


def _summary(
    command: Translate, model: TranslationModel, count: int, skipped: int, by: dict[str, MoleculeTranslation]
) -> dict[str, Any]:
    """Plain data; a number that there is not is null."""
    return {
        "model": model.name,
        "step": model.step,
        "graphgan": __version__,
        "molecules": command.molecules,
        "to": command.to,
        "property": model.property_name,
        "border": model.border,
        "seed": command.seed,
        "translated": count,
        "left_out": skipped,
        **{name: {key: x if x == x else None for key, x in one.numbers().items()} for name, one in by.items()},
    }


def _picture(path: Path, rows: list[tuple], name: str) -> None:
    from graphgan.report.molecule_pairs import Pair, pairs_picture

    pairs = []
    for number, given, made, valid, similarity, before, after, _ in rows:
        outcome = f"{float(after):.3g}, similarity {float(similarity):.2f}" if valid else "not valid"
        pairs.append(Pair(given, made, f"{number}: {name} {float(before):.3g} → {outcome}"))
    _write(path, lambda file: file.write(pairs_picture(pairs).encode()))


def _write(path: Path, write: Callable[[IO[bytes]], Any]) -> None:
    from graphgan.data.writing import write_whole

    write_whole(path, write)


def _words(found: MoleculeTranslation) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in found.numbers().items())
