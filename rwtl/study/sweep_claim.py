"""One process at a time runs a sweep of a name: its jobs' records are removed at the start, and judged at the end."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rwtl.claim import LEASE, Holder, claim
from rwtl.errors import InputError

CLAIMS = "claims"


@contextmanager
def claimed(folder: Path, name: str) -> Iterator[None]:
    """Hold the folder of a sweep, which is made where missing.

    Raises:
        InputError: It cannot be written, or another process runs the sweep. Whether one on another machine still lives
            takes up to LEASE seconds to find out.
    """
    try:
        held = claim(folder / CLAIMS, lambda: False, _Refusal(name))
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"cannot write to {folder} ({reason}); set paths.outputs to another folder") from error
    try:
        yield
    except BaseException:
        held.release()
        raise
    held.finish(lambda: None)


class _Refusal:
    """Is called while another process holds the sweep, and refuses once that is seen to live."""

    def __init__(self, name: str):
        self._name = name
        self._silence: float | None = None

    def __call__(self, holder: Holder | None, silence: float) -> None:
        if holder is None:
            return
        if holder.dead() is False or (self._silence is not None and silence < self._silence):
            raise InputError(
                f"sweep {self._name} is being run by {holder}: wait for it, or give this one another name: sweep=..."
            )
        if self._silence is None:
            print(f"sweep {self._name}: does {holder} still run it? Seen within {LEASE:g} s", flush=True)
        self._silence = silence
