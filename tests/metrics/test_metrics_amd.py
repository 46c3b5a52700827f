"""Average minimum distances: lattices whose shells are known, and what must not change them."""

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from graphgan.metrics import average_minimum_distances as amd


def test_shells_of_the_cubic_lattices():
    cubic = Structure(Lattice.cubic(3.0), ["Po"], [[0, 0, 0]])
    assert amd(cubic, 26) == pytest.approx([3.0] * 6 + [3 * 2**0.5] * 12 + [3 * 3**0.5] * 8)
    fcc = Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.0), ["Cu"], [[0, 0, 0]])
    assert amd(fcc, 18) == pytest.approx([4 / 2**0.5] * 12 + [4.0] * 6)


def test_mean_over_atoms():
    """A chain of pairs: at 0 and 1 in a cell 3 long, far from other chains."""
    chain = Structure(Lattice.orthorhombic(3, 50, 50), ["H", "H"], [[0, 0, 0], [1 / 3, 0, 0]])
    assert amd(chain, 6) == pytest.approx([1, 2, 3, 3, 4, 5])
    uneven = Structure(Lattice.orthorhombic(6, 90, 90), ["H"] * 3, [[0, 0, 0], [1 / 6, 0, 0], [3 / 6, 0, 0]])
    # From 0: 1, 3, 3; from 1: 1, 2, 4; from 3: 2, 3, 3.
    assert amd(uneven, 3) == pytest.approx([4 / 3, 8 / 3, 10 / 3])


@pytest.fixture
def triclinic():
    rng = np.random.default_rng(0)
    return Structure(Lattice.from_parameters(3.1, 4.7, 6.3, 71, 98, 113), ["C"] * 5, rng.random((5, 3)))


def test_cell_order_and_frame_do_not_matter(triclinic):
    expected = amd(triclinic)
    rng = np.random.default_rng(1)
    order = rng.permutation(5)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    moved = Structure(triclinic.lattice.matrix @ turn, ["C"] * 5, triclinic.frac_coords[order] + rng.random(3))
    assert amd(moved) == pytest.approx(expected, abs=1e-9)
    assert amd(triclinic.copy().make_supercell([[1, 1, 0], [0, 2, 0], [0, 0, 1]])) == pytest.approx(expected, abs=1e-9)


def test_close_crystals_are_close(triclinic):
    moved = triclinic.copy().perturb(0.01)
    assert 0 < np.abs(amd(moved) - amd(triclinic)).max() <= 0.02


def test_no_atoms():
    with pytest.raises(ValueError, match="no atoms"):
        amd(Structure(Lattice.cubic(3), [], []))
