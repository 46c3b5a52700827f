"""From weights to decisions: how the logits of kinds become molecules that a critic can be asked about."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor
from torch.nn.functional import one_hot

HOW = ("softmax", "straight-through", "gumbel", "gumbel-straight-through")


@dataclasses.dataclass(frozen=True)
class Discretisation:
    """How logits [..., K] become weights [..., K] that sum to 1.

    softmax                  weights themselves; a critic sees them beside one-hot real ones
    straight-through         one-hot of the heaviest, with the gradient of the softmax; Bengio et al. (2013),
                             arXiv:1308.3432
    gumbel                   softmax with Gumbel noise: a soft draw; Jang et al. (2017), arXiv:1611.01144
    gumbel-straight-through  a draw, with the gradient of the soft one

    ValueError for another name or a temperature that is not positive.
    """

    how: str = "straight-through"
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if self.how not in HOW:
            raise ValueError(f"{self.how!r} is no way to decide; there are {', '.join(HOW)}")
        if not self.temperature > 0:
            raise ValueError(f"temperature is {self.temperature}, expected more than 0")

    @property
    def draws(self) -> bool:
        """Whether uniform numbers are needed."""
        return self.how.startswith("gumbel")

    def __call__(self, logits: Tensor, uniform: Tensor | None = None) -> Tensor:
        """Weights of the logits; `uniform` in [0, 1), of the shape of the logits, where `draws`."""
        if self.draws:
            if uniform is None:
                raise ValueError(f"{self.how} needs uniform numbers")
            logits = logits + gumbel(uniform)
        weights = (logits / self.temperature).softmax(-1)
        return straight_through(weights) if self.how.endswith("straight-through") else weights

    def final(self, logits: Tensor, uniform: Tensor | None = None) -> Tensor:
        """The kinds [...] decided on, without gradient: a draw where training drew, the heaviest otherwise."""
        return (logits + gumbel(uniform) if self.draws and uniform is not None else logits).argmax(-1)


def gumbel(uniform: Tensor) -> Tensor:
    """Numbers of the Gumbel distribution from uniform ones; an argmax of logits plus these is a draw of the softmax."""
    tiny = torch.finfo(uniform.dtype).tiny
    return -torch.log((-torch.log(uniform.clamp_min(tiny))).clamp_min(tiny))


def straight_through(weights: Tensor) -> Tensor:
    """One-hot of the heaviest with the gradient of the weights."""
    hard = one_hot(weights.argmax(-1), weights.shape[-1]).to(weights.dtype)
    return hard + weights - weights.detach()
