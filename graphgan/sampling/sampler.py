"""What every model does that makes crystals: structures of a stream of arrays, a small file of what sampling needs."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from torch import Tensor, nn

from graphgan.checkpoint import save_checkpoint
from graphgan.data.crystals import Crystal
from graphgan.encodings.arrays import to_structures

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from pymatgen.core import Structure

Precision = Literal["float32", "bf16"]


@dataclasses.dataclass(eq=False, kw_only=True)
class Sampler(abc.ABC):
    """Networks and encoding of one checkpoint; `name` says where it came from.

    `arguments` are those of the networks' constructors, by network: what `save` needs. `precision` bf16 lets the
    networks, not what is made of their numbers, compute in bfloat16.
    """

    name: str
    encoding: Any
    config: dict[str, Any]
    step: int
    arguments: dict[str, dict[str, Any]] | None = None
    precision: Precision = "float32"

    @abc.abstractmethod
    def networks(self) -> dict[str, nn.Module]:
        """What sampling needs, by the names of checkpoints."""

    @abc.abstractmethod
    def stream(
        self,
        n: int,
        *,
        seed: int = 0,
        shard: tuple[int, int] = (1, 1),
        num_atoms: int | None = None,
        condition: ArrayLike | Tensor | None = None,
    ) -> Iterator[list[Crystal | None]]:
        """The crystals of `sample` in short lists, as bare arrays (`graphgan.data.crystals.Crystal`). Nothing is kept,
        so n may be in the millions; `write_structures` takes arrays."""

    @abc.abstractmethod
    def compile(self, backend: str = "inductor") -> None:
        """Let torch.compile make the network pass; the first crystals then take longer."""

    def sample(
        self,
        n: int,
        *,
        seed: int = 0,
        shard: tuple[int, int] = (1, 1),
        num_atoms: int | None = None,
        condition: ArrayLike | Tensor | None = None,
    ) -> list[Structure | None]:
        """`n` crystals, or the slice `shard` = (i, k) of them, i from 1 to k; None where what was generated is no
        crystal.

        The same seed gives the same crystals on the same machine, and the first of many are those of few. The slices
        of 1/k to k/k make up the whole; their sizes differ by at most one. `num_atoms` fixes the atom count, else it is
        as in training; `condition` [n, C], real numbers, is for models trained with one, and those need it.
        SamplingError, a ValueError, for a count, seed, shard or condition that cannot be, or a wish that this model
        does not know; TypeError for a count or a seed that is no integer.
        """
        chunks = self.stream(n, seed=seed, shard=shard, num_atoms=num_atoms, condition=condition)
        return to_structures([crystal for chunk in chunks for crystal in chunk])

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
            "stage": "latent",
            "trainer": {"step": self.step},
        }
        save_checkpoint(path, content)


def _halved(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Matrices in half precision, on the CPU. Vectors stay: there are few numbers in them, and the mean log-metric
    among them scales every cell."""
    return {
        name: (w.half() if w.ndim > 1 and w.is_floating_point() else w).cpu().clone() for name, w in weights.items()
    }
