"""Molecular graph tensors: shapes, real molecules as one-hot, mixtures, the joint norm of gradients, the digest."""

import math

import pytest
import torch
from torch.nn.functional import one_hot

from graphgan.molecule_tensor import MoleculeSet, MoleculeTensor

# formaldehyde, C=O, and hydrogen cyanide, C#N, in three places; kinds 1 C, 2 N, 3 O
KINDS = torch.tensor([[1, 3, 0], [1, 2, 0]])
ORDERS = torch.tensor([[[0, 2, 0], [2, 0, 0], [0, 0, 0]], [[0, 3, 0], [3, 0, 0], [0, 0, 0]]])


@pytest.fixture
def real():
    return MoleculeTensor.of_kinds(KINDS, ORDERS, 4, 4)


@pytest.fixture
def stored():
    return MoleculeSet(KINDS.to(torch.uint8), ORDERS.to(torch.uint8), 4, 4)


def soft(count=4, places=5, kinds=4, orders=4, seed=0):
    """Molecules of weights, as a generator makes them: rows that sum to 1, bonds symmetric and none on the diagonal."""
    generator = torch.Generator().manual_seed(seed)
    atoms = torch.rand(count, places, kinds, generator=generator).softmax(-1)
    bonds = torch.rand(count, places, places, orders, generator=generator)
    bonds = (bonds + bonds.transpose(1, 2)).softmax(-1)
    none = one_hot(torch.zeros(places, dtype=torch.long), orders).float()
    bonds[:, range(places), range(places)] = none
    return MoleculeTensor(atoms, bonds)


def turned(molecules, order):
    return MoleculeTensor(molecules.atoms[:, order], molecules.bonds[:, order][:, :, order])


def test_real_molecules_are_one_hot(real):
    assert real.atoms.shape == (2, 3, 4) and real.bonds.shape == (2, 3, 3, 4)
    assert real.atoms.dtype == real.bonds.dtype == torch.float32
    assert real.atoms[0].tolist() == [[0, 1, 0, 0], [0, 0, 0, 1], [1, 0, 0, 0]]
    assert real.bonds[1, 0].tolist() == [[1, 0, 0, 0], [0, 0, 0, 1], [1, 0, 0, 0]]
    assert torch.equal(real.kinds, KINDS) and torch.equal(real.orders, ORDERS)
    assert real.mask.tolist() == [[True, True, False]] * 2
    assert len(real) == 2 and real.device == torch.device("cpu")
    assert torch.equal(real.to("cpu").atoms, real.atoms)


@pytest.mark.parametrize(
    ("atoms", "bonds"),
    [
        ((2, 3), (2, 3, 3, 4)),
        ((2, 3, 4), (2, 3, 3)),
        ((2, 3, 4), (2, 3, 2, 4)),
        ((2, 3, 4), (2, 2, 2, 4)),
        ((2, 3, 4), (1, 3, 3, 4)),
    ],
)
def test_other_shapes_are_refused(atoms, bonds):
    with pytest.raises(ValueError, match=r"expected \[B, N, K\] and \[B, N, N, R\]"):
        MoleculeTensor(torch.zeros(atoms), torch.zeros(bonds))


@pytest.mark.parametrize(
    ("kinds", "orders"), [((2, 3, 1), (2, 3, 3)), ((2, 3), (2, 3)), ((2, 3), (2, 3, 2)), ((2, 3), (1, 3, 3))]
)
def test_sets_of_other_shapes_are_refused(kinds, orders):
    with pytest.raises(ValueError, match=r"expected \[n, N\] and \[n, N, N\]"):
        MoleculeSet(torch.zeros(kinds), torch.zeros(orders), 4, 4)


@pytest.mark.parametrize("index", [torch.tensor([1]), slice(1, 2), [1]])
def test_parts_of_a_batch(real, index):
    part = real[index]
    assert torch.equal(part.atoms, real.atoms[1:]) and torch.equal(part.bonds, real.bonds[1:])


def test_detached_molecules_have_no_history(real):
    atoms = real.atoms.clone().requires_grad_()
    joined = real.with_coordinates(atoms * 1, real.bonds)
    assert joined.coordinates()[0].requires_grad
    assert not any(part.requires_grad for part in joined.detach().coordinates())


