"""Torus and lattice mathematics as pure functions on tensors; knows nothing of crystals, files or networks.

Symbols: fractional numbers live on the torus R/Z; a lattice is a matrix [..., 3, 3] whose rows a, b, c are in Å, so
that cartesian = fractional @ lattice. The *log-metric* of a lattice L is 1/2 log(L Lᵀ), a symmetric matrix written as
six numbers (xx, yy, zz, yz, xz, xy). It forgets the orientation of the cell in space, every six numbers are a valid
cell, and a straight line in it never meets a flat one: mixing lattice matrices entry by entry does.
"""

import math

import torch
from torch import Tensor

TAU = 2 * math.pi
_ROWS = (0, 1, 2, 1, 0, 0)
_COLS = (0, 1, 2, 2, 2, 1)


def wrap(delta: Tensor) -> Tensor:
    """The image of fractional differences [...] in [-1/2, 1/2); gradient 1."""
    return delta - torch.floor(delta + 0.5)


def circular_mean(x: Tensor, weights: Tensor | None = None, dim: int = -1) -> Tensor:
    """Mean direction of fractional numbers on the torus along `dim`, in [-1/2, 1/2].

    The argument of the (weighted) mean of exp(2πi x); Mardia & Jupp, Directional Statistics (2000),
    doi:10.1002/9780470316979.
    """
    cos, sin = torch.cos(TAU * x), torch.sin(TAU * x)
    if weights is not None:
        cos, sin = cos * weights, sin * weights
    return torch.atan2(sin.sum(dim), cos.sum(dim)) / TAU


def symmetric_from_six(six: Tensor) -> Tensor:
    """Six numbers [..., 6] (xx, yy, zz, yz, xz, xy) -> symmetric matrix [..., 3, 3]."""
    index = torch.tensor([0, 5, 4, 5, 1, 3, 4, 3, 2], device=six.device)
    return six[..., index].unflatten(-1, (3, 3))


def six_from_symmetric(matrix: Tensor) -> Tensor:
    """Symmetric matrix [..., 3, 3] -> six numbers [..., 6] (xx, yy, zz, yz, xz, xy)."""
    return matrix[..., _ROWS, _COLS]


@torch.no_grad()
def log_metric(lattice: Tensor) -> Tensor:
    """1/2 log(L Lᵀ) of lattices [..., 3, 3] in Å as six numbers [..., 6].

    Carries no gradient: an eigendecomposition has none where eigenvalues repeat, as in every cubic cell. Whatever must
    be differentiated starts from the log-metric and goes to the lattice (`lattice_from_log_metric`).
    """
    values, vectors = torch.linalg.eigh(lattice @ lattice.mT)
    logs = 0.5 * torch.log(values.clamp_min(torch.finfo(lattice.dtype).tiny))
    return six_from_symmetric((vectors * logs[..., None, :]) @ vectors.mT)


def lattice_from_log_metric(six: Tensor) -> Tensor:
    """The symmetric lattice exp(S) [..., 3, 3] in Å whose log-metric is `six` [..., 6]; volume exp(trace S) > 0."""
    return torch.linalg.matrix_exp(symmetric_from_six(six))


def lengths_and_cosines(lattice: Tensor) -> tuple[Tensor, Tensor]:
    """Lengths a, b, c [..., 3] in Å and cosines of α, β, γ [..., 3] of lattices [..., 3, 3]."""
    lengths = torch.linalg.vector_norm(lattice, dim=-1)
    unit = lattice / lengths[..., None]
    cosines = torch.stack([(unit[..., i, :] * unit[..., j, :]).sum(-1) for i, j in ((1, 2), (0, 2), (0, 1))], dim=-1)
    return lengths, cosines


def volume(lattice: Tensor) -> Tensor:
    """Signed volumes a · (b x c) [...] in Å³ of lattices [..., 3, 3]: two products, where det would factorise."""
    a, b, c = lattice.unbind(-2)
    return (a * torch.linalg.cross(b, c)).sum(-1)


def image_offsets(device: torch.device | None = None, dtype: torch.dtype | None = None) -> Tensor:
    """The 27 cell offsets {-1, 0, 1}³ as [27, 3]; the cell itself is row 13."""
    steps = torch.tensor([-1.0, 0.0, 1.0], device=device, dtype=dtype)
    return torch.cartesian_prod(steps, steps, steps)


def image_window(fractional: Tensor) -> Tensor:
    """Smooth weight of the image at fractional displacement [..., 3]: Π cos²(π u_k / 3) for |u_k| < 3/2, else 0.

    Take the 27 images wrap(d) + {-1, 0, 1}³ of a difference d. When d crosses the border of the cell, the images that
    leave and enter sit at |u_k| = 3/2, where the weight and its slope are zero: any sum over the 27 images with this
    weight is exactly periodic and differentiable, in every cell, however small or skewed.
    """
    inside = fractional.abs() < 1.5
    x, y, z = torch.where(inside, torch.cos(math.pi / 3 * fractional).square(), 0.0).unbind(-1)
    return x * y * z
