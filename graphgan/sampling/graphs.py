"""The model of graph tensors: generator and decoder, from noise to averaged positions in one network pass."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, Self, Unpack

import numpy as np
import torch
from torch import Tensor, nn

from graphgan.data.crystals import Crystal, atomic_number
from graphgan.encodings import GraphEncoding
from graphgan.encodings.arrays import to_crystals
from graphgan.geometry import wrap
from graphgan.graph_tensor import GraphTensor, cat
from graphgan.networks import Decoder, Generator, Noise
from graphgan.sampling.rows import BLOCK, Draw
from graphgan.sampling.sampler import Precision, Request, Sampler, Wishes

CHUNK = 64 * BLOCK
"""Crystals that are drawn and sorted by size at a time: what a stream holds in memory."""
PAIRS = {"cpu": 2**14, "cuda": 2**20}
"""Pairs of atoms in one network pass: on a CPU, more no longer fits into its cache."""

# Crystals of one pass with their place in the chunk, and how far their directions are from consistent ones.
Pass = tuple[Tensor, GraphTensor, Tensor]


@dataclasses.dataclass(eq=False, kw_only=True)
class Model(Sampler):
    """Generator, decoder and encoding of one checkpoint.

    `num_atoms` of its methods fixes the atom count, else it is drawn from the training distribution.
    """

    stage = "latent"
    encoding: GraphEncoding
    generator: Generator
    decoder: Decoder
    _compiled: Callable[..., tuple[GraphTensor, Tensor]] | None = None

    @classmethod
    def of_checkpoint(
        cls, content: dict[str, Any], name: str, device: torch.device | str, precision: Precision = "float32"
    ) -> Self:
        """The model of a checkpoint's content; any exception where it is no such content."""
        arguments, weights = content["arguments"], content["weights"]
        generator, decoder = Generator(**arguments["generator"]), Decoder(**arguments["decoder"])
        generator.load_state_dict(weights["generator"])
        decoder.load_state_dict(weights["decoder"])
        encoding = GraphEncoding(**content["encoding"])
        _check(encoding, generator, decoder)
        return cls(
            name=name,
            encoding=encoding,
            generator=generator.to(device).eval().requires_grad_(False),
            decoder=decoder.to(device).eval().requires_grad_(False),
            config=content["config"],
            step=content["trainer"]["step"],
            arguments=arguments,
            precision=precision,
        )

    def networks(self) -> dict[str, nn.Module]:
        return {"generator": self.generator, "decoder": self.decoder}

    @property
    def largest(self) -> int:
        return self.encoding.max_atoms

    @property
    def condition_dim(self) -> int:
        return self.generator.embed_crystal.in_features - 1 - self.generator.crystal_noise

    # -- crystals ------------------------------------------------------------------------------------------------------

    def sample_graphs(self, n: int, **wishes: Unpack[Wishes]) -> tuple[GraphTensor, Tensor]:
        """The crystals of `sample` as graph tensors, and the consistency residual [n] of the directions they were
        averaged from (`graphgan.reconstruction.consistency`: fractional; 0 when all atoms agree)."""
        parts = []
        for passes in self._chunks(self.request(n, **wishes)):
            places, graphs, _ = zip(*passes, strict=True)
            parts.append((cat(graphs)[torch.cat(places).argsort()], _residuals(passes)))
        return cat([graphs for graphs, _ in parts]), torch.cat([residuals for _, residuals in parts])

    def items_of(self, request: Request) -> Iterator[list[Crystal | None]]:
        """In lists of at most CHUNK, the first atom of every crystal at the origin."""
        return map(self._crystals, self._chunks(request))

    def drawn(self, n: int, **wishes: Unpack[Wishes]) -> Iterator[tuple[list[Crystal | None], list[float]]]:
        request = self.request(n, **wishes)  # what cannot be is said now, not at the first crystal
        return ((self._crystals(passes), _residuals(passes).tolist()) for passes in self._chunks(request))

    def compile(self, backend: str = "inductor") -> None:
        """Let torch.compile make the network pass; the first crystals of every size then take longer."""
        # What loops over atoms or steps: as many graphs as there are sizes, for nothing.
        if (agreement := self.decoder.agreement) is not None:
            agreement.deal = torch.compiler.disable(agreement.deal)  # type: ignore[method-assign]
        if (separations := self.decoder.separations) is not None:
            separations.moves = torch.compiler.disable(separations.moves)  # type: ignore[method-assign]
        self._compiled = torch.compile(self._network_pass, dynamic=True, backend=backend)

    # -- how they are made ---------------------------------------------------------------------------------------------

    @torch.inference_mode()
    def _chunks(self, request: Request) -> Iterator[list[Pass]]:
        """The passes of every CHUNK rows. All crystals of a pass have one size: padding costs as much as atoms do, and
        the pairs of 20 atoms 16 times those of 5."""
        rows, seed, num_atoms, condition = request
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
        draw = Draw(rows, seed)
        counts = np.searchsorted(frequencies / frequencies[-1], draw.uniform(), side="right")
        of_crystals, of_atoms = draw(self.generator.crystal_noise), draw(most, self.generator.atom_noise)
        slots = torch.arange(most).expand(len(rows), most)
        return torch.from_numpy(counts), Noise(of_crystals, of_atoms, slots)

    def _one_pass(self, noise: Noise, num_atoms: Tensor, condition: Tensor | None) -> tuple[GraphTensor, Tensor]:
        """Crystals of one size, and how far their directions were from being differences of positions [B]."""
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
        averaged = self.decoder.average(proposal, latents)
        return self.decoder.settle(averaged), wrap(proposal.directions - averaged.directions)

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


def _residuals(passes: list[Pass]) -> Tensor:
    """The consistency residuals of a chunk, in order."""
    places, _, residuals = zip(*passes, strict=True)
    return torch.cat(residuals)[torch.cat(places).argsort()]


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
