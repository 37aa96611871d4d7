"""Digests of files, computed once: they are kept until a file's path, size, times or inode change."""

import hashlib
import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from rwtl.errors import Damaged, InputError
from rwtl.files import write_atomically
from rwtl.progress import Progress

_SETTLED = 2.0  # s: a file that was changed later than this could change again without its times' telling
_SAVE_EVERY = 30.0  # s
_Entry = list[int | str]  # size (bytes), modification and status change (ns), inode, SHA-256


def file_digests(status_of: Mapping[Path, os.stat_result], label: str) -> list[str]:
    """Return the SHA-256 of the content of each file, as hexadecimal digits.

    A file is read where it is new, or its size, inode, or times of modification and of status change are not those of
    when it was read last. The digests are kept in a file in the user's cache folder, `$XDG_CACHE_HOME/rwtl` or
    `~/.cache/rwtl`, which is ignored where it is damaged, may be used by several processes at once, and may be deleted.
    Where it cannot be written, files are read at every start.

    Args:
        status_of: what `Path.stat` says of each file now.
        label: names the files in the line of progress.

    Raises:
        InputError: a file cannot be read, or is changed meanwhile.
    """
    paths = {path: os.path.abspath(path) for path in status_of}
    cache = _cache_file(os.path.commonpath(paths.values()))
    known = _load(cache)
    found = {path: _known(known.get(paths[path]), status) for path, status in status_of.items()}
    missing = [path for path, digest in found.items() if digest is None]
    total = sum(status_of[path].st_size for path in missing)
    say = Progress(f"read {label} once", round(total / 1e9, 3), "GB")
    new: dict[str, _Entry] = {}
    read, saved = 0, time.monotonic()
    try:
        for path in missing:
            found[path] = _digest(path, status_of[path])
            if time.time() - max(status_of[path].st_mtime, status_of[path].st_ctime) > _SETTLED:
                new[paths[path]] = [*_signs(status_of[path]), found[path]]
            read += status_of[path].st_size
            say(round(read / 1e9, 3))
            if time.monotonic() - saved > _SAVE_EVERY:
                _save(cache, new)
                saved = time.monotonic()
    finally:  # what was read is known, whatever ends this
        if new:
            _save(cache, new)
    return list(found.values())


def _signs(status: os.stat_result) -> list[int]:
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def _known(entry: _Entry | None, status: os.stat_result) -> str | None:
    return entry[-1] if entry is not None and entry[:-1] == _signs(status) else None


def _digest(path: Path, status: os.stat_result) -> str:
    try:
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            after = os.fstat(file.fileno())
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the file and its permissions.") from error
    if _signs(after) != _signs(status):
        raise InputError(f"{path}: is changed while it is read; start again when whatever writes it has finished.")
    return digest


def _cache_file(folder: str) -> Path | None:
    """Return the file that keeps the digests of a folder; None where there is no home."""
    try:
        caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:
        return None
    return caches / "rwtl" / "digests" / f"{hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]}.json"


def _load(cache: Path | None) -> dict[str, _Entry]:
    """Return the entries of files by their absolute paths; none where the cache is absent or not as it was written."""
    with suppress(OSError, ValueError):
        if cache is not None and cache.is_file():
            said, _, content = cache.read_bytes().partition(b"\n")
            if said.decode() == hashlib.sha256(content).hexdigest():
                return json.loads(content)
    return {}


def _save(cache: Path | None, new: dict[str, _Entry]) -> None:
    """Add entries to those that are there now, perhaps by another process, of files that still exist."""
    if cache is None:
        return
    with suppress(OSError, Damaged):  # on a full disk, or in a home that cannot be written: they are read again
        kept = {path: entry for path, entry in _load(cache).items() if path not in new and os.path.exists(path)}
        content = json.dumps(kept | new).encode()
        cache.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(cache, hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
