"""The exceptions a user is meant to read."""


class UserError(Exception):
    """Bad input: says what was given, what is allowed and what to do next, in one line.

    Every command prints it on stderr as ``error: ...`` and exits with code 2; no traceback.
    """


class UnknownNameError(UserError):
    """An item, keyword or board that is not there; over HTTP a 404."""
