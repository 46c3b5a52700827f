"""Checks that outsiders' networks, encodings and objectives can be held against; the package itself never imports this.

Each raises AssertionError with the size of the violation. Run them in float64 on crystals without symmetry
(`triclinic_crystals`): on a cube, a wrong network can look right.
"""

import math
from collections.abc import Callable, Sequence

import torch
from e3nn import o3
from torch import Tensor

from graphgan.geometry import lattice_from_log_metric
from graphgan.graph_tensor import GraphTensor
from graphgan.objectives import Objective, SamplePoint


def triclinic_crystals(
    num_atoms: Sequence[int] = (5, 3, 4), num_species: int = 4, padding: int = 1, seed: int = 0
) -> GraphTensor:
    """Random crystals in random triclinic cells of about 4 Å, float64, one-hot species."""
    rng = torch.Generator().manual_seed(seed)
    counts = torch.tensor(num_atoms)
    size = int(counts.max()) + padding
    mask = torch.arange(size) < counts[:, None]
    frac_coords = torch.rand(len(counts), size, 3, generator=rng, dtype=torch.float64)
    kinds = torch.randint(num_species, (len(counts), size), generator=rng)
    species = torch.nn.functional.one_hot(kinds, num_species).double() * mask[..., None]
    metric = 0.15 * torch.randn(len(counts), 6, generator=rng, dtype=torch.float64)
    metric[:, :3] += math.log(4.0)
    turn = torch.linalg.qr(torch.randn(len(counts), 3, 3, generator=rng, dtype=torch.float64)).Q
    return GraphTensor.from_positions(species, frac_coords, lattice_from_log_metric(metric) @ turn, counts)


def assert_invariant(function: Callable[[GraphTensor], Tensor], crystals: GraphTensor, tolerance: float = 1e-9) -> None:
    """`function` [B, ...] of whole crystals does not change with rotation, inversion, translation on the torus,
    periodic image, order of atoms, amount of padding, nor with what else is in the batch."""
    before = function(crystals)
    for name, moved in {**_isometries(crystals), **_same_crystals(crystals)}.items():
        _close(function(moved), before, name, tolerance)
    _close(function(crystals.pad(crystals.species.shape[1] + 2)), before, "padding", tolerance)
    permuted, _ = permuted_crystals(crystals)
    _close(function(permuted), before, "order of atoms", tolerance)
    singles = torch.cat([function(crystals[[b]].trim()) for b in range(len(crystals))])
    _close(singles, before, "batch or padding", tolerance)


def assert_atomwise(function: Callable[[GraphTensor], Tensor], crystals: GraphTensor, tolerance: float = 1e-9) -> None:
    """`function` [B, N, ...] of atoms is invariant like `assert_invariant`, and permuted atoms give permuted rows."""
    before = function(crystals)
    for name, moved in {**_isometries(crystals), **_same_crystals(crystals)}.items():
        _close(function(moved), before, name, tolerance)
    size = crystals.species.shape[1]
    _close(function(crystals.pad(size + 2))[:, :size], before, "padding", tolerance)
    permuted, order = permuted_crystals(crystals)
    rows = torch.arange(len(crystals))[:, None]
    _close(function(permuted), before[rows, order], "order of atoms", tolerance)
    for b, n in enumerate(crystals.num_atoms.tolist()):
        _close(function(crystals[[b]].trim())[0, :n], before[b, :n], "batch or padding", tolerance)


def assert_irreps(
    function: Callable[[GraphTensor], Tensor], irreps: o3.Irreps, crystals: GraphTensor, tolerance: float = 1e-9
) -> None:
    """`function` [..., irreps.dim] turns with the crystal as `irreps` says: checked with Wigner matrices of a random
    rotation and of the inversion."""
    before = function(crystals)
    for matrix in (_rotation(), -torch.eye(3, dtype=torch.float64), -_rotation()):
        moved = function(crystals.replace(lattice=crystals.lattice @ matrix.mT))
        wigner = irreps.D_from_matrix(matrix.to(torch.get_default_dtype())).to(before.dtype)
        _close(moved, before @ wigner.mT, f"rotation of {irreps}", max(tolerance, 1e-6))


