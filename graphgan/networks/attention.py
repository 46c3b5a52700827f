"""The set transformer that works on per-atom vectors: every atom attends to every atom, in no order."""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor, nn

MOST_ATOMS = 0.85
"""Share of a padded batch that may be atoms for packing to pay: above it, there is too little padding to leave out."""


@dataclasses.dataclass(frozen=True)
class Packing:
    """Where the atoms of a padded batch are, so that what is done to each atom alone is done to no padding.

    rows    [A]     places of the A atoms in the flattened batch [B * N]
    places  [B, N]  which of the A atoms is where; 0 on padding
    """

    rows: Tensor
    places: Tensor

    @classmethod
    def of(cls, mask: Tensor) -> Packing | None:
        """None where it does not pay, and on a GPU, which would have to be asked how many atoms there are."""
        if mask.is_cuda or torch.compiler.is_compiling() or int(mask.sum()) > MOST_ATOMS * mask.numel():
            return None
        rows = mask.flatten().nonzero()[:, 0]
        places = torch.zeros(mask.shape, dtype=torch.int64)
        places.view(-1)[rows] = torch.arange(len(rows))
        return cls(rows, places)

    def pack(self, x: Tensor) -> Tensor:
        """[B, N, ...] -> [A, ...]."""
        return x.flatten(0, 1)[self.rows]

    def spread(self, packed: Tensor) -> Tensor:
        """[A, ...] -> [B, N, ...]; on padding stands the first atom."""
        return packed[self.places]


class AttentionBlock(nn.Module):
    """Pre-norm self-attention and a feed-forward layer; Lee et al. (2019), arXiv:1810.00825.

    Attention is written out, since fused attention has no double backward and a critic's gradient penalty needs it.
    """

    def __init__(self, dim: int, heads: int, expansion: int = 2) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"{dim} features do not divide into {heads} heads")
        self.heads = heads
        self.norm_attention, self.norm_forward = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.query_key_value = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        self.forward_layers = nn.Sequential(nn.Linear(dim, expansion * dim), nn.SiLU(), nn.Linear(expansion * dim, dim))

    def forward(self, x: Tensor, bias: Tensor, packing: Packing | None = None) -> Tensor:
        """x [B, N, dim], or packed [A, dim]; bias [B, 1, 1, N] is added to the attention logits: -inf-like on
        padding."""
        seen = self.query_key_value(self.norm_attention(x))
        heads = (seen if packing is None else packing.spread(seen)).unflatten(-1, (3, self.heads, -1))
        query, key, value = heads.permute(2, 0, 3, 1, 4)  # each [B, heads, N, dim / heads]
        logits = query @ key.mT / math.sqrt(query.shape[-1]) + bias
        mixed = (logits.softmax(-1) @ value).transpose(1, 2).flatten(-2)
        x = x + self.out(mixed if packing is None else packing.pack(mixed))
        return x + self.forward_layers(self.norm_forward(x))


class SetTransformer(nn.Module):
    """Vectors [B, N, dim] -> vectors [B, N, dim], equivariant to the order of atoms, blind to padding."""

    def __init__(self, dim: int, layers: int, heads: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(AttentionBlock(dim, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        bias = torch.zeros(mask.shape, dtype=x.dtype, device=x.device).masked_fill(~mask, -1e4)[:, None, None]
        packing = Packing.of(mask)
        x = x if packing is None else packing.pack(x)
        for block in self.blocks:
            x = block(x, bias, packing)
        x = self.norm(x)
        return (x if packing is None else packing.spread(x)) * mask[..., None]


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Mean over the atoms of [B, N, dim] -> [B, dim]."""
    weights = mask.to(x.dtype)[..., None]
    return (x * weights).sum(1) / weights.sum(1)
