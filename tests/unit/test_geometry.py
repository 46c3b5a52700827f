import math

import torch
from torch.testing import assert_close

from graphgan import geometry

F64 = torch.float64


def test_wrap_takes_the_image_in_the_half_open_interval():
    x = torch.tensor([0.0, 0.5, -0.5, 0.75, -0.75, 3.25, -7.5], dtype=F64)
    assert geometry.wrap(x).tolist() == [0.0, -0.5, -0.5, -0.25, 0.25, 0.25, -0.5]


def test_circular_mean_crosses_the_border():
    assert_close(geometry.circular_mean(torch.tensor([0.9, 0.1, 0.2, 0.8], dtype=F64)), torch.tensor(0.0, dtype=F64))
    assert_close(
        geometry.circular_mean(torch.tensor([0.95, 0.15], dtype=F64)).item(), 0.05
    )  # an ordinary mean says 0.55
    weighted = geometry.circular_mean(torch.tensor([0.0, 0.3], dtype=F64), torch.tensor([1.0, 0.0], dtype=F64))
    assert weighted.item() == 0.0


def test_volume_of_a_sheared_box_is_that_of_the_box():
    lattice = torch.tensor([[2.0, 0, 0], [1.0, 3.0, 0], [5.0, -2.0, 4.0]], dtype=F64)
    assert geometry.volume(torch.stack([lattice, lattice[[1, 0, 2]]])).tolist() == [24.0, -24.0]


def test_log_metric_of_an_orthorhombic_cell_is_the_logs_of_its_lengths():
    lattice = torch.diag(torch.tensor([2.0, 3.0, 5.0], dtype=F64))
    expected = torch.tensor([math.log(2), math.log(3), math.log(5), 0, 0, 0], dtype=F64)
    assert_close(geometry.log_metric(lattice), expected)


def test_log_metric_and_back_keep_lengths_angles_and_volume():
    rng = torch.Generator().manual_seed(0)
    lattice = 4 * torch.eye(3, dtype=F64) + torch.randn(20, 3, 3, generator=rng, dtype=F64)
    again = geometry.lattice_from_log_metric(geometry.log_metric(lattice))
    assert_close(again @ again.mT, lattice @ lattice.mT, rtol=1e-9, atol=1e-9)
    for found, expected in zip(geometry.lengths_and_cosines(again), geometry.lengths_and_cosines(lattice), strict=True):
        assert_close(found, expected, rtol=1e-9, atol=1e-9)
    assert (torch.linalg.det(again) > 0).all()


def test_every_six_numbers_are_a_cell_and_the_way_there_is_differentiable_twice():
    six = torch.zeros(1, 6, dtype=F64, requires_grad=True)  # a cube: where eigenvalues repeat
    assert torch.autograd.gradcheck(geometry.lattice_from_log_metric, six)
    assert torch.autograd.gradgradcheck(geometry.lattice_from_log_metric, six)


def test_mixing_log_metrics_avoids_the_flat_cell_that_mixing_matrices_meets():
    a = torch.eye(3, dtype=F64)
    b = torch.diag(torch.tensor([1.0, 1.0, -1.0], dtype=F64))  # the same cube, mirrored
    assert torch.linalg.det(torch.lerp(a, b, 0.5)) == 0
    halfway = torch.lerp(geometry.log_metric(a), geometry.log_metric(b), 0.5)
    assert_close(torch.linalg.det(geometry.lattice_from_log_metric(halfway)).item(), 1.0)


def test_six_numbers_and_symmetric_matrix_are_inverse():
    six = torch.arange(6, dtype=F64)
    matrix = geometry.symmetric_from_six(six)
    assert_close(matrix, matrix.mT)
    assert geometry.six_from_symmetric(matrix).tolist() == six.tolist()
    assert matrix[1, 2] == 3 and matrix[0, 2] == 4 and matrix[0, 1] == 5


def test_image_window_fades_where_images_come_and_go():
    edge = torch.tensor([[1.5, 0.0, 0.0], [-1.5, 0.3, 0.2], [0.0, 0.0, 0.0]], dtype=F64)
    assert_close(geometry.image_window(edge), torch.tensor([0.0, 0.0, 1.0], dtype=F64), atol=1e-15, rtol=0)


def test_a_windowed_sum_over_images_is_periodic_and_smooth():
    lattice = torch.tensor([[2.4, 0.2, 0.1], [0.3, 2.9, -0.4], [-0.6, 0.5, 3.1]], dtype=F64)

    def total(delta):
        images = geometry.wrap(delta)[..., None, :] + geometry.image_offsets(dtype=F64)
        distance = torch.linalg.vector_norm(images @ lattice, dim=-1)
        return (torch.exp(-distance) * geometry.image_window(images)).sum(-1)

    below, above = torch.tensor([[0.5 - 1e-7, 0.1, 0.2], [0.5 + 1e-7, 0.1, 0.2]], dtype=F64)
    assert abs(total(below) - total(above)) < 1e-6
    assert_close(total(below), total(below + torch.tensor([2.0, -1.0, 3.0], dtype=F64)))
