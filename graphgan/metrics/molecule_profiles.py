"""Everything that a distribution of molecules compares, of one molecule, from its canonical SMILES."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from graphgan.metrics.molecule_properties import drug_likeness, log_p, mol_weight, synthetic_accessibility

if TYPE_CHECKING:
    from rdkit.Chem import Mol

NUMBERS = ("weight", "log_p", "qed", "sa")
"""Fields of a profile that are compared as numbers."""
CLASSES = ("num_atoms", "num_rings", "atoms", "bonds", "rings", "groups")
"""Fields of a profile that are compared as histograms."""
GROUPS = {
    "alcohol": "[OX2H][CX4]",
    "phenol": "[OX2H]c",
    "ether": "[OX2;!r3]([#6;!$(C=[O,N])])[#6;!$(C=[O,N])]",
    "epoxide": "[OX2]1[#6][#6]1",
    "aldehyde": "[CX3H1](=O)[#6]",
    "ketone": "[#6][CX3](=O)[#6]",
    "carboxylic acid": "[CX3](=O)[OX2H]",
    "ester": "[CX3](=O)[OX2][#6;!$(C=O)]",
    "amide": "[CX3](=O)[NX3]",
    "amine": "[NX3;+0;!$(N*=[O,N,S]);!$(N~[!#6])]",
    "ammonium": "[NX4+]",
    "imine": "[CX3]=[NX2;!$(N[O,N])]",
    "oxime": "[CX3]=[NX2][OX2H]",
    "nitrile": "C#[NX1]",
    "nitro": "[NX3+](=O)[O-]",
    "alkene": "[CX3]=[CX3]",
    "alkyne": "C#C",
    "aromatic ring": "a",
    "ring of three": "[r3]",
    "halide": "[F,Cl,Br,I][#6]",
    "thioether or thiol": "[SX2;!$(S~[!#6])]",
    "sulfonyl": "[SX4](=O)(=O)",
}
"""Functional groups by SMARTS. Our own choice, for small organic molecules."""


class MoleculeProfile(NamedTuple):
    """What is known of a valid molecule.

    num_atoms  heavy atoms
    weight     g/mol, with hydrogen
    atoms      heavy atoms by element and charge: "C", "N+", "O-"
    bonds      bonds by kind: "single", "double", "triple", "aromatic"
    rings      rings of the smallest set by number of atoms
    groups     the functional groups of GROUPS that the molecule has, ("none",) without
    """

    num_atoms: int
    num_rings: int
    weight: float
    log_p: float
    qed: float
    sa: float
    atoms: dict[str, int]
    bonds: dict[str, int]
    rings: dict[int, int]
    groups: tuple[str, ...]


def profile(smiles: str) -> MoleculeProfile | None:
    """The profile of a canonical SMILES; None where RDKit refuses to read it.

    From SMILES and not from a Mol, so that numbers do not depend on the order of the atoms in their last digits.
    """
    from rdkit import Chem

    mol = Chem.MolFromSmiles(smiles)
    return None if mol is None or mol.GetNumAtoms() == 0 else profile_of(mol)


def profile_of(mol: Mol) -> MoleculeProfile:
    """The profile of a sanitised molecule."""
    rings = mol.GetRingInfo().AtomRings()
    return MoleculeProfile(
        num_atoms=mol.GetNumHeavyAtoms(),
        num_rings=len(rings),
        weight=mol_weight(mol),
        log_p=log_p(mol),
        qed=drug_likeness(mol),
        sa=synthetic_accessibility(mol),
        atoms=dict(Counter(atom_kind(a.GetSymbol(), a.GetFormalCharge()) for a in mol.GetAtoms())),
        bonds=dict(Counter(b.GetBondType().name.lower() for b in mol.GetBonds())),
        rings=dict(Counter(map(len, rings))),
        groups=tuple(name for name, pattern in _patterns() if mol.HasSubstructMatch(pattern)) or ("none",),
    )


def atom_kind(symbol: str, charge: int) -> str:
    """Element and charge: "C", "N+", "O-", "N+2"."""
    if not charge:
        return symbol
    return symbol + ("+" if charge > 0 else "-") + (str(abs(charge)) if abs(charge) > 1 else "")


def pooled(values: Iterable[int | Mapping[Any, int] | Sequence[str]]) -> Counter:
    """How often every class of a field of CLASSES occurs, from that field of every molecule: atoms, bonds and rings
    pooled over molecules, of groups the molecules that have one."""
    found: Counter = Counter()
    for value in values:
        found.update([value] if isinstance(value, int) else value)
    return found


@cache
def _patterns() -> list[tuple[str, Mol]]:
    from rdkit import Chem

    return [(name, Chem.MolFromSmarts(smarts)) for name, smarts in GROUPS.items()]