def test_join(real):
    other = soft(3, 3)
    both = real.join(other)
    assert len(both) == 5
    assert torch.equal(both[:2].atoms, real.atoms) and torch.equal(both[2:].bonds, other.bonds)


def test_interpolation_by_hand(real):
    mixed = real[[0]].interpolate(real[[1]], torch.tensor([0.25]))
    assert mixed.atoms[0, 1].tolist() == [0, 0, 0.25, 0.75]
    assert mixed.bonds[0, 0, 1].tolist() == [0, 0, 0.75, 0.25]
    assert mixed.atoms[0, 0].tolist() == [0, 1, 0, 0]


def test_interpolation_goes_from_one_to_the_other_by_its_own_share(real):
    other = soft(2, 3)
    mixed = real.interpolate(other, torch.tensor([0.0, 1.0], dtype=torch.float64))
    assert torch.equal(mixed.atoms[0], real.atoms[0]) and torch.equal(mixed.bonds[0], real.bonds[0])
    assert torch.equal(mixed.atoms[1], other.atoms[1]) and torch.equal(mixed.bonds[1], other.bonds[1])
    assert mixed.atoms.dtype == torch.float32
    half = real.interpolate(other, torch.full((2,), 0.5))
    torch.testing.assert_close(half.atoms.sum(-1), torch.ones(2, 3))
    torch.testing.assert_close(half.bonds.sum(-1), torch.ones(2, 3, 3))
    torch.testing.assert_close(half.bonds, half.bonds.transpose(1, 2))


# -- the joint norm ----------------------------------------------------------------------------------------------------


def gradients_of(critic, molecules):
    parts = [part.clone().requires_grad_() for part in molecules.coordinates()]
    return torch.autograd.grad(critic(*parts).sum(), parts, materialize_grads=True)


def test_norm_of_a_linear_critic_is_that_of_its_slope():
    molecules = soft(2, 3)

    def critic(atoms, bonds):  # slope 3 along one atom, 4 along one bond: 5 in all
        return 3 * atoms[:, 0, 1] + 4 * bonds[:, 0, 2, 1]

    norm = molecules.dual_norm(gradients_of(critic, molecules))
    torch.testing.assert_close(norm, torch.tensor([5.0, 5.0]))


def test_it_does_not_matter_in_which_places_a_critic_looks_at_a_bond():
    molecules = soft(1, 4)
    critics = [
        lambda atoms, bonds: 2 * bonds[:, 1, 3, 2],
        lambda atoms, bonds: 2 * bonds[:, 3, 1, 2],
        lambda atoms, bonds: bonds[:, 1, 3, 2] + bonds[:, 3, 1, 2],
    ]
    for critic in critics:
        assert molecules.dual_norm(gradients_of(critic, molecules)).item() == pytest.approx(2.0)


def test_what_cannot_change_does_not_count():
    molecules = soft(1, 4)

    def critic(atoms, bonds):  # the diagonal is no bond in every molecule
        return 7 * bonds[:, 2, 2, 1] + 0.5 * atoms[:, 0, 0]

    assert molecules.dual_norm(gradients_of(critic, molecules)).item() == pytest.approx(0.5)


def test_norm_is_dual_to_the_distance():
    """No pair of molecules tells more than the norm lets it: slope = difference / distance, with equality along it."""
    one, other = soft(64, 4, seed=1), soft(64, 4, seed=2)
    weights = torch.Generator().manual_seed(3)
    on_atoms, on_bonds = (torch.randn(part.shape[1:], generator=weights) for part in one.coordinates())
    gradients = [on_atoms.expand_as(one.atoms), on_bonds.expand_as(one.bonds)]
    norm = one.dual_norm(gradients)

    def slope(atoms, bonds):
        """Of the linear critic, over d² = sum of datoms² + sum over pairs i < j of dbonds²."""
        told = (on_atoms * atoms).flatten(1).sum(1) + (on_bonds * bonds).flatten(1).sum(1)
        pairs = torch.triu(torch.ones(4, 4), 1)[:, :, None]
        return told.abs() / torch.sqrt(atoms.square().flatten(1).sum(1) + (pairs * bonds.square()).flatten(1).sum(1))

    assert (slope(one.atoms - other.atoms, one.bonds - other.bonds) <= norm).all()
    steepest = on_bonds + on_bonds.transpose(0, 1)
    steepest[range(4), range(4)] = 0
    torch.testing.assert_close(slope(on_atoms[None], steepest[None]), norm[:1])


