"""A progress bar that appears only when work takes long; knows nothing of the work."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")
Extent = int | Callable[[], float] | None
"""How much there is to do: the number of items, or a function that says which share of all is done, or unknown."""

PATIENCE = 2.0
"""Seconds of work before a bar is shown."""


def with_bar(items: Iterable[Item], title: str, total: Extent = None, shown: bool = True) -> Iterator[Item]:
    """The items, under a bar on standard error once they have taken `PATIENCE` seconds; never a bar unless
    `shown`.
    """
    if not shown:
        yield from items
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    share = total if callable(total) else None
    length = 1.0 if callable(total) else total
    begun, bar, task = time.monotonic(), None, None
    try:
        for done, item in enumerate(items, 1):
            if bar is None and time.monotonic() - begun > PATIENCE:
                columns = (
                    TextColumn("{task.description}"),
                    BarColumn(),
                    TextColumn("{task.fields[count]}" + (f"/{total}" if isinstance(total, int) else "")),
                    TimeRemainingColumn(),
                )
                bar = Progress(*columns, console=Console(stderr=True))
                task = bar.add_task(title, total=length, count=done)
                bar.start()
            if bar is not None and task is not None:
                bar.update(task, completed=share() if share else done, count=done)
            yield item
    finally:
        if bar is not None:
            bar.stop()
