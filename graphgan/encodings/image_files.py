"""Sets of images on disk: an .npz of floating-point images of any encoding, or a folder of PNG files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from graphgan.encodings import image_encoding
from graphgan.encodings.images import ImageEncoding
from graphgan.encodings.png import read_pngs, write_pngs
from graphgan.encodings.stored import CHECKED, DAMAGE, EncodingError, write_arrays
from graphgan.encodings.xtal2png import Xtal2pngEncoding
from graphgan.image_tensor import ImageTensor


def write_images(path: Path, encoding: ImageEncoding, images: ImageTensor, ids: Sequence[str]) -> None:
    """Write encoding, images and a name for each to an .npz (arrays only, no pickle), or, under any other name, to a
    folder of PNG files; whole or not at all. EncodingError for a folder of images that are no xtal2png ones."""
    if path.suffix != ".npz":
        if not isinstance(encoding, Xtal2pngEncoding):
            raise EncodingError(f"{path}: {encoding.name} images are numbers and no pictures, write them to an .npz")
        write_pngs(path, encoding, images, ids)
        return
    arrays = {
        CHECKED: np.array(encoding.name),
        "state": np.array(json.dumps(encoding.state_dict())),
        "images": images.values.cpu().numpy(),
        "ids": np.array(ids, dtype=str),
    }
    write_arrays(path, arrays)


def read_images(path: Path | str) -> tuple[ImageEncoding, ImageTensor]:
    """What `write_images` wrote, or a PNG file; EncodingError, one line, if it is something else or damaged."""
    if Path(path).is_dir() or Path(path).suffix == ".png":
        return read_pngs(path)
    try:
        with np.load(path, allow_pickle=False) as file:
            values, state = file["images"], json.loads(str(file["state"]))
        encoding = image_encoding(**state)
    except FileNotFoundError:
        raise EncodingError(f"{path}: no such file") from None
    except (*DAMAGE, KeyError, AttributeError) as error:  # AttributeError: a lone array, which has no names
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise EncodingError(f"{path}: not a set of images ({reason})") from None
    expected = (encoding.channels, encoding.side, encoding.side)
    if values.dtype.kind != "f" or values.ndim != 4 or values.shape[1:] != expected or not len(values):
        raise EncodingError(f"{path}: damaged set of images: {values.dtype} of shape {values.shape}")
    if not np.isfinite(values).all():
        raise EncodingError(f"{path}: damaged set of images: numbers that are not finite")
    return encoding, ImageTensor(torch.from_numpy(values.astype(np.float32, copy=False)))
