"""A file is replaced in one step, whatever happens meanwhile."""

import json
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest
from damage import ODD, damage

from rwtl import files
from rwtl.errors import Damaged, InputError


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


def read_json(path):
    return files.read_checked(path, dict, "remove it")


DAMAGED = {
    "not UTF-8": b"\xff\xfe{}",
    "no JSON": b'{"state": "comp',
    "empty": b"",
    "null": b"null",
    "nested too deeply": b"[" * 100_000,
    "zeros": bytes(4096),
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_file_is_named_and_no_file_is_none(tmp_path, content):
    (tmp_path / "file.json").write_bytes(content)
    with pytest.raises(InputError, match=r"file\.json is damaged \(.*\); remove it$"):
        read_json(tmp_path / "file.json")
    assert read_json(tmp_path / "other.json") is None
    assert read_json(tmp_path / "file.json" / "below.json") is None


@pytest.mark.parametrize("put", [Path.mkdir, os.mkfifo])
def test_what_is_no_file_in_place_of_one_is_damage(tmp_path, put):
    put(tmp_path / "file.json")
    for read in (read_json, files.read_table):
        with pytest.raises(InputError, match=r"file\.json is damaged \(.*it is no file"):
            read(tmp_path / "file.json")


@pytest.mark.parametrize("content", [*DAMAGED.values(), b'step,b\n1,2\n"', b"stop,epe\n1,2\n"], ids=range(8))
def test_a_damaged_table_is_named(tmp_path, content):
    (tmp_path / "table.csv").write_bytes(content)
    with pytest.raises(InputError, match=r"table\.csv is damaged \(.*\); remove .*, and it is made anew"):
        files.read_table(tmp_path / "table.csv", "step")


def test_a_table_is_read_with_the_names_of_pairs_as_text(tmp_path):
    (tmp_path / "table.csv").write_text("pair,epe\n000001,nan\n")
    table = files.read_table(tmp_path / "table.csv", "pair", "epe")
    assert table.pair.tolist() == ["000001"] and table.epe.isna().all()
    (tmp_path / "named.csv").write_text("dataset,pair,epe\nNA,null,\n01,nan,2\n")
    table = files.read_table(tmp_path / "named.csv", "pair", "epe")
    assert table.dataset.tolist() == ["NA", "01"] and table.pair.tolist() == ["null", "nan"]
    assert table.epe.isna().tolist() == [True, False]
    with pytest.raises(InputError, match=r"none\.csv is damaged \(it is not there\); remove"):
        files.read_table(tmp_path / "none.csv")


def test_a_flipped_bit_and_a_missing_file_are_found(tmp_path):
    (tmp_path / "model.pt").write_bytes(bytes(1000))
    files.write_json(tmp_path / files.STATUS, {"files": files.digests(tmp_path)})
    assert files.verified(tmp_path / "model.pt") == tmp_path / "model.pt"
    (tmp_path / "model.pt").write_bytes(bytes(500) + b"\x01" + bytes(499))
    with pytest.raises(InputError, match=r"model\.pt is damaged \(its content is not what was written"):
        files.verified(tmp_path / "model.pt")
    (tmp_path / "model.pt").unlink()
    with pytest.raises(InputError, match=r"model\.pt is damaged \(it is not there"):
        files.verified(tmp_path / "model.pt")
    (tmp_path / "other.pt").write_bytes(b"of somebody else")
    files.verified(tmp_path / "other.pt")


def test_all_that_is_in_a_folder_is_synced_before_its_own_name(tmp_path, monkeypatch):
    (tmp_path / "artifact" / "of" / "it").mkdir(parents=True)
    for name in ("a.csv", "of/b.csv", "of/it/c.csv"):
        (tmp_path / "artifact" / name).write_text("x")
    (tmp_path / "artifact" / "nowhere").symlink_to("nowhere")
    (tmp_path / "artifact" / "outside").symlink_to("/dev")
    os.mkfifo(tmp_path / "artifact" / "fifo")
    synced, real = [], os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda number: (synced.append(os.readlink(f"/proc/self/fd/{number}")), real(number))
    )
    files.sync_tree(tmp_path / "artifact")
    order = [name.removeprefix(str(tmp_path)) for name in synced]
    assert order[-2:] == ["/artifact", ""] and len(order) == 7
    for inner, outer in (("of/it/c.csv", "of/it"), ("of/it", "of"), ("of/b.csv", "of"), ("a.csv", "")):
        assert order.index(f"/artifact/{inner}") < order.index(f"/artifact/{outer}".rstrip("/"))


def test_what_vanishes_while_a_folder_is_synced_does_not_matter(tmp_path, monkeypatch):
    (tmp_path / "claim").write_text("x")
    (tmp_path / "kept").write_text("x")
    real = os.open

    def vanishing(path, *flags):
        (tmp_path / "claim").unlink(missing_ok=True)
        return real(path, *flags)

    monkeypatch.setattr(os, "open", vanishing)
    files.sync_tree(tmp_path)


@pytest.mark.parametrize("how", ["nothing", *ODD])
def test_what_is_in_the_place_of_a_recorded_file_is_refused(tmp_path, how):
    file = tmp_path / "verdict.txt"
    file.write_text("better")
    files.write_json(tmp_path / files.STATUS, {"files": files.digests(tmp_path)})
    file.unlink()
    if how != "nothing":
        damage(file, how)
    reason = r"(it is not there|it is no file|it is a link to nothing|.*Too many levels of symbolic links.*)"
    with pytest.raises(Damaged, match=rf"verdict\.txt is damaged \({reason}\); remove .*made anew"):
        files.verified(file)


@pytest.mark.parametrize("how", ["not UTF-8", "gone", *ODD])
def test_a_text_that_is_none_is_refused(tmp_path, how):
    file = tmp_path / "statistics.txt"  # of a version that recorded no digests
    if how != "gone":
        damage(file, how)
    with pytest.raises(Damaged, match=r"statistics\.txt is damaged \(.*\); remove .*made anew"):
        files.text_of(file)


@pytest.mark.parametrize("content", ["nothing", b"", b"[]", b'{"a": "b"}', b"\xff"])
def test_a_value_that_is_none_is_refused(tmp_path, content):
    file = tmp_path / "transfer.json"  # of a version that recorded no digests
    if content != "nothing":
        file.write_bytes(content)
    with pytest.raises(Damaged, match=r"transfer\.json is damaged \(.*\); remove .*made anew"):
        files.value_of(file, dict[str, int])
    file.write_bytes(b'{"a": 1}')
    assert files.value_of(file, dict[str, int]) == {"a": 1}


def test_what_may_not_be_read_is_not_called_damaged(unprivileged):
    for name in ("status.json", "curve.csv"):
        (unprivileged / name).write_text("{}")
        (unprivileged / name).chmod(0)
    said = r"cannot be read \(Permission denied\): give yourself the permission, or ask its owner$"
    with pytest.raises(Damaged, match=r"status\.json " + said):
        files.read_checked(unprivileged / "status.json", dict, "remove it")
    (unprivileged / "status.json").unlink()
    with pytest.raises(Damaged, match=r"curve\.csv " + said):
        files.text_of(unprivileged / "curve.csv")


def test_a_folder_in_the_place_of_what_is_written_is_named_and_kept(tmp_path):
    (tmp_path / "multirun.yaml").mkdir()
    with pytest.raises(Damaged, match=r"multirun\.yaml is a folder, where a file is to be written"):
        files.write_atomically(tmp_path / "multirun.yaml", "a: 1")
    assert os.listdir(tmp_path) == ["multirun.yaml"]
