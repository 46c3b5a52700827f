"""From a run folder, a checkpoint or the name of a shipped model to a model that samples."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from graphgan.checkpoint import CheckpointError, load_checkpoint
from graphgan.models import find_model, list_models
from graphgan.sampling.graphs import Model
from graphgan.sampling.images import ImageModel
from graphgan.sampling.molecules import MoleculeModel
from graphgan.sampling.sampler import Precision, Sampler
from graphgan.sampling.translation import NETWORKS, TranslationModel


def load_model(source: str | Path, device: torch.device | str = "cpu", *, precision: Precision = "float32") -> Sampler:
    """The model of a run folder (its best checkpoint, else its last), of a checkpoint, of a file of `Model.save`, or
    one that comes with graphgan by its name (`graphgan.models`). A path wins over a name.

    Raises CheckpointError, one line, when there is none, when it is damaged, when it has no generator yet, or when it
    translates molecules (`load_translation`).
    """
    path = find_checkpoint(source)
    content = load_checkpoint(path, device)
    with _understood(path, content):
        if _translates(content):
            raise CheckpointError(
                f"{path}: this run translates molecules and makes none of its own: graphgan translate"
            )
        if "generator" not in content["weights"]:
            stage = content["stage"]
            raise CheckpointError(f"{path}: still in its {stage} stage, there is no generator to sample from")
        return _kind(content["encoding"]).of_checkpoint(
            content, content.get("name", Path(source).name), device, precision
        )


def load_translation(source: str | Path, device: torch.device | str = "cpu") -> TranslationModel:
    """The translating model of a run folder or a checkpoint on molecules.

    Raises CheckpointError, one line, when there is none, when it is damaged, or when it does not translate, or not yet.
    """
    path = find_checkpoint(source)
    content = load_checkpoint(path, device)
    with _understood(path, content):
        if not _translates(content):
            raise CheckpointError(
                f"{path}: this run has no translation; `graphgan train --recipe mol-cyclegan` has one"
            )
        if not set(NETWORKS) <= set(content["weights"]):
            raise CheckpointError(f"{path}: still in its {content['stage']} stage, there is no translation yet")
        return TranslationModel.of_checkpoint(content, content.get("name", Path(source).name), device)


def _translates(content: dict[str, Any]) -> bool:
    return content["config"].get("translation", {}).get("share", 0.0) > 0


@contextlib.contextmanager
def _understood(path: Path, content: dict[str, Any]) -> Iterator[None]:
    """CheckpointError where the content is not that of a model."""
    try:
        if not isinstance(content["weights"], dict):
            raise TypeError("weights is no table")
        yield
    except CheckpointError:
        raise
    except Exception as error:  # constructors and load_state_dict raise whatever the damage leads to
        cause = " ".join(str(error).split())[:120]
        raise CheckpointError(f"{path}: not a model of this version ({type(error).__name__}: {cause})") from None


def _kind(encoding: dict[str, Any]) -> type[Model] | type[ImageModel] | type[MoleculeModel]:
    """The model of an encoding's state, of which graph tensors alone have no name."""
    if "name" not in encoding:
        return Model
    return MoleculeModel if encoding["name"] == "molecules" else ImageModel


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
