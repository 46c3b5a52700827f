"""Metrics of generated crystals: structures in, numbers out. Knows no model, no tensor and no file."""

from graphgan.metrics.distributions import (
    density_wasserstein,
    element_total_variation,
    nearest_neighbour_wasserstein,
    num_atoms_total_variation,
    num_elements_wasserstein,
    spacegroup_total_variation,
    total_variation,
    wasserstein,
)
from graphgan.metrics.matching import (
    TOLERANCES,
    Comparison,
    compare,
    novelty,
    unique_novel_valid,
    uniqueness,
)
from graphgan.metrics.properties import (
    density,
    element_fractions,
    minimum_distance,
    nearest_neighbour_distances,
    num_elements,
    space_group,
)
from graphgan.metrics.validity import (
    MIN_DISTANCE,
    MIN_VOLUME,
    decode_failures,
    num_samples,
    structural_validity,
    structurally_valid,
)

__all__ = [
    "MIN_DISTANCE",
    "MIN_VOLUME",
    "TOLERANCES",
    "Comparison",
    "compare",
    "decode_failures",
    "density",
    "density_wasserstein",
    "element_fractions",
    "element_total_variation",
    "minimum_distance",
    "nearest_neighbour_distances",
    "nearest_neighbour_wasserstein",
    "novelty",
    "num_atoms_total_variation",
    "num_elements",
    "num_elements_wasserstein",
    "num_samples",
    "space_group",
    "spacegroup_total_variation",
    "structural_validity",
    "structurally_valid",
    "total_variation",
    "unique_novel_valid",
    "uniqueness",
    "wasserstein",
]
