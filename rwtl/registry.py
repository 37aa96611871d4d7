"""What can be chosen by name: of rwtl's own, and what users register."""

import hashlib
import linecache
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from rwtl.errors import InputError

T = TypeVar("T")


@dataclass(frozen=True)
class _Origin:
    """Where something was registered: module and name of the function or class, file, and a digest of its text."""

    module: str
    name: str
    file: str
    text: str | None

    def __str__(self) -> str:
        return f"{self.module}.{self.name} ({self.file})"

    def same(self, other: "_Origin") -> bool:
        """Return whether this is the other one again, of a module that was loaded, or a cell that was run, again."""
        return self.name == other.name and (self.module == other.module or self.file == other.file)


class Registry(Mapping[str, T], Generic[T]):
    """Things by name, in the order in which they were registered.

    Args:
        what: a noun for them, such as `variant`.
    """

    def __init__(self, what: str):
        self.what = what
        self._things: dict[str, T] = {}
        self._origins: dict[str, _Origin] = {}

    def __getitem__(self, name: str) -> T:
        return self._things[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._things)

    def __len__(self) -> int:
        return len(self._things)

    def register(self, name: str, kept: Callable[[Any], T] = lambda thing: thing) -> Callable[[Any], Any]:
        """Return a decorator that registers a function or a class, and leaves it as it is.

        Args:
            name: by which it is chosen; of letters, digits and '_'.
            kept: makes what the registry holds of the decorated thing, where that is not the thing itself.

        The same function or class of a module that is loaded again takes the earlier one's place. Raises InputError
        where the name belongs to another one.
        """
        if not isinstance(name, str):
            raise InputError(f"a {self.what} is registered without a name; write it in brackets after the decorator")
        if not re.fullmatch(r"\w+", name):
            raise InputError(f"{self.what} {name!r} is registered; its name must be of letters, digits and '_'")

        def decorate(thing: Any) -> Any:
            file = sys._getframe(1).f_code.co_filename  # a class of a notebook's cell does not know its file
            origin = _Origin(thing.__module__, thing.__qualname__, file, _digest_of_text(file))
            known = self._origins.get(name)
            if known is not None and not known.same(origin):
                raise InputError(f"the {self.what} {name} is {known} already; give that of {origin} another name")
            self._things[name] = kept(thing)
            self._origins[name] = origin
            return thing

        return decorate

    def code(self, name: str) -> dict[str, str]:
        """Return a digest of the text of the file, or of the notebook's cell, that registered a name, as `code`.

        It is part of what determines results. Empty for rwtl's own, whose artifacts have format versions instead.
        """
        origin = self._origins[name]
        if origin.module.partition(".")[0] == "rwtl":
            return {}
        if origin.text is None:
            raise InputError(
                f"the {self.what} {name} was registered by {origin}, whose text cannot be read, so that results could "
                "not be told from those of other code; put it into a file or a notebook's cell"
            )
        return {"code": origin.text}


def _digest_of_text(file: str) -> str | None:
    if file in ("<string>", "<stdin>"):  # what exec runs; Python 3.13 takes that of `python -c` for its text
        return None
    linecache.checkcache(file)
    text = "".join(linecache.getlines(file))
    return hashlib.sha256(text.encode()).hexdigest()[:12] if text else None
