"""One molecule as three arrays, and what RDKit makes of it; knows no file format. RDKit is the extra `molecules`."""

from functools import cache, lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from graphgan.data.errors import DataError, EntryError, one_line

if TYPE_CHECKING:
    from rdkit.Chem import Atom, BondType, Mol, RWMol


class Molecule(NamedTuple):
    """A molecule of N heavy atoms with localised (Kekulé) bonds, without stereo. Hydrogens fill what valence leaves.

    numbers  [N]     atomic numbers, uint8
    charges  [N]     formal charges, int8
    orders   [N, N]  0 no bond, 1 single, 2 double, 3 triple; symmetric, 0 on the diagonal, uint8
    """

    numbers: np.ndarray
    charges: np.ndarray
    orders: np.ndarray


@cache
def rdkit() -> None:
    """Make sure that there is RDKit, and that it prints nothing. Raises DataError where it is missing."""
    try:
        from rdkit.rdBase import DisableLog
    except ImportError:
        raise DataError("molecules need RDKit: pip install 'graphgan[molecules]'") from None
    DisableLog("rdApp.*")


def parse_smiles(text: str) -> "Mol":
    """The sanitised molecule of a SMILES; raises EntryError with what RDKit has against it."""
    from rdkit import Chem

    mol = Chem.MolFromSmiles(text)
    if mol is None:
        raise EntryError(complaint(Chem.MolFromSmiles(text, sanitize=False), "not a SMILES"))
    return mol


def parse_block(text: str) -> "Mol":
    """The sanitised molecule of a mol block (V2000, V3000); raises EntryError with what RDKit has against it."""
    from rdkit import Chem

    mol = Chem.MolFromMolBlock(text)
    if mol is None:
        raise EntryError(complaint(Chem.MolFromMolBlock(text, sanitize=False), "not a mol block"))
    return mol


def complaint(mol: "Mol | None", otherwise: str) -> str:
    """What is wrong with an unsanitised molecule, in one line; `otherwise` where it is None."""
    from rdkit import Chem

    if mol is None:
        return otherwise
    problems = Chem.DetectChemistryProblems(mol)
    return one_line(problems[0].Message()) if problems else "RDKit cannot sanitise it"


def molecule_of(mol: "Mol", *, fragments: bool = False, copy: bool = True) -> Molecule:
    """The arrays of a sanitised molecule, bonds kekulised, hydrogens and stereo dropped.

    `to_mol` gives the same molecule back. EntryError for one that the arrays cannot hold: isotopes, radicals, hydrogens
    that valence does not explain, bonds other than single, double and triple, no atoms, and, unless `fragments`, more
    than one fragment. Without `copy` the molecule itself is kekulised on the way, which saves a fifth of the time.
    """
    from rdkit import Chem

    mol = Chem.Mol(mol) if copy else mol
    atoms, numbers = _atoms(mol)
    if 1 in numbers:
        mol = Chem.RemoveHs(mol)
        atoms, numbers = _atoms(mol)
    if not atoms:
        raise EntryError("no atoms")
    if not fragments and (parts := fragment_count(mol)) > 1:
        raise EntryError(f"{parts} fragments, not one molecule")
    try:
        Chem.Kekulize(mol, clearAromaticFlags=True)
    except Chem.KekulizeException as error:
        raise EntryError(one_line(error)) from None
    if mol.HasSubstructMatch(_other_bond()):
        kinds = {bond.GetBondType().name.lower() for bond in mol.GetBonds()} - {"single", "double", "triple"}
        raise EntryError(f"a bond that is {min(kinds)}")
    charges = _charges(mol, atoms)
    if min(numbers) < 2:
        raise EntryError("a dummy atom" if 0 in numbers else "a hydrogen that no heavy atom carries")
    orders = Chem.GetAdjacencyMatrix(mol, useBO=True).astype(np.uint8)
    return Molecule(np.array(numbers, dtype=np.uint8), np.array(charges, dtype=np.int8), orders)


