"""Which crystals are asked for, and the random numbers of each.

Crystal number i of a seed is one crystal, whatever the n it is asked for with and whichever shard it is in: the random
numbers of every BLOCK crystals come from a generator of their own. That is Philox with the key (seed, number of the
block): a counter-based generator, whose keys are independent streams by design and none of which repeats another
(Salmon et al. 2011, doi:10.1145/2063384.2063405). torch's own generator would not do: on a CPU it keeps 32 bits of its
seed, so that among the blocks of some million crystals two would be equal. What the networks make of equal numbers may
differ in the last bits of float32, since the order of sums depends on what shares a batch.
"""

from __future__ import annotations

from operator import index as whole

import numpy as np
import torch
from torch import Tensor

from graphgan.errors import UserError

BLOCK = 64
"""Crystals whose random numbers are drawn together. A part of the meaning of a seed."""
MOST = 2**63 - 1
"""Crystals that can be asked for at once: their numbers are indices of the machine."""


class SamplingError(UserError):
    """Crystals that cannot be asked for."""


class Draw:
    """The random numbers of crystals by their numbers `rows`, drawn on the CPU: a seed means the same on every device.

    Every call gives each crystal its next numbers, [B, *shape] float32 on `device`.
    """

    def __init__(self, rows: range, seed: int, device: torch.device | str = "cpu") -> None:
        first, last = rows.start // BLOCK, -(-rows.stop // BLOCK)
        keys = [np.array([seed, block], dtype=np.uint64) for block in range(first, last)]
        self._blocks = [np.random.Generator(np.random.Philox(key=key)) for key in keys]
        self._part = slice(rows.start - first * BLOCK, rows.stop - first * BLOCK)
        self.device = device

    def __call__(self, *shape: int) -> Tensor:
        """Standard normal numbers."""
        drawn = [rng.standard_normal((BLOCK, *shape), np.float32) for rng in self._blocks]
        return torch.from_numpy(np.concatenate(drawn)[self._part]).to(self.device)

    def uniform(self) -> np.ndarray:
        """A number of [0, 1) for each crystal, float64 [B]."""
        return np.concatenate([rng.random(BLOCK) for rng in self._blocks])[self._part]


def asked_rows(n: int, seed: int, shard: tuple[int, int]) -> range:
    """The numbers of the crystals asked for; SamplingError where the question makes no sense."""
    rows = shard_rows(n, shard)
    if not 0 <= whole(seed) < 2**64:
        raise SamplingError(f"seed is {seed}, expected 0 or more and below 2**64")
    return rows


def shard_rows(n: int, shard: tuple[int, int]) -> range:
    """The numbers of the crystals in slice (i, k) of n, contiguous; SamplingError where there is no such slice,
    TypeError for what is no integer."""
    n, index, count = whole(n), whole(shard[0]), whole(shard[1])
    if n < 1:
        raise SamplingError(f"cannot sample {n} crystals")
    if n > MOST:
        raise SamplingError("cannot sample 2**63 crystals or more")
    if not 1 <= index <= count:
        raise SamplingError(f"shard is {index}/{count}, expected I/K with I from 1 to K, as in 2/4")
    rows = range(n * (index - 1) // count, n * index // count)
    if not rows:
        raise SamplingError(f"shard {index}/{count} of {n} crystals is empty")
    return rows
