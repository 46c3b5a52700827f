"""The model that translates molecules: an autoencoder, and two networks that move its latents from class to class."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from graphgan.data.molecules import Molecule
from graphgan.encodings.molecules import MoleculeEncoding
from graphgan.metrics.molecule_translation import Side
from graphgan.molecules import Discretisation, Translator, decided
from graphgan.molecules.translation import DIRECTIONS
from graphgan.sampling.molecules import CHUNK, network_of

TOWARDS: dict[Side, str] = {"high": "forward", "low": "backward"}
"""The network that leads to a side."""
NETWORKS = ("encoder", "generator", *DIRECTIONS)


@dataclasses.dataclass(eq=False, kw_only=True)
class TranslationModel:
    """Encoder, decoder and translators of one checkpoint. It makes molecules of molecules, so it has no `sample`."""

    name: str
    encoding: MoleculeEncoding
    encoder: nn.Module
    decoder: nn.Module
    translators: dict[str, Translator]
    config: dict[str, Any]
    step: int

    @classmethod
    def of_checkpoint(cls, content: dict[str, Any], name: str, device: torch.device | str) -> Self:
        """The model of a checkpoint's content; any exception where it is no such content."""
        networks = {}
        for part in NETWORKS:
            networks[part] = network_of(**content["arguments"][part])
            networks[part].load_state_dict(content["weights"][part])
            networks[part].to(device).eval().requires_grad_(False)
        return cls.of_networks(
            networks,
            name=name,
            encoding=MoleculeEncoding(**content["encoding"]),
            config=content["config"],
            step=content["trainer"]["step"],
        )

    @classmethod
    def of_networks(cls, networks: dict[str, nn.Module], **fields: Any) -> Self:
        """The model of networks by the names of checkpoints."""
        translators = {name: networks[name] for name in DIRECTIONS}
        return cls(encoder=networks["encoder"], decoder=networks["generator"], translators=translators, **fields)  # type: ignore[arg-type]

    @property
    def property_name(self) -> str:
        """The reward by which molecules are of one class or the other."""
        return self.config["translation"]["property"]

    @property
    def border(self) -> float:
        """The value of the property between the classes, the median of the training set."""
        return float(self.translators["forward"].border)

    def translate(self, molecules: Sequence[Molecule], to: Side) -> list[Molecule]:
        """Every molecule moved to the side `to`, "high" or "low", as bare arrays, valid or not.

        Their own class is not looked at. EncodingError for one that the encoding cannot hold (`encoding.encodable`).
        """
        return self.decode(self.move(self.encode(molecules), to))

    @torch.inference_mode()
    def encode(self, molecules: Sequence[Molecule]) -> Tensor:
        """The means of the latents, [n, D]; EncodingError as `translate`."""
        graphs = self.encoding.encode(molecules)
        device = next(self.encoder.parameters()).device
        return self._in_chunks(lambda rows: self.encoder(graphs[rows].to(device)).mean, len(graphs))

    @torch.inference_mode()
    def move(self, latents: Tensor, to: Side) -> Tensor:
        """Latents [n, D] on the side `to`."""
        translator = self.translators[TOWARDS[to]]
        return self._in_chunks(lambda rows: translator.translated(latents[rows]), len(latents))

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> list[Molecule]:
        """The molecules of latents [n, D] as bare arrays, valid or not: the most probable atoms and bonds."""
        how, found = Discretisation("straight-through"), []
        for start in range(0, len(latents), CHUNK):
            graphs = decided(self.decoder(latents[start : start + CHUNK]), how)
            found += self.encoding.to_molecules(graphs.to("cpu"))
        return found

    @staticmethod
    def _in_chunks(function: Callable[[slice], Tensor], count: int) -> Tensor:
        return torch.cat([function(slice(start, start + CHUNK)) for start in range(0, max(count, 1), CHUNK)])
