"""Latents: a frozen batch of per-atom latent vectors, the space in which the default game is played."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from graphgan.draws import normal
from graphgan.graph_tensor import atom_mask


def size_of(num_atoms: Tensor, condition: Tensor | None, dtype: torch.dtype) -> Tensor:
    """What is known of a crystal before its atoms [B, 1 + C]: log of the atom count, and the condition."""
    size = torch.log(num_atoms.to(dtype))[:, None]
    return size if condition is None else torch.cat([size, condition], dim=-1)


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Latents:
    """B crystals as latent vectors of their atoms, padded to N atoms.

    values     [B, N, D]  latent vectors, 0 on padding
    num_atoms  [B]        int64
    condition  [B, C]     what to condition on, or None
    """

    values: Tensor
    num_atoms: Tensor
    condition: Tensor | None = None

    def __post_init__(self) -> None:
        if self.values.ndim != 3 or self.num_atoms.shape != self.values.shape[:1]:
            shapes = f"values {tuple(self.values.shape)}, num_atoms {tuple(self.num_atoms.shape)}"
            raise ValueError(f"{shapes}: expected [B, N, D] and [B]")

    def __len__(self) -> int:
        return len(self.num_atoms)

    def __getitem__(self, index: Tensor | slice | Sequence[int]) -> Latents:
        condition = None if self.condition is None else self.condition[index]
        return Latents(values=self.values[index], num_atoms=self.num_atoms[index], condition=condition)

    def replace(self, **fields: Tensor | None) -> Latents:
        """A copy with some fields replaced."""
        return dataclasses.replace(self, **fields)  # type: ignore[arg-type]

    def detach(self) -> Latents:
        """A copy without gradient history."""
        return self.replace(values=self.values.detach())

    def trim(self) -> Latents:
        """The same crystals with no more padding than the largest needs."""
        return self.replace(values=self.values[:, : int(self.num_atoms.max())])

    @cached_property
    def mask(self) -> Tensor:
        """[B, N] true for atoms, false for padding."""
        return atom_mask(self.num_atoms, self.values.shape[1])

    @property
    def size(self) -> Tensor:
        """`size_of` these crystals."""
        return size_of(self.num_atoms, self.condition, self.values.dtype)

    def blur(self, spread: Tensor, rng: torch.Generator) -> Latents:
        """The same crystals with normal noise of standard deviation `spread` on every atom, [D] or [B, N, D]."""
        noise = normal(*self.values.shape, rng=rng, dtype=self.values.dtype)
        return self.replace(values=self.values + spread * noise * self.mask[:, :, None])

    def coordinates(self) -> tuple[Tensor, ...]:
        """What a game differentiates: the values."""
        return (self.values,)

    def with_coordinates(self, values: Tensor) -> Latents:
        """The same crystals with other latent vectors."""
        return self.replace(values=values)

    def join(self, other: Latents) -> Latents:
        """Both batches as one; they share their padding."""
        if (self.condition is None) != (other.condition is None):
            raise ValueError("cannot join batches with and without a condition")
        condition = None
        if self.condition is not None and other.condition is not None:
            condition = torch.cat([self.condition, other.condition])
        values, num_atoms = torch.cat([self.values, other.values]), torch.cat([self.num_atoms, other.num_atoms])
        return Latents(values=values, num_atoms=num_atoms, condition=condition)

    def interpolate(self, other: Latents, t: Tensor) -> Latents:
        """The point a share t [B] of the way to `other`, atom by atom; ValueError unless num_atoms are equal."""
        # Asked of the numbers only where it must be: on a GPU, the answer waits for all work given to it.
        if self.num_atoms is not other.num_atoms and not torch.equal(self.num_atoms, other.num_atoms):
            raise ValueError("interpolation needs pairs with equal num_atoms")
        return self.replace(values=torch.lerp(self.values, other.values, t[:, None, None].to(self.values.dtype)))

    def dual_norm(self, gradients: Sequence[Tensor]) -> Tensor:
        """Norm [B] of a critic's gradient, dual to d² = mean over atoms of |dvalues|²: independent of the number of
        atoms."""
        (gradient,) = gradients
        total = self.num_atoms * (gradient * self.mask[:, :, None]).square().sum((1, 2))
        return torch.sqrt(total + 1e-12)


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Posterior:
    """What an encoder says of B crystals: a normal distribution for every atom's latent vector.

    mean          [B, N, D]  0 on padding
    log_variance  [B, N, D]  0 on padding
    num_atoms     [B]        int64
    condition     [B, C]     or None
    largest       the atoms that a sample keeps, where somebody knows that no crystal has more; None keeps the padding
    """

    mean: Tensor
    log_variance: Tensor
    num_atoms: Tensor
    condition: Tensor | None = None
    largest: int | None = None

    def __len__(self) -> int:
        return len(self.num_atoms)

    def __getitem__(self, index: Tensor | slice | Sequence[int]) -> Posterior:
        rows = {name: getattr(self, name)[index] for name in ("mean", "log_variance", "num_atoms")}
        condition = None if self.condition is None else self.condition[index]
        return dataclasses.replace(self, **rows, condition=condition)

    @cached_property
    def mask(self) -> Tensor:
        """[B, N] true for atoms, false for padding."""
        return atom_mask(self.num_atoms, self.mean.shape[1])

    def latents(self) -> Latents:
        """The means."""
        return Latents(values=self.mean, num_atoms=self.num_atoms, condition=self.condition)

    def sample(self, rng: torch.Generator) -> Latents:
        """A draw, differentiable in mean and log-variance; Kingma & Welling (2014), arXiv:1312.6114."""
        drawn = self.latents().blur(torch.exp(0.5 * self.log_variance), rng)
        return drawn.replace(values=drawn.values[:, : self.largest])

    def spread(self) -> Tensor:
        """Standard deviation [D] of the noise, root mean square over the atoms."""
        return self.log_variance[self.mask].exp().mean(0).sqrt()

    def log_density(self, values: Tensor) -> Tensor:
        """Log of the density of atoms' latent vectors [B, N, D], in nats [B, N]."""
        squared = (values - self.mean).square() * torch.exp(-self.log_variance)
        return -0.5 * (squared + self.log_variance + math.log(2 * math.pi)).sum(-1)

    def kl(self, atoms: Tensor | None = None) -> Tensor:
        """KL divergence from the standard normal in nats, mean over the atoms of the batch; scalar. `atoms` is their
        number, where it is known."""
        per_number = self.mean.square() + self.log_variance.exp() - 1 - self.log_variance
        return 0.5 * (per_number.sum(-1) * self.mask).sum() / (self.mask.sum() if atoms is None else atoms)


class PosteriorSet:
    """The posteriors of a data set, on its device. A batch asked for by an index on the host keeps, in its samples, no
    more padding than its largest crystal needs; one asked for on a GPU keeps all, and no shape depends on the index."""

    def __init__(self, posterior: Posterior) -> None:
        self.posterior, self.num_atoms = posterior, posterior.num_atoms.cpu()

    def __len__(self) -> int:
        return len(self.posterior)

    def __getitem__(self, index: Tensor) -> Posterior:
        rows = self.posterior[index.to(self.posterior.mean.device, non_blocking=True)]
        return rows if index.is_cuda else dataclasses.replace(rows, largest=int(self.num_atoms[index].max()))
