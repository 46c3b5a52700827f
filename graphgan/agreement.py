"""Which few elements a crystal is made of: every atom votes, and the training set says how many there tend to be.

Atoms that each take their likeliest element disagree by little and often, and a binary crystal comes out with five
elements. So a crystal takes the set of elements S that is likeliest for all its atoms together,
    minimise over S:  Σ over atoms min over k in S of -log p(k | atom)  -  weight · log P(|S| | number of atoms),
and each atom the likeliest of S. With weight 1 that is the maximum a posteriori where atoms err independently; they do
not quite, so more may be better. Sets are grown one element at a time, each the one that saves most, and the best of
these sets is taken: as in facility location, Cornuéjols et al. (1977), doi:10.1287/mnsc.23.8.789.

Pure functions on tensors. Shapes: logits [B, N, K] of N atoms for K elements; mask [B, N] true for atoms.
"""

import math

import torch
from torch import Tensor

MOST_ELEMENTS = 8
"""Elements a crystal that agreement tells apart; what has more, in the training set or in a sample, counts as this."""
SMOOTHING = 5.0
"""Crystals of any size whose distribution is added to that of each size."""
_UNLIKELY = 50.0
"""Nats beyond which a vote against an element is no stronger."""


def element_costs(species: Tensor, num_atoms: Tensor) -> Tensor:
    """-log P(k elements | n atoms) for n = 0 ... N and k = 1 ... MOST_ELEMENTS, [N + 1, MOST_ELEMENTS] float32, of a
    training set of elements [n, N] (integers) and sizes [n]; `_UNLIKELY` where more elements than atoms.

    Sizes that are rare borrow from all others (`SMOOTHING`).
    """
    most = species.shape[1]
    atoms = torch.arange(most, device=species.device) < num_atoms[:, None]
    # Sorted, every element begins where its neighbour is another one; padding, -1, comes first and is none.
    kinds = species.to(torch.int16).masked_fill(~atoms, -1).sort(1).values
    begins = torch.cat([kinds[:, :1] >= 0, kinds[:, 1:] != kinds[:, :-1]], dim=1)
    distinct = begins.sum(1).clamp_max(MOST_ELEMENTS)
    flat = torch.bincount(num_atoms * MOST_ELEMENTS + distinct - 1, minlength=(most + 1) * MOST_ELEMENTS)
    counts = flat.view(most + 1, MOST_ELEMENTS).double().cpu()
    sizes, elements = torch.arange(most + 1)[:, None], torch.arange(1, MOST_ELEMENTS + 1)
    possible = (elements <= sizes).to(counts.dtype)
    anywhere = (counts.sum(0) + 1e-3) * possible
    smooth = counts + SMOOTHING * anywhere / anywhere.sum(1, keepdim=True).clamp_min(1e-12)
    share = smooth / smooth.sum(1, keepdim=True).clamp_min(1e-12)
    return -torch.log(share.clamp_min(math.exp(-_UNLIKELY))).float()


def agree(logits: Tensor, mask: Tensor, costs: Tensor) -> Tensor:
    """The logits with every element outside the crystal's set at -1e4; `costs` [B, M] are of sets of 1 ... M elements.

    Equivariant to the order of atoms, and blind to padding.
    """
    against = (-logits.log_softmax(-1)).clamp_max(_UNLIKELY) * mask[..., None]  # padding votes for nobody
    least = _UNLIKELY * mask.to(logits.dtype)  # [B, N], the vote against the best element so far
    order, totals = [], []
    for _ in range(min(logits.shape[1], costs.shape[1])):
        best = (least[..., None] - against).clamp_min(0).sum(1).argmax(-1)  # [B], the element that saves most
        least = torch.minimum(least, against.gather(2, best[:, None, None].expand(-1, logits.shape[1], 1))[..., 0])
        order.append(best)
        totals.append(least.sum(1))
    elements, sums = torch.stack(order, 1), torch.stack(totals, 1)  # [B, steps]
    count = (sums + costs[:, : sums.shape[1]]).argmin(1)
    # Sets grow: the set of k elements is the first k that were found. An element found twice saves nothing.
    taken = torch.arange(sums.shape[1], device=logits.device) <= count[:, None]
    chosen = torch.zeros_like(logits[:, 0]).scatter_add(1, elements, taken.to(logits.dtype)) > 0
    return logits.masked_fill(~chosen[:, None], -1e4)
