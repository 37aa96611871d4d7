"""What may be in the place of a file: garbage, or what is no file."""

import os

GARBAGE = {
    "empty": b"",
    "not UTF-8": b"\xff\xfe\x00",
    "cut off": b'{"state": "compl',
    "a list": b"[1, 2]",
    "a number": b"7",
    "null": b"null",
    "nested too deeply": b'{"a":' * 100_000,
    "zeros": bytes(10_000),
    "no keys": b"{}",
    "another's": b'{"version": 3, "jobs": 5, "state": 1, "process": [], "ended": "x"}',
    "of wrong types": b'{"app": 1, "process": {"host": 1}, "ended": 3, "jobs": [{"number": "a"}, 3, null]}',
}


def damage(file, how):
    """Put garbage in the place of a file, or what is no file."""
    if file.exists():
        file.unlink()
    file.parent.mkdir(parents=True, exist_ok=True)
    match how:
        case "a folder":
            file.mkdir()
        case "a link to itself":
            file.symlink_to(file)
        case "a dangling link":
            file.symlink_to(file.with_name("nowhere"))
        case "a FIFO":
            os.mkfifo(file)
        case _:
            file.write_bytes(GARBAGE[how])


ODD = ("a folder", "a link to itself", "a dangling link", "a FIFO")
