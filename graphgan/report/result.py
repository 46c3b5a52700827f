"""The outcome of an evaluation: numbers, a row a sample, and the three files that hold them."""

from __future__ import annotations

import abc
import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from graphgan.report.explanations import CRYSTALS, Vocabulary
from graphgan.report.rows import COLUMNS

if TYPE_CHECKING:
    from pymatgen.core import Structure


@dataclass(frozen=True, eq=False, kw_only=True)
class Outcome(abc.ABC):
    """What an evaluation found, of crystals or of molecules.

    metrics         numbers by name; what was not computed is absent
    noise_floor     what real ones score on the same distances, by name: differences below it are noise
    warnings        sentences to read before the numbers
    settings        seed, sizes and choices that the numbers depend on
    details         what is more than a number
    distributions   values behind the distances: {"generated": {...}, "reference": {...}}
    """

    words: ClassVar[Vocabulary]

    metrics: dict[str, float]
    warnings: list[str]
    settings: dict[str, Any]
    noise_floor: dict[str, float] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict, repr=False)
    distributions: dict[str, dict[str, list]] = field(default_factory=dict, repr=False)

    @property
    @abc.abstractmethod
    def rows(self) -> list[dict[str, Any]]:
        """One row a sample."""

    @property
    @abc.abstractmethod
    def columns(self) -> Sequence[str]:
        """The keys of a row."""

    @abc.abstractmethod
    def render(
        self,
        *,
        title: str,
        log: Sequence[Mapping[str, Any]] | None = None,
        details: Mapping[str, str] | None = None,
    ) -> str:
        """The page as text."""

    def __str__(self) -> str:
        width = max(len(name) for name in self.metrics)
        lines = [f"{'metric':<{width}}  {'value':>9}  {'noise':>9}"]
        for name, value in self.metrics.items():
            floor = self.noise_floor.get(name)
            shown = self.words.shown(name, value), "" if floor is None else self.words.shown(name, floor)
            lines.append(f"{name:<{width}}  {shown[0]:>9}  {shown[1]:>9}")
        return "\n".join([*lines, *(f"warning: {warning}" for warning in self.warnings)])

    def save(
        self,
        folder: str | Path,
        *,
        title: str | None = None,
        log: Sequence[Mapping[str, Any]] | None = None,
        details: Mapping[str, str] | None = None,
    ) -> Path:
        """Write metrics.json, a CSV with a row a sample and report.html into `folder` and return the path of
        report.html.

        `log` holds training records: "stage", "step", and numbers under any other key, each drawn as a curve.
        `details` is a table of facts about the model. report.html is one file that needs no network.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "metrics.json").write_text(
            json.dumps(self.as_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8"
        )
        # Names come from files, whose own need not be UTF-8.
        with open(folder / self.words.rows_file, "w", newline="", encoding="utf-8", errors="backslashreplace") as file:
            writer = csv.DictWriter(file, self.columns)
            writer.writeheader()
            writer.writerows(self.rows)
        page = folder / "report.html"
        text = self.render(title=title or f"Evaluation of generated {self.words.one}s", log=log, details=details)
        page.write_text(text, encoding="utf-8", errors="xmlcharrefreplace")
        return page

    def as_dict(self) -> dict[str, Any]:
        """The content of metrics.json: every metric by its name, then noise_floor, the details, settings and
        warnings."""
        return {
            **self.metrics,
            "noise_floor": self.noise_floor,
            **self.details,
            "settings": self.settings,
            "warnings": self.warnings,
        }


@dataclass(frozen=True, eq=False, kw_only=True)
class Report(Outcome):
    """What `evaluate` found.

    per_structure        one row a sample, with the keys of COLUMNS
    samples, reference   what was evaluated, for the drawings

    Among the details are missing classes, validity by size, and bond lengths by pair.
    """

    words = CRYSTALS

    per_structure: list[dict[str, Any]]
    samples: Sequence[Structure | None] = field(default=(), repr=False)
    reference: Sequence[Structure] = field(default=(), repr=False)

    @property
    def rows(self) -> list[dict[str, Any]]:
        return self.per_structure

    @property
    def columns(self) -> Sequence[str]:
        return COLUMNS

    def __str__(self) -> str:
        from graphgan.report.filtering import filtered_lines

        return "\n".join([super().__str__(), *filtered_lines(self)])

    def render(
        self,
        *,
        title: str,
        log: Sequence[Mapping[str, Any]] | None = None,
        details: Mapping[str, str] | None = None,
    ) -> str:
        from graphgan.report.page import render

        return render(self, title=title, log=log, details=details)
