"""Relaxation of many crystals at once, atoms and cell together; one that explodes costs one result, not the batch.

FIRE (Bitzek et al. 2006, doi:10.1103/PhysRevLett.97.170201) with unit masses: velocities follow the forces, are
turned towards them while the power F·v is positive, and stop dead when it is not; the time step grows in between.

The cell moves by strains of its own: with positions r, cell vectors L as rows, stress σ and volume V, a step takes r
and L to (r + δr) exp(δX/c) and L exp(δX/c), δX symmetric [3, 3] in Å, and the force on X is -Vσ/c. Strain counts from
the current cell, which needs no derivative of a matrix exponential and never turns the crystal. With c = 2 Å √N, N
atoms, the cell is about as stiff as an atom in its site (bulk modulus 100 GPa, 15 Å³ an atom: 10 eV/Å²), so both take
the same time step. A relaxation ends where forces and the rows of -Vσ/N are below fmax, as in ase's cell filters.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from graphgan.metrics import MIN_DISTANCE, nearest_neighbour_distances
from graphgan.metrics.properties import is_finite
from graphgan.stability.potentials import Evaluation, Potential

if TYPE_CHECKING:
    from pymatgen.core import Structure

VOLUME_PER_ATOM = (2.0, 500.0)
"""Å³; outside it, a crystal has imploded or evaporated."""

# The constants of Bitzek et al., but for the time steps, which they leave to the units (here Å and eV).
_FIRST_STEP, _LONGEST_STEP = 0.2, 1.0
_FASTER, _SLOWER, _PATIENCE, _TURN, _TURN_LESS = 1.1, 0.5, 5, 0.1, 0.99
_STRAIN_SCALE = 2.0
"""Å; c/√N above."""
_LONGEST_MOVE = 0.2
"""Å; the norm of a step over all atoms and the cell."""


@dataclass(frozen=True)
class Settings:
    """When a relaxation ends.

    fmax        eV/Å; the largest force on an atom, and row of the force on the cell, that counts as none
    max_steps   evaluations after the first; what has not converged by then keeps its last energy
    """

    fmax: float = 0.05
    max_steps: int = 200

    def __post_init__(self) -> None:
        if not self.fmax > 0:
            raise ValueError(f"fmax is {self.fmax}, expected above 0")
        if self.max_steps < 0:
            raise ValueError(f"max_steps is {self.max_steps}, expected 0 or more")


@dataclass(frozen=True)
class Relaxed:
    """Where a relaxation led.

    structure        the relaxed crystal; None if it failed
    energy_per_atom  eV; None if it failed
    converged        whether forces and stress fell below fmax within max_steps
    steps            evaluations after the first
    reason           why it failed, in one line; empty if it did not
    displacement     Å; root mean square move of the atoms, in the relaxed cell, the mean move removed
    volume_change    relaxed volume over the first one, minus 1
    """

    structure: Structure | None
    energy_per_atom: float | None
    converged: bool
    steps: int
    reason: str = ""
    displacement: float | None = None
    volume_change: float | None = None


def relax(structure: Structure | None, potential: Potential, settings: Settings = Settings()) -> Relaxed:
    """The nearest minimum of the potential's energy over positions and cell; symmetry may break and may not form.

    A crystal that cannot be judged gives a result with a reason; nothing is raised for it.
    """
    return next(result for _, result in relax_each([structure], potential, settings))


def relax_each(
    structures: Iterable[Structure | None],
    potential: Potential,
    settings: Settings = Settings(),
    *,
    batch: int = 1,
) -> Iterator[tuple[int, Relaxed]]:
    """(position in the list, result) of every crystal, in the order in which they finish.

    `batch` crystals are evaluated at a time, each with a time step of its own; one that is done makes room for the
    next.
    """
    source = enumerate(structures)
    active: dict[int, _Motion] = {}
    while True:
        while len(active) < batch and (ahead := next(source, None)) is not None:
            index, structure = ahead
            reason = unfit(structure, potential)
            if structure is None or reason:
                yield index, Relaxed(None, None, False, 0, reason)
            else:
                active[index] = _Motion(structure, settings)
        if not active:
            return
        answers = evaluate(potential, [motion.structure for motion in active.values()])
        for (index, motion), answer in zip(list(active.items()), answers, strict=True):
            if (result := motion.react(answer)) is not None:
                del active[index]
                yield index, result


def unfit(structure: Structure | None, potential: Potential) -> str:
    """Why a crystal cannot be relaxed at all, in one line; empty if it can."""
    if structure is None or len(structure) == 0:
        return "no crystal"
    if not structure.is_ordered:
        return "sites are shared by several elements"
    if not is_finite(structure):
        return "cell or positions are not finite"
    if potential.elements is not None:
        unknown = sorted({site.specie.symbol for site in structure} - potential.elements)
        if unknown:
            return f"{potential.name} does not know {', '.join(unknown)}"
    return _collapsed(structure)


OUT_OF_MEMORY = "out of memory"
"""The reason of a failure that says nothing of the crystal."""


def evaluate(potential: Potential, structures: Sequence[Structure]) -> list[Evaluation | str]:
    """What the potential says of each crystal, or why it says nothing, in one line.

    A batch in which something is raised is halved until the crystal at fault is alone: the others are still judged,
    and a batch too large for the memory is made smaller.
    """
    try:
        return list(potential(structures))
    except Exception as error:
        if len(structures) == 1:
            # By name, since this module does not import torch.
            if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
                return [OUT_OF_MEMORY]
            line = " ".join(str(error).split()) or type(error).__name__
            return [f"{potential.name}: {line[:150]}"]
    half = len(structures) // 2
    return evaluate(potential, structures[:half]) + evaluate(potential, structures[half:])


class _Motion:
    """One crystal on its way down: its place, its velocity and its time step."""

    def __init__(self, structure: Structure, settings: Settings) -> None:
        self._settings = settings
        self._species = [site.specie.symbol for site in structure]
        self._first_fractions = self._fractions = np.array(structure.frac_coords, float)
        self._lattice = np.array(structure.lattice.matrix, float)
        self._first_volume = self._volume()
        self._strain_scale = _STRAIN_SCALE * len(self._species) ** 0.5
        # Rows of atoms, then three rows of the cell.
        self._velocity = np.zeros((len(self._species) + 3, 3))
        self._time_step, self._turn = _FIRST_STEP, _TURN
        self._downhill = self._steps = 0
        self.structure = self._built()

    def _built(self) -> Structure:
        from pymatgen.core import Lattice, Structure

        return Structure(Lattice(self._lattice), self._species, self._fractions)

    def react(self, answer: Evaluation | str) -> Relaxed | None:
        """Move on after an evaluation; the result if this was the last one."""
        if isinstance(answer, str):
            return self._failed(answer)
        atoms = len(self._species)
        virial = -self._volume() * (answer.stress + answer.stress.T) / 2
        if not all(np.isfinite(numbers).all() for numbers in (answer.energy, answer.forces, virial)):
            return self._failed("energy, forces or stress are not finite")
        largest = np.linalg.norm(np.concatenate([answer.forces, virial / atoms]), axis=1).max()
        converged = bool(largest < self._settings.fmax)
        if converged or self._steps == self._settings.max_steps:
            return self._finished(answer.energy / atoms, converged)
        self._move(self._step(np.concatenate([answer.forces, virial / self._strain_scale])))
        self._steps += 1
        # Potentials have holes at distances that no crystal of their training had; what falls in stays in.
        if reason := _collapsed(self.structure):
            return self._failed(f"{reason} after {self._steps} steps")
        return None

    def _step(self, forces: np.ndarray) -> np.ndarray:
        """FIRE: the displacement [N + 3, 3] that follows from the forces; velocity and time step move on."""
        power = float((forces * self._velocity).sum())
        if power > 0:
            speed, strength = np.linalg.norm(self._velocity), np.linalg.norm(forces)
            self._velocity = (1 - self._turn) * self._velocity + self._turn * speed / strength * forces
            if self._downhill > _PATIENCE:
                self._time_step = min(self._time_step * _FASTER, _LONGEST_STEP)
                self._turn *= _TURN_LESS
            self._downhill += 1
        else:
            if self._steps:
                self._time_step *= _SLOWER
            self._velocity[:] = 0
            self._turn = _TURN
            self._downhill = 0
        self._velocity = self._velocity + self._time_step * forces
        step = self._time_step * self._velocity
        length = float(np.linalg.norm(step))
        return step * min(1.0, _LONGEST_MOVE / length) if length else step

    def _move(self, step: np.ndarray) -> None:
        atoms = len(self._species)
        self._fractions = self._fractions + step[:atoms] @ np.linalg.inv(self._lattice)
        values, vectors = np.linalg.eigh(step[atoms:] / self._strain_scale)
        self._lattice = self._lattice @ (vectors * np.exp(values)) @ vectors.T
        self.structure = self._built()

    def _volume(self) -> float:
        return abs(float(np.linalg.det(self._lattice)))

    def _failed(self, reason: str) -> Relaxed:
        return Relaxed(None, None, False, self._steps, reason)

    def _finished(self, energy_per_atom: float, converged: bool) -> Relaxed:
        moves = self._fractions - self._first_fractions
        moves = (moves - moves.mean(axis=0)) @ self._lattice
        return Relaxed(
            structure=self.structure,
            energy_per_atom=float(energy_per_atom),
            converged=converged,
            steps=self._steps,
            displacement=float(np.sqrt((moves**2).sum(axis=1).mean())),
            volume_change=self._volume() / self._first_volume - 1,
        )


def _collapsed(structure: Structure) -> str:
    """Why a crystal is too dense, too thin or too close to be judged; empty if it is not."""
    low, high = VOLUME_PER_ATOM
    volume = float(structure.volume) / len(structure)
    if not low <= volume <= high:
        return f"the volume is {volume:.3g} Å³ an atom"
    nearest = float(nearest_neighbour_distances(structure).min())
    return "" if nearest >= MIN_DISTANCE else f"atoms are {nearest:.2f} Å apart"
