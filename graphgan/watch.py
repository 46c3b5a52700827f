"""Watch: notes on the device the first move of a player that came out NaN or infinite; knows no network."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor


@dataclasses.dataclass(frozen=True)
class Break:
    """A move that came out not finite: its number from 0, and what was found in it."""

    move: int
    loss: float
    norm: float


class Watch:
    """Sees every move's loss and gradient norm without asking the device for them: on a GPU, an answer waits for all
    work given to it.

    broken  scalar float32, 1 from the first move on that is not finite, before it 0. An optimiser that has it as
            `found_inf` (torch's fused ones) leaves weights and state alone from then on.
    """

    def __init__(self, device: torch.device) -> None:
        self.broken = torch.zeros((), device=device)
        self._seen = torch.zeros(3, dtype=torch.float64, device=device)  # moves, loss, norm; after a break, that of it

    def forget(self) -> None:
        """Begin again with move 0."""
        self.broken.zero_()
        self._seen.zero_()

    @torch.no_grad()
    def note(self, loss: Tensor, norm: Tensor) -> None:
        """Take loss and gradient norm of the next move."""
        now = torch.stack([self._seen[0] + 1, loss.detach().double(), norm.detach().double()])
        self._seen.copy_(torch.where(self.broken > 0, self._seen, now))
        self.broken.copy_(~torch.isfinite(self._seen).all())

    def look(self) -> Break | None:
        """The first move that was not finite, or None; waits for the device."""
        if not float(self.broken):
            return None
        moves, loss, norm = self._seen.tolist()
        return Break(int(moves) - 1, loss, norm)
