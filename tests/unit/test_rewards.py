import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("rdkit")
from rdkit import Chem
from rdkit.Chem import QED, Crippen

from graphgan.data.molecules import Molecule, molecule_of
from graphgan.metrics.molecule_properties import MoleculeError, _scorer, drug_likeness, synthetic_accessibility
from graphgan.rewards import PER_MOLECULE, REWARDS, Product, RewardError, product, reward

ETHANOL, BENZENE, ASPIRIN = "CCO", "c1ccccc1", "CC(=O)Oc1ccccc1C(=O)O"
# Some with structural alerts, and rings that QED counts in its own way.
VARIED = [
    ETHANOL,
    BENZENE,
    ASPIRIN,
    "CN1c2ccccc2Sc2c1ccc1ccccc21",
    "N=C(CCSCc1csc(N=C(N)N)n1)NS(N)(=O)=O",
    "CCCCCNC(=N)NN=Cc1c[nH]c2ccc(CO)cc12",
    "C#CC(=O)C=C=O",
    "[O-][N+](=O)c1ccccc1",
    "C",
    "[Na+].[Cl-]",
    "CN1CCC[C@H]1c1cccnc1",
]


def mol(smiles):
    found = Chem.MolFromSmiles(smiles)
    assert found is not None
    return found


def arrays(*smiles):
    return [molecule_of(mol(text)) for text in smiles]


# Carbon with five neighbours; two molecules of methane; no atoms at all.
FIVE = Molecule(np.full(6, 6, np.uint8), np.zeros(6, np.int8), np.eye(6, k=0, dtype=np.uint8) * 0)
FIVE.orders[0, 1:] = FIVE.orders[1:, 0] = 1
TWO = Molecule(np.full(2, 6, np.uint8), np.zeros(2, np.int8), np.zeros((2, 2), np.uint8))
NOTHING = Molecule(np.zeros(0, np.uint8), np.zeros(0, np.int8), np.zeros((0, 0), np.uint8))


def test_values_of_known_molecules():
    mols = [mol(text) for text in (ETHANOL, BENZENE, ASPIRIN)]
    assert REWARDS["qed"](mols, set()) == pytest.approx([0.406808, 0.442628, 0.550122], abs=1e-6)
    # Crippen logP -0.0014, 1.6866 and 1.3101, from -2.12178879609 to 6.0429063424.
    assert REWARDS["logp"](mols, set()) == pytest.approx([0.259703, 0.466446, 0.420333], abs=1e-6)
    # SA scores 1.980257, 1.0 and 1.580040, from 5 to 1.5.
    assert REWARDS["sa"](mols, set()) == pytest.approx([(5 - 1.980257) / 3.5, 1.0, (5 - 1.580040) / 3.5], abs=1e-6)


def test_logp_and_sa_are_clipped():
    greasy, salty = mol("C" * 30), mol("OC(O)(O)C(O)(O)C(O)(O)C(O)(O)C(O)(O)O")
    assert Crippen.MolLogP(greasy) > 6.05 and Crippen.MolLogP(salty) < -2.13
    assert REWARDS["logp"]([greasy, salty], set()).tolist() == [1.0, 0.0]
    knot = mol("CC1CC23CC4N2CC134")
    assert synthetic_accessibility(knot) > 5
    assert REWARDS["sa"]([knot], set()).tolist() == [0.0]


@pytest.mark.parametrize("smiles", VARIED)
def test_drug_likeness_is_that_of_rdkit(smiles):
    assert drug_likeness(mol(smiles)) == QED.qed(mol(smiles))
    explicit = Chem.AddHs(mol(smiles))
    assert drug_likeness(explicit) == pytest.approx(QED.qed(explicit), abs=1e-12)


def test_sa_leaves_the_search_path_alone(monkeypatch):
    before = list(sys.path)
    _scorer.cache_clear()
    assert synthetic_accessibility(mol(BENZENE)) == 1.0
    assert sys.path == before and "sascorer" not in sys.modules
    _scorer.cache_clear()
    monkeypatch.setattr("rdkit.RDConfig.RDContribDir", "/nowhere")
    with pytest.raises(MoleculeError, match=r"sascorer\.py is missing"):
        synthetic_accessibility(mol(BENZENE))
    _scorer.cache_clear()


def test_validity_uniqueness_and_novelty():
    mols = [mol("CCO"), mol("OCC"), mol("C.C"), None, mol("CC"), mol("C*")]
    assert REWARDS["validity"](mols, set()).tolist() == [1, 1, 0, 0, 1, 0]
    assert REWARDS["uniqueness"](mols, set()).tolist() == [0.5, 0.5, 1, 0, 1, 1]
    assert REWARDS["novelty"](mols, {"CCO"}).tolist() == [0, 0, 1, 0, 1, 1]
    assert REWARDS["novelty"]([mol("C[C@H](O)F")], {"CC(O)F"}).tolist() == [0]  # stereo is not looked at


