"""The one exception that users are meant to read."""


class InputError(ValueError):
    """Bad input: the message names the thing, its actual value and the remedy.

    The experiments print it as one line and exit with code 1; anything else that escapes is a fault of rwtl.

    >>> try:
    ...     rwtl.RecordingConfig(rows=0)
    ... except rwtl.InputError as error:
    ...     print(error)
    recording.rows is 0; it must be at least 1
    """


class NotSet(InputError):
    """A value is needed that the configuration does not set."""


class Damaged(InputError):
    """A file is not what was written, or of no use; a view of many leaves out what it belongs to, and says so."""
