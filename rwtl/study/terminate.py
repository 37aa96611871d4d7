"""Ends that a user or a system asks for: Ctrl-C and SIGTERM."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def terminable() -> Iterator[None]:
    """Within it SIGTERM is as Ctrl-C, unless somebody handles it already: submitit does, on a cluster."""
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


def reason_of(interrupt: KeyboardInterrupt) -> str:
    """Return `SIGTERM` or `Ctrl-C`."""
    return str(interrupt) or "Ctrl-C"


def exit_code(interrupt: KeyboardInterrupt) -> int:
    """Return what a shell expects of a program that ends so."""
    return 143 if str(interrupt) else 130
