"""Random numbers for the items of a batch, of which this process may hold only a part; knows generators, no crystals.

Several processes that train together (`Share`) hold the rows rank, rank + size, rank + 2 size ... of every batch and
generators in one state. Each draws for the whole batch and keeps its rows: so two processes play the game that one
process plays with the whole batch, number for number.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from graphgan.ranks import ALONE, Ranks


class Share(torch.Generator):
    """A torch.Generator of one of several processes that share every batch. They must have equal states and make equal
    draws; what draws for its own rows with torch alone keeps that, but gets the same numbers in every process."""

    def __new__(cls, device: torch.device | str = "cpu", ranks: Ranks = ALONE) -> Share:
        return super().__new__(cls, device)  # type: ignore[call-arg]

    def __init__(self, device: torch.device | str = "cpu", ranks: Ranks = ALONE) -> None:
        self.ranks = ranks


def ranks_of(rng: torch.Generator) -> Ranks:
    """Who shares the batches that `rng` draws for."""
    return rng.ranks if isinstance(rng, Share) else ALONE


def normal(*shape: int, rng: torch.Generator, dtype: torch.dtype | None = None) -> Tensor:
    """Standard normal numbers [B, ...] for the B items held here, on the device of rng."""
    first, *rest = shape
    ranks = ranks_of(rng)
    drawn = torch.randn(first * ranks.size, *rest, generator=rng, device=rng.device, dtype=dtype)
    return drawn[ranks.rank :: ranks.size]


def uniform(n: int, rng: torch.Generator) -> Tensor:
    """A number of [0, 1) for each of the n items held here [n], on the device of rng."""
    ranks = ranks_of(rng)
    return torch.rand(n * ranks.size, generator=rng, device=rng.device)[ranks.rank :: ranks.size]


def fair(count: Tensor, rng: torch.Generator) -> Tensor:
    """What a sum over parts of items (atoms, pairs) is divided by for a mean over the whole batch: the mean of `count`
    over the processes, since their losses are averaged in turn. Alone, `count`."""
    return ranks_of(rng).mean(count)


class Dropout(nn.Module):
    """Leaves out a share of the features and enlarges the rest to match; the identity in eval mode.

    Masks come from a generator seeded by `seed` and the number of calls so far, which is in the state dict: a run that
    is resumed goes on in them, and torch's own generator stays as it is. Processes that share a batch leave out the
    same features of their own rows.
    """

    calls: Tensor

    def __init__(self, share: float, seed: int = 0) -> None:
        super().__init__()
        self.share, self.seed = share, seed
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        # On a CPU, torch looks at 32 bits of a seed.
        rng = torch.Generator(x.device).manual_seed((0x9E3779B9 * self.seed + int(self.calls)) % 2**32)
        self.calls += 1
        kept = torch.rand(x.shape, generator=rng, device=x.device) >= self.share
        return x * kept / (1 - self.share)
