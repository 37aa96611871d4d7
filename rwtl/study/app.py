"""What all experiments share: errors that a user can act on."""

import functools
import sys
from collections.abc import Callable

from omegaconf import DictConfig

from rwtl.errors import InputError


def readable_errors(main: Callable[[DictConfig], None]) -> Callable[[DictConfig], None]:
    """Make bad input end an experiment with one line and exit code 1, in place of a traceback."""

    @functools.wraps(main)
    def wrapped(cfg: DictConfig) -> None:
        try:
            main(cfg)
        except InputError as error:
            print(f"error: {error}", file=sys.stderr, flush=True)
            sys.exit(1)
        except KeyboardInterrupt:
            print("interrupted; what was finished is kept, and the same command goes on from there", file=sys.stderr)
            sys.exit(130)

    return wrapped
