"""Molecules as arrays: what RDKit reads becomes them, what they say becomes what RDKit reads, and nothing else."""

import sys

import numpy as np
import pytest

pytest.importorskip("rdkit")

from rdkit import Chem

from graphgan.data import DataError, Molecule
from graphgan.data.cards import find_card
from graphgan.data.errors import EntryError
from graphgan.data.molecule_sources import file_entries
from graphgan.data.molecules import (
    canonical,
    fragment_count,
    molecule_of,
    parse_block,
    parse_smiles,
    raw_smiles,
    rdkit,
    to_mol,
)

NITROMETHANE = Molecule(
    np.array([6, 7, 8, 8], np.uint8),
    np.array([0, 1, 0, -1], np.int8),
    np.array([[0, 1, 0, 0], [1, 0, 2, 1], [0, 2, 0, 0], [0, 1, 0, 0]], np.uint8),
)


@pytest.fixture(autouse=True)
def quiet():
    rdkit()


def of(smiles, **options):
    return molecule_of(parse_smiles(smiles), **options)


def molecule(numbers, bonds, charges=None):
    """A molecule of atomic numbers and (first, second, order)."""
    orders = np.zeros((len(numbers), len(numbers)), np.uint8)
    for first, second, order in bonds:
        orders[first, second] = orders[second, first] = order
    return Molecule(np.array(numbers, np.uint8), np.array(charges or [0] * len(numbers), np.int8), orders)


def same(left, right):
    return all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in zip(left, right, strict=True))


def random_molecules(count, seed):
    """Graphs without any chemistry: of C, N, O, F, and of charged, second-row and other atoms; connected or not."""
    rng = np.random.default_rng(seed)
    kinds = [
        (6, 0),
        (7, 0),
        (8, 0),
        (9, 0),
        (7, 1),
        (8, -1),
        (6, -1),
        (16, 0),
        (15, 0),
        (17, 0),
        (5, 0),
        (6, 1),
        (16, 1),
    ]
    for number in range(count):
        size = int(rng.integers(1, 10))
        chosen = [kinds[i] for i in rng.integers(0, len(kinds) if number % 2 else 4, size)]
        orders = np.zeros((size, size), np.uint8)
        for i in range(size):
            for j in range(i):
                if rng.random() < 0.15 or (j == i - 1 and rng.random() < 0.8):
                    orders[i, j] = orders[j, i] = rng.choice([1, 1, 1, 2, 3])
        numbers, charges = np.array(chosen).T
        yield Molecule(numbers.astype(np.uint8), charges.astype(np.int8), orders)


def qm9_lines(step):
    """Every `step`-th line of the set that comes with the package."""
    path = find_card("qm9").file
    return [entry.content for entry in file_entries(path.name, path.open("rb"))][::step]


def test_one_atom_with_a_charge():
    assert same(of("[NH4+]"), Molecule(np.array([7], "u1"), np.array([1], "i1"), np.zeros((1, 1), "u1")))


def test_a_nitro_group():
    assert same(of("C[N+](=O)[O-]"), NITROMETHANE)
    assert sorted(of("CN(=O)=O").charges.tolist()) == [-1, 0, 0, 1]  # RDKit writes five bonds of N with charges
    assert canonical(to_mol(NITROMETHANE)) == "C[N+](=O)[O-]"


def test_a_triple_bond():
    assert same(of("C#C"), molecule([6, 6], [(0, 1, 3)]))
    assert to_mol(molecule([6, 6], [(0, 1, 3)])).GetAtomWithIdx(0).GetTotalNumHs() == 1


def test_benzene_is_kekulised_and_aromatic_again():
    benzene = of("c1ccccc1")
    ring = benzene.orders[np.arange(6), (np.arange(6) + 1) % 6]
    assert ring.tolist() in ([1, 2] * 3, [2, 1] * 3)
    assert benzene.orders.sum() == 18 and np.array_equal(benzene.orders, benzene.orders.T)
    assert canonical(to_mol(benzene)) == "c1ccccc1"
    assert canonical(to_mol(benzene._replace(orders=np.where(benzene.orders, 3 - benzene.orders, 0)))) == "c1ccccc1"


def test_the_hydrogen_of_pyrrole_comes_back():
    assert canonical(to_mol(of("c1cc[nH]c1"))) == "c1cc[nH]c1"


def test_hydrogens_and_stereo_are_dropped():
    ethanol = Chem.AddHs(parse_smiles("CCO"))
    assert same(molecule_of(ethanol), molecule([6, 6, 8], [(0, 1, 1), (1, 2, 1)]))
    assert ethanol.GetNumAtoms() == 9
    assert same(of("C[C@H](F)O"), of("C[C@@H](F)O"))
    assert canonical(parse_smiles("F/C=C/F")) == canonical(parse_smiles("F/C=C\\F")) == "FC=CF"
    assert canonical(to_mol(of("C[C@@H](O)[C@H](C)F"))) == canonical(parse_smiles("C[C@@H](O)[C@H](C)F"))


