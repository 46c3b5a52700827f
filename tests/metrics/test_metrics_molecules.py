import math
import random
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("rdkit")
from rdkit import Chem, DataStructs
from rdkit.Chem import Crippen, Descriptors
from rdkit.Chem.rdFingerprintGenerator import GetMorganGenerator

from graphgan.metrics import molecules as metrics
from graphgan.metrics.molecule_profiles import CLASSES, GROUPS, NUMBERS, atom_kind, pooled, profile
from graphgan.metrics.molecule_properties import is_sanitised, is_valid

ETHANOL, BENZENE, ASPIRIN = "CCO", "c1ccccc1", "CC(=O)Oc1ccccc1C(=O)O"


def mol(smiles):
    found = Chem.MolFromSmiles(smiles)
    assert found is not None, smiles
    return found


def unsanitised(smiles):
    return Chem.MolFromSmiles(smiles, sanitize=False)


# Ethanol three times in two spellings, two mirror images, ethane; two in pieces; two that failed.
TEN = [
    mol("CCO"),
    mol("OCC"),
    None,
    mol("C.C"),
    mol("CCO"),
    mol("C[C@H](O)F"),
    mol("C[C@@H](O)F"),
    mol("CC"),
    mol("C.C"),
    unsanitised("CC(C)(C)(C)C"),
]
TRAIN = {"CCO", "C1CC1", "C.C"}


def test_truth_table_of_ten():
    # Valid: 3 ethanol, 2 mirror images that are one graph, 1 ethane. The two in pieces are sanitised.
    found = metrics.compare(TEN, TRAIN)
    assert found.smiles == ("CCO", "CCO", None, None, "CCO", "CC(O)F", "CC(O)F", "CC", None, None)
    assert found.unique == (True, False, False, False, False, True, False, True, False, False)
    assert found.novel == (False, False, False, False, False, True, True, True, False, False)
    assert metrics.validity(TEN) == 6 / 10
    assert metrics.validity_molgan(TEN) == 8 / 10
    assert metrics.fragmented(TEN) == 2 / 10
    assert metrics.uniqueness(TEN) == 3 / 6
    assert metrics.novelty(TEN, TRAIN) == 3 / 6
    assert metrics.unique_novel_valid(TEN, TRAIN) == 2 / 10


def test_truth_table_as_molgan_counts():
    found = metrics.compare(TEN, TRAIN, accept=is_sanitised)
    assert (found.validity, found.uniqueness, found.novelty) == (8 / 10, 4 / 8, 3 / 8)
    assert found.unique_novel_valid == 2 / 10


def test_failures_stay_in_the_denominator_where_they_should():
    more = [*TEN, None, None]
    assert metrics.validity(more) == 6 / 12
    assert metrics.unique_novel_valid(more, TRAIN) == 2 / 12
    assert metrics.uniqueness(more) == 3 / 6 and metrics.novelty(more, TRAIN) == 3 / 6


def test_without_training_molecules_nothing_is_called_novel():
    found = metrics.compare(TEN)
    assert found.novel is None and found.novelty is None and found.unique_novel_valid is None
    # An empty training set is one: everything is novel.
    assert metrics.novelty(TEN, []) == 1 and metrics.unique_novel_valid(TEN, []) == 3 / 10


@pytest.mark.parametrize(
    ("smiles", "sanitised", "valid"),
    [("C", True, True), ("C.C", True, False), ("[Na+].[Cl-]", True, False), ("C*", True, False), ("", False, False)],
)
def test_what_is_valid(smiles, sanitised, valid):
    assert (is_sanitised(mol(smiles)), is_valid(mol(smiles))) == (sanitised, valid)
    assert not is_valid(unsanitised(smiles)) and not is_valid(None) and not is_sanitised(None)


@pytest.mark.parametrize("samples", [[], [None], [None, mol("C.C")], [unsanitised("C(C)(C)(C)(C)C")]])
def test_nothing_valid(samples):
    assert math.isnan(metrics.uniqueness(samples)) and math.isnan(metrics.novelty(samples, TRAIN))
    assert math.isnan(metrics.internal_diversity(samples))
    assert math.isnan(metrics.property_wasserstein(samples, [mol("C")], "qed"))
    assert math.isnan(metrics.class_total_variation(samples, [mol("C")], "atoms"))
    assert math.isnan(metrics.validity(samples)) if not samples else metrics.validity(samples) == 0
    assert math.isnan(metrics.unique_novel_valid(samples, [])) == (not samples)


