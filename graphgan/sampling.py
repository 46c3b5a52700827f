"""A trained model as a user meets it: load it, sample crystals from it in one network pass."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from graphgan.checkpoint import CheckpointError, load_checkpoint
from graphgan.encodings import GraphEncoding
from graphgan.graph_tensor import GraphTensor, cat
from graphgan.networks import Decoder, Generator
from graphgan.reconstruction import consistency

if TYPE_CHECKING:
    from pymatgen.core import Structure

CHUNK = 512


@dataclasses.dataclass(eq=False)
class Model:
    """Generator, decoder and encoding of one checkpoint; `name` says where it came from."""

    name: str
    encoding: GraphEncoding
    generator: Generator
    decoder: Decoder
    config: dict[str, Any]
    step: int

    def sample(
        self, n: int, *, seed: int = 0, num_atoms: int | None = None, condition: Tensor | None = None
    ) -> list[Structure | None]:
        """`n` crystals; None where what was generated is no crystal.

        The same seed gives the same crystals on the same machine. `num_atoms` fixes the atom count, else it is drawn
        from the training distribution; `condition` [n, C] is for models trained with one. ValueError for a count the
        model cannot make.
        """
        return self.encoding.decode(self.sample_graphs(n, seed=seed, num_atoms=num_atoms, condition=condition)[0])

    def sample_graphs(
        self, n: int, *, seed: int = 0, num_atoms: int | None = None, condition: Tensor | None = None
    ) -> tuple[GraphTensor, Tensor]:
        """Graph tensors of `n` crystals and the consistency residual [n] of the directions they were averaged from
        (fractional; 0 when all atoms agree)."""
        chunks = list(self._chunks(n, seed, num_atoms, condition))
        return cat([crystals for crystals, _ in chunks]), torch.cat([residual for _, residual in chunks])

    @torch.inference_mode()
    def _chunks(
        self, n: int, seed: int, num_atoms: int | None, condition: Tensor | None
    ) -> Iterator[tuple[GraphTensor, Tensor]]:
        if n < 1:
            raise ValueError(f"cannot sample {n} crystals")
        if num_atoms is not None and not 1 <= num_atoms <= self.encoding.max_atoms:
            raise ValueError(f"num_atoms is {num_atoms}, this model makes 1 to {self.encoding.max_atoms}")
        device = next(self.generator.parameters()).device
        # Counts and noise are drawn on the CPU, so that a seed means the same crystals on every device.
        rng = torch.Generator().manual_seed(seed)
        counts = draw_atom_counts(self.encoding.atom_counts, n, rng)
        if num_atoms is not None:
            counts = torch.full_like(counts, num_atoms)
        conditions = [None] * n if condition is None else condition.to(device).split(CHUNK)
        for part, wanted in zip(counts.split(CHUNK), conditions, strict=False):
            noise = self.generator.noise(len(part), int(part.max()), rng)
            latents = self.generator(noise.to(device), part.to(device), wanted)
            proposal = self.decoder.propose(latents)
            crystals = self.decoder.average(proposal, latents)
            yield crystals.to("cpu"), consistency(proposal.directions, latents.mask, self.decoder.rounds).cpu()


def draw_atom_counts(frequencies: list[int], n: int, rng: torch.Generator) -> Tensor:
    """`n` atom counts [n] drawn with the training set's frequencies of 0, 1, 2 ... atoms."""
    weights = torch.tensor(frequencies, dtype=torch.float64)
    return torch.multinomial(weights, n, replacement=True, generator=rng)


def load_model(source: str | Path, device: torch.device | str = "cpu") -> Model:
    """The model of a run folder (its best checkpoint, else its last) or of a checkpoint file.

    Raises CheckpointError, one line, when there is none or when it has no generator yet.
    """
    path = find_checkpoint(source)
    content = load_checkpoint(path, device)
    if "generator" not in content["weights"]:
        raise CheckpointError(f"{path}: still in its {content['stage']} stage, there is no generator to sample from")
    arguments, weights = content["arguments"], content["weights"]
    generator = Generator(**arguments["generator"]).to(device)
    generator.load_state_dict(weights["generator"])
    decoder = Decoder(**arguments["decoder"]).to(device)
    decoder.load_state_dict(weights["decoder"])
    return Model(
        name=Path(source).name,
        encoding=GraphEncoding(**content["encoding"]),
        generator=generator.eval().requires_grad_(False),
        decoder=decoder.eval().requires_grad_(False),
        config=content["config"],
        step=content["trainer"]["step"],
    )


def find_checkpoint(source: str | Path) -> Path:
    """The checkpoint file that `source` (a run folder or a file) stands for."""
    path = Path(source)
    if path.is_file():
        return path
    for name in ("best.pt", "last.pt"):
        if (path / "checkpoints" / name).is_file():
            return path / "checkpoints" / name
    raise CheckpointError(f"{source}: neither a checkpoint nor a run folder with checkpoints/")
