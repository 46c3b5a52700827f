"""Voronoi cells of the atoms of crystals: who shares a face with whom, and how large the face is.

The cell of an atom is found in the dual picture: a neighbour at p cuts space at the plane x·p = |p|²/2, and the planes
that bound the cell are the corners of the convex hull of the points 2p/|p|². One small hull per atom takes the place
of a tessellation of everything around it, and all faces of many crystals are measured together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

import numpy as np

from graphgan.metrics.properties import is_finite

if TYPE_CHECKING:
    from pymatgen.core import Structure

SEARCH_RADIUS = 7.0
"""Å; atoms further away do not shape a cell, unless the cell would be open without them."""
MAX_PAIRS = 1_000_000
"""Pairs of an atom and a neighbour in one search, as estimated from the cell; more would take seconds and more."""

_FARTHEST_CORNER = 1e8
"""Å; a cell with a corner further away than this is open: such a corner is made of rounding errors."""
_COINCIDENT = 1e-10
"""Å; atoms closer than this are in one place."""
_LARGEST_CLUSTER = 60
"""Neighbours in reach up to which an atom is tested for being at the corner of an isolated cluster."""


class OpenCellError(ValueError):
    """The Voronoi cell of an atom cannot be closed with an affordable number of neighbours."""


@dataclass(frozen=True)
class Faces:
    """The faces of the Voronoi cells of N atoms, M in number, sorted by the atom in the cell.

    site         [M] index of the atom in the cell
    neighbour    [M] index of the atom across the face
    vector       [M, 3] from the atom to its neighbour (the right periodic image), Å
    distance     [M] its length, Å
    solid_angle  [M] of the face as seen from the atom, steradian
    area         [M] Å²
    """

    site: np.ndarray
    neighbour: np.ndarray
    vector: np.ndarray
    distance: np.ndarray
    solid_angle: np.ndarray
    area: np.ndarray

    def take(self, rows: np.ndarray) -> Faces:
        """The faces at `rows`, in that order."""
        return Faces(*(getattr(self, part.name)[rows] for part in fields(self)))


def voronoi_faces(structures: Sequence[Structure]) -> tuple[Faces, list[bool]]:
    """Faces of the Voronoi cells of all atoms, counted through all crystals, and which crystals have cells at all.

    A cell is that of the atoms within SEARCH_RADIUS, as in pymatgen's VoronoiNN with cutoff 7. Where it is open, the
    radius is doubled, up to the longest diagonal of the unit cell. A crystal has no cells where one is open even
    then or where pymatgen gives up for an isolated cluster, where two atoms coincide, where numbers are not finite, or
    where a search would exceed MAX_PAIRS; what its atoms have in Faces is incomplete.
    """
    hulls = _Hulls()
    closed = []
    first = 0
    for structure in structures:
        try:
            _add_crystal(hulls, structure, first)
            closed.append(True)
        except OpenCellError:
            closed.append(False)
        first += len(structure)
    return hulls.faces(), closed


def _add_crystal(hulls: _Hulls, structure: Structure, first: int) -> None:
    """Add the cells of all atoms of a crystal; the first of them gets the number `first`."""
    if not is_finite(structure):
        raise OpenCellError("positions that are not numbers")
    if np.abs(structure.frac_coords).max() > 2:
        # pymatgen divides the box around all atoms as they are given into cubes: one far away would take all memory.
        structure = structure.__class__(structure.lattice, structure.species_and_occu, structure.frac_coords % 1)
    diagonals = np.array([[1, 1, 1], [-1, 1, 1], [1, -1, 1], [1, 1, -1]]) @ structure.lattice.matrix
    largest = np.linalg.norm(diagonals, axis=1).max() + 0.01
    radius = SEARCH_RADIUS
    wanted = np.arange(len(structure))
    while True:
        site, neighbour, vector = _pairs(structure, wanted, radius)
        wanted = hulls.add(site, neighbour, vector, wanted, first)
        if not len(wanted):
            return
        if radius >= largest:
            raise OpenCellError(f"the cells of {len(wanted)} atoms are open")
        radius = min(2 * radius, largest + 0.001)


def _pairs(structure: Structure, wanted: np.ndarray, radius: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Site [P], neighbour [P] and vector [P, 3] of all pairs within `radius` Å, sorted by site."""
    # Spacings of lattice planes give the number of cells in reach, in thin slabs and long cells as well.
    spacings = structure.volume / np.linalg.norm(np.cross(*structure.lattice.matrix[[[1, 2, 0], [2, 0, 1]]]), axis=1)
    with np.errstate(divide="ignore"):
        expected = len(wanted) * len(structure) * np.pi / 6 * np.prod(2 * radius / spacings + 1)
    if not expected <= MAX_PAIRS:
        raise OpenCellError(f"about {expected:.0f} pairs of atoms within {radius:.0f} Å")
    # pymatgen divides the box around all atoms into cubes of this edge and keeps a list for each.
    if not np.prod(np.abs(structure.lattice.matrix).sum(axis=0) / radius + 2) <= MAX_PAIRS:
        raise OpenCellError(f"a cell too large to be searched within {radius:.0f} Å")
    sites = None if len(wanted) == len(structure) else [structure[i] for i in wanted]
    centre, neighbour, image, _ = structure.get_neighbor_list(radius, sites, exclude_self=False)
    site = wanted[centre]
    keys = np.flatnonzero((site != neighbour) | (image != 0).any(axis=1))
    keys = keys[np.argsort(site[keys], kind="stable")]
    site, neighbour = site[keys], neighbour[keys]
    positions = (structure.frac_coords[neighbour] + image[keys]) @ structure.lattice.matrix
    return site, neighbour, positions - structure.cart_coords[site]