@pytest.mark.parametrize("name", sorted(REWARDS))
def test_every_reward_keeps_the_contract(name):
    function = REWARDS[name]
    assert reward(name) is function
    mols = [mol(text) for text in VARIED] + [None] + [mol(ETHANOL)]
    values = function(mols, frozenset({"C"}))
    assert values.dtype == np.float64 and values.shape == (len(mols),)
    assert (values >= 0).all() and (values <= 1).all() and (values > 0).any()
    assert values[len(VARIED)] == 0
    assert function([], frozenset()).shape == (0,) and function([], frozenset()).dtype == np.float64
    order = np.random.default_rng(0).permutation(len(mols))
    assert function([mols[i] for i in order], frozenset({"C"})).tolist() == values[order].tolist()
    alone = np.array([function([m], frozenset({"C"}))[0] for m in mols])
    assert (name in PER_MOLECULE) == (alone.tolist() == values.tolist())


def halved(molecules, train):
    return np.full(len(molecules), 0.5)


def too_many(molecules, train):
    return np.ones(len(molecules) + 1)


def too_large(molecules, train):
    return np.full(len(molecules), 1.5)


def not_numbers(molecules, train):
    return np.full(len(molecules), np.nan)


def test_rewards_of_the_user():
    assert reward(f"{__name__}:halved") is halved
    assert Product([f"{__name__}:halved", "qed"])(arrays(ETHANOL)) == pytest.approx([0.5 * 0.406808], abs=1e-6)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("beauty", r"no reward 'beauty': there are qed, logp, sa, validity, uniqueness, novelty, or package.module:fu"),
        ("no_such_module:f", "No module named 'no_such_module'"),
        ("math:no_such_function", "no_such_function"),
        ("math:pi", "reward math:pi is no function"),
        (":f", "no reward ':f'"),
        ("..a:f", "reward ..a:f: "),
    ],
)
def test_unknown_rewards_are_refused_in_a_line(name, message):
    with pytest.raises(RewardError, match=message) as caught:
        Product([name])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [("too_many", r"gives shape \(3,\) for 2"), ("too_large", r"outside of \[0, 1\]"), ("not_numbers", r"outside of")],
)
def test_rewards_that_break_the_contract_are_refused(name, message):
    with pytest.raises(RewardError, match=message):
        Product([f"{__name__}:{name}"])(arrays(ETHANOL, BENZENE))


def test_product_multiplies_and_gives_nothing_to_failures():
    molecules = [*arrays(ETHANOL, BENZENE), FIVE, TWO, NOTHING, *arrays(ETHANOL)]
    qed, logp = 0.406808, 0.259703
    assert Product(["qed", "logp"])(molecules) == pytest.approx(
        [qed * logp, 0.442628 * 0.466446, 0, 0, 0, qed * logp], abs=1e-6
    )
    assert Product([])(molecules).tolist() == [1, 1, 0, 0, 0, 1]
    assert Product(["validity"])(molecules).tolist() == [1, 1, 0, 0, 0, 1]
    assert Product(["uniqueness"])(molecules).tolist() == [0.5, 1, 0, 0, 0, 0.5]
    assert Product(["novelty"], ["CCO"])(molecules).tolist() == [0, 1, 0, 0, 0, 0]
    assert Product(["qed", "uniqueness"])(molecules)[0] == pytest.approx(qed / 2, abs=1e-6)
    assert Product(["qed", "uniqueness"])([]).shape == (0,)


def test_repeated_molecules_are_computed_once(monkeypatch):
    seen = []

    def counting(molecule):
        seen.append(molecule)
        return to_mol(molecule)

    to_mol = product.to_mol
    monkeypatch.setattr(product, "to_mol", counting)
    for names in (["qed"], ["qed", "uniqueness"]):
        seen.clear()
        rewards = Product(names)
        molecules = arrays(*VARIED[:6]) * 2 + [FIVE, FIVE]
        first = rewards(molecules)
        assert len(seen) == 7
        assert rewards(molecules).tolist() == first.tolist() and len(seen) == 7


def test_memory_is_bounded_and_forgets_what_was_not_used(monkeypatch):
    monkeypatch.setattr(product, "MAX_KNOWN", 2)
    rewards = Product(["qed"])
    ethanol, benzene, aspirin = arrays(ETHANOL, BENZENE, ASPIRIN)
    expected = rewards([ethanol, benzene, ethanol, aspirin])
    assert len(rewards._known) == 2
    seen = []
    monkeypatch.setattr(product, "to_mol", seen.append)
    assert rewards([ethanol, aspirin]).tolist() == expected[[0, 3]].tolist() and not seen
    rewards([benzene])
    assert len(seen) == 1


def test_the_order_of_atoms_and_the_type_of_numbers_do_not_matter():
    (aspirin,) = arrays(ASPIRIN)
    order = np.random.default_rng(1).permutation(len(aspirin.numbers))
    other = Molecule(
        aspirin.numbers[order].astype(np.int64),
        aspirin.charges[order].astype(np.int64),
        aspirin.orders[np.ix_(order, order)].astype(np.int64),
    )
    values = Product(["qed", "logp", "sa", "uniqueness"])([aspirin, other])
    assert values[0] == pytest.approx(values[1], abs=1e-12) and values[0] > 0.05


def test_import_is_cheap():
    code = "import sys, graphgan.rewards; print({'rdkit', 'torch', 'scipy', 'pymatgen'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"
