"""The root of the errors that a user's mistake leads to."""


class UserError(ValueError):
    """Something that a user can mend; the message is one line that names the thing and the cause."""