@dataclass
class _Hulls:
    """Convex hulls of the dual points, one per atom, as lists of arrays with one entry per search or per atom."""

    sites: list[np.ndarray] = field(default_factory=list)
    neighbours: list[np.ndarray] = field(default_factory=list)
    vectors: list[np.ndarray] = field(default_factory=list)
    triangles: list[np.ndarray] = field(default_factory=list)
    beside: list[np.ndarray] = field(default_factory=list)
    planes: list[np.ndarray] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    num_pairs: int = 0

    def add(
        self, site: np.ndarray, neighbour: np.ndarray, vector: np.ndarray, wanted: np.ndarray, first: int
    ) -> np.ndarray:
        """Add the cells of the wanted sites and return those sites whose cells the given pairs leave open."""
        from scipy.spatial import ConvexHull, QhullError

        squared = np.einsum("ij,ij->i", vector, vector)
        if len(squared) and squared.min() < _COINCIDENT**2:
            raise OpenCellError("two atoms in one place")
        dual = 2 * vector / squared[:, None]
        offset = self.num_pairs
        self.sites.append(site + first)
        self.neighbours.append(neighbour + first)
        self.vectors.append(vector)
        self.num_pairs += len(site)
        still_open = []
        starts, stops = np.searchsorted(site, wanted), np.searchsorted(site, wanted, side="right")
        for index, start, stop in zip(wanted, starts, stops, strict=True):
            try:
                hull = ConvexHull(dual[start:stop])
                planes = hull.equations
            except (QhullError, ValueError):  # fewer than four neighbours, or all in one plane
                planes = None
            if planes is None or planes[:, 3].max() > -1 / _FARTHEST_CORNER:
                if _is_corner(vector[start:stop]):
                    raise OpenCellError("an atom at the corner of all atoms in reach")
                still_open.append(index)
                continue
            self.triangles.append(hull.simplices)
            self.beside.append(hull.neighbors)
            self.planes.append(planes)
            self.offsets.append(offset + start)
        return np.array(still_open, int)

    def faces(self) -> Faces:
        """Measure all faces of all cells."""
        if not self.planes:
            whole, real = np.empty(0, int), np.empty(0)
            return Faces(whole, whole, np.empty((0, 3)), real, real, real)
        sizes = [len(planes) for planes in self.planes]
        planes = np.concatenate(self.planes)
        corners = planes[:, :3] / -planes[:, 3:]
        triangles = np.concatenate(self.triangles) + np.repeat(self.offsets, sizes)[:, None]
        beside = np.concatenate(self.beside) + np.repeat(np.cumsum(sizes) - sizes, sizes)[:, None]
        edges = _edges(triangles, beside)
        vector = np.concatenate(self.vectors)
        distance = np.linalg.norm(vector, axis=1)
        solid_angle, area = _measure(vector, distance, corners, edges)
        site, neighbour = np.concatenate(self.sites), np.concatenate(self.neighbours)
        # Neighbours that only touch the cell have an area of rounding errors or none.
        rows = np.flatnonzero((area > 0) & (solid_angle > 0))
        rows = rows[np.argsort(site[rows], kind="stable")]
        return Faces(site, neighbour, vector, distance, solid_angle, area).take(rows)


