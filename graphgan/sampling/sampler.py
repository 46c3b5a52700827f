"""What every model does, of crystals or of molecules: a stream of bare arrays, what users get of it, a small file."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Iterator
from operator import index as whole
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, TypedDict, Unpack

import torch
from torch import Tensor, nn

from graphgan.checkpoint import save_checkpoint
from graphgan.encodings.arrays import to_structures
from graphgan.sampling.rows import SamplingError, asked_rows

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Precision = Literal["float32", "bf16"]


class Wishes(TypedDict, total=False):
    """What can be said of the crystals to sample.

    seed       of the random numbers, at least 0 and below 2**64; 0 by default
    shard      (i, k), i from 1 to k: slice i of k of the n crystals; all by default
    num_atoms  a cell; else as in training
    condition  [n, C] real numbers, for models trained with a condition, and those need it
    """

    seed: int
    shard: tuple[int, int]
    num_atoms: int | None
    condition: ArrayLike | Tensor | None


class Request(NamedTuple):
    """Crystals asked for, by their numbers."""

    rows: range
    seed: int
    num_atoms: int | None
    condition: Tensor | None


@dataclasses.dataclass(eq=False, kw_only=True)
class Sampler(abc.ABC):
    """Networks and encoding of one checkpoint; `name` says where it came from.

    `arguments` are those of the networks' constructors, by network: what `save` needs. `precision` bf16 lets the
    networks, not what is made of their numbers, compute in bfloat16.
    """

    stage: ClassVar[str]
    """What `save` calls the stage that made the generator."""
    name: str
    encoding: Any
    config: dict[str, Any]
    step: int
    arguments: dict[str, dict[str, Any]] | None = None
    precision: Precision = "float32"

    @abc.abstractmethod
    def networks(self) -> dict[str, nn.Module]:
        """What sampling needs, by the names of checkpoints."""

    @property
    @abc.abstractmethod
    def largest(self) -> int | None:
        """The atoms that can be asked for; None where the number of atoms cannot be asked for."""

    @property
    @abc.abstractmethod
    def condition_dim(self) -> int:
        """C, the numbers to condition a crystal on; 0 for a model trained without a condition."""

    @abc.abstractmethod
    def items_of(self, request: Request) -> Iterator[list[Any]]:
        """What a request asks for as bare arrays, in short lists: crystals, and None for what is none, or molecules."""

    def finished(self, items: list[Any]) -> list[Any]:
        """What `sample` gives for bare arrays: here, structures of crystals."""
        return to_structures(items)

    @abc.abstractmethod
    def compile(self, backend: str = "inductor") -> None:
        """Let torch.compile make the network pass; the first crystals then take longer."""

    def sample(self, n: int, **wishes: Unpack[Wishes]) -> list[Any]:
        """`n` crystals as pymatgen structures, or molecules of RDKit; None where what was generated is none. Keywords
        are those of `Wishes`: seed, shard, num_atoms, condition.

        The same seed gives the same crystals on the same machine, and the first of many are those of few. The slices
        of 1/k to k/k make up the whole; their sizes differ by at most one. SamplingError, a ValueError, for a count,
        seed, shard or condition that cannot be, or a wish that this model does not know; TypeError for a count or a
        seed that is no integer.
        """
        return self.finished([item for chunk in self.stream(n, **wishes) for item in chunk])

    def stream(self, n: int, **wishes: Unpack[Wishes]) -> Iterator[list[Any]]:
        """The crystals of `sample` in short lists, as bare arrays (`graphgan.data.crystals.Crystal`; of molecules,
        `graphgan.data.molecules.Molecule`). Nothing is kept, so n may be in the millions; `write_structures` and
        `write_molecules` take arrays, `finished` makes of them what `sample` gives."""
        return self.items_of(self.request(n, **wishes))

    def drawn(self, n: int, **wishes: Unpack[Wishes]) -> Iterator[tuple[list[Any], list[float] | None]]:
        """The lists of `stream`, each with what `Filters` asks of a model: the consistency residual of every crystal,
        or None where a model has no such thing."""
        return ((items, None) for items in self.stream(n, **wishes))

    def request(
        self,
        n: int,
        *,
        seed: int = 0,
        shard: tuple[int, int] = (1, 1),
        num_atoms: int | None = None,
        condition: ArrayLike | Tensor | None = None,
    ) -> Request:
        """What is asked for, checked; raises as `sample` does."""
        if num_atoms is not None and self.largest is None:
            raise SamplingError("num_atoms is given, but this model makes as many atoms as it likes")
        if num_atoms is not None and not 1 <= whole(num_atoms) <= (self.largest or 0):
            raise SamplingError(f"num_atoms is {num_atoms}, this model makes 1 to {self.largest}")
        return Request(asked_rows(n, seed, shard), seed, num_atoms, self._condition(n, condition))

    def save(self, path: str | Path) -> None:
        """Write what sampling needs, and no more, to a file that `load_model` reads; its folder must exist.

        The file is a checkpoint (`graphgan.checkpoint`) with the keys name, encoding, config, arguments, weights, stage
        and trainer (the step); matrices in half precision, vectors in float32. ValueError for a model that was not
        loaded, whose networks' arguments are not known.
        """
        if self.arguments is None:
            raise ValueError("the arguments of this model's networks are not known: load it from its checkpoint")
        networks = self.networks()
        content = {
            "name": Path(path).stem,
            "encoding": self.encoding.state_dict(),
            "config": self.config,
            "arguments": {name: self.arguments[name] for name in networks},
            "weights": {name: _halved(network.state_dict()) for name, network in networks.items()},
            "stage": self.stage,
            "trainer": {"step": self.step},
        }
        save_checkpoint(path, content)

    def _condition(self, n: int, condition: ArrayLike | Tensor | None) -> Tensor | None:
        """A condition [n, C] as the networks take it, on the CPU; SamplingError where it is not the model's."""
        width = self.condition_dim
        if condition is None:
            if width:
                raise SamplingError(f"this model was trained with a condition: give one, of shape ({n}, {width})")
            return None
        if not width:
            raise SamplingError("a condition is given, but this model was trained without one")
        try:
            numbers = torch.as_tensor(condition, dtype=torch.float32, device="cpu").detach()
        except (TypeError, ValueError, RuntimeError):  # strings, or rows of different lengths
            raise SamplingError(f"condition is no table of numbers, expected shape ({n}, {width})") from None
        if numbers.shape != (n, width):
            raise SamplingError(f"condition has shape {tuple(numbers.shape)}, expected ({n}, {width})")
        return numbers


def _halved(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Matrices in half precision, on the CPU. Vectors stay: there are few numbers in them, and the mean log-metric
    among them scales every cell."""
    return {
        name: (w.half() if w.ndim > 1 and w.is_floating_point() else w).cpu().clone() for name, w in weights.items()
    }
