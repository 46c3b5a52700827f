"""What can go wrong with data: a whole input (DataError) or one entry of it (EntryError)."""

from graphgan.errors import UserError


class DataError(UserError):
    """An input cannot be used at all; the message is one line that names the file and the cause."""


class EntryError(ValueError):
    """One entry cannot be used; the message is its reason, in one line. The rest of the input goes on."""


def one_line(message: object, limit: int = 200) -> str:
    """A message of any origin as one line of at most `limit` characters."""
    line = " ".join(str(message).split())
    return line if len(line) <= limit else line[: limit - 3] + "..."
