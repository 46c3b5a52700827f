"""What each metric of crystals means in one plain line, for tables and pages, and under which heading it stands."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple


class Explanation(NamedTuple):
    """`better` says in which direction a good model moves; counts and times have none."""

    label: str
    meaning: str
    kind: Literal["share", "distance", "count", "number"]
    better: Literal["higher", "lower", ""]
    unit: str = ""


@dataclass(frozen=True)
class Vocabulary:
    """The words of a report, of crystals or of molecules.

    one         what a sample is
    rows_file   name of the table with a row a sample
    groups      heading -> metrics by name, in the order in which a page shows them
    headlines   metrics shown as tiles, where there are any
    shares      a sentence: what shares are of
    distances   sentences: what distances are over, and what "real against real" is
    """

    one: str
    rows_file: str
    groups: Mapping[str, Mapping[str, Explanation]]
    headlines: tuple[str, ...]
    shares: str
    distances: str

    @cached_property
    def explanations(self) -> dict[str, Explanation]:
        """Every metric by its name."""
        return {name: about for group in self.groups.values() for name, about in group.items()}

    def shown(self, name: str, value: float) -> str:
        """A metric as text: shares in percent, counts whole, distances with four digits."""
        kind = self.explanations[name].kind if name in self.explanations else "number"
        if kind == "share":
            return f"{100 * value:.2f} %"
        if kind == "count":
            return f"{value:.0f}"
        return f"{value:.4g}"


GROUPS: dict[str, dict[str, Explanation]] = {
    "Validity": {
        "num_samples": Explanation("Samples", "crystals asked for; failures count in every share", "count", ""),
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
    },
    "Coverage": {
        "coverage_recall": Explanation(
            "Coverage recall (COV-R)",
            "real crystals with a sample near them; grows with the number of samples",
            "share",
            "higher",
        ),
        "coverage_precision": Explanation(
            "Coverage precision (COV-P)", "samples asked for that lie near a real crystal", "share", "higher"
        ),
        "coverage_recall_paper": Explanation(
            "Coverage recall, strict",
            "one sample near in structure and composition: the text of the paper, not its published numbers",
            "share",
            "higher",
        ),
        "coverage_precision_paper": Explanation(
            "Coverage precision, strict", "one real crystal near in structure and composition", "share", "higher"
        ),
        "amsd_recall": Explanation(
            "AMSD-R",
            "mean distance of structure fingerprints from a real crystal to the nearest sample",
            "distance",
            "lower",
        ),
        "amsd_precision": Explanation(
            "AMSD-P",
            "mean distance of structure fingerprints from a sample to the nearest real crystal",
            "distance",
            "lower",
        ),
        "amcd_recall": Explanation("AMCD-R", "as AMSD-R, of compositions", "distance", "lower"),
        "amcd_precision": Explanation("AMCD-P", "as AMSD-P, of compositions", "distance", "lower"),
        "missing_elements": Explanation(
            "Elements never made", "of those in real crystals; “What is missing” names them", "count", "lower"
        ),
        "missing_spacegroups": Explanation(
            "Space groups never made", "of those of real crystals, at most 1,000 drawn", "count", "lower"
        ),
        "missing_prototypes": Explanation(
            "Prototypes never made", "formula type, space group and site symmetries, of the same", "count", "lower"
        ),
    },
    "Distributions": {
        "density_wasserstein": Explanation(
            "Density distance",
            "how far the densities of valid samples are from real ones",
            "distance",
            "lower",
            "g/cm³",
        ),
        "num_elements_wasserstein": Explanation(
            "Number-of-elements distance", "how far their counts of elements are from real", "distance", "lower"
        ),
        "nearest_neighbour_wasserstein": Explanation(
            "Nearest-neighbour distance",
            "how far the shortest bond of each atom is from real ones",
            "distance",
            "lower",
            "Å",
        ),
        "neighbour_pair_wasserstein": Explanation(
            "Bond-length distance",
            "the same within each pair of elements: are Ti–O bonds as long as real Ti–O bonds?",
            "distance",
            "lower",
            "Å",
        ),
        "cell_length_wasserstein": Explanation(
            "Cell-length distance", "how far the edges of Niggli cells are from real ones", "distance", "lower", "Å"
        ),
        "cell_angle_wasserstein": Explanation(
            "Cell-angle distance", "how far the angles of Niggli cells are from real ones", "distance", "lower", "°"
        ),
        "num_atoms_total_variation": Explanation(
            "Number-of-atoms difference", "cell sizes: 0 same histogram, 1 nothing in common", "distance", "lower"
        ),
        "element_total_variation": Explanation(
            "Element difference", "which elements occur: 0 same histogram, 1 none in common", "distance", "lower"
        ),
        "spacegroup_total_variation": Explanation(
            "Space-group difference", "symmetry: 0 same histogram, 1 nothing in common", "distance", "lower"
        ),
    },
    "Variety": {
        "uniqueness": Explanation("Uniqueness", "valid and not a repetition of an earlier sample", "share", "higher"),
        "novelty": Explanation("Novelty", "valid and not among the training crystals", "share", "higher"),
        "unique_novel_valid": Explanation(
            "Unique, novel and valid", "all at once: new crystals per sample asked for", "share", "higher"
        ),
        "uniqueness_cdvae": Explanation(
            "Uniqueness as in CDVAE", "with the looser tolerances of CDVAE and DiffCSP", "share", "higher"
        ),
        "novelty_cdvae": Explanation(
            "Novelty as in CDVAE", "with the looser tolerances of CDVAE and DiffCSP", "share", "higher"
        ),
        "uniqueness_mattergen": Explanation(
            "Uniqueness as in MatterGen", "with the tighter tolerances of MatterGen and FlowMM", "share", "higher"
        ),
        "novelty_mattergen": Explanation(
            "Novelty as in MatterGen", "with the tighter tolerances of MatterGen and FlowMM", "share", "higher"
        ),
        "amd_between_samples": Explanation(
            "Distance between samples",
            "mean AMD distance to the nearest other sample; 0 for repetitions",
            "distance",
            "",
            "Å",
        ),
        "amd_to_train": Explanation(
            "Distance to training crystals",
            "mean AMD distance to the nearest training crystal; 0 for copies",
            "distance",
            "",
            "Å",
        ),
    },
    "Stability against the training set": {
        "stable": Explanation(
            "Stable", "relaxed energy on or below the hull of the training crystals: an upper bound", "share", "higher"
        ),
        "metastable": Explanation("Metastable", "at most 0.1 eV/atom above that hull", "share", "higher"),
        "sun": Explanation("Stable, unique and novel", "all at once, of the samples asked for", "share", "higher"),
        "msun": Explanation("Metastable, unique and novel", "all at once, of the samples asked for", "share", "higher"),
        "stability_failures": Explanation(
            "Without an energy", "invalid, not relaxed, or with elements outside the hull", "share", "lower"
        ),
    },
    "Learning from samples": {
        "gan_train_volume_mae": Explanation(
            "GAN-train, volume",
            "error in the volume per atom of real crystals, predicted by what samples teach",
            "distance",
            "lower",
            "Å³",
        ),
        "gan_test_volume_mae": Explanation(
            "GAN-test, volume",
            "error in the volume per atom of samples, predicted by what real crystals teach",
            "distance",
            "lower",
            "Å³",
        ),
        "real_volume_mae": Explanation(
            "Real to real, volume",
            "taught by and tested on real crystals: what a perfect generator scores in both",
            "distance",
            "",
            "Å³",
        ),
    },
    "matbench-genmetrics": {
        "genmetrics_validity": Explanation(
            "Validity", "closeness of space groups and elements to real ones; at most 1", "number", "higher"
        ),
        "genmetrics_coverage": Explanation(
            "Coverage", "samples that match a held-out crystal, per held-out crystal; can exceed 1", "number", "higher"
        ),
        "genmetrics_novelty": Explanation(
            "Novelty", "share of the samples that match no training crystal", "number", "higher"
        ),
        "genmetrics_uniqueness": Explanation(
            "Uniqueness", "share of the pairs of samples that do not match", "number", "higher"
        ),
    },
    "Evaluation": {
        "wall_seconds": Explanation("Evaluation time", "seconds this evaluation took", "number", "", "s"),
    },
}
"""Heading -> metrics by name, in the order in which a page shows them."""

CRYSTALS = Vocabulary(
    one="crystal",
    rows_file="per_structure.csv",
    groups=GROUPS,
    headlines=(
        "structural_validity",
        "validity",
        "uniqueness",
        "novelty",
        "unique_novel_valid",
        "coverage_recall",
        "coverage_precision",
        "msun",
        "density_wasserstein",
    ),
    shares="Shares are of the samples asked for, failures included.",
    distances="Distances are over the structurally valid samples, those of density and number of elements over the "
    "valid ones. “Real against real” is the distance of as many real crystals from the other real crystals: what a "
    "perfect model scores.",
)
EXPLANATIONS = CRYSTALS.explanations
