import dataclasses

import pytest
import torch
from torch.testing import assert_close

from graphgan.geometry import lattice_from_log_metric, log_metric, symmetric_from_six, wrap
from graphgan.graph_tensor import GraphTensor, cat
from graphgan.testing import permuted_crystals, triclinic_crystals

F64 = torch.float64


def test_shapes_are_checked_at_birth():
    good = triclinic_crystals()
    with pytest.raises(ValueError, match=r"lattice has shape \(3, 3\), expected \(3, 3, 3\)"):
        good.replace(lattice=torch.eye(3))
    with pytest.raises(ValueError, match=r"species has shape \(5, 3\), expected \[B, N, K\]"):
        good.replace(species=torch.zeros(5, 3))
    with pytest.raises(ValueError, match=r"condition has shape \(2, 1\)"):
        good.replace(condition=torch.zeros(2, 1))


def test_it_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        triclinic_crystals().lattice = torch.eye(3)


def test_directions_are_antisymmetric_and_zero_on_diagonal_and_padding():
    crystals = triclinic_crystals()
    d = crystals.directions
    assert_close(wrap(d + d.mT), torch.zeros_like(d))
    assert (d >= -0.5).all() and (d < 0.5).all()
    assert not d.diagonal(dim1=-2, dim2=-1).any()
    assert not d[1, :, 3:].any() and not d[1, :, :, 3:].any()


def test_indexing_cat_pad_and_trim():
    crystals = triclinic_crystals((5, 3, 4), padding=2)
    assert len(crystals[[2, 0]]) == 2 and crystals[[2, 0]].num_atoms.tolist() == [4, 5]
    assert crystals[1:].trim().species.shape[1] == 4
    joined = cat([crystals[[1]].trim(), crystals[[0, 2]]])
    assert joined.num_atoms.tolist() == [3, 5, 4]
    assert_close(joined.directions, crystals[[1, 0, 2]].directions)
    with pytest.raises(ValueError, match="cannot pad to 4 atoms: a crystal has 5"):
        crystals.pad(4)
    with pytest.raises(TypeError, match="stays a batch"):
        crystals[0]


def test_positions_come_back_from_directions():
    crystals = triclinic_crystals()
    again = GraphTensor.from_positions(crystals.species, crystals.frac_coords, crystals.lattice, crystals.num_atoms)
    assert_close(wrap(again.directions - crystals.directions), torch.zeros_like(again.directions), atol=1e-12, rtol=0)


def test_interpolation_has_exact_ends():
    real, fake = triclinic_crystals(seed=1), triclinic_crystals(seed=2)
    start, end = (real.interpolate(fake, torch.full((3,), t, dtype=F64)) for t in (0.0, 1.0))
    for found, expected in ((start, real), (end, fake)):
        assert_close(found.species, expected.species)
        assert_close(log_metric(found.lattice), log_metric(expected.lattice), atol=1e-9, rtol=1e-9)
        difference = wrap(found.directions - expected.directions)
        assert_close(difference, torch.zeros_like(difference), atol=1e-9, rtol=0)


def test_interpolation_goes_the_short_way_round_the_torus():
    species = torch.ones(1, 2, 1, dtype=F64)
    lattice = 4 * torch.eye(3, dtype=F64)[None]
    ends = []
    for x in (0.4, -0.4):  # the short way from 0.4 to -0.4 leads over 0.5
        frac_coords = torch.tensor([[[0.0, 0, 0], [x, 0, 0]]], dtype=F64)
        ends.append(GraphTensor.from_positions(species, frac_coords, lattice, torch.tensor([2])))
    middle = ends[0].interpolate(ends[1], torch.tensor([0.5], dtype=F64))
    assert_close(middle.directions[0, 0, 0, 1].abs().item(), 0.5)


