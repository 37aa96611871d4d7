"""The one exception that users are meant to read."""


class InputError(ValueError):
    """Bad input: the message names the thing, its actual value and the remedy.

    The experiments print it as one line and exit with code 1; anything else that escapes is a fault of rwtl.
    """
