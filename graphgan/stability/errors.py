"""What can go wrong with stability as a whole; a crystal that fails is a row with a reason, not an error."""

from graphgan.errors import UserError


class StabilityError(UserError):
    """Stability cannot be computed: a package, a potential or a folder is missing; the message is one line."""