def test_interpolation_ignores_a_common_translation():
    real = triclinic_crystals(seed=1)
    moved = GraphTensor.from_positions(real.species, real.frac_coords + 0.37, real.lattice, real.num_atoms)
    middle = real.interpolate(moved, torch.full((3,), 0.5, dtype=F64))
    difference = wrap(middle.directions - real.directions)
    assert_close(difference, torch.zeros_like(difference), atol=1e-9, rtol=0)


def test_interpolation_refuses_pairs_of_other_sizes():
    with pytest.raises(ValueError, match="equal num_atoms"):
        triclinic_crystals((3, 2)).interpolate(triclinic_crystals((2, 3)), torch.zeros(2))


def test_dual_norm_of_a_force_is_cartesian():
    """A potential k · r with k in Å^-1 has gradient norm |k| √n in the metric, whatever the cell."""
    crystals = triclinic_crystals((4, 4), padding=1)
    k = torch.tensor([3.0, 0.0, 4.0], dtype=F64)
    frac = crystals.frac_coords.clone().requires_grad_()
    energy = ((frac @ crystals.lattice)[:, 0] @ k).sum()
    zero = torch.zeros_like(crystals.species), torch.zeros(2, 6, dtype=F64)
    gradient = torch.autograd.grad(energy, frac)[0]
    assert_close(crystals.dual_norm((zero[0], gradient, zero[1])), torch.full((2,), 10.0, dtype=F64))  # 5 √4


def test_dual_norm_of_strain_is_the_frobenius_norm():
    crystals = triclinic_crystals((2,), padding=0)
    weight = torch.tensor([[1.0, 2.0, 0.5], [2.0, -1.0, 0.3], [0.5, 0.3, 2.0]], dtype=F64)
    six = log_metric(crystals.lattice).requires_grad_()
    value = (symmetric_from_six(six) * weight).sum()
    gradient = torch.autograd.grad(value, six)[0]
    zero = torch.zeros_like(crystals.species), torch.zeros_like(crystals.frac_coords)
    assert_close(crystals.dual_norm((*zero, gradient)).item(), weight.norm().item())


def test_permute_moves_atoms_together():
    crystals = triclinic_crystals()
    permuted, order = permuted_crystals(crystals)
    b, i, j = 0, 1, 3
    assert torch.equal(permuted.species[b, i], crystals.species[b, order[b, i]])
    assert torch.equal(permuted.directions[b, :, i, j], crystals.directions[b, :, order[b, i], order[b, j]])


def test_to_networkx_has_nearest_images():
    lattice = lattice_from_log_metric(torch.log(torch.tensor([[4.0, 4.0, 4.0, 1, 1, 1]], dtype=F64)))
    frac_coords = torch.tensor([[[0.0, 0, 0], [0.9, 0, 0]]], dtype=F64)
    species = torch.eye(2, dtype=F64)[None]
    (graph,) = GraphTensor.from_positions(species, frac_coords, lattice, torch.tensor([2])).to_networkx(["Na", "Cl"])
    assert [graph.nodes[i]["element"] for i in graph] == ["Na", "Cl"]
    edge = graph.edges[0, 1]
    assert edge["distance"] == pytest.approx(0.4)
    assert edge["direction"] == pytest.approx([-0.1, 0, 0])
    assert edge["image"] == [0, 0, 0]


def test_to_pyg_batches_all_pairs():
    crystals = triclinic_crystals((5, 3))
    batch = crystals.to_pyg()
    assert batch.num_graphs == 2 and batch.num_nodes == 8
    assert batch.edge_index.shape[1] == 5 * 4 + 3 * 2
    source, target = batch.edge_index[:, 0]
    assert_close(batch.edge_attr[0], crystals.directions[0, :, source, target])
    assert (batch.distance > 0).all()


def test_to_changes_only_floats():
    moved = triclinic_crystals().to(dtype=torch.float32)
    assert moved.lattice.dtype == torch.float32 and moved.num_atoms.dtype == torch.int64
