import numpy as np
import pytest
import torch
from pymatgen.core import Lattice, Structure
from pymatgen.core.structure_matcher import StructureMatcher

from graphgan.cells import SymmetryError, _has_translations, cell_of, standard_arrays, standard_cell, symmetrize
from graphgan.encodings import GraphEncoding
from graphgan.encodings.graph import EncodingError

CSCL = Structure(Lattice.cubic(4.12), ["Cs", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
ROCKSALT = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
QUARTZ = Structure.from_spacegroup(
    "P3_221", Lattice.hexagonal(4.913, 5.405), ["Si", "O"], [[0.47, 0, 2 / 3], [0.4135, 0.2669, 0.7858]]
)


def triclinic(seed):
    rng = np.random.default_rng(seed)
    lattice = Lattice.from_parameters(*rng.uniform(3, 7, 3), *rng.uniform(60, 120, 3))
    return Structure(lattice, ["Ca", "Ti", "O", "O"], rng.random((4, 3)))


def test_graph_tensor_of_caesium_chloride_is_known():
    encoding = GraphEncoding(max_atoms=3)
    crystals, kept = encoding.fit_encode([CSCL])
    assert kept == [0] and encoding.elements == ["Cl", "Cs"] and encoding.atom_counts == [0, 0, 1, 0]
    assert crystals.species[0].tolist() == [1, 0, 0] and crystals.num_species == 2
    seen = crystals.graph_tensor()
    assert seen.species[0].tolist() == [[0, 1], [1, 0], [0, 0]]
    assert seen.directions[0, :, 0, 1].tolist() == [-0.5] * 3
    np.testing.assert_allclose(crystals.lattice[0], np.eye(3) * 4.12, atol=1e-6)


@pytest.mark.parametrize("structure", [CSCL, ROCKSALT, QUARTZ, *(triclinic(s) for s in range(5))])
def test_encode_and_decode_give_the_same_crystal(structure):
    encoding = GraphEncoding(max_atoms=9)
    crystals, _ = encoding.fit_encode([structure])
    (again,) = encoding.decode(crystals)
    assert StructureMatcher().fit(structure, again)
    assert StructureMatcher(ltol=0.01, stol=0.01, angle_tol=0.1).fit(structure, again)


def test_rocksalt_becomes_primitive_unless_told_otherwise():
    assert GraphEncoding(8).fit_encode([ROCKSALT])[0].num_atoms.tolist() == [2]
    assert GraphEncoding(8, primitive=False).fit_encode([ROCKSALT])[0].num_atoms.tolist() == [8]


def test_the_standard_cell_is_niggli_reduced_right_handed_and_moves_no_atom():
    for seed in range(10):
        structure = triclinic(seed)
        mirrored = Structure(
            Lattice(structure.lattice.matrix[[1, 0, 2]]), structure.species, structure.frac_coords[:, [1, 0, 2]]
        )
        cell = standard_cell(mirrored)
        assert cell.lattice.volume == pytest.approx(structure.lattice.volume)
        assert np.linalg.det(cell.lattice.matrix) > 0
        reduced = structure.lattice.get_niggli_reduced_lattice()
        np.testing.assert_allclose(cell.lattice.abc, reduced.abc, rtol=1e-4)
        np.testing.assert_allclose(cell.distance_matrix, structure.distance_matrix, atol=1e-8)


@pytest.mark.parametrize("multiple", [(1, 1, 1), (2, 1, 1), (1, 3, 1), (2, 1, 2)])
def test_translations_are_found_where_there_are_some(multiple):
    """Where one atom of a supercell has moved, its translations are none any more."""
    for seed in range(5):
        lattice, frac_coords, numbers = cell_of(triclinic(seed) * multiple)
        assert _has_translations(lattice, frac_coords, numbers, 0.01) == (multiple != (1, 1, 1))
        frac_coords[-1] += 0.05
        assert not _has_translations(lattice, frac_coords, numbers, 0.01)


def test_bare_arrays_and_structures_have_one_standard_cell():
    for structure in (ROCKSALT, QUARTZ, triclinic(1) * (1, 2, 1)):
        lattice, frac_coords, numbers = standard_arrays(*cell_of(structure))
        cell = standard_cell(structure)
        assert np.array_equal(cell.lattice.matrix, lattice) and np.array_equal(cell.frac_coords, frac_coords)
        assert list(cell.atomic_numbers) == numbers.tolist() and len(numbers) <= len(structure)


def test_a_supercell_and_its_cell_are_one_crystal_to_the_encoding():
    supercell = triclinic(3) * (2, 1, 2)
    encoding = GraphEncoding(max_atoms=4)
    crystals, _ = encoding.fit_encode([supercell])
    assert crystals.num_atoms.tolist() == [4]
    assert StructureMatcher().fit(encoding.decode(crystals)[0], supercell)


def test_large_crystals_are_left_out_and_strangers_refused():
    encoding = GraphEncoding(max_atoms=2)
    _, kept = encoding.fit_encode([triclinic(0), CSCL, ROCKSALT])
    assert kept == [1, 2]
    assert encoding.encodable([triclinic(0), CSCL, QUARTZ]) == [1]
    with pytest.raises(EncodingError, match=r"crystal 0 \(Ca1 Ti1 O2\) has 4 atoms, at most 2"):
        encoding.encode([triclinic(0)])
    with pytest.raises(EncodingError, match="K is not among the 3 elements"):
        encoding.encode([Structure(Lattice.cubic(4), ["K"], [[0, 0, 0]])])
    with pytest.raises(EncodingError, match="none of 1 crystals has at most 2 atoms"):
        GraphEncoding(max_atoms=2).fit([triclinic(0)])
    with pytest.raises(EncodingError, match="fit the encoding"):
        GraphEncoding().encode([CSCL])


def test_what_is_no_crystal_decodes_to_none():
    encoding = GraphEncoding(max_atoms=2)
    crystals, _ = encoding.fit_encode([CSCL] * 3)
    lattice = crystals.lattice.clone()
    lattice[0], lattice[1] = float("nan"), torch.eye(3) * 0.2
    decoded = encoding.decode(crystals.replace(lattice=lattice))
    assert [s is None for s in decoded] == [True, True, False]


def test_state_dict_rebuilds_the_encoding():
    encoding = GraphEncoding(max_atoms=2).fit([CSCL])
    assert GraphEncoding(**encoding.state_dict()) == encoding


def test_tensors_on_disk(tmp_path):
    encoding = GraphEncoding(max_atoms=9)
    crystals, _ = encoding.fit_encode([CSCL, QUARTZ])
    encoding.save(tmp_path / "x.npz", crystals)
    again, loaded = GraphEncoding.load(tmp_path / "x.npz")
    assert again == encoding
    assert torch.equal(loaded.species, crystals.species)
    assert torch.equal(loaded.frac_coords, crystals.frac_coords) and loaded.digest() == crystals.digest()
    (tmp_path / "bad.npz").write_text("no")
    with pytest.raises(EncodingError, match=r"bad\.npz: not an encoded set"):
        GraphEncoding.load(tmp_path / "bad.npz")


def test_condition_and_ids_are_kept_and_trimmed_padding_comes_back(tmp_path):
    encoding = GraphEncoding(max_atoms=9)
    crystals, _ = encoding.fit_encode([CSCL, ROCKSALT])
    crystals = crystals.replace(condition=torch.tensor([[1.5, 2.0], [0.5, -1.0]]))
    encoding.save(tmp_path / "x.npz", crystals[:], ids=["a", "b"])
    again, loaded = GraphEncoding.load(tmp_path / "x.npz")
    assert again == encoding and torch.equal(loaded.condition, crystals.condition)
    assert loaded.species.shape == crystals.species.shape
    assert np.load(tmp_path / "x.npz")["ids"].tolist() == ["a", "b"]
    assert [p.name for p in tmp_path.iterdir()] == ["x.npz"]
    with pytest.raises(ValueError, match="1 ids for 2 crystals"):
        encoding.save(tmp_path / "x.npz", crystals, ids=["a"])
    with pytest.raises(EncodingError, match="fit the encoding before saving"):
        GraphEncoding(9).save(tmp_path / "x.npz", crystals)


DAMAGE = {
    "elements_gone": ({"elements": None}, "no array elements"),
    "another_kind": ({"graphgan_encoding": None}, "not an encoded set"),
    "elements_strange": ({"elements": np.array(["Cl", "Qq"])}, "elements are no list"),
    "elements_numbers": ({"elements": np.arange(2)}, "elements holds int64"),
    "species_flat": ({"species": np.zeros(2, np.int16)}, "species has shape (2,)"),
    "species_beyond": ({"species": np.full((2, 3), 7, np.int16)}, "species run from 7 to 7, there are 2 elements"),
    "species_negative": ({"species": np.full((2, 3), -1, np.int16)}, "species run from -1"),
    "species_fractions": ({"species": np.full((2, 3), 0.5)}, "species holds float64"),
    "nothing": ({"species": np.zeros((0, 3), np.int16)}, "species has shape (0, 3)"),
    "coords_short": ({"frac_coords": np.zeros((2, 2, 3))}, "frac_coords has shape (2, 2, 3)"),
    "coords_infinite": ({"frac_coords": np.full((2, 3, 3), np.inf)}, "frac_coords holds numbers that are not finite"),
    "lattice_nan": ({"lattice": np.full((2, 3, 3), np.nan)}, "lattice holds numbers that are not finite"),
    "lattice_zero": ({"lattice": np.zeros((2, 3, 3))}, "a lattice has no volume"),
    "lattice_few": ({"lattice": np.ones((1, 3, 3))}, "lattice has shape (1, 3, 3)"),
    "atoms_many": ({"num_atoms": np.array([2, 4])}, "num_atoms run from 2 to 4, expected 1 to 3"),
    "atoms_none": ({"num_atoms": np.array([2, 0])}, "num_atoms run from 0 to 2"),
    "counts_short": ({"atom_counts": np.array([1])}, "atom_counts has shape (1,)"),
    "counts_zero": ({"atom_counts": np.zeros(4, int)}, "atom_counts count nothing"),
    "condition_scalar": ({"condition": np.array(1.0)}, "condition has shape ()"),
    "ids_few": ({"ids": np.array(["a"])}, "ids has shape (1,)"),
    "pickles": ({"species": np.array([{}], dtype=object)}, "not an encoded set"),
}


@pytest.fixture
def saved(tmp_path):
    encoding = GraphEncoding(max_atoms=3)
    encoding.save(tmp_path / "x.npz", encoding.fit_encode([CSCL, CSCL])[0])
    return tmp_path / "x.npz"


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_arrays_are_one_line_with_the_file(name, saved):
    changes, message = DAMAGE[name]
    arrays = dict(np.load(saved)) | changes
    np.savez(saved, **{key: array for key, array in arrays.items() if array is not None})
    with pytest.raises(EncodingError) as caught:
        GraphEncoding.load(saved)
    assert message in str(caught.value) and str(saved) in str(caught.value) and "\n" not in str(caught.value)


def test_damaged_bytes_are_one_line_with_the_file(saved):
    """Every cut and every altered byte of the archive gives the same arrays or one EncodingError."""
    whole = saved.read_bytes()
    refused = []
    altered = [whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :] for at in range(0, len(whole), 7)]
    for content in [whole[: len(whole) // 2], b"", *altered]:
        saved.write_bytes(content)
        try:
            GraphEncoding.load(saved)
        except EncodingError as error:
            refused.append(str(error))
    assert len(refused) > len(altered) / 2
    assert all(line.startswith(str(saved)) and "\n" not in line for line in refused)


def test_names_that_are_no_utf8_are_kept_in_both_forms(tmp_path):
    encoding = GraphEncoding(4)
    crystals, _ = encoding.fit_encode([Structure(Lattice.cubic(4.1), ["Cs", "Cl"], [[0] * 3, [0.5] * 3])])
    for name in ("set", "set.npz"):
        encoding.save(tmp_path / name, crystals, ids=["bad\udcff.cif"])
        assert GraphEncoding.load(tmp_path / name)[1].digest() == crystals.digest()
    assert (tmp_path / "set" / "ids.txt").read_text(encoding="utf-8") == "bad\\udcff.cif\n"
    assert np.load(tmp_path / "set.npz")["ids"].tolist() == ["bad\udcff.cif"]


def test_a_lone_array_and_a_missing_file_are_named(tmp_path):
    with open(tmp_path / "lone.npz", "wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(EncodingError, match=r"lone\.npz: not an encoded set"):
        GraphEncoding.load(tmp_path / "lone.npz")
    with pytest.raises(EncodingError, match=r"no\.npz: No such file"):
        GraphEncoding.load(tmp_path / "no.npz")


def test_symmetrize_moves_atoms_onto_the_symmetry():
    nudged = ROCKSALT.copy()
    nudged.translate_sites([0], [0.004, 0.002, 0], to_unit_cell=True)
    assert nudged.get_space_group_info(symprec=1e-3)[1] != 225
    clean = symmetrize(nudged, 0.1)
    assert clean.get_space_group_info(symprec=1e-4)[1] == 225 and len(clean) == 2
    with pytest.raises(ValueError, match="tolerance is nan"):
        symmetrize(ROCKSALT, float("nan"))
    overlapping = Structure(Lattice.cubic(3), ["C", "C"], [[0, 0, 0], [0, 0, 0]])
    with pytest.raises(SymmetryError, match="no symmetry within"):
        symmetrize(overlapping, 0.1)
