"""The command line: `graphgan COMMAND --flags`. Parses, dispatches, and turns a user's mistake into one line."""

from __future__ import annotations

import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Never

from graphgan.cli.commands import Command
from graphgan.cli.parsing import COMMANDS, parse
from graphgan.errors import UserError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit code is 0, 2 for a user's mistake, 130 after an interrupt.

    SIGTERM raises SystemExit(143), so that unfinished files are removed; while it trains, training has its own say.
    """
    # Users meet one line of ours for a bad entry, not the libraries' many.
    warnings.filterwarnings("ignore", module=r"pymatgen|spglib|torch_geometric")
    warnings.filterwarnings("ignore", message="No Pauling electronegativity")
    words = list(sys.argv[1:] if arguments is None else arguments)
    command = None
    try:
        with _orderly_end():
            command = parse(words)
            return command.run()
    except KeyboardInterrupt:
        print("graphgan: interrupted", file=sys.stderr)
        return 130
    except UserError as error:
        print(f"graphgan: error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"graphgan: error: {_cause(error, command)}", file=sys.stderr)
        return 2


@contextmanager
def _orderly_end() -> Iterator[None]:
    """SIGTERM as SystemExit, where it would end the process on the spot; a handler of the caller's stays."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return

    def end(number: int, _: object) -> Never:
        signal.signal(number, signal.SIG_IGN)  # `timeout` and schedulers send it twice: cleaning up goes on
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _cause(error: OSError, command: Command | None) -> str:
    """File and cause in one line. A disk that is full does not say while writing what: then it was --out."""
    file = error.filename if error.filename is not None else getattr(command, "out", None)
    cause = error.strerror or str(error) or type(error).__name__
    return f"{file}: {cause}" if file is not None else cause


__all__ = ["COMMANDS", "main"]
