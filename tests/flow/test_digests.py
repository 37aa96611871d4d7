"""The identity of data sets: of small ones as ever, of large ones by digests of all files that are kept."""

import multiprocessing
import os
import random
from pathlib import Path

import pytest

from rwtl.errors import InputError
from rwtl.flow import digests, pairs
from rwtl.flow.pairs import FlowFolder

KNOWN = "9c0057b52f08ebc490b2a952e537579e50a43334b189ba318525599281563a3d"


def opened(root):
    return FlowFolder(root, "**/*_1.png", "**/*_2.png", "**/*.flo")


def identity(root):
    return opened(root).identity()["sha256"]


def filled(root):
    (root / "b").mkdir(parents=True)
    for number, name in enumerate(["a", "b/c", "b/é"]):
        for column, end in enumerate(["_1.png", "_2.png", ".flo"]):
            (root / f"{name}{end}").write_bytes(bytes([number, column]) * (100 * number + column + 1))
    return root


@pytest.fixture
def root(tmp_path):
    return filled(tmp_path / "data")


@pytest.fixture
def large(root, tmp_path, monkeypatch):
    """Every set counts as a large one, and files as unchanged for long."""
    monkeypatch.setattr(pairs, "_READ_WHOLE", 0)
    monkeypatch.setattr(digests, "_SETTLED", -1.0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return root


@pytest.fixture
def read(monkeypatch):
    """The names of the files that are read whole."""
    names = []
    real = digests._digest
    monkeypatch.setattr(digests, "_digest", lambda path, status: names.append(path.name) or real(path, status))
    return names


def cache_of(tmp_path):
    (file,) = (tmp_path / "cache" / "rwtl" / "digests").iterdir()
    return file


def test_a_set_up_to_1_gb_has_the_identity_that_it_always_had(root):
    assert opened(root).identity() == {"pairs": 3, "sha256": KNOWN}


def test_a_large_set_is_read_once(large, read, capsys):
    first = identity(large)
    assert len(read) == 9 and "read" in capsys.readouterr().err
    assert identity(large) == first and len(read) == 9 and capsys.readouterr().err == ""
    assert identity(filled(large.with_name("copy"))) == first, "wherever it lies"
    assert len(read) == 18


def test_any_change_of_any_file_changes_the_identity(large, read):
    """Bytes changed in place, with the size and the time of modification as they were."""
    known = {identity(large)}
    rng = random.Random(0)
    files = sorted(file for file in large.rglob("*") if file.is_file())
    for number in range(110):
        file = files[number % len(files)]
        before, content = file.stat(), bytearray(file.read_bytes())
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        with open(file, "r+b") as opened_file:
            opened_file.write(content)
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
        read.clear()
        known.add(identity(large))
        assert read == [file.name]
        if number % 10 == 0:  # a new inode of the same size
            copy = file.with_suffix(".copy")
            copy.write_bytes(bytes([number]) * len(content))
            os.utime(copy, ns=(before.st_atime_ns, before.st_mtime_ns))
            copy.replace(file)
            known.add(identity(large))
    assert len(known) == 1 + 110 + 11


@pytest.mark.parametrize("change", ["empty", "cut", "flipped", "text", "other", "folder", "fifo"])
def test_a_damaged_cache_is_ignored_and_written_anew(large, read, tmp_path, change):
    first = identity(large)
    file = cache_of(tmp_path)
    content = file.read_bytes()
    damaged = {
        "empty": b"",
        "cut": content[:-20],
        "flipped": content[:200] + bytes([content[200] ^ 1]) + content[201:],
        "text": b"no digests",
        "other": content.partition(b"\n")[2],
    }
    if change in damaged:
        file.write_bytes(damaged[change])
    else:
        file.unlink()
        os.mkfifo(file) if change == "fifo" else file.mkdir()
    assert identity(large) == first and len(read) == 18
    if change != "folder":
        assert cache_of(tmp_path).read_bytes() == content
        assert identity(large) == first and len(read) == 18


def test_a_cache_that_cannot_be_written_costs_time_alone(large, read, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert identity(large) == identity(large) and len(read) == 18
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    assert identity(large) and len(read) == 27


def test_what_was_changed_just_now_is_read_again(large, read, monkeypatch):
    monkeypatch.setattr(digests, "_SETTLED", 60.0)
    assert identity(large) == identity(large) and len(read) == 18


def test_what_was_read_before_an_interruption_is_kept(large, monkeypatch):
    names, real = [], digests._digest

    def interrupt(path, status):
        names.append(path.name)
        if len(names) == 5:
            raise KeyboardInterrupt
        return real(path, status)

    monkeypatch.setattr(digests, "_digest", interrupt)
    with pytest.raises(KeyboardInterrupt):
        identity(large)
    assert identity(large) and len(names) == 5 + 5


def test_a_file_that_is_changed_while_it_is_read_is_refused(large, monkeypatch):
    real = digests.hashlib.file_digest

    def changing(file, algorithm):
        with open(file.name, "ab") as other:
            other.write(b"more")
        return real(file, algorithm)

    monkeypatch.setattr(digests.hashlib, "file_digest", changing)
    with pytest.raises(InputError, match=r"_1\.png: is changed while it is read; start again"):
        identity(large)


def _identity_often(root, results):
    pairs._READ_WHOLE, digests._SETTLED = 0, -1.0
    for _ in range(30):
        results.put(identity(root))
        for file in digests._cache_file(str(root)).parent.iterdir():
            file.unlink(missing_ok=True)


def test_two_processes_at_once_are_fine(large, tmp_path):
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    workers = [context.Process(target=_identity_often, args=(large, results)) for _ in range(2)]
    for worker in workers:
        worker.start()
    found = {results.get(timeout=120) for _ in range(60)}
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0] and found == {identity(large)}


def test_two_sets_in_one_folder_keep_each_others_digests(large, read):
    all_of_it = identity(large)
    FlowFolder(large, "*_1.png", "*_2.png", "*.flo").identity()
    for file in (large / "b").iterdir():
        os.utime(file)
    assert identity(large) == all_of_it
    assert len(read) == 9 + 0 + 6


@pytest.mark.slow
def test_a_set_of_more_than_1_gb_is_told_by_all_of_it(tmp_path, monkeypatch, read):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root = filled(tmp_path / "data")
    os.truncate(root / "a.flo", 10**9)
    before = identity(root)
    with open(root / "a.flo", "r+b") as file:
        file.seek(123_456_789)
        file.write(b"x")
    assert identity(root) != before and len(read) >= 10
