"""A file is replaced in one step, whatever happens meanwhile."""

import json
import multiprocessing
import os
import signal
import time

import pytest

from rwtl import files


def test_the_new_content_takes_the_place_of_the_old_and_nothing_else_is_left(tmp_path):
    file = tmp_path / "status.json"
    files.write_atomically(file, "old")
    files.write_atomically(file, "new µm\n")
    assert file.read_bytes() == "new µm\n".encode()
    files.write_atomically(file, b"\x00\xff")
    assert file.read_bytes() == b"\x00\xff"
    files.write_json(file, {"state": "complete", "label": "é"})
    assert json.loads(file.read_text()) == {"state": "complete", "label": "é"}
    assert os.listdir(tmp_path) == ["status.json"]


def test_what_fails_leaves_the_old_content(tmp_path):
    file = tmp_path / "metrics.csv"
    file.write_text("old")
    with pytest.raises(KeyboardInterrupt), files.replaced(file) as draft:
        draft.write_text("half of the")
        assert file.read_text() == "old" and draft.parent == tmp_path
        raise KeyboardInterrupt
    with pytest.raises(TypeError):
        files.write_json(file, {"step": object()})
    assert file.read_text() == "old" and os.listdir(tmp_path) == ["metrics.csv"]


def test_two_writers_do_not_share_a_draft(tmp_path):
    file = tmp_path / "curve.csv"
    with files.replaced(file) as first, files.replaced(file) as second:
        first.write_text("first, ")
        second.write_text("second")
        assert first != second and first.read_text() == "first, "
    assert file.read_text() == "first, ", "of two, the one that ends last"


def _write_for_ever(file):
    while True:
        files.write_atomically(file, "x" * 2**20)


def test_a_killed_writer_leaves_a_whole_file(tmp_path):
    file = tmp_path / "model.pt"
    writer = multiprocessing.get_context("spawn").Process(target=_write_for_ever, args=(file,))
    writer.start()
    while not file.exists():
        time.sleep(0.01)
    time.sleep(0.05)
    os.kill(writer.pid, signal.SIGKILL)
    writer.join()
    assert file.read_text() == "x" * 2**20
    assert all(name == "model.pt" or name.endswith(".partial") for name in os.listdir(tmp_path))
