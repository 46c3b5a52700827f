"""The command line: `graphgan COMMAND --flags`. Parses, dispatches, and turns a user's mistake into one line."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence

from graphgan.cli.commands import COMMANDS, parse
from graphgan.errors import UserError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit code is 0, 2 for a user's mistake, 130 after an interrupt."""
    # Users meet one line of ours for a bad entry, not the libraries' many.
    warnings.filterwarnings("ignore", module=r"pymatgen|spglib|torch_geometric")
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return parse(words).run()
    except KeyboardInterrupt:
        print("graphgan: interrupted", file=sys.stderr)
        return 130
    except UserError as error:
        print(f"graphgan: error: {error}", file=sys.stderr)
        return 2


__all__ = ["COMMANDS", "main"]
