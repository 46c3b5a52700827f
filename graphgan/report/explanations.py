"""What each metric means in one plain line, for tables and pages."""

from typing import Literal, NamedTuple


class Explanation(NamedTuple):
    """`better` says in which direction a good model moves; counts and times have none."""

    label: str
    meaning: str
    kind: Literal["share", "distance", "count", "number"]
    better: Literal["higher", "lower", ""]
    unit: str = ""


EXPLANATIONS: dict[str, Explanation] = {
    "num_samples": Explanation("Samples", "crystals asked for; failures count in every share below", "count", ""),
    "decode_failures": Explanation(
        "Decoding failures", "samples from which no crystal could be built", "share", "lower"
    ),
    "structural_validity": Explanation(
        "Structural validity", "no two atoms closer than 0.5 Å and a cell that is not flat", "share", "higher"
    ),
    "compositional_validity": Explanation(
        "Compositional validity", "charges can balance with known oxidation states", "share", "higher"
    ),
    "validity": Explanation("Validity", "structurally and compositionally valid", "share", "higher"),
    "uniqueness": Explanation("Uniqueness", "valid and not a repetition of an earlier sample", "share", "higher"),
    "novelty": Explanation("Novelty", "valid and not among the training crystals", "share", "higher"),
    "unique_novel_valid": Explanation(
        "Unique, novel and valid", "all three at once: new crystals per sample asked for", "share", "higher"
    ),
    "density_wasserstein": Explanation(
        "Density distance", "how far the densities are from real ones", "distance", "lower", "g/cm³"
    ),
    "num_elements_wasserstein": Explanation(
        "Number-of-elements distance",
        "how far the counts of elements are from real",
        "distance",
        "lower",
    ),
    "nearest_neighbour_wasserstein": Explanation(
        "Nearest-neighbour distance",
        "how far the shortest bond of each atom is from real ones",
        "distance",
        "lower",
        "Å",
    ),
    "num_atoms_total_variation": Explanation(
        "Number-of-atoms difference", "cell sizes: 0 same histogram, 1 nothing in common", "distance", "lower"
    ),
    "element_total_variation": Explanation(
        "Element difference",
        "which elements occur: 0 same histogram, 1 none in common",
        "distance",
        "lower",
    ),
    "spacegroup_total_variation": Explanation(
        "Space-group difference", "symmetry: 0 same histogram, 1 nothing in common", "distance", "lower"
    ),
    "wall_seconds": Explanation("Evaluation time", "seconds this evaluation took", "number", "", "s"),
}
