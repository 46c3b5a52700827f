"""What each metric of molecules means in one plain line, and under which heading it stands."""

from graphgan.report.explanations import Explanation, Vocabulary

MOLECULE_GROUPS: dict[str, dict[str, Explanation]] = {
    "Validity": {
        "num_samples": Explanation("Samples", "molecules asked for; failures count in validity", "count", ""),
        "validity": Explanation(
            "Validity",
            "of the samples asked for: RDKit accepts valences and rings, and it is one fragment",
            "share",
            "higher",
        ),
        "fragmented": Explanation(
            "In pieces", "of the samples asked for: accepted, but several fragments", "share", "lower"
        ),
        "decode_failures": Explanation(
            "Decoding failures", "of the samples asked for: refused by RDKit, or no molecule at all", "share", "lower"
        ),
    },
    "Variety": {
        "uniqueness": Explanation(
            "Uniqueness", "distinct molecules among the valid ones; falls with the number of samples", "share", "higher"
        ),
        "novelty": Explanation("Novelty", "of the valid samples: not among the training molecules", "share", "higher"),
        "unique_novel_valid": Explanation(
            "Valid, unique and novel", "new molecules per sample asked for", "share", "higher"
        ),
        "internal_diversity": Explanation(
            "Internal diversity",
            "1 - mean Tanimoto similarity of pairs of valid samples, repetitions included",
            "number",
            "higher",
        ),
    },
    "As MolGAN counts": {
        "validity_molgan": Explanation(
            "Validity as in MolGAN",
            "without the rule of one fragment: molecules in pieces are valid",
            "share",
            "higher",
        ),
        "uniqueness_molgan": Explanation("Uniqueness as in MolGAN", "distinct ones among these", "share", "higher"),
        "novelty_molgan": Explanation(
            "Novelty as in MolGAN", "of these: not among the training molecules", "share", "higher"
        ),
    },
    "Rewards, mean over the valid samples": {
        "reward_qed": Explanation("Drug-likeness (QED)", "from 0 to 1", "number", "higher"),
        "reward_logp": Explanation(
            "Solubility (logP)",
            "logP from -2.12 to 6.04, scaled to 0 to 1; the name of MolGAN: high is oily",
            "number",
            "higher",
        ),
        "reward_sa": Explanation(
            "Synthesizability (SA)", "SA score from 5 to 1.5, scaled to 0 to 1: high is easy", "number", "higher"
        ),
        "reward_validity": Explanation("Validity", "1 by definition", "number", ""),
        "reward_uniqueness": Explanation("Uniqueness", "1 / number of copies", "number", "higher"),
        "reward_novelty": Explanation("Novelty", "1 where it is no training molecule", "number", "higher"),
        "reward_product": Explanation(
            "Product of the rewards", "mean over all samples asked for, failures 0", "number", "higher"
        ),
    },
    "Distributions": {
        "weight_wasserstein": Explanation(
            "Weight distance", "how far molecular weights are from real ones", "distance", "lower", "g/mol"
        ),
        "log_p_wasserstein": Explanation(
            "logP distance", "how far octanol-water partition is from real", "distance", "lower"
        ),
        "qed_wasserstein": Explanation("QED distance", "how far drug-likeness is from real", "distance", "lower"),
        "sa_wasserstein": Explanation(
            "SA distance", "how far scores of synthetic accessibility, 1 to 10, are from real", "distance", "lower"
        ),
        "num_atoms_total_variation": Explanation(
            "Size difference", "heavy atoms: 0 same histogram, 1 nothing in common", "distance", "lower"
        ),
        "num_rings_total_variation": Explanation(
            "Number-of-rings difference", "rings of a molecule", "distance", "lower"
        ),
        "atom_total_variation": Explanation(
            "Atom difference", "which elements and charges occur, of all heavy atoms", "distance", "lower"
        ),
        "bond_total_variation": Explanation(
            "Bond difference", "single, double, triple or aromatic, of all bonds", "distance", "lower"
        ),
        "ring_size_total_variation": Explanation(
            "Ring-size difference", "atoms of each ring, of all rings", "distance", "lower"
        ),
        "group_total_variation": Explanation(
            "Functional-group difference", "which groups occur, by molecules that have one", "distance", "lower"
        ),
    },
    "Evaluation": {
        "wall_seconds": Explanation("Evaluation time", "seconds this evaluation took", "number", "", "s"),
    },
}
"""Heading -> metrics by name, in the order in which a page shows them."""

MOLECULES = Vocabulary(
    one="molecule",
    rows_file="per_molecule.csv",
    groups=MOLECULE_GROUPS,
    headlines=(
        "validity",
        "uniqueness",
        "novelty",
        "unique_novel_valid",
        "internal_diversity",
        "reward_qed",
        "reward_logp",
        "reward_sa",
        "reward_product",
    ),
    shares="Uniqueness and novelty are of the valid samples, as in the literature; other shares are of the samples "
    "asked for, failures included.",
    distances="Distances are over the valid samples, repetitions included. “Real against real” is the distance of as "
    "many real molecules from the other real molecules: what a perfect model scores.",
)
