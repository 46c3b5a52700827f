"""The outcome of an evaluation: numbers, a row a sample, and the three files that hold them."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphgan.report.explanations import EXPLANATIONS
from graphgan.report.rows import COLUMNS

if TYPE_CHECKING:
    from pymatgen.core import Structure


@dataclass(frozen=True, eq=False)
class Report:
    """What `evaluate` found.

    metrics         numbers by name; what was not computed is absent
    noise_floor     what real crystals score on the same distances, by name: differences below it are noise
    per_structure   one row a sample, with the keys of COLUMNS
    warnings        sentences to read before the numbers
    settings        tolerances, seed and sizes that the numbers depend on
    details         what is more than a number: missing classes, validity by size, bond lengths by pair
    distributions   values behind the distances: {"generated": {...}, "reference": {...}}
    samples, reference   what was evaluated, for the drawings
    """

    metrics: dict[str, float]
    per_structure: list[dict[str, Any]]
    warnings: list[str]
    settings: dict[str, Any]
    noise_floor: dict[str, float] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict, repr=False)
    distributions: dict[str, dict[str, list]] = field(default_factory=dict, repr=False)
    samples: Sequence[Structure | None] = field(default=(), repr=False)
    reference: Sequence[Structure] = field(default=(), repr=False)

    def __str__(self) -> str:
        width = max(len(name) for name in self.metrics)
        lines = [f"{'metric':<{width}}  {'value':>9}  {'noise':>9}"]
        for name, value in self.metrics.items():
            floor = self.noise_floor.get(name)
            shown = format_value(name, value), "" if floor is None else format_value(name, floor)
            lines.append(f"{name:<{width}}  {shown[0]:>9}  {shown[1]:>9}")
        return "\n".join([*lines, *(f"warning: {warning}" for warning in self.warnings)])

    def save(
        self,
        folder: str | Path,
        *,
        title: str = "Evaluation of generated crystals",
        log: Sequence[Mapping[str, Any]] | None = None,
        details: Mapping[str, str] | None = None,
    ) -> Path:
        """Write metrics.json, per_structure.csv and report.html into `folder` and return the path of
        report.html.

        `log` holds training records: "stage", "step", and numbers under any other key, each drawn as a curve.
        `details` is a table of facts about the model. report.html is one file that needs no network.
        """
        from graphgan.report.page import render

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "metrics.json").write_text(
            json.dumps(self.as_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8"
        )
        # Names come from files, whose own need not be UTF-8.
        rows = folder / "per_structure.csv"
        with open(rows, "w", newline="", encoding="utf-8", errors="backslashreplace") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(self.per_structure)
        page = folder / "report.html"
        page.write_text(
            render(self, title=title, log=log, details=details), encoding="utf-8", errors="xmlcharrefreplace"
        )
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


def format_value(name: str, value: float) -> str:
    """A metric as text: shares in percent, counts whole, distances with four digits."""
    kind = EXPLANATIONS[name].kind if name in EXPLANATIONS else "number"
    if kind == "share":
        return f"{100 * value:.2f} %"
    if kind == "count":
        return f"{value:.0f}"
    return f"{value:.4g}"