def test_one_molecule():
    one = [mol(ASPIRIN)]
    assert (metrics.validity(one), metrics.uniqueness(one), metrics.novelty(one, TRAIN)) == (1, 1, 1)
    assert metrics.internal_diversity(one) == 0
    assert metrics.property_wasserstein(one, one, "log_p") == 0
    assert metrics.class_total_variation(one, one, "groups") == 0


def test_internal_diversity_is_that_of_the_definition():
    smiles = [ETHANOL, BENZENE, ASPIRIN, "CC", "CCO", "C1CC1"]
    generator = GetMorganGenerator(radius=2, fpSize=2048)
    prints = [generator.GetFingerprint(mol(text)) for text in smiles]
    expected = 1 - np.mean([[DataStructs.TanimotoSimilarity(a, b) for b in prints] for a in prints])
    samples = [*map(mol, smiles), None, mol("C.C")]
    assert metrics.internal_diversity(samples) == pytest.approx(expected, abs=1e-6)
    assert 0.5 < expected < 1
    # Ethane and benzene share no bit: half of the ordered pairs are a molecule with itself.
    assert metrics.internal_diversity([mol("CC"), mol(BENZENE)]) == pytest.approx(0.5)
    assert metrics.internal_diversity([mol("CC")] * 9 + [mol(BENZENE)]) == pytest.approx(1 - 0.9**2 - 0.1**2)


def test_internal_diversity_of_a_subsample():
    smiles = ["C" * n + "O" * (n % 2) for n in range(1, 41)]
    samples = [mol(text) for text in smiles]
    exact = metrics.internal_diversity(samples)
    some = metrics.internal_diversity(samples, max_molecules=20, seed=1)
    assert some != exact and some == pytest.approx(exact, abs=0.1)
    assert some == metrics.internal_diversity(samples[::-1], max_molecules=20, seed=1)
    assert some != metrics.internal_diversity(samples, max_molecules=20, seed=2)
    assert metrics.internal_diversity(samples, max_molecules=40) == exact


def test_numbers_of_known_molecules():
    ethanol, benzene, aspirin = map(profile, (ETHANOL, BENZENE, ASPIRIN))
    assert ethanol.log_p == pytest.approx(-0.0014) and aspirin.log_p == pytest.approx(1.3101)
    assert [p.qed for p in (ethanol, benzene, aspirin)] == pytest.approx([0.406808, 0.442628, 0.550122], abs=1e-6)
    assert [p.sa for p in (ethanol, benzene, aspirin)] == pytest.approx([1.980257, 1.0, 1.580040], abs=1e-6)
    assert [p.weight for p in (ethanol, benzene, aspirin)] == pytest.approx([46.069, 78.114, 180.159], abs=1e-3)
    assert (aspirin.num_atoms, aspirin.num_rings) == (13, 1)
    assert aspirin.atoms == {"C": 9, "O": 4} and aspirin.rings == {6: 1}
    assert aspirin.bonds == {"single": 5, "double": 2, "aromatic": 6}
    assert aspirin.log_p == Crippen.MolLogP(mol(ASPIRIN)) and aspirin.weight == Descriptors.MolWt(mol(ASPIRIN))


@pytest.mark.parametrize(
    ("smiles", "groups"),
    [
        ("CC", {"none"}),
        ("CCO", {"alcohol"}),
        ("COC", {"ether"}),
        ("C1CO1", {"epoxide", "ring of three"}),
        ("CC=O", {"aldehyde"}),
        ("CC(C)=O", {"ketone"}),
        ("CC(=O)O", {"carboxylic acid"}),
        ("CC(=O)OC", {"ester"}),
        ("CC(=O)NC", {"amide"}),
        ("CN", {"amine"}),
        ("CC[NH3+]", {"ammonium"}),
        ("CC=NC", {"imine"}),
        ("CC=NO", {"oxime"}),
        ("CC#N", {"nitrile"}),
        ("C[N+](=O)[O-]", {"nitro"}),
        ("C=C", {"alkene"}),
        ("C#CC", {"alkyne"}),
        ("Oc1ccccc1", {"phenol", "aromatic ring"}),
        ("FC(F)F", {"halide"}),
        ("CSC", {"thioether or thiol"}),
        ("CS(C)(=O)=O", {"sulfonyl"}),
        (ASPIRIN, {"ester", "carboxylic acid", "aromatic ring"}),
    ],
)
def test_functional_groups(smiles, groups):
    assert set(profile(smiles).groups) == groups
    assert groups <= {*GROUPS, "none"}


