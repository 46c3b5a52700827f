"""The outcome of an evaluation of molecules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from graphgan.report.molecule_explanations import MOLECULES
from graphgan.report.molecule_rows import COLUMNS
from graphgan.report.result import Outcome


@dataclass(frozen=True, eq=False, kw_only=True)
class MoleculeReport(Outcome):
    """What `evaluate_molecules` found.

    per_molecule  one row a sample, with the keys of `columns`
    rewards       names, each a column reward_NAME
    reference     canonical SMILES of the real molecules that entered distances

    Among the details are failures by kind and the most repeated molecules.
    """

    words = MOLECULES

    per_molecule: list[dict[str, Any]]
    rewards: tuple[str, ...] = ()
    reference: Sequence[str] = field(default=(), repr=False)

    @property
    def rows(self) -> list[dict[str, Any]]:
        return self.per_molecule

    @property
    def columns(self) -> Sequence[str]:
        return (*COLUMNS, *(f"reward_{name}" for name in self.rewards))

    def render(
        self,
        *,
        title: str,
        log: Sequence[Mapping[str, Any]] | None = None,
        details: Mapping[str, str] | None = None,
    ) -> str:
        from graphgan.report.molecule_page import render

        return render(self, title=title, log=log, details=details)
