"""Sets of xtal2png images as PNG files: a folder of NAME.png, with encoding.json beside them for their ranges.

Folders that xtal2png wrote, and those that an image generator left, are read as well.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from graphgan.encodings.stored import CHECKED, FACTS, SKIPPED, EncodingError, stored_kind

if TYPE_CHECKING:
    from graphgan.encodings.xtal2png import Xtal2pngEncoding
    from graphgan.image_tensor import ImageTensor

FILES = "files"
"""The entry of encoding.json with the names of the pictures."""
_CHANNELS = {"L": 1, "RGB": 3}
_LONGEST = 120
# All that Pillow was seen to raise on cut or altered files.
_DAMAGE = (OSError, EOFError, SyntaxError, ValueError, TypeError, IndexError, struct.error, zlib.error)


def write_pngs(folder: Path | str, encoding: Xtal2pngEncoding, images: ImageTensor, ids: Sequence[str]) -> list[Path]:
    """Write images and their encoding as `write_pixels` does; EncodingError also for other than 8 bits."""
    return write_pixels(folder, encoding.to_pixels(images), ids, encoding.state_dict())


def read_pngs(path: Path | str) -> tuple[Xtal2pngEncoding, ImageTensor]:
    """Encoding and images of what `read_pixels` reads.

    Without encoding.json ranges are the published ones, and max_sites follows from the size of the images.
    EncodingError, one line, for anything else.
    """
    from graphgan.encodings.xtal2png import Xtal2pngEncoding

    pixels, _, state = read_pixels(path)
    if state is None:
        encoding = Xtal2pngEncoding(max_sites=pixels.shape[1] - 12, num_channels=pixels.shape[-1])
        return encoding, encoding.of_pixels(pixels)
    place = (Path(path) if Path(path).is_dir() else Path(path).parent) / FACTS
    if (name := state.pop("name", None)) != Xtal2pngEncoding.name:
        raise EncodingError(f"{place}: encoding {name!r}, expected {Xtal2pngEncoding.name!r}")
    try:
        encoding = Xtal2pngEncoding(**state)
    except (TypeError, ValueError, AttributeError) as error:
        raise EncodingError(f"{place}: no encoding of xtal2png images ({error})") from None
    return encoding, encoding.of_pixels(pixels)


def write_pixels(folder: Path | str, pixels: np.ndarray, names: Sequence[str], facts: Mapping[str, Any]) -> list[Path]:
    """Write images [n, S, S, 1 or 3], uint8, as grey or RGB files, and `facts`, the `state_dict` of their encoding.

    Returns the files. A file is called as its image, as far as file systems allow: other characters become _, and a
    name that is taken gets a number. The folder appears whole or not at all, and replaces such a folder.
    EncodingError for other numbers of channels and where anything else stands; ValueError for other arrays and another
    number of names.
    """
    from PIL import Image

    folder = Path(folder)
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or len(pixels) != len(names):
        raise ValueError(f"{len(names)} names for {pixels.dtype} {pixels.shape}, expected uint8 [n, S, S, C]")
    if pixels.shape[-1] not in _CHANNELS.values():
        raise EncodingError(f"PNG files have 1 or 3 channels, not {pixels.shape[-1]}: write arrays (.npz) instead")
    _check_place(folder)
    stems = _stems(names)
    unfinished, old = (folder.with_name(f".{folder.name}.{what}") for what in ("writing", "old"))
    try:
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        for stem, image in zip(stems, pixels, strict=True):
            Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(unfinished / f"{stem}.png")
        marked = {CHECKED: facts.get("name"), **facts, FILES: [f"{stem}.png" for stem in stems]}
        (unfinished / FACTS).write_text(json.dumps(marked) + "\n", encoding="utf-8")
        if folder.is_dir():
            shutil.rmtree(old, ignore_errors=True)
            os.replace(folder, old)
        os.replace(unfinished, folder)
    except BaseException as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        if isinstance(error, OSError):
            raise EncodingError(f"{folder}: {error.strerror or error}") from None
        raise
    shutil.rmtree(old, ignore_errors=True)
    return [folder / f"{stem}.png" for stem in stems]


def read_pixels(path: Path | str) -> tuple[np.ndarray, list[str], dict[str, Any] | None]:
    """Images [n, S, S, 1 or 3], uint8, of the .png files of a folder, by name, or of one file; their names; and what
    encoding.json says, None where there is none.

    EncodingError, one line that names the file, for a folder without images, damage, anything but grey and RGB, images
    that are not square or differ in size, and sizes that do not go with encoding.json.
    """
    path = Path(path)
    try:
        listed = sorted(path.iterdir(), key=lambda file: file.name) if path.is_dir() else [path]
    except OSError as error:
        raise EncodingError(f"{path}: {error.strerror or error}") from None
    files = [file for file in listed if file.suffix.lower() == ".png" and not file.name.startswith(".")]
    if not files:
        raise EncodingError(f"{path}: no PNG file" if listed == [path] else f"{path}: holds no PNG files")
    state = _state((path if path.is_dir() else path.parent) / FACTS)
    images: list[np.ndarray] = []
    for file in files:
        images.append(_pixels(file, None if state is None else state["max_sites"] + 12))
        if images[-1].shape != images[0].shape:
            shapes = [" x ".join(map(str, image.shape)) for image in (images[-1], images[0])]
            raise EncodingError(f"{file}: {shapes[0]} pixels, but {files[0].name} has {shapes[1]}")
    return np.stack(images), [file.stem for file in files], state


def _check_place(folder: Path) -> None:
    """EncodingError where there is anything but a free place or a folder of images of ours."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise EncodingError(f"{folder}: is a file, expected a folder")
    files = sorted(file.name for file in folder.iterdir())
    strange = [name for name in files if name not in (FACTS, SKIPPED, *_listed(folder / FACTS))]
    if strange or (files and stored_kind(folder) is None):
        raise EncodingError(f"{folder}: not replaced, since it holds {(strange or files)[0]!r}")


