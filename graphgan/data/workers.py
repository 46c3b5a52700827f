"""Parsing entries on all cores, in order; knows nothing of what an entry means.

The workers are plain interpreters fed through pipes, not multiprocessing: they neither fork a process that
may hold torch threads or a CUDA context, nor import the user's script again, so a script needs no `if
__name__ == "__main__"`.
"""

import os
import pickle
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from queue import SimpleQueue
from typing import Any

from graphgan.data.entries import Entry, Options, Outcome, parse_entries

PATIENCE = 1.0
"""Seconds of parsing alone before other cores are asked for help: starting them takes about a third of that.
"""
_CHUNK = 50


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def parse_all(
    entries: Iterable[Entry], options: Options, workers: int | None = None, patience: float = PATIENCE
) -> Iterator[tuple[Entry, Outcome]]:
    """Every entry with its outcome, in order. Raises ValueError for fewer than one worker.

    `workers` is the number of processes, all cores by default. This process parses alone for `patience`
    seconds; only inputs that need longer are shared out.
    """
    count = available_cores() if workers is None else workers
    if count < 1:
        raise ValueError(f"workers is {workers}, expected at least 1")
    source = iter(entries)
    chunks = iter(lambda: list(islice(source, _CHUNK)), [])
    begun = time.monotonic()
    for chunk in chunks:
        yield from zip(chunk, parse_entries(_contents(chunk), options), strict=True)
        if count > 1 and time.monotonic() - begun > patience:
            break
    yield from _shared(chunks, options, count)


def _contents(chunk: list[Entry]) -> list[tuple[str, Any]]:
    return [(entry.kind, entry.content) for entry in chunk]


def _shared(chunks: Iterator[list[Entry]], options: Options, count: int) -> Iterator[tuple[Entry, Outcome]]:
    first = next(chunks, None)
    if first is None:
        return
    idle: SimpleQueue[_Worker] = SimpleQueue()
    team = [_Worker() for _ in range(count)]
    for worker in team:
        idle.put(worker)

    def parse(chunk: list[Entry]) -> list[Outcome]:
        worker = idle.get()
        try:
            return worker.parse(_contents(chunk), options)
        finally:
            idle.put(worker)

    pending: deque[tuple[list[Entry], Future[list[Outcome]]]] = deque()
    try:
        with ThreadPoolExecutor(count) as pool:
            pending.append((first, pool.submit(parse, first)))
            while pending:
                # A short queue keeps every worker busy without reading the whole input into memory.
                for chunk in islice(chunks, 3 * count - len(pending)):
                    pending.append((chunk, pool.submit(parse, chunk)))
                chunk, future = pending.popleft()
                yield from zip(chunk, future.result(), strict=True)
    finally:
        for worker in team:
            worker.stop()


class _Worker:
    """Another interpreter that parses what it is sent; when it cannot be had, this process parses instead."""

    def __init__(self) -> None:
        path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
        command = [sys.executable, "-P", "-c", "from graphgan.data.workers import serve; serve()"]
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            )
        except OSError:
            self._process = None

    def parse(self, items: list[tuple[str, Any]], options: Options) -> list[Outcome]:
        process = self._process
        if process is not None and process.stdin is not None and process.stdout is not None:
            try:
                pickle.dump((items, options), process.stdin, pickle.HIGHEST_PROTOCOL)
                process.stdin.flush()
                return pickle.load(process.stdout)
            except (OSError, EOFError, ValueError, pickle.UnpicklingError):
                self.stop()
        return parse_entries(items, options)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def serve() -> None:
    """The loop of a worker process: lists of contents in, lists of outcomes out, until the pipe is closed."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then stops its workers
    answers, sys.stdout = sys.stdout.buffer, sys.stderr
    while True:
        try:
            items, options = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        pickle.dump(parse_entries(items, options), answers, pickle.HIGHEST_PROTOCOL)
        answers.flush()