def test_norm_does_not_depend_on_the_order_of_atoms():
    molecules = soft(6, 5)
    order = torch.tensor([3, 0, 4, 1, 2])
    weights = torch.Generator().manual_seed(0)
    on_atoms, on_bonds = (torch.randn(part.shape, generator=weights) for part in molecules.coordinates())
    moved = [on_atoms[:, order], on_bonds[:, order][:, :, order]]
    norm = molecules.dual_norm([on_atoms, on_bonds])
    torch.testing.assert_close(turned(molecules, order).dual_norm(moved), norm)
    assert norm.std() > 0.01


def test_norm_has_a_gradient_where_the_critic_is_flat():
    molecules = soft(2, 3)
    on_atoms = torch.zeros_like(molecules.atoms, requires_grad=True)
    norm = molecules.dual_norm([on_atoms, torch.zeros_like(molecules.bonds)])
    norm.sum().backward()
    assert norm.tolist() == pytest.approx([1e-6, 1e-6])
    assert torch.isfinite(on_atoms.grad).all()


def test_every_molecule_has_its_own_norm():
    molecules = soft(2, 3)
    on_atoms = torch.zeros_like(molecules.atoms)
    on_atoms[0, 0, 0], on_atoms[1, 2, 3] = 1.0, -math.pi
    norm = molecules.dual_norm([on_atoms, torch.zeros_like(molecules.bonds)])
    assert norm.tolist() == pytest.approx([1.0, math.pi])


# -- sets --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("index", [torch.tensor([1, 0]), [1, 0]])
def test_a_set_gives_batches(stored, real, index):
    batch = stored[index]
    assert isinstance(batch, MoleculeTensor)
    assert torch.equal(batch.atoms, real.atoms[[1, 0]]) and torch.equal(batch.bonds, real.bonds[[1, 0]])
    assert torch.equal(stored[slice(None)].atoms, real.atoms)
    assert len(stored) == 2 and stored.max_atoms == 3 and stored.num_atoms.tolist() == [2, 2]
    assert stored.device == torch.device("cpu") and stored.to("cpu").digest() == stored.digest()


def test_subsets_stay_small(stored):
    part = stored.subset(torch.tensor([1]))
    assert isinstance(part, MoleculeSet)
    assert part.kinds.dtype == part.orders.dtype == torch.uint8
    assert part.kinds.tolist() == [[1, 2, 0]] and part.orders.tolist() == ORDERS[1:].tolist()
    assert (part.num_kinds, part.num_orders) == (4, 4)


def test_sets_of_batches(stored, real):
    again = MoleculeSet.of(real)
    assert again.digest() == stored.digest()
    assert torch.equal(again.kinds, stored.kinds) and again.num_kinds == 4
    assert MoleculeSet.of(soft(3)).num_atoms.tolist() == soft(3).mask.sum(1).tolist()


def test_the_digest_knows_every_number(stored):
    kinds, orders = stored.kinds.clone(), stored.orders.clone()
    kinds[0, 0] = 2
    orders[1, 0, 1] = 1
    others = [
        MoleculeSet(kinds, stored.orders, 4, 4),
        MoleculeSet(stored.kinds, orders, 4, 4),
        MoleculeSet(stored.kinds, stored.orders, 5, 4),
        MoleculeSet(stored.kinds, stored.orders, 4, 5),
        stored.subset([0]),
        stored.subset([1, 0]),
    ]
    digests = {stored.digest(), *(other.digest() for other in others)}
    assert len(digests) == 7
    assert all(len(digest) == 64 for digest in digests)
    assert MoleculeSet(stored.kinds.clone(), stored.orders.clone(), 4, 4).digest() == stored.digest()
