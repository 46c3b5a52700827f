"""Molecules to tensors and back: by hand, any order of places, what is refused, and real ones without a loss."""

import numpy as np
import pytest
import torch

from graphgan.data.molecules import Molecule
from graphgan.encodings import EncodingError, MoleculeEncoding
from graphgan.molecule_tensor import MoleculeSet, MoleculeTensor


def molecule(numbers, bonds, charges=None):
    """A molecule of atomic numbers and (first, second, order)."""
    orders = np.zeros((len(numbers), len(numbers)), np.uint8)
    for first, second, order in bonds:
        orders[first, second] = orders[second, first] = order
    return Molecule(np.array(numbers, np.uint8), np.array(charges or [0] * len(numbers), np.int8), orders)


CYANIDE = molecule([6, 7], [(0, 1, 3)])
ETHANOL = molecule([6, 6, 8], [(0, 1, 1), (1, 2, 1)])
NITROMETHANE = molecule([6, 7, 8, 8], [(0, 1, 1), (1, 2, 2), (1, 3, 1)], [0, 1, 0, -1])
ALL = [CYANIDE, ETHANOL, NITROMETHANE]


def same(left, right):
    return all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in zip(left, right, strict=True))


@pytest.fixture
def fitted():
    return MoleculeEncoding(max_atoms=4).fit(ALL)


def test_kinds_and_counts(fitted):
    # C 4, O 2, then N, N+1 and O-1, once each, by number and charge
    assert fitted.kinds == ["C", "O", "N", "N+1", "O-1"]
    assert fitted.atom_counts == [0, 0, 1, 1, 1]
    assert fitted.num_orders == 4
    assert MoleculeEncoding(4).fit(ALL[::-1]) == fitted
    assert MoleculeEncoding(6).fit(ALL).atom_counts == [0, 0, 1, 1, 1, 0, 0]


