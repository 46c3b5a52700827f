"""Bytes of any file to lines of text, read on the way: compression, encodings, looking ahead; knows no crystal."""

import codecs
import io
import re
import zlib
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, BinaryIO

from graphgan.data.errors import EntryError

GZIP = b"\x1f\x8b"
BZIP2 = b"BZh"
XZ = b"\xfd7zXZ\x00"
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0e-\x19\x1b-\x1f]")
_PIECE = 1024
"""Compressed bytes taken at once: damage costs what the piece held that it lies in."""


def _as_latin_1(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return error.object[error.start : error.end].decode("latin-1"), error.end


codecs.register_error("graphgan-latin-1", _as_latin_1)


def decompressed(file: BinaryIO) -> "Unzipped | None":
    """The decompressed bytes of a file, by its first ones: gzip, bzip2 or xz; None where it is none of these."""
    head = file.read(max(map(len, (GZIP, BZIP2, XZ))))
    file.seek(0)
    return next((Unzipped(file, magic) for magic in (GZIP, BZIP2, XZ) if head.startswith(magic)), None)


def _decompressor(magic: bytes) -> Any:
    if magic == GZIP:
        return zlib.decompressobj(wbits=31)
    try:
        import bz2
        import lzma
    except ImportError:
        raise EntryError("this Python was built without bz2 and lzma, which it takes to decompress it") from None
    return bz2.BZ2Decompressor() if magic == BZIP2 else lzma.LZMADecompressor()


class Unzipped(io.RawIOBase):
    """The decompressed bytes of a file, as far as they go; `whole` says whether they ended as they should."""

    def __init__(self, file: BinaryIO, magic: bytes = GZIP) -> None:
        self._file, self._magic = file, magic
        self._member = _decompressor(magic)
        self._left, self._ready, self._ended = b"", memoryview(b""), False
        self.whole = True

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        while not self._ready and not self._ended:
            self._ready = memoryview(self._more())
        count = min(len(buffer), len(self._ready))
        buffer[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count

    def _more(self) -> bytes:
        piece = self._left or self._file.read(_PIECE)
        if self._member.eof:
            piece += self._file.read(_PIECE) if len(piece) < len(self._magic) else b""
            if not piece.startswith(self._magic):  # the end, or what is of another kind and follows it
                self._ended = True
                return b""
            self._member = _decompressor(self._magic)
        try:
            data = self._member.decompress(piece)
        except MemoryError:
            raise
        except Exception:  # damage; zlib, bz2 and lzma have each their own
            data, piece = b"", b""
        self._left = self._member.unused_data
        if not piece:
            self._ended, self.whole = True, False
        return data


def text_lines(file: io.BufferedReader, *, newline: str | None = None, strict: bool = True) -> Iterator[str]:
    """Lines of a file that can `peek`: by its byte-order mark, else UTF-8, with Latin-1 (older CIFs) where it is not.

    `strict` refuses binary data. Raises EntryError, also on the way.
    """
    head = file.peek(4096)[:4096]
    encoding = next((name for mark, name in _MARKS.items() if head.startswith(mark)), "utf-8-sig")
    if strict and len(_CONTROL.findall(head.decode(encoding, errors="replace"))) > 4:
        raise EntryError("binary data, not text")
    errors = "graphgan-latin-1" if encoding == "utf-8-sig" else "strict"
    try:
        yield from io.TextIOWrapper(file, encoding, errors=errors, newline=newline)
    except UnicodeDecodeError:
        raise EntryError(f"not {encoding.upper()}, though its byte-order mark says so") from None


class Lines:
    """Lines that can be looked at before they are taken; only those looked at are held.

    number  of the next line, from 1
    """

    def __init__(self, lines: Iterable[str]) -> None:
        self._source = iter(lines)
        self._ahead: deque[str] = deque()
        self.number = 1

    def peek(self, offset: int = 0) -> str | None:
        """The line `offset` behind the next one, or None after the end."""
        if (missing := offset + 1 - len(self._ahead)) > 0:
            self._ahead.extend(islice(self._source, missing))
        return self._ahead[offset] if offset < len(self._ahead) else None

    def take(self, count: int = 1) -> list[str]:
        """The next `count` lines, which are gone then; fewer at the end."""
        self.peek(count - 1)
        taken = [self._ahead.popleft() for _ in range(min(count, len(self._ahead)))]
        self.number += len(taken)
        return taken

    def ahead(self, most: int) -> Iterator[str]:
        """The next `most` lines, without taking them."""
        for offset in range(most):
            line = self.peek(offset)
            if line is None:
                return
            yield line
