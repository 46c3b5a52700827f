"""Checkpoints: data, not code. One file holds a whole run: config, encoding, networks, trainer state, format version.

Written to a temporary file and renamed, so that a kill at any moment leaves the old checkpoint or the new one; loaded
with weights_only=True, so that a file from a stranger cannot run anything.
"""

import os
import tempfile
from pathlib import Path
from typing import Any

import torch

from graphgan.errors import UserError

FORMAT = 1


class CheckpointError(UserError):
    """A checkpoint that cannot be used; the message names the file and the cause."""


def save_checkpoint(path: Path | str, content: dict[str, Any]) -> None:
    """Write `content` (tensors, numbers, strings, lists, dicts) atomically; the folder must exist."""
    path = Path(path)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        try:
            torch.save({"format": FORMAT, **content}, file)
            file.flush()
            os.fsync(file.fileno())
        except BaseException as error:
            os.unlink(file.name)
            if isinstance(error, RuntimeError | OSError):  # torch turns a full disk into a RuntimeError
                raise CheckpointError(f"{path}: could not be written ({str(error).splitlines()[0][:120]})") from error
            raise
    os.chmod(file.name, 0o644)
    os.replace(file.name, path)


def load_checkpoint(path: Path | str, device: torch.device | str = "cpu") -> dict[str, Any]:
    """The content of a checkpoint, tensors on `device`; CheckpointError if it is missing, damaged or too new."""
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint")
    try:
        content = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # torch raises whatever the damage leads to
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(f"{path}: not a readable checkpoint ({reason[:120]})") from None
    if not isinstance(content, dict) or "format" not in content:
        raise CheckpointError(f"{path}: not a graphgan checkpoint")
    if content["format"] != FORMAT:
        raise CheckpointError(f"{path}: checkpoint format {content['format']}, this version reads {FORMAT}")
    return content
