"""Interatomic potentials whose weights come with their packages: crystals in, energies, forces and stresses out.

Knows no relaxation and no hull. torch and the packages are imported when a potential is loaded.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from functools import lru_cache
from io import StringIO
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from graphgan.stability.errors import StabilityError

if TYPE_CHECKING:
    from pymatgen.core import Structure


class Evaluation(NamedTuple):
    """What a potential says of one crystal of N atoms.

    energy   eV, of the whole cell
    forces   [N, 3] eV/Å
    stress   [3, 3] eV/Å³, positive under tension: the derivative of the energy by the strain over the volume
    """

    energy: float
    forces: np.ndarray
    stress: np.ndarray


class Potential(Protocol):
    """Energies, forces and stresses of many crystals at once.

    `name` and `version` say which numbers these are: results are kept under them. `device` is where it runs;
    `elements` are the symbols it was fitted to, None for all. A call may raise any exception for a crystal that
    it cannot judge. It must be picklable to be used on several cores.
    """

    name: str
    version: str
    device: str
    elements: frozenset[str] | None

    def __call__(self, structures: Sequence[Structure]) -> list[Evaluation]: ...


class CHGNetPotential:
    """CHGNet 0.3.0 (Deng et al. 2023, doi:10.1038/s42256-023-00716-3), fitted to the Materials Project trajectories.

    Its energies contain the Materials Project's corrections of 2020, so that oxides and metals share one scale.
    """

    name = "chgnet"

    def __init__(self, device: str) -> None:
        from chgnet.model.model import CHGNet

        with redirect_stdout(StringIO()):  # CHGNet says how many parameters it has
            self._model = CHGNet.load(use_device=device, verbose=False).eval()
        self._model.requires_grad_(False)
        self.version = str(self._model.version)
        self.device = device
        self.elements: frozenset[str] | None = _symbols(_FITTED)

    def __reduce__(self) -> tuple[Any, ...]:
        return load_potential, (self.name, self.device)

    def __call__(self, structures: Sequence[Structure]) -> list[Evaluation]:
        """Raises ValueError for a crystal with an atom that has no neighbour within 6 Å."""
        with _one_thread(self.device):
            return self._evaluate(structures)

    def _evaluate(self, structures: Sequence[Structure]) -> list[Evaluation]:
        import torch

        graphs = [self._graph(structure).to(self.device) for structure in structures]
        sizes = torch.tensor([len(structure) for structure in structures], device=self.device)
        # One backward pass through positions and cell costs less than half of CHGNet's own two, which are kept
        # differentiable for training; and its stress has the wrong sign in a left-handed cell.
        with warnings.catch_warnings():  # of a tensor that CHGNet turns into a number
            warnings.simplefilter("ignore", UserWarning)
            energies = self._model(graphs, task="e")["e"] * sizes
        inputs = [graph.atom_frac_coord for graph in graphs] + [graph.lattice for graph in graphs]
        slopes = [slope.cpu().numpy().astype(float) for slope in torch.autograd.grad(energies.sum(), inputs)]
        by_position, by_lattice = slopes[: len(graphs)], slopes[len(graphs) :]
        found = []
        for structure, energy, position, cell in zip(
            structures, energies.tolist(), by_position, by_lattice, strict=True
        ):
            lattice = structure.lattice.matrix
            forces = -position @ np.linalg.inv(lattice).T
            stress = lattice.T @ cell / abs(np.linalg.det(lattice))
            found.append(Evaluation(energy, forces, (stress + stress.T) / 2))
        return found

    def _graph(self, structure: Structure) -> Any:
        import gc

        # CHGNet leaves a file in the working folder, and the garbage collector off, when it finds no graph.
        quiet = structure.copy()
        quiet.to = lambda *_, **__: ""  # type: ignore[method-assign]
        thresholds = gc.get_threshold()
        try:
            return self._model.graph_converter(quiet)
        finally:
            gc.set_threshold(*thresholds)


class SevenNetPotential:
    """SevenNet-0 of 11 July 2024 (Park et al. 2024, doi:10.1021/acs.jctc.4c00190), fitted to the same trajectories.

    Its own energies are plain PBE and PBE+U ones; the corrections of 2020 (Wang et al. 2021,
    doi:10.1038/s41598-021-94550-5) are added as pymatgen does, so that compounds and elements share one scale.
    """

    name, version = "sevennet", "0_11July2024"

    def __init__(self, device: str) -> None:
        import sevenn._keys as keys
        from sevenn.util import load_checkpoint

        checkpoint = load_checkpoint("7net-0_11July2024")
        self._cutoff = float(checkpoint.config[keys.CUTOFF])
        self.elements: frozenset[str] | None = _symbols(checkpoint.config[keys.TYPE_MAP])
        self._model = checkpoint.build_model().to(device).eval()
        self._model.set_is_batch_data(True)
        self.device = device

    def __reduce__(self) -> tuple[Any, ...]:
        return load_potential, (self.name, self.device)

    def __call__(self, structures: Sequence[Structure]) -> list[Evaluation]:
        """Raises what SevenNet raises for a crystal without a pair of atoms within 5 Å."""
        import sevenn._keys as keys
        from pymatgen.io.ase import AseAtomsAdaptor
        from sevenn.atom_graph_data import AtomGraphData
        from sevenn.train.dataload import unlabeled_atoms_to_graph
        from torch_geometric.data import Batch

        with _one_thread(self.device):
            atoms = [AseAtomsAdaptor.get_atoms(structure) for structure in structures]
            graphs = [unlabeled_atoms_to_graph(one, self._cutoff, with_shift=False) for one in atoms]
            batch = Batch.from_data_list([AtomGraphData.from_numpy_dict(graph) for graph in graphs])
            output = self._model(batch.to(self.device))
        energies, forces, stresses = (
            output[key].detach().cpu().numpy().astype(float)
            for key in (keys.PRED_TOTAL_ENERGY, keys.PRED_FORCE, keys.PRED_STRESS)
        )
        ends = np.cumsum([len(structure) for structure in structures])[:-1]
        return [
            Evaluation(float(energy) + _correction(structure), force, -stress[[[0, 3, 5], [3, 1, 4], [5, 4, 2]]])
            for structure, energy, force, stress in zip(
                structures, energies, np.split(forces, ends), stresses, strict=True
            )
        ]


_HUBBARD = {"Co": 3.32, "Cr": 3.7, "Fe": 5.3, "Mn": 3.9, "Mo": 4.38, "Ni": 6.2, "V": 3.25, "W": 6.2}
"""eV; the Materials Project's U of metals in oxides, fluorides (Jain et al. 2011, doi:10.1103/PhysRevB.84.045115)."""


