"""Ranks: processes that train one run together, what they agree on and how; knows torch.distributed, no training.

Alone, every function here does nothing and costs nothing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor

from graphgan.errors import UserError

PATIENCE = timedelta(days=2)
"""How long a process waits for the others: longer than any evaluation, for which all wait. torchrun ends the others
where one dies; its limits of 10 and 30 minutes are for jobs without such a keeper."""


class RankError(UserError):
    """Processes that cannot train together, or no longer can."""


@dataclasses.dataclass(frozen=True)
class Ranks:
    """The place of this process among `size`: `rank` 0 writes and speaks."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes and speaks for all."""
        return self.rank == 0

    def batch_size(self, wanted: int, available: int) -> int:
        """Items in a batch of all processes together, as many for each: `wanted`, or what a smaller set has.

        RankError if `wanted` does not divide, or if there are fewer items than processes.
        """
        if wanted % self.size:
            raise RankError(f"a batch_size of {wanted} does not divide among {self.size} processes")
        if available < self.size:
            raise RankError(f"{available} items are too few for {self.size} processes")
        return min(wanted, available - available % self.size)

    def any(self, flag: bool) -> bool:
        """Whether any process says so: the same answer for all, who wait for each other, but for no GPU."""
        if self.size == 1:
            return flag
        said = torch.tensor(int(flag))
        with _together() as distributed:
            distributed.all_reduce(said, distributed.ReduceOp.MAX)
        return bool(said)

    def mean_(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors by their means over the processes, in one message."""
        if self.size == 1 or not tensors:
            return
        flat = torch.cat([t.detach().flatten() for t in tensors])
        with _together() as distributed:
            distributed.all_reduce(flat)
        flat /= self.size
        with torch.no_grad():
            for tensor, part in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
                tensor.copy_(part.view_as(tensor))

    def mean(self, tensor: Tensor) -> Tensor:
        """The mean of a tensor over the processes, as floating point; alone, the tensor itself."""
        if self.size == 1:
            return tensor
        found = tensor.detach().to(torch.promote_types(tensor.dtype, torch.get_default_dtype()), copy=True)
        self.mean_([found])
        return found

    def broadcast_(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors by those of the first process."""
        if self.size == 1:
            return
        with _together() as distributed, torch.no_grad():
            for tensor in tensors:
                distributed.broadcast(tensor, 0)

    def leave(self) -> None:
        """Part in peace: only where all processes have come to the same end."""
        if self.size > 1:
            torch.distributed.destroy_process_group()


ALONE = Ranks()


def announced() -> Ranks:
    """The place that torchrun gave this process, by its environment variables; ALONE without them."""
    names = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    if not all(name in os.environ for name in names):
        return ALONE
    return Ranks(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))


def join(device: torch.device) -> Ranks:
    """Meet the processes that torchrun started; ALONE where there are none. On GPUs, each takes that of its LOCAL_RANK.

    CPU tensors go through gloo and GPU tensors through nccl. RankError where there are fewer GPUs than processes.
    """
    ranks = announced()
    if ranks.size == 1:
        return ALONE
    if device.type == "cuda":
        local, count = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
        if local >= count:
            raise RankError(f"process {local + 1} of this machine has no GPU: torch finds {count}")
        torch.cuda.set_device(local)
    if not torch.distributed.is_initialized():
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        with _together() as distributed:
            distributed.init_process_group(backend, timeout=PATIENCE)
    return ranks


@contextlib.contextmanager
def _together() -> Iterator[Any]:
    """torch.distributed, with what it raises when a process is gone in one line."""
    try:
        yield torch.distributed
    except RuntimeError as error:
        cause = str(error).strip().splitlines()[0][:160]
        raise RankError(f"lost touch with the other processes of this run ({cause})") from error
