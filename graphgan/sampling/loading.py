"""From a run folder, a checkpoint or the name of a shipped model to a model that samples."""

from __future__ import annotations

from pathlib import Path

import torch

from graphgan.checkpoint import CheckpointError, load_checkpoint
from graphgan.models import find_model, list_models
from graphgan.sampling.graphs import Model
from graphgan.sampling.images import ImageModel
from graphgan.sampling.sampler import Precision


def load_model(
    source: str | Path, device: torch.device | str = "cpu", *, precision: Precision = "float32"
) -> Model | ImageModel:
    """The model of a run folder (its best checkpoint, else its last), of a checkpoint, of a file of `Model.save`, or
    one that comes with graphgan by its name (`graphgan.models`). A path wins over a name.

    Raises CheckpointError, one line, when there is none, when it is damaged or when it has no generator yet.
    """
    path = find_checkpoint(source)
    content = load_checkpoint(path, device)
    try:
        if not isinstance(content["weights"], dict):
            raise TypeError("weights is no table")
        if "generator" not in content["weights"]:
            stage = content["stage"]
            raise CheckpointError(f"{path}: still in its {stage} stage, there is no generator to sample from")
        kind = ImageModel if "name" in content["encoding"] else Model  # graph tensors have no name for their encoding
        return kind.of_checkpoint(content, content.get("name", Path(source).name), device, precision)
    except CheckpointError:
        raise
    except Exception as error:  # constructors and load_state_dict raise whatever the damage leads to
        cause = " ".join(str(error).split())[:120]
        raise CheckpointError(f"{path}: not a model of this version ({type(error).__name__}: {cause})") from None


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
