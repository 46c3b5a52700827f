"""A trained model as a user meets it: load it, sample crystals from it in one network pass, save what sampling needs.

Crystal number i of a seed is one crystal, whatever the n it is asked for with and whichever shard it is in: the random
numbers of every BLOCK crystals come from a generator of their own. That is Philox with the key (seed, number of the
block): a counter-based generator, whose keys are independent streams by design and none of which repeats another
(Salmon et al. 2011, doi:10.1145/2063384.2063405). torch's own generator would not do: on a CPU it keeps 32 bits of its
seed, so that among the blocks of some million crystals two would be equal. What the networks make of equal numbers may
differ in the last bits of float32, since the order of sums depends on what shares a batch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from operator import index as whole
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from graphgan.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from graphgan.data.crystals import Crystal, atomic_number
from graphgan.encodings import GraphEncoding
from graphgan.encodings.arrays import to_crystals, to_structures
from graphgan.errors import UserError
from graphgan.geometry import wrap
from graphgan.graph_tensor import GraphTensor, cat
from graphgan.models import find_model, list_models
from graphgan.networks import Decoder, Generator, Noise

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from pymatgen.core import Structure

BLOCK = 64
"""Crystals whose random numbers are drawn together. A part of the meaning of a seed."""
CHUNK = 64 * BLOCK
"""Crystals that are drawn and sorted by size at a time: what a stream holds in memory."""
MOST = 2**63 - 1
"""Crystals that can be asked for at once: their numbers are indices of the machine."""
PAIRS = {"cpu": 2**14, "cuda": 2**20}
"""Pairs of atoms in one network pass: on a CPU, more no longer fits into its cache."""

Precision = Literal["float32", "bf16"]
# Crystals of one pass with their place in the chunk, and how far their directions are from consistent ones.
Pass = tuple[Tensor, GraphTensor, Tensor]


class SamplingError(UserError):
    """Crystals that cannot be asked for."""


@dataclasses.dataclass(eq=False)
class Model:
    """Generator, decoder and encoding of one checkpoint; `name` says where it came from.

    `arguments` are those of the networks' constructors, by network: what `save` needs. `precision` bf16 lets the
    networks, not the averaging, compute in bfloat16.
    """

    name: str
    encoding: GraphEncoding
    generator: Generator
    decoder: Decoder
    config: dict[str, Any]
    step: int
    arguments: dict[str, dict[str, Any]] | None = None
    precision: Precision = "float32"
    _compiled: Callable[..., tuple[GraphTensor, Tensor]] | None = None

    @property
    def condition_dim(self) -> int:
        """C, the numbers to condition a crystal on; 0 for a model trained without a condition."""
        return self.generator.embed_crystal.in_features - 1 - self.generator.crystal_noise

    # -- crystals ------------------------------------------------------------------------------------------------------

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
        drawn from the training distribution; `condition` [n, C], real numbers, is for models trained with one, and
        those need it. SamplingError, a ValueError, for a count, seed, shard or condition that cannot be; TypeError for
        a count or a seed that is no integer.
        """
        chunks = self.stream(n, seed=seed, shard=shard, num_atoms=num_atoms, condition=condition)
        return to_structures([crystal for chunk in chunks for crystal in chunk])

    def stream(
        self,
        n: int,
        *,
        seed: int = 0,
        shard: tuple[int, int] = (1, 1),
        num_atoms: int | None = None,
        condition: ArrayLike | Tensor | None = None,
    ) -> Iterator[list[Crystal | None]]:
        """The crystals of `sample` in lists of at most CHUNK, as bare arrays (`graphgan.data.crystals.Crystal`), the
        first atom at the origin.

        Nothing is kept, so n may be in the millions; `write_structures` takes arrays, `to_structures` of
        `graphgan.encodings.arrays` makes them Structures.
        """
        rows, condition = self._rows(n, seed, shard, num_atoms), self._condition(n, condition)
        return map(self._crystals, self._chunks(rows, seed, num_atoms, condition))

    def sample_graphs(
        self,
        n: int,
        *,
        seed: int = 0,
        shard: tuple[int, int] = (1, 1),
        num_atoms: int | None = None,
        condition: ArrayLike | Tensor | None = None,
    ) -> tuple[GraphTensor, Tensor]:
        """The crystals of `sample` as graph tensors, and the consistency residual [n] of the directions they were
        averaged from (`graphgan.reconstruction.consistency`: fractional; 0 when all atoms agree)."""
        rows, condition = self._rows(n, seed, shard, num_atoms), self._condition(n, condition)
        parts = []
        for passes in self._chunks(rows, seed, num_atoms, condition):
            places, graphs, residuals = zip(*passes, strict=True)
            order = torch.cat(places).argsort()
            parts.append((cat(graphs)[order], torch.cat(residuals)[order]))
        return cat([graphs for graphs, _ in parts]), torch.cat([residuals for _, residuals in parts])

    def compile(self, backend: str = "inductor") -> None:
        """Let torch.compile make the network pass; the first crystals of every size then take longer."""
        self._compiled = torch.compile(self._network_pass, dynamic=True, backend=backend)

    def save(self, path: str | Path) -> None:
        """Write what sampling needs, and no more, to a file that `load_model` reads; its folder must exist.

        The file is a checkpoint (`graphgan.checkpoint`) with the keys name, encoding, config, arguments, weights
        (generator and decoder), stage and trainer (the step); matrices in half precision, vectors in float32.
        ValueError for a model that was not loaded, whose networks' arguments are not known.
        """
        if self.arguments is None:
            raise ValueError("the arguments of this model's networks are not known: load it from its checkpoint")
        networks = {"generator": self.generator, "decoder": self.decoder}
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

    # -- how they are made ---------------------------------------------------------------------------------------------

    def _rows(self, n: int, seed: int, shard: tuple[int, int], num_atoms: int | None) -> range:
        """The numbers of the crystals asked for; SamplingError where the question makes no sense."""
        rows = shard_rows(n, shard)
        if not 0 <= whole(seed) < 2**64:
            raise SamplingError(f"seed is {seed}, expected 0 or more and below 2**64")
        if num_atoms is not None and not 1 <= whole(num_atoms) <= self.encoding.max_atoms:
            raise SamplingError(f"num_atoms is {num_atoms}, this model makes 1 to {self.encoding.max_atoms}")
        return rows

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

    @torch.inference_mode()
    def _chunks(self, rows: range, seed: int, num_atoms: int | None, condition: Tensor | None) -> Iterator[list[Pass]]:
        """The passes of every CHUNK rows. All crystals of a pass have one size: padding costs as much as atoms do, and
        the pairs of 20 atoms 16 times those of 5."""
        device = next(self.generator.parameters()).device
        pairs = PAIRS.get(device.type, PAIRS["cuda"])
        for start in range(rows.start, rows.stop, CHUNK):
            chunk = rows[start - rows.start : start - rows.start + CHUNK]
            counts, noise = self._draw(chunk, seed)
            if num_atoms is not None:
                counts = torch.full_like(counts, num_atoms)
            wanted = None if condition is None else condition[chunk.start : chunk.stop]
            passes = []
            for size in counts.unique().tolist():
                for places in (counts == size).nonzero()[:, 0].split(max(1, pairs // size**2)):
                    crystals, residual = self._one_pass(
                        Noise(noise.crystal[places], noise.atoms[places, :size], noise.slots[places, :size]).to(device),
                        counts[places].to(device),
                        None if wanted is None else wanted[places].to(device),
                    )
                    passes.append((places, crystals.to("cpu"), residual.cpu()))
            yield passes

    def _draw(self, rows: range, seed: int) -> tuple[Tensor, Noise]:
        """Atom counts [B] and noise of crystals by their numbers, on the CPU: a seed means the same on every device."""
        most, frequencies = self.encoding.max_atoms, np.cumsum(self.encoding.atom_counts, dtype=float)
        uniform, crystal, atoms = [], [], []
        first = rows.start // BLOCK
        for block in range(first, -(-rows.stop // BLOCK)):
            rng = np.random.Generator(np.random.Philox(key=np.array([seed, block], dtype=np.uint64)))
            uniform.append(rng.random(BLOCK))
            crystal.append(rng.standard_normal((BLOCK, self.generator.crystal_noise), np.float32))
            atoms.append(rng.standard_normal((BLOCK, most, self.generator.atom_noise), np.float32))
        part = slice(rows.start - first * BLOCK, rows.stop - first * BLOCK)
        drawn = np.concatenate(uniform)[part]
        counts = np.searchsorted(frequencies / frequencies[-1], drawn, side="right")
        slots = torch.arange(most).expand(len(rows), most)
        of_crystals, of_atoms = (torch.from_numpy(np.concatenate(numbers)[part]) for numbers in (crystal, atoms))
        return torch.from_numpy(counts), Noise(of_crystals, of_atoms, slots)

    def _one_pass(self, noise: Noise, num_atoms: Tensor, condition: Tensor | None) -> tuple[GraphTensor, Tensor]:
        """Crystals of one size, and how far their directions are from being differences of positions [B]."""
        crystals, difference = (self._compiled or self._network_pass)(noise, num_atoms, condition)
        size = noise.atoms.shape[1]
        return crystals, (difference.square().sum((1, 2, 3)) / max(1, 3 * size * (size - 1))).sqrt()

    def _network_pass(self, noise: Noise, num_atoms: Tensor, condition: Tensor | None) -> tuple[GraphTensor, Tensor]:
        """Crystals, and what averaging changed in their directions [B, 3, N, N]."""
        with torch.autocast(num_atoms.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            latents = self.generator(noise, num_atoms, condition)
            proposal = self.decoder.propose(latents)
        if self.precision == "bf16":
            proposal = dataclasses.replace(
                proposal,
                species_logits=proposal.species_logits.float(),
                phases=proposal.phases.float(),
                log_metric=proposal.log_metric.float(),
            )
        crystals = self.decoder.average(proposal, latents)
        return crystals, wrap(proposal.directions - crystals.directions)

    def _crystals(self, passes: list[Pass]) -> list[Crystal | None]:
        """The crystals of a chunk in order. What the first atom sees are positions: averaged directions agree."""
        made: list[Crystal | None] = [None] * sum(len(places) for places, _, _ in passes)
        for places, graphs, _ in passes:
            found = to_crystals(
                self.encoding.elements,
                graphs.species.argmax(-1).numpy(),
                graphs.directions[:, :, 0].mT.numpy(),
                graphs.lattice.numpy(),
                graphs.num_atoms.numpy(),
            )
            for place, crystal in zip(places.tolist(), found, strict=True):
                made[place] = crystal
        return made


def shard_rows(n: int, shard: tuple[int, int]) -> range:
    """The numbers of the crystals in slice (i, k) of n, contiguous; SamplingError where there is no such slice,
    TypeError for what is no integer."""
    n, index, count = whole(n), whole(shard[0]), whole(shard[1])
    if n < 1:
        raise SamplingError(f"cannot sample {n} crystals")
    if n > MOST:
        raise SamplingError("cannot sample 2**63 crystals or more")
    if not 1 <= index <= count:
        raise SamplingError(f"shard is {index}/{count}, expected I/K with I from 1 to K, as in 2/4")
    rows = range(n * (index - 1) // count, n * index // count)
    if not rows:
        raise SamplingError(f"shard {index}/{count} of {n} crystals is empty")
    return rows


def load_model(source: str | Path, device: torch.device | str = "cpu", *, precision: Precision = "float32") -> Model:
    """The model of a run folder (its best checkpoint, else its last), of a checkpoint, of a file of `Model.save`, or
    one that comes with graphgan by its name (`graphgan.models`). A path wins over a name.

    Raises CheckpointError, one line, when there is none, when it is damaged or when it has no generator yet.
    """
    path = find_checkpoint(source)
    content = load_checkpoint(path, device)
    try:
        arguments, weights = content["arguments"], content["weights"]
        if not isinstance(weights, dict):
            raise TypeError("weights is no table")
        if "generator" not in weights:
            stage = content["stage"]
            raise CheckpointError(f"{path}: still in its {stage} stage, there is no generator to sample from")
        generator, decoder = Generator(**arguments["generator"]), Decoder(**arguments["decoder"])
        generator.load_state_dict(weights["generator"])
        decoder.load_state_dict(weights["decoder"])
        encoding = GraphEncoding(**content["encoding"])
        _check(encoding, generator, decoder)
        return Model(
            name=content.get("name", Path(source).name),
            encoding=encoding,
            generator=generator.to(device).eval().requires_grad_(False),
            decoder=decoder.to(device).eval().requires_grad_(False),
            config=content["config"],
            step=content["trainer"]["step"],
            arguments=arguments,
            precision=precision,
        )
    except CheckpointError:
        raise
    except Exception as error:  # constructors and load_state_dict raise whatever the damage leads to
        cause = " ".join(str(error).split())[:120]
        raise CheckpointError(f"{path}: not a model of this version ({type(error).__name__}: {cause})") from None


def _check(encoding: GraphEncoding, generator: Generator, decoder: Decoder) -> None:
    """ValueError where parts that are sound by themselves do not belong together: sampling would fail over them."""
    for element in encoding.elements:
        atomic_number(element)
    if len(encoding.elements) != decoder.species.out_features:
        raise ValueError(f"{len(encoding.elements)} elements, weights for {decoder.species.out_features}")
    counts = np.array(encoding.atom_counts)
    if counts.shape != (encoding.max_atoms + 1,) or not (counts >= 0).all() or not 0 < counts.sum() < np.inf:
        raise ValueError("atom_counts are not the frequencies of 0 to max_atoms atoms")
    if encoding.max_atoms > generator.embed_slots.num_embeddings:
        raise ValueError(f"max_atoms is {encoding.max_atoms}, weights for {generator.embed_slots.num_embeddings}")
    if generator.head.out_features != decoder.embed.in_features:
        raise ValueError(f"latents of {generator.head.out_features} numbers, a decoder of {decoder.embed.in_features}")
    conditions = generator.embed_crystal.in_features - generator.crystal_noise, decoder.embed_crystal.in_features
    if conditions[0] != conditions[1]:
        raise ValueError("generator and decoder were made for conditions of different width")


def find_checkpoint(source: str | Path) -> Path:
    """The checkpoint file that `source` (a run folder, a file or the name of a shipped model) stands for."""
    path = Path(source)
    if path.is_file():
        return path
    for name in ("best.pt", "last.pt"):
        if (path / "checkpoints" / name).is_file():
            return path / "checkpoints" / name
    card = None if path.exists() else find_model(str(source))
    if card is not None:
        return card.file
    shipped = ", ".join(card.name for card in list_models())
    raise CheckpointError(
        f"{source}: neither a checkpoint nor a run folder with checkpoints/, nor a shipped model ({shipped})"
    )


def _halved(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Matrices in half precision, on the CPU. Vectors stay: there are few numbers in them, and the mean log-metric
    among them scales every cell."""
    return {name: (w.half() if w.ndim > 1 else w).cpu().clone() for name, w in weights.items()}
