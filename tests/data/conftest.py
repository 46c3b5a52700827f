"""What the tests of reading and writing share: two crystals, and folders of their own."""

import pytest
from pymatgen.core import Lattice, Structure

CSCL_CIF = """\
data_CsCl
_cell_length_a 4.123
_cell_length_b 4.123
_cell_length_c 4.123
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'P 1'
loop_
_symmetry_equiv_pos_as_xyz
'x, y, z'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
Cs1 Cs 0 0 0 1
Cl1 Cl 0.5 0.5 0.5 1
"""


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """No test reads or fills the user's folders."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("GRAPHGAN_CACHE", str(folder))
    monkeypatch.setenv("GRAPHGAN_DATA", str(folder / "downloads"))
    return folder


@pytest.fixture
def cscl():
    return Structure(Lattice.cubic(4.123), ["Cs", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])


@pytest.fixture
def cscl_cif():
    return CSCL_CIF


@pytest.fixture
def triclinic():
    """Four atoms in a cell without any symmetry."""
    lattice = Lattice.from_parameters(3.1, 4.2, 5.3, 81, 97, 112)
    coordinates = [[0.01, 0.02, 0.03], [0.41, 0.52, 0.63], [0.777777777, 0.123456789, 0.3], [0.2, 0.9, 0.5]]
    return Structure(lattice, ["Fe", "O", "O", "Li"], coordinates)