def test_the_molecule_itself_is_kept_unless_its_owner_does_not_mind():
    benzene = parse_smiles("c1ccccc1")
    first = molecule_of(benzene)
    assert canonical(benzene) == "c1ccccc1"
    assert same(molecule_of(benzene, copy=False), first)
    assert not benzene.GetAtomWithIdx(0).GetIsAromatic()


@pytest.mark.parametrize(
    ("smiles", "reason"),
    [
        ("", "no atoms"),
        ("C.O", "2 fragments, not one molecule"),
        ("[CH3]", "a radical: C 1"),
        ("C[CH2]", "a radical: C 2"),
        ("[13CH4]", "an isotope: 13C"),
        ("[2H]C", "an isotope: 2H"),
        ("*C", "a dummy atom"),
        ("[H][H]", "a hydrogen that no heavy atom carries"),
        ("CN->B", "a bond that is dative"),
        ("C$C", "a bond that is quadruple"),
        ("[PH5]", "P 1 has 5 hydrogens, its valence calls for 3"),
    ],
)
def test_what_the_arrays_cannot_hold(smiles, reason):
    with pytest.raises(EntryError) as error:
        of(smiles)
    assert str(error.value) == reason


@pytest.mark.parametrize(
    ("smiles", "reason"),
    [
        ("CC(C)(C)(C)C", "Explicit valence for atom # 1 C, 5, is greater than permitted"),
        ("c1cccc1", "Can't kekulize mol"),
        ("C1CC", "not a SMILES"),
        ("nonsense", "not a SMILES"),
    ],
)
def test_what_rdkit_refuses(smiles, reason):
    with pytest.raises(EntryError, match=reason.replace("(", r"\(")) as error:
        parse_smiles(smiles)
    assert "\n" not in str(error.value)


def test_mol_blocks_say_why_too():
    block = Chem.MolToMolBlock(parse_smiles("CCO"))
    assert same(molecule_of(parse_block(block)), of("CCO"))
    with pytest.raises(EntryError, match="not a mol block"):
        parse_block("a\nb\nc\nd\n")


def test_fragments_pass_where_samples_are_judged():
    salt = of("C.O", fragments=True)
    assert canonical(to_mol(salt)) == raw_smiles(salt) == "C.O"
    assert fragment_count(to_mol(salt)) == 2


def test_failures_stay_failures():
    nothing = molecule([], [])
    assert to_mol(nothing) is None
    assert raw_smiles(nothing) == ""
    for failure in (
        molecule([6] * 6, [(0, i, 1) for i in range(1, 6)]),
        molecule([6, 8, 6, 6], [(0, 1, 1), (1, 2, 1), (1, 3, 1)]),
        molecule([9, 6], [(0, 1, 2)]),
        molecule([7, 6, 6, 6, 6, 6], [(0, i, 1) for i in range(1, 6)], [1, 0, 0, 0, 0, 0]),
        molecule([8, 6, 6], [(0, 1, 1), (0, 2, 1)], [-1, 0, 0]),
    ):
        assert to_mol(failure) is None
        assert raw_smiles(failure)
        assert Chem.MolFromSmiles(raw_smiles(failure)) is None


def test_what_is_written_of_any_graph_is_judged_as_the_graph():
    valid = 0
    for graph in random_molecules(2000, seed=1):
        mol, written = to_mol(graph), Chem.MolFromSmiles(raw_smiles(graph))
        assert (mol is None) == (written is None)
        if mol is not None:
            valid += 1
            assert canonical(mol) == canonical(written)
    assert 400 < valid < 1600


def test_valid_graphs_come_back_as_the_same_molecule():
    for graph in random_molecules(1000, seed=2):
        mol = to_mol(graph)
        if mol is not None:
            again = to_mol(molecule_of(mol, fragments=True))
            assert canonical(again) == canonical(mol)


def test_the_order_of_atoms_does_not_matter():
    rng = np.random.default_rng(0)
    for line in qm9_lines(4000):
        given = of(line)
        order = rng.permutation(len(given.numbers))
        turned = Molecule(given.numbers[order], given.charges[order], given.orders[np.ix_(order, order)])
        assert canonical(to_mol(turned)) == canonical(parse_smiles(line))


def test_real_molecules_come_back():
    lines = qm9_lines(400)
    assert len(lines) == 328
    for line in lines:
        mol = parse_smiles(line)
        given = molecule_of(mol)
        assert given.numbers.dtype == given.orders.dtype == np.uint8 and given.charges.dtype == np.int8
        assert np.array_equal(given.orders, given.orders.T) and not given.orders.diagonal().any()
        assert canonical(to_mol(given)) == canonical(mol)


def test_without_rdkit_a_line_says_what_to_install(monkeypatch):
    rdkit.cache_clear()
    monkeypatch.setitem(sys.modules, "rdkit.rdBase", None)
    with pytest.raises(DataError, match=r"^molecules need RDKit: pip install 'graphgan\[molecules\]'$"):
        rdkit()