def _correction(structure: Structure) -> float:
    """The Materials Project's corrections of 2020 to a PBE(+U) energy, in eV for the whole cell."""
    from pymatgen.entries.compatibility import MaterialsProject2020Compatibility
    from pymatgen.entries.computed_entries import ComputedStructureEntry

    elements = {site.specie.symbol for site in structure}
    mixed = bool(elements & {"O", "F"})
    hubbards = {element: _HUBBARD.get(element, 0.0) if mixed else 0.0 for element in elements}
    kind = "GGA+U" if any(hubbards.values()) else "GGA"
    entry = ComputedStructureEntry(structure, 0.0, parameters={"run_type": kind, "hubbards": hubbards})
    scheme = MaterialsProject2020Compatibility(check_potcar=False)
    with warnings.catch_warnings():  # of oxidation states that cannot be guessed
        warnings.simplefilter("ignore")
        return float(sum(adjustment.value for adjustment in scheme.get_adjustments(entry)))


@contextmanager
def _one_thread(device: str) -> Iterator[None]:
    """One thread of torch on the CPU, and afterwards as many as before: faster for graphs this small, and the last
    digits are the same here and in worker processes."""
    import torch

    threads = torch.get_num_threads()
    if device != "cpu" or threads == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


_FITTED = (*range(1, 84), 89, *range(90, 95))
"""Atomic numbers in the Materials Project trajectories: all to plutonium but Po, At, Rn, Fr and Ra."""

LOADERS: dict[str, tuple[Callable[[str], Potential], str]] = {
    "chgnet": (CHGNetPotential, "stability needs chgnet: pip install graphgan[stability]"),
    "sevennet": (SevenNetPotential, "this potential needs sevenn: pip install sevenn"),
}
"""Potentials by name, and what to say where their package is missing."""


def load_potential(name: str, device: str = "auto") -> Potential:
    """The potential called `name` on `device`: 'cpu', 'cuda' or 'auto', which is CUDA where there is one.

    Loaded once a process. Raises StabilityError for an unknown name, a package that is not installed, or a device
    that is not there.
    """
    if name not in LOADERS:
        raise StabilityError(f"unknown potential {name!r}; known are {', '.join(sorted(LOADERS))}")
    try:
        import torch
    except ImportError as error:
        raise StabilityError("stability needs torch: pip install graphgan[stability]") from error
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise StabilityError(f"device {device!r} is not there: torch sees no CUDA device")
    return _loaded(name, device)


@lru_cache(maxsize=2)
def _loaded(name: str, device: str) -> Potential:
    load, advice = LOADERS[name]
    try:
        return load(device)
    except ImportError as error:
        raise StabilityError(advice) from error


def _symbols(numbers: Iterable[int]) -> frozenset[str]:
    from pymatgen.core import Element

    return frozenset(Element.from_Z(number).symbol for number in numbers)
