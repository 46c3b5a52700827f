"""Numbers of one molecule, from RDKit: whether it is valid at all, logP, QED, SA and counts. Knows no set and no file.

A molecule is an RDKit Mol as `Chem.MolFromSmiles` or `graphgan.data.molecules.to_mol` give it.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import cache, wraps
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from graphgan.errors import UserError

if TYPE_CHECKING:
    from rdkit.Chem import Mol
    from rdkit.Chem.FilterCatalog import FilterCatalog


class MoleculeError(UserError):
    """A property of molecules that cannot be computed here; the message is one line."""


def canonical_smiles(mol: Mol) -> str:
    """Canonical SMILES without stereo: equal for the same graph of atoms, charges and bonds in any order."""
    from rdkit import Chem

    return Chem.MolToSmiles(mol, isomericSmiles=False)


def is_sanitised(mol: Mol | None) -> bool:
    """Whether there is a molecule of at least one atom that RDKit has accepted: valences and aromatic rings are right.

    This is what the public code of MolGAN (De Cao & Kipf 2018, arXiv:1805.11973) counts as valid: "C.C" is.
    """
    return mol is not None and mol.GetNumAtoms() > 0 and not mol.NeedsUpdatePropertyCache()


def is_valid(mol: Mol | None) -> bool:
    """Whether a molecule is sanitised, in one piece, and all its atoms are elements ("*" is none)."""
    if mol is None or not is_sanitised(mol) or num_fragments(mol) != 1:
        return False
    # A dummy is no heavy atom, and neither is a hydrogen, which is seldom an atom of its own.
    return mol.GetNumHeavyAtoms() == mol.GetNumAtoms() or all(atom.GetAtomicNum() > 0 for atom in mol.GetAtoms())


def num_fragments(mol: Mol) -> int:
    """Connected parts of a molecule; 0 without atoms."""
    from rdkit import Chem

    return len(Chem.GetMolFrags(mol))


def log_p(mol: Mol) -> float:
    """Octanol-water partition coefficient by atom types; Wildman & Crippen (1999), doi:10.1021/ci990307l."""
    from rdkit.Chem import rdMolDescriptors

    return float(rdMolDescriptors.CalcCrippenDescriptors(mol)[0])


def remembered(function: Callable[[Mol], float]) -> Callable[[Mol], float]:
    """The function, whose value stays with the molecule, as its logP does: a private property, which
    sanitising drops."""
    name = f"_graphgan_{function.__name__}"

    @wraps(function)
    def known(mol: Mol) -> float:
        if not mol.HasProp(name):
            mol.SetDoubleProp(name, function(mol), computed=True)
        return mol.GetDoubleProp(name)

    return known


@remembered
def drug_likeness(mol: Mol) -> float:
    """QED in [0, 1], weighted as in the mean of the paper; Bickerton et al. (2012), doi:10.1038/nchem.1243.

    The value of `rdkit.Chem.QED.qed` in half of its time: the structural alerts are searched by one call, and logP is
    not computed again for a copy of the molecule.
    """
    from rdkit import Chem
    from rdkit.Chem import QED, rdMolDescriptors

    if mol.GetNumHeavyAtoms() < mol.GetNumAtoms():
        mol = Chem.RemoveHs(mol)
    found = QED.QEDproperties(
        MW=mol_weight(mol),
        ALOGP=log_p(mol),
        HBA=sum(len(mol.GetSubstructMatches(pattern)) for pattern in QED.Acceptors),
        HBD=rdMolDescriptors.CalcNumHBD(mol),
        PSA=rdMolDescriptors.CalcTPSA(mol),
        ROTB=rdMolDescriptors.CalcNumRotatableBonds(mol, rdMolDescriptors.NumRotatableBondsOptions.Strict),
        AROM=len(Chem.GetSSSR(Chem.DeleteSubstructs(Chem.Mol(mol), QED.AliphaticRings))),
        ALERTS=len(_alerts().GetMatches(mol)),
    )
    return float(QED.qed(mol, qedProperties=found))


@cache
def _alerts() -> FilterCatalog:
    """The structural alerts of QED."""
    from rdkit.Chem import QED
    from rdkit.Chem.FilterCatalog import FilterCatalog, FilterCatalogEntry, SmartsMatcher

    catalog = FilterCatalog()
    for number, alert in enumerate(QED.StructuralAlerts):
        catalog.AddEntry(FilterCatalogEntry(str(number), SmartsMatcher(str(number), alert, 1)))
    return catalog


def mol_weight(mol: Mol) -> float:
    """Average molecular weight with hydrogen, in g/mol."""
    from rdkit.Chem import rdMolDescriptors

    return float(rdMolDescriptors._CalcMolWt(mol))


@remembered
def synthetic_accessibility(mol: Mol) -> float:
    """SA score from 1, easy to make, to 10; Ertl & Schuffenhauer (2009), doi:10.1186/1758-2946-1-8.

    The script of its authors that comes with RDKit. Stereo centres count whether or not they are assigned.

    Raises MoleculeError where this RDKit has come without the script.
    """
    return float(_scorer().calculateScore(mol))


@cache
def _scorer() -> ModuleType:
    """The script, found by its path: it is in no package."""
    from rdkit import RDConfig

    path = Path(RDConfig.RDContribDir) / "SA_Score" / "sascorer.py"
    spec = importlib.util.spec_from_file_location("graphgan_sascorer", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise MoleculeError(f"{path} is missing: this RDKit has come without the SA score; the one of PyPI has it")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