def _atoms(mol: "Mol") -> tuple[list["Atom"], list[int]]:
    """The atoms, in a third of the time of GetAtoms, and their atomic numbers."""
    atoms = [mol.GetAtomWithIdx(index) for index in range(mol.GetNumAtoms())]
    return atoms, [atom.GetAtomicNum() for atom in atoms]


def _charges(mol: "Mol", atoms: list["Atom"]) -> list[int]:
    """Formal charges of a kekulised molecule of our own, which is changed. Raises EntryError for atoms that elements,
    charges and bonds do not determine."""
    charges, written = [], []
    for atom in atoms:
        charges.append(atom.GetFormalCharge())
        if atom.GetIsotope():
            raise EntryError(f"an isotope: {atom.GetIsotope()}{atom.GetSymbol()}")
        if atom.GetNumRadicalElectrons():
            raise EntryError(f"a radical: {atom.GetSymbol()} {atom.GetIdx() + 1}")
        if atom.GetNoImplicit() or atom.GetNumExplicitHs():
            written.append((atom, atom.GetTotalNumHs()))
            atom.SetNoImplicit(False)
            atom.SetNumExplicitHs(0)
    if written:
        mol.UpdatePropertyCache(strict=False)
    for atom, hydrogens in written:
        if atom.GetTotalNumHs() != hydrogens:
            name = f"{atom.GetSymbol()} {atom.GetIdx() + 1}"
            raise EntryError(f"{name} has {hydrogens} hydrogens, its valence calls for {atom.GetTotalNumHs()}")
    return charges


@cache
def _other_bond() -> "Mol":
    """A query for bonds that the arrays cannot hold: dative ones count as single in an adjacency matrix."""
    from rdkit import Chem

    return Chem.MolFromSmarts("*~;!-;!=;!#*")


@cache
def _bond_types() -> "list[BondType]":
    from rdkit.Chem import BondType

    return [BondType.ZERO, BondType.SINGLE, BondType.DOUBLE, BondType.TRIPLE]


def to_mol(molecule: Molecule) -> "Mol | None":
    """The sanitised molecule, aromaticity perceived, hydrogens implicit; None where RDKit refuses it (valence) and
    where there are no atoms. Several fragments are one molecule here."""
    from rdkit import Chem

    mol = unsanitised(molecule)
    if not len(molecule.numbers) or Chem.SanitizeMol(mol, catchErrors=True):
        return None
    return mol


def raw_smiles(molecule: Molecule) -> str:
    """SMILES of the graph as it is, unsanitised: what is written for a failure, which any reader refuses again. "" for
    no atoms."""
    from rdkit import Chem

    if not len(molecule.numbers):
        return ""
    mol = unsanitised(molecule)
    mol.UpdatePropertyCache(strict=False)
    Chem.FastFindRings(mol)
    return Chem.MolToSmiles(mol, isomericSmiles=False)


def canonical(mol: "Mol") -> str:
    """Canonical SMILES of RDKit without stereo."""
    from rdkit import Chem

    return Chem.MolToSmiles(mol, isomericSmiles=False)


def fragment_count(mol: "Mol") -> int:
    """The pieces of a molecule that no bond joins."""
    from rdkit import Chem

    return len(Chem.GetMolFrags(mol))


def unsanitised(molecule: Molecule) -> "RWMol":
    """The graph as it is, about which RDKit has not been asked."""
    from rdkit import Chem

    mol = Chem.RWMol()
    for number, charge in zip(molecule.numbers.tolist(), molecule.charges.tolist(), strict=True):
        mol.AddAtom(_atom(number, charge))
    types = _bond_types()
    for first, row in enumerate(molecule.orders.tolist()):
        for second in range(first):
            if row[second]:
                mol.AddBond(first, second, types[row[second]])
    return mol


@lru_cache(maxsize=1024)
def _atom(number: int, charge: int) -> "Atom":
    """An atom that molecules take copies of, which costs a third of making it."""
    from rdkit import Chem

    atom = Chem.Atom(number)
    atom.SetFormalCharge(charge)
    return atom
