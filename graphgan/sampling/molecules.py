"""The model of molecules: a generator of molecular graphs, and an encoding that reads molecules from what it makes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Self, Unpack

import torch
from torch import Tensor, nn

from graphgan import molecules as kinds
from graphgan.data.molecules import Molecule
from graphgan.encodings.molecules import MoleculeEncoding
from graphgan.molecule_tensor import MoleculeTensor
from graphgan.molecules import Discretisation, decided
from graphgan.sampling.rows import BLOCK, Draw
from graphgan.sampling.sampler import Precision, Request, Sampler, Wishes

if TYPE_CHECKING:
    from rdkit.Chem import Mol

CHUNK = 16 * BLOCK
"""Molecules that are made in one network pass."""


@dataclasses.dataclass(eq=False, kw_only=True)
class MoleculeModel(Sampler):
    """Generator and encoding of one checkpoint. How many atoms a molecule has is a part of its graph, so its methods
    take no `num_atoms`, and no `condition`.

    decision  how training made atoms and bonds of the generator's logits: a generator that was trained on draws draws
    """

    stage = "game"
    encoding: MoleculeEncoding
    generator: nn.Module
    decision: Discretisation
    largest = None
    condition_dim = 0

    @classmethod
    def of_checkpoint(
        cls, content: dict[str, Any], name: str, device: torch.device | str, precision: Precision = "float32"
    ) -> Self:
        """The model of a checkpoint's content; any exception where it is no such content."""
        generator = network_of(**content["arguments"]["generator"])
        generator.load_state_dict(content["weights"]["generator"])
        game = content["config"]["game"]
        return cls(
            name=name,
            encoding=MoleculeEncoding(**content["encoding"]),
            generator=generator.to(device).eval().requires_grad_(False),
            decision=Discretisation(game["decision"], game["temperature"]),
            config=content["config"],
            step=content["trainer"]["step"],
            arguments=content["arguments"],
            precision=precision,
        )

    def networks(self) -> dict[str, nn.Module]:
        return {"generator": self.generator}

    def items_of(self, request: Request) -> Iterator[list[Molecule]]:
        """Bare arrays, valid or not, in lists of at most CHUNK."""
        return map(self.encoding.to_molecules, self._chunks(request))

    def finished(self, items: list[Molecule]) -> list[Mol | None]:
        """RDKit molecules; None where RDKit refuses the valences, or there is no atom."""
        from graphgan.data.molecules import rdkit, to_mol

        rdkit()
        return [to_mol(molecule) for molecule in items]

    def sample_graphs(self, n: int, **wishes: Unpack[Wishes]) -> MoleculeTensor:
        """The molecules of `sample` as one-hot graphs, on the CPU."""
        parts = list(self._chunks(self.request(n, **wishes)))
        return MoleculeTensor(torch.cat([part.atoms for part in parts]), torch.cat([part.bonds for part in parts]))

    def compile(self, backend: str = "inductor") -> None:
        """Let torch.compile make the network pass; the first molecules then take longer."""
        self.generator.compile(dynamic=True, backend=backend)

    @torch.inference_mode()
    def _chunks(self, request: Request) -> Iterator[MoleculeTensor]:
        rows, seed = request.rows, request.seed
        device = next(self.generator.parameters()).device
        hard = dataclasses.replace(self.decision, how=HARD[self.decision.how])
        for start in range(rows.start, rows.stop, CHUNK):
            draw = Draw(range(start, min(start + CHUNK, rows.stop)), seed, device)
            with torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "bf16"):
                logits = self.generator(draw(self.generator.noise))  # type: ignore[arg-type]
            logits = type(logits)(*(part.float() for part in logits))
            numbers = [_uniform(draw(*part.shape[1:])) for part in logits] if hard.draws else [None, None]
            made = decided(logits, hard, *numbers)
            # Whole numbers: one-hot with a gradient is one-hot to the last bit but one.
            yield MoleculeTensor.of_kinds(made.kinds, made.orders, logits.atoms.shape[-1], logits.bonds.shape[-1]).to(
                "cpu"
            )


HARD = {
    "softmax": "straight-through",
    "straight-through": "straight-through",
    "gumbel": "gumbel-straight-through",
    "gumbel-straight-through": "gumbel-straight-through",
}
"""What decides for good where training may have left things open."""


def network_of(kind: str, **arguments: Any) -> nn.Module:
    """A network of `graphgan.molecules` by its name; ValueError for another name."""
    if not isinstance(found := getattr(kinds, kind, None), type) or not issubclass(found, nn.Module):
        raise ValueError(f"{kind!r} is no network of molecules")
    return found(**arguments)


def _uniform(normal: Tensor) -> Tensor:
    """Uniform numbers from standard normal ones."""
    return torch.special.ndtr(normal)