def assert_objective(
    objective: Objective, critic: Callable[[SamplePoint], Tensor], real: SamplePoint, fake: SamplePoint
) -> None:
    """An objective gives finite scalar losses with a gradient for its player, detached stats, and the same numbers for
    the same generator state."""
    losses = []
    for _ in range(2):
        loss, stats = objective.critic_loss(critic, real, fake, torch.Generator().manual_seed(1))
        losses.append(loss)
        _check_loss(loss, stats, "critic_loss")
    if not torch.equal(losses[0], losses[1]):
        raise AssertionError("critic_loss differs between equal generator states: it has randomness of its own")
    leaves = [c.detach().requires_grad_() for c in fake.coordinates()]
    loss, stats = objective.generator_loss(critic, real, fake.with_coordinates(*leaves))
    _check_loss(loss, stats, "generator_loss")
    found = torch.autograd.grad(loss, leaves, allow_unused=True)
    if not any(g is not None and g.abs().max() > 0 for g in found):
        raise AssertionError("generator_loss has no gradient with respect to what was generated")


def permuted_crystals(crystals: GraphTensor, seed: int = 3) -> tuple[GraphTensor, Tensor]:
    """The crystals with their atoms in another order, never the identity if there are two, and that order [B, N]."""
    rng = torch.Generator().manual_seed(seed)
    order = torch.arange(crystals.species.shape[1]).repeat(len(crystals), 1)
    for b, n in enumerate(crystals.num_atoms.tolist()):
        found = torch.randperm(n, generator=rng)
        while n > 1 and torch.equal(found, torch.arange(n)):
            found = torch.randperm(n, generator=rng)
        order[b, :n] = found
    return crystals.permute(order), order


def _rotation() -> Tensor:
    return o3.angles_to_matrix(*(torch.tensor(a, dtype=torch.float64) for a in (0.7, 1.1, -2.3)))


def _isometries(crystals: GraphTensor) -> dict[str, GraphTensor]:
    return {
        "rotation": crystals.replace(lattice=crystals.lattice @ _rotation().mT),
        "inversion of the frame": crystals.replace(lattice=-crystals.lattice),
    }


def _same_crystals(crystals: GraphTensor) -> dict[str, GraphTensor]:
    rng = torch.Generator().manual_seed(5)
    whole = torch.randint(-2, 3, crystals.directions.shape, generator=rng).to(crystals.directions.dtype)
    shift = torch.rand(len(crystals), 1, 3, generator=rng, dtype=crystals.lattice.dtype)
    moved = GraphTensor.from_positions(
        crystals.species, crystals.frac_coords + shift, crystals.lattice, crystals.num_atoms, crystals.condition
    )
    pairs = (crystals.mask[:, :, None] & crystals.mask[:, None, :])[:, None]
    return {
        "translation": moved,
        "periodic image": crystals.replace(directions=crystals.directions + whole * pairs),
    }


def _check_loss(loss: Tensor, stats: dict[str, Tensor], name: str) -> None:
    if loss.shape != () or not torch.isfinite(loss):
        raise AssertionError(f"{name} is {loss}, expected one finite number")
    if not loss.requires_grad:
        raise AssertionError(f"{name} carries no gradient")
    attached = [key for key, value in stats.items() if value.requires_grad]
    if attached:
        raise AssertionError(f"{name}: stats {attached} still carry a gradient")


def _close(found: Tensor, expected: Tensor, what: str, tolerance: float) -> None:
    error = float((found - expected).detach().abs().max())
    scale = max(float(expected.detach().abs().max()), 1e-3)
    if not error <= tolerance * scale:
        raise AssertionError(f"changes with {what}: by {error:.3g} where values reach {scale:.3g}")
