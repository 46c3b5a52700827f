"""Direction matrices -> positions: each atom says where all the others are, and the proposals are averaged.

From directions D, atom i proposes x_j = x_i + D_ij for every j. Positions live on a torus, where an ordinary mean is
wrong (a plain mean of wrapped numbers is as bad as a random guess), so the N proposals meet in a circular mean, and the
averaging repeats in rounds: x_j <- circular mean over i of (x_i + D_ij). Its limit for many rounds is close to
angular synchronisation, the top eigenvector of exp(2πi D); Singer (2011), doi:10.1016/j.acha.2010.02.001.

Pure functions on tensors. Shapes: directions [B, 3, N, N] with directions[b, k, i, j] = fractional coordinate k of atom
j as seen from atom i; mask [B, N] true for atoms; positions [B, N, 3].
"""

import torch
from torch import Tensor

from graphgan.geometry import TAU, wrap


def directions_from_positions(frac_coords: Tensor, mask: Tensor) -> Tensor:
    """Consistent directions [B, 3, N, N] in [-1/2, 1/2) of fractional coordinates [B, N, 3]; zero on padding."""
    x = frac_coords.mT  # [B, 3, N]
    delta = wrap(x[:, :, None, :] - x[:, :, :, None])
    return delta * _pairs(mask, delta.dtype)


def antisymmetrise(directions: Tensor) -> Tensor:
    """The circular mean of D and -Dᵀ, in [-1/2, 1/2): what atom j says of i counts as much as what i says of j."""
    half_way = directions + 0.5 * wrap(-directions.mT - directions)
    return wrap(half_way)


def positions_from_directions(directions: Tensor, mask: Tensor, rounds: int = 3) -> Tensor:
    """Fractional coordinates [B, N, 3] in [-1/2, 1/2] by averaging every atom's proposals in `rounds` rounds.

    Starts from the map of the atom with which the others agree most, so that neither the order of the atoms nor the
    choice of an anchor enters; that atom sits at the origin of the first map. Exact (up to one common translation) for
    consistent directions, differentiable, zero on padding. `rounds=0` returns that first map.
    """
    if rounds < 0:
        raise ValueError(f"rounds is {rounds}, expected 0 or more")
    angle = TAU * antisymmetrise(directions)
    pairs = _pairs(mask, directions.dtype)
    cos, sin = torch.cos(angle) * pairs, torch.sin(angle) * pairs  # exp(2πi D), zero on padding
    anchor = _central_atom(cos.detach(), sin.detach(), mask)
    row = anchor[:, None, None, None].expand(-1, 3, 1, cos.shape[-1])
    x_cos, x_sin = cos.gather(2, row), sin.gather(2, row)  # [B, 3, 1, N]
    for _ in range(rounds):
        new_cos = x_cos @ cos - x_sin @ sin
        new_sin = x_cos @ sin + x_sin @ cos
        # Only the direction of the mean counts; unit length keeps float32 safe and the rounds comparable.
        norm = torch.sqrt(new_cos.square() + new_sin.square() + 1e-12)
        x_cos, x_sin = new_cos / norm, new_sin / norm
    # On padding both are zero, where atan2 has no gradient: move the cosine to 1 there.
    atoms = mask[:, None, None, :]
    turns = torch.atan2(x_sin, torch.where(atoms, x_cos, torch.ones_like(x_cos))) / TAU
    return (turns * atoms)[:, :, 0].mT


def synchronise(directions: Tensor, mask: Tensor) -> Tensor:
    """Fractional coordinates [B, N, 3] by angular synchronisation (Singer 2011); for comparison with averaging.

    The phases of the top eigenvector of the Hermitian matrix exp(2πi D); eigenvectors cost more than rounds and their
    gradient fails where eigenvalues meet.
    """
    angle = TAU * antisymmetrise(directions)
    matrix = torch.polar(_pairs(mask, directions.dtype).expand_as(angle).contiguous(), angle)
    top = torch.linalg.eigh(matrix).eigenvectors[..., -1]  # [B, 3, N]; exp(2πi D) = conj(u) uᵀ
    positions = -torch.angle(top) / TAU
    return (positions * mask[:, None]).mT


def consistency(directions: Tensor, mask: Tensor, rounds: int = 3) -> Tensor:
    """How far directions are from being differences of positions: RMS over pairs and axes, fractional, [B].

    0 for consistent directions; about 0.29 (1/√12) for random ones. Crystals with one atom give 0.
    """
    positions = positions_from_directions(directions, mask, rounds)
    residual = wrap(directions - directions_from_positions(positions, mask))
    off_diagonal = _pairs(mask, directions.dtype) * (1 - torch.eye(mask.shape[1], device=mask.device))
    count = (3 * off_diagonal.sum((1, 2, 3))).clamp_min(1)
    return ((residual.square() * off_diagonal).sum((1, 2, 3)) / count).sqrt()


def _pairs(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """1 where both are atoms, [B, 1, N, N]."""
    return (mask[:, None, :, None] & mask[:, None, None, :]).to(dtype)


def _central_atom(cos: Tensor, sin: Tensor, mask: Tensor) -> Tensor:
    """Index [B] of the atom whose map agrees best with the two-step maps i -> k -> j of all others."""
    two_cos = cos @ cos - sin @ sin
    two_sin = cos @ sin + sin @ cos
    agreement = (cos * two_cos + sin * two_sin).sum((1, 3))  # [B, N]
    # Three atoms form one triangle and always tie; what each sees breaks the tie without looking at their order.
    agreement = agreement + 1e-3 * (cos + sin).sum((1, 3))
    return agreement.masked_fill(~mask, -torch.inf).argmax(1)
