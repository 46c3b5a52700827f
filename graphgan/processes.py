"""One function over many items on all cores, in order; knows nothing of what the function does.

The workers are plain interpreters fed through pipes, not multiprocessing: they neither fork a process that may hold
torch threads or a CUDA context, nor import the user's script again, so a script needs no `if __name__ == "__main__"`.
"""

import os
import pickle
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from queue import SimpleQueue
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

PATIENCE = 1.0
"""Seconds of work alone before other cores are asked for help: starting them takes about a third of that."""


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_order(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    workers: int | None = None,
    patience: float | None = None,
    chunk: int = 50,
) -> Iterator[Result]:
    """`function` of every item, in the order of the items; what it raises is raised here.

    `function` is found by its name in the other processes (a functools.partial of such a function will do), and items
    and results must be picklable. `workers` is the number of processes, all cores by default. This process works alone
    for `patience` seconds (PATIENCE by default); only what needs longer is shared out, `chunk` items at a time. A
    function that the others cannot be sent or cannot find, as in a notebook, is called here for all items.

    Raises ValueError for fewer than one worker.
    """
    count = available_cores() if workers is None else workers
    if count < 1:
        raise ValueError(f"workers is {count}, expected at least 1")
    source = iter(items)
    enough = time.monotonic() + (PATIENCE if patience is None else patience)
    for item in source:
        yield function(item)
        if count > 1 and time.monotonic() > enough:
            break
    yield from _shared(function, iter(lambda: list(islice(source, chunk)), []), count)


def _shared(function: Callable[[Item], Result], chunks: Iterator[list[Item]], count: int) -> Iterator[Result]:
    first = next(chunks, None)
    if first is None:
        return
    idle: SimpleQueue[_Worker] = SimpleQueue()
    team = [_Worker() for _ in range(count)]
    for worker in team:
        idle.put(worker)

    def work(items: list[Item]) -> list[Result]:
        worker = idle.get()
        try:
            return worker.map(function, items)
        finally:
            idle.put(worker)

    pending: deque[Future[list[Result]]] = deque()
    try:
        with ThreadPoolExecutor(count) as pool:
            try:
                pending.append(pool.submit(work, first))
                while pending:
                    # A short queue keeps every worker busy without reading the whole input into memory.
                    for items in islice(chunks, 3 * count - len(pending)):
                        pending.append(pool.submit(work, items))
                    yield from pending.popleft().result()
            except BaseException:  # nobody wants the rest, and leaving the pool would wait for it
                for future in pending:
                    future.cancel()
                for worker in team:
                    worker.kill()
                raise
    finally:
        for worker in team:
            worker.stop()


class _Worker:
    """Another interpreter that maps what it is sent; when it cannot be had, this process does the work instead."""

    def __init__(self) -> None:
        path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
        command = [sys.executable, "-P", "-c", "from graphgan.processes import serve; serve()"]
        self._process: subprocess.Popen[bytes] | None = None
        self._wanted = True
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

    def map(self, function: Callable[[Any], Any], items: list[Any]) -> list[Any]:
        process = self._process
        if process is not None and process.stdin is not None and process.stdout is not None:
            try:
                process.stdin.write(pickle.dumps((function, items), pickle.HIGHEST_PROTOCOL))
                process.stdin.flush()
                results, error = pickle.load(process.stdout)
            except (OSError, EOFError, ValueError, AttributeError, TypeError, pickle.PickleError):
                if not self._wanted:
                    return []
                self.stop()
            else:
                if error is not None:
                    raise error
                return results
        return [function(item) for item in items]

    def kill(self) -> None:
        """Make a worker that is busy give up: what it was doing is not wanted any more."""
        self._wanted = False
        if self._process is not None:
            self._process.kill()

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def serve() -> None:
    """The loop of a worker process: a function and items in, (results, error) out, until the pipe is closed."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then stops its workers
    answers, sys.stdout = sys.stdout.buffer, sys.stderr
    while True:
        try:
            function, items = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            answer = pickle.dumps(([function(item) for item in items], None), pickle.HIGHEST_PROTOCOL)
        except Exception as error:
            answer = pickle.dumps((None, error), pickle.HIGHEST_PROTOCOL)
        answers.write(answer)
        answers.flush()