def _is_corner(vector: np.ndarray) -> bool:
    """Whether an atom and its neighbours have a tessellation in which Qhull reports no face of the atom's cell.

    pymatgen gives up then, instead of looking further away: the atom belongs to one Delaunay tetrahedron only, as
    every atom of four that are alone in their sphere.
    """
    from scipy.spatial import QhullError, Voronoi

    if len(vector) > _LARGEST_CLUSTER:
        return False
    try:
        return not (Voronoi(np.vstack([np.zeros(3), vector])).ridge_points == 0).any()
    except (QhullError, ValueError):
        return False


def _edges(triangles: np.ndarray, beside: np.ndarray) -> np.ndarray:
    """Edges of the cells [4, E]: the two faces that meet there, and the two corners at its ends.

    Takes for every corner its three faces [F, 3], and the corner [F, 3] that is reached along the edge between the
    other two faces.
    """
    here = np.arange(len(triangles))
    parts = []
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        once = here < beside[:, i]
        parts.append(np.stack([triangles[once, j], triangles[once, k], here[once], beside[once, i]]))
    return np.concatenate(parts, axis=1)


def _measure(
    vector: np.ndarray, distance: np.ndarray, corners: np.ndarray, edges: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Solid angle and area of every face, summed over the triangles of its foot point and each of its edges.

    The foot point (half way to the neighbour) may lie outside the face: then some triangles count negative.
    """
    one, other = edges[:2]
    start, end = corners[edges[2]], corners[edges[3]]
    start_norm, end_norm = np.linalg.norm(start, axis=1), np.linalg.norm(end, axis=1)
    length = np.linalg.norm(end - start, axis=1)
    inner = np.einsum("ij,ij->i", start, end)
    dot = np.einsum("ij,ij->i", vector[one], vector[other])
    cross = np.linalg.norm(np.cross(vector[one], vector[other]), axis=1)
    solid_angle, area = np.zeros(len(vector)), np.zeros(len(vector))
    for face, across in ((one, other), (other, one)):
        height = distance[face] / 2
        # Distance of the edge from the foot point, in the plane of the face; negative where it lies on the far side.
        offset = (distance[across] ** 2 * distance[face] - dot * distance[face]) / 2
        doubled = np.divide(offset * length, cross, out=np.zeros(len(face)), where=(length > 0) & (cross > 0))
        area += np.bincount(face, doubled / 2, minlength=len(vector))
        # Van Oosterom and Strackee, doi:10.1109/TBME.1983.325207, with the foot point as one of three corners.
        denominator = start_norm * end_norm + height * (start_norm + end_norm) + inner
        solid_angle += np.bincount(face, 2 * np.arctan2(doubled, denominator), minlength=len(vector))
    return solid_angle, area
