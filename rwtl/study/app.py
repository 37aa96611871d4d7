"""What all experiments share: errors that a user can act on."""

import functools
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from omegaconf import DictConfig

from rwtl.errors import InputError

T = TypeVar("T")


def readable_errors(main: Callable[[DictConfig], T]) -> Callable[[DictConfig], T]:
    """Make bad input end an experiment with one line and exit code 1, in place of a traceback, and SIGTERM as Ctrl-C:
    what was finished is kept."""

    @functools.wraps(main)
    def wrapped(cfg: DictConfig) -> T:
        try:
            with _terminable():
                return main(cfg)
        except InputError as error:
            print(f"error: {error}", file=sys.stderr, flush=True)
            sys.exit(1)
        except KeyboardInterrupt as interrupt:
            reason = f" ({interrupt})" if str(interrupt) else ""
            print(
                f"interrupted{reason}; what was finished is kept, and the same command goes on from there",
                file=sys.stderr,
            )
            sys.exit(143 if reason else 130)

    return wrapped


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends the program tidily, unless somebody handles it already: submitit does, on a cluster."""
    in_main = threading.current_thread() is threading.main_thread()  # only there may handlers be set
    if not in_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt("SIGTERM")

    signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