def test_kinds_of_atoms():
    assert profile("C[N+](=O)[O-]").atoms == {"C": 1, "N+": 1, "O": 1, "O-": 1}
    assert [atom_kind("N", 1), atom_kind("O", -1), atom_kind("Mg", 2), atom_kind("C", 0)] == ["N+", "O-", "Mg+2", "C"]


def test_what_cannot_be_read_has_no_profile():
    assert profile("C(C)(C)(C)(C)C") is None and profile("") is None


def test_classes_are_pooled():
    both = [profile("CCO"), profile("C1CC1C=O")]
    assert pooled(p.num_atoms for p in both) == {3: 1, 5: 1}
    assert pooled(p.atoms for p in both) == {"C": 6, "O": 2}
    assert pooled(p.rings for p in both) == {3: 1}
    assert pooled(p.groups for p in both) == {"alcohol": 1, "aldehyde": 1, "ring of three": 1}


def test_distances_by_hand():
    ours, theirs = [mol("CCO"), None, mol("CC")], [mol("C1CC1"), mol("C=C")]
    # Atoms: C 4/5 and O 1/5 against C alone. Bonds: single alone against 3/4 single and 1/4 double.
    assert metrics.class_total_variation(ours, theirs, "atoms") == pytest.approx(1 / 5)
    assert metrics.class_total_variation(ours, theirs, "bonds") == pytest.approx(1 / 4)
    assert metrics.class_total_variation(ours, theirs, "num_rings") == pytest.approx(1 / 2)
    assert metrics.class_total_variation(ours, theirs, "num_atoms") == 0
    weights = [46.069, 30.07], [42.081, 28.054]
    assert metrics.property_wasserstein(ours, theirs, "weight") == pytest.approx(
        (weights[0][0] - weights[1][0] + weights[0][1] - weights[1][1]) / 2, abs=1e-3
    )
    assert math.isnan(metrics.class_total_variation(ours, [mol("CC")], "rings"))


def test_neither_order_of_samples_nor_of_atoms_changes_a_number():
    smiles = ["CC(=O)Nc1ccc(O)cc1", "C1CC2CC1O2", "CC#N", "OCC1CN1", "CC[NH3+]", "CC#N", "C.O", "FC(F)(F)C=O"]
    samples = [*map(mol, smiles), None]
    train, reference = {"CC#N"}, [mol(text) for text in smiles[::2]]

    def numbers(samples, reference):
        one, two = metrics.compare(samples, train), metrics.compare(samples, train, accept=is_sanitised)
        shares = [(c.validity, c.uniqueness, c.novelty, c.unique_novel_valid) for c in (one, two)]
        distances = [metrics.property_wasserstein(samples, reference, name) for name in NUMBERS]
        distances += [metrics.class_total_variation(samples, reference, name) for name in CLASSES]
        return [shares, metrics.fragmented(samples), metrics.internal_diversity(samples), distances]

    rng = random.Random(3)

    def turned(molecule):
        if molecule is None:
            return None
        order = list(range(molecule.GetNumAtoms()))
        rng.shuffle(order)
        return Chem.RenumberAtoms(molecule, order)

    expected = numbers(samples, reference)
    assert all(distance > 0 for distance in expected[3])
    for _ in range(3):
        others = [turned(molecule) for molecule in rng.sample(samples, len(samples))]
        assert numbers(others, [turned(m) for m in rng.sample(reference, len(reference))]) == expected


def test_import_needs_no_rdkit():
    code = "import sys, graphgan.metrics.molecules; print({'rdkit', 'torch', 'scipy'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"