def test_tensors_by_hand(fitted):
    encoded = fitted.encode(ALL)
    assert isinstance(encoded, MoleculeSet)
    assert encoded.kinds.dtype == encoded.orders.dtype == torch.uint8
    assert encoded.kinds.tolist() == [[1, 3, 0, 0], [1, 1, 2, 0], [1, 4, 2, 5]]
    assert encoded.orders[0].tolist() == [[0, 3, 0, 0], [3, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert encoded.orders[2].tolist() == [[0, 1, 0, 0], [1, 0, 2, 1], [0, 2, 0, 0], [0, 1, 0, 0]]
    assert (encoded.num_kinds, encoded.num_orders, encoded.max_atoms) == (6, 4, 4)
    assert encoded[:1].atoms[0, 1].tolist() == [0, 0, 0, 1, 0, 0]


def test_there_and_back(fitted):
    encoded = fitted.encode(ALL)
    for form in (encoded, encoded[:], MoleculeSet.of(encoded[:])):
        back = fitted.to_molecules(form)
        assert all(same(left, right) for left, right in zip(back, ALL, strict=True))
    assert fitted.to_molecules(encoded.subset(torch.tensor([], dtype=torch.long))) == []


def test_fit_encode_leaves_out_what_is_too_large():
    encoding = MoleculeEncoding(max_atoms=3)
    encoded, kept = encoding.fit_encode([NITROMETHANE, ETHANOL, NITROMETHANE, CYANIDE], progress=True)
    assert kept == [1, 3]
    assert encoding.kinds == ["C", "N", "O"] and encoding.atom_counts == [0, 0, 1, 1]
    assert encoded.digest() == encoding.encode([ETHANOL, CYANIDE]).digest()


def test_encodable(fitted):
    fluorine, large = molecule([6, 9], [(0, 1, 1)]), molecule([6] * 5, [])
    ion = molecule([8], [], [1])
    assert fitted.encodable([fluorine, *ALL, large, ion]) == [1, 2, 3]
    assert fitted.encodable([]) == []


def test_refusals(fitted):
    with pytest.raises(EncodingError, match=r"^fit the encoding before encoding with it$"):
        MoleculeEncoding().encode(ALL)
    with pytest.raises(EncodingError, match=r"^none of 3 molecules has at most 1 atoms$"):
        MoleculeEncoding(max_atoms=1).fit(ALL)
    with pytest.raises(EncodingError, match=r"^none of 0 molecules"):
        MoleculeEncoding().fit_encode([])
    with pytest.raises(EncodingError, match=r"^molecule 1 has 5 atoms, at most 4$"):
        fitted.encode([CYANIDE, molecule([6] * 5, [])])
    with pytest.raises(EncodingError, match=r"^molecule 1: O\+1 is not among the 5 kinds$"):
        fitted.encode([CYANIDE, molecule([6, 8], [(0, 1, 3)], [0, 1])])
    with pytest.raises(EncodingError, match=r"^tensors of 5 kinds of atoms and 4 of bonds, expected 6 and 4$"):
        fitted.to_molecules(MoleculeTensor(torch.zeros(1, 4, 5), torch.zeros(1, 4, 4, 4)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_atoms": 0}, "max_atoms is 0, expected at least 1"),
        ({"num_orders": 5}, "num_orders is 5, expected 4"),
        ({"name": "graph"}, "'graph' is not this encoding, 'molecules'"),
        ({"kinds": ["C", "Q"]}, "'Q' is no kind of atom"),
        ({"kinds": ["X"]}, "'X' is no kind of atom"),
        ({"kinds": ["N+"]}, r"'N\+' is no kind of atom"),
        ({"kinds": ["C", "N", "C"]}, "a kind of atom is there twice: C, N, C"),
    ],
)
def test_options_that_make_no_sense(options, message):
    with pytest.raises(EncodingError, match=message):
        MoleculeEncoding(**options)


def test_the_state_rebuilds_the_encoding(fitted):
    state = fitted.state_dict()
    assert state == {
        "name": "molecules",
        "max_atoms": 4,
        "kinds": ["C", "O", "N", "N+1", "O-1"],
        "num_orders": 4,
        "atom_counts": [0, 0, 1, 1, 1],
    }
    assert MoleculeEncoding(**state) == fitted
    del state["name"]
    again = MoleculeEncoding(**state)
    assert again == fitted and again.name == "molecules"
    assert again.encode(ALL).digest() == fitted.encode(ALL).digest()


def test_places_without_an_atom_are_dropped_wherever_they_stand(fitted):
    kinds = torch.tensor([[0, 1, 0, 2], [0, 0, 0, 0]])
    orders = torch.zeros(2, 4, 4, dtype=torch.long)
    orders[0, 1, 3] = orders[0, 3, 1] = 2
    orders[:, 0, 1] = orders[:, 1, 0] = orders[:, 2, 3] = orders[:, 3, 2] = 1  # to places without an atom
    orders[:, 1, 1] = 3
    carbonyl, nothing = fitted.to_molecules(MoleculeTensor.of_kinds(kinds, orders, 6, 4))
    assert same(carbonyl, molecule([6, 8], [(0, 1, 2)]))
    assert same(nothing, Molecule(np.zeros(0, np.uint8), np.zeros(0, np.int8), np.zeros((0, 0), np.uint8)))


def test_the_heaviest_kinds_count(fitted):
    real = fitted.encode(ALL)[:]
    noise = torch.Generator().manual_seed(0)
    atoms = real.atoms + 0.9 * torch.rand(real.atoms.shape, generator=noise)
    bonds = real.bonds + 0.9 * torch.rand(real.bonds.shape, generator=noise)
    back = fitted.to_molecules(MoleculeTensor(atoms.requires_grad_(), bonds))
    assert all(same(left, right) for left, right in zip(back, ALL, strict=True))


def test_bonds_are_those_above_the_diagonal(fitted):
    orders = torch.zeros(1, 4, 4, dtype=torch.long)
    orders[0, 0, 1], orders[0, 1, 0] = 1, 3
    (found,) = fitted.to_molecules(MoleculeTensor.of_kinds(torch.tensor([[1, 1, 0, 0]]), orders, 6, 4))
    assert found.orders.tolist() == [[0, 1], [1, 0]]


def test_any_order_of_places_is_the_same_molecule(fitted):
    rng = np.random.default_rng(0)
    batch = fitted.encode(ALL)[:]
    for _ in range(5):
        order = torch.from_numpy(rng.permutation(4))
        back = fitted.to_molecules(MoleculeTensor(batch.atoms[:, order], batch.bonds[:, order][:, :, order]))
        for found, given in zip(back, ALL, strict=True):
            assert sorted(zip(found.numbers, found.charges, strict=True)) == sorted(
                zip(given.numbers, given.charges, strict=True)
            )
            sums = [sorted(part.orders.sum(1).tolist()) for part in (found, given)]
            assert sums[0] == sums[1]


def test_decoding_gives_molecules_of_rdkit(fitted):
    pytest.importorskip("rdkit")
    from graphgan.data.molecules import canonical

    impossible = molecule([8, 6, 6, 6], [(0, 1, 1), (0, 2, 1), (0, 3, 1)])
    nothing = molecule([], [])
    decoded = fitted.decode(fitted.encode([*ALL, impossible, nothing]))
    assert [mol and canonical(mol) for mol in decoded] == ["C#N", "CCO", "C[N+](=O)[O-]", None, None]


def test_real_molecules_come_back_to_the_last_bond():
    pytest.importorskip("rdkit")
    from graphgan.data.cards import find_card
    from graphgan.data.molecule_sources import file_entries
    from graphgan.data.molecules import canonical, molecule_of, parse_smiles, rdkit

    rdkit()
    path = find_card("qm9").file
    mols = [parse_smiles(entry.content) for entry in list(file_entries(path.name, path.open("rb")))[::300]]
    given = [molecule_of(mol) for mol in mols]
    encoding = MoleculeEncoding()
    encoded, kept = encoding.fit_encode(given)
    assert kept == list(range(437)) and encoding.kinds[:4] == ["C", "O", "N", "F"]
    assert sum(encoding.atom_counts) == 437
    back = encoding.to_molecules(encoded[:])
    assert all(same(left, right) for left, right in zip(back, given, strict=True))
    assert [canonical(mol) for mol in encoding.decode(encoded)] == [canonical(mol) for mol in mols]