def _listed(file: Path) -> list[str]:
    """The pictures that were written with encoding.json: others are somebody else's."""
    try:
        return list(json.loads(file.read_text(encoding="utf-8"))[FILES])
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _stems(names: Sequence[str]) -> list[str]:
    """Names that every file system takes, none of them twice, whatever it makes of case."""
    taken: set[str] = set()
    stems = []
    for name in names:
        plain = re.sub(r"[^A-Za-z0-9._+=,()-]", "_", str(name)).strip(".")[:_LONGEST] or "_"
        stem, number = plain, 1
        while stem.lower() in taken:
            number += 1
            stem = f"{plain}-{number}"
        taken.add(stem.lower())
        stems.append(stem)
    return stems


def _pixels(file: Path, side: int | None) -> np.ndarray:
    """The pixels [S, S, C] of one file; `side` is S where it is known."""
    from PIL import Image

    try:
        with Image.open(file, formats=["PNG"]) as image:
            width, height = image.size
            if width != height or (width != side if side else width <= 12):
                fitting = f"{side} x {side}" if side else "squares of 12 + max_sites, such as 64 x 64"
                raise EncodingError(f"{file}: {width} x {height} pixels, expected {fitting}: do not resize images")
            if image.mode not in _CHANNELS:
                raise EncodingError(f"{file}: mode {image.mode}, expected grey (L) or RGB with 8 bits a channel")
            return np.asarray(image).reshape(height, width, _CHANNELS[image.mode])
    except EncodingError:
        raise
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        raise EncodingError(f"{file}: {error.strerror}") from None
    except (*_DAMAGE, Image.DecompressionBombError):
        raise EncodingError(f"{file}: no PNG image, or a damaged one") from None


def _state(file: Path) -> dict[str, Any] | None:
    if not file.is_file():
        return None
    try:
        state = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        state = None
    if not isinstance(state, dict) or not isinstance(state.get("max_sites"), int):
        raise EncodingError(f"{file}: no facts of an encoding, or damaged")
    state.pop(CHECKED, None)
    state.pop(FILES, None)
    return state
