"""Commands that are for molecules alone, as dataclasses; what they do is imported when they run."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import tyro


@dataclasses.dataclass(frozen=True)
class Translate:
    """Turn molecules into similar ones of a higher or lower property, with a run of the recipe mol-cyclegan."""

    model: tyro.conf.Positional[str]
    """Run folder or checkpoint of a run with a translation."""
    molecules: tyro.conf.Positional[str]
    """Molecules to translate: qm9, .smi, .sdf, or .csv with a column smiles. Of a named set its part val, unless
    --split names another. Those that are on the wanted side already are left out."""
    to: Literal["high", "low"]
    """The side of the run's property to go to: above or below the median of the training set."""
    out: Path
    """A file .csv with a row a molecule. The summary goes beside it, NAME.json, and what was left out,
    NAME.skipped.csv."""
    pairs: Path | None = None
    """A picture, .svg, of the first 24 molecules and their translations."""
    split: str | None = None
    """Part of MOLECULES, where it has parts."""
    n: Annotated[int | None, tyro.conf.arg(aliases=["-n"])] = None
    """Translate this many, drawn by the seed of those that can be; otherwise all."""
    seed: Annotated[int, tyro.conf.arg(help="Of the draw, and of the random steps that the summary compares with.")] = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto takes a GPU where there is one."""
    overwrite: bool = False
    """Replace OUT if it exists."""

    def run(self) -> int:
        from graphgan.cli.translate import translate

        return translate(self)
