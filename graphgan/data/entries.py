"""One entry of an input and how its content becomes crystals; knows no path."""

import re
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from graphgan.data.cif import parse_cif
from graphgan.data.crystals import Crystal, check_crystal, crystal_of_arrays
from graphgan.data.errors import EntryError, one_line
from graphgan.data.extxyz import parse_frame
from graphgan.data.poscar import parse_poscar
from graphgan.data.records import content_of, crystal_of_dict


@dataclass(frozen=True, slots=True)
class Entry:
    """What a file, row, frame or record holds, before it is understood.

    name     where it is, as users find it: 'a.cif', 'train.csv:row 17 (mp-149)'
    id       its name in the result
    kind     'cif', 'poscar', 'frame', 'record', 'arrays', or 'broken' (then content is the reason)
    content  bytes or text of a file, or what the kind calls for
    values   numbers known of it, by name
    """

    name: str
    id: str
    kind: str
    content: Any
    values: dict[str, float] = field(default_factory=dict)


class Options(NamedTuple):
    """How strictly entries are judged; see `check_crystal`."""

    check: bool
    max_atoms: int | None


Outcome = list[tuple[str, Crystal | str]]
"""(suffix of the name, crystal or reason): one item, save for a CIF file of several blocks."""

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0e-\x19\x1b-\x1f]")


def parse_entry(kind: str, content: Any, options: Options) -> Outcome:
    """What an entry holds. Never raises: one strange entry must not end the reading of ten thousand."""
    try:
        return _parse(kind, content, options)
    except EntryError as error:
        return [("", one_line(error))]
    except Exception as error:
        return [("", one_line(f"not understood: {type(error).__name__}: {error}"))]


def parsed(entry: Entry, options: Options) -> tuple[Entry, Outcome]:
    """The entry without its content, and what it holds."""
    return replace(entry, content=None), parse_entry(entry.kind, entry.content, options)


def _parse(kind: str, content: Any, options: Options) -> Outcome:
    if kind == "record":
        content = content_of(content)
        if isinstance(content, dict):
            return [("", check_crystal(crystal_of_dict(content), *options))]
        kind = "cif"
    if kind in ("cif", "poscar"):
        text = to_text(content) if isinstance(content, bytes) else content
        if kind == "poscar":
            return [("", parse_poscar(text, *options))]
        blocks = parse_cif(text, *options)
        return blocks if len(blocks) > 1 else [("", blocks[0][1])]
    if kind == "frame":
        info, lines = content
        return [("", parse_frame(info, lines, *options))]
    if kind == "arrays":
        return [("", check_crystal(crystal_of_arrays(*content), *options))]
    raise EntryError(content)


def to_text(data: bytes, strict: bool = True) -> str:
    """Text of bytes: by their byte-order mark, else UTF-8, else Latin-1 (older CIFs). `strict` refuses binary
    data.
    """
    marks = {
        b"\xff\xfe\0\0": "utf-32",
        b"\0\0\xfe\xff": "utf-32",
        b"\xff\xfe": "utf-16",
        b"\xfe\xff": "utf-16",
    }
    for mark, encoding in marks.items():
        if data.startswith(mark):
            try:
                return data.decode(encoding)
            except UnicodeDecodeError:
                raise EntryError(f"not {encoding.upper()}, though its byte-order mark says so") from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    if strict and len(_CONTROL.findall(text[:4096])) > 4:
        raise EntryError("binary data, not text")
    return text
