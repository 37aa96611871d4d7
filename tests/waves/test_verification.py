"""Recordings that are not as they were written: each is refused in one line that names it, and none hangs."""

import dataclasses
import json
import math
import os
import random
import shutil
import signal
from contextlib import contextmanager

import numpy as np
import pytest
import zarr
from test_recording import CONFIG, FRAMES, CountingEngine, frame_of, interrupted

from rwtl.errors import InputError
from rwtl.waves import open_recording, simulate
from rwtl.waves.config import SYNTHETIC_KINDS
from rwtl.waves.model.state import Snapshot
from rwtl.waves.synthetic import GENERATORS, FrontsConfig, write_synthetic
from rwtl.waves.verification import shard_file

ABSENT = "absent"
WRONG = [ABSENT, None, True, False, -1, 0, 7, 128, 10**9, 10**30, 1.5, math.nan, math.inf, "", "150", [], [1], {"a": 1}]
ATTRIBUTES = "valid_frames complete frame_interval first_frame_time spacing seed config model_version format".split()
OF_CONFIG = "rows columns spacing duration transient time_step frame_interval cell method coupling start".split()


@contextmanager
def within(seconds):
    """Fail where a block takes longer."""

    def fail(*_):
        raise AssertionError(f"it hangs: more than {seconds} s")

    before = signal.signal(signal.SIGALRM, fail)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class OtherEngine(CountingEngine):
    def frames(self, config, start):
        for frame in super().frames(config, start):
            yield dataclasses.replace(frame, calcium=-frame.calcium)


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    folder = tmp_path_factory.mktemp("originals")
    simulate(CONFIG, CountingEngine(), folder / "complete")
    simulate(CONFIG, OtherEngine(), folder / "other")
    interrupted(folder / "unfinished", after=80)
    fronts = FrontsConfig(rows=8, columns=9, spacing=50.0, duration=10.0, frame_interval=0.1, seed=0)
    write_synthetic(fronts, folder / "synthetic")
    return folder


@pytest.fixture
def copied(originals, tmp_path):
    return lambda name="complete": shutil.copytree(originals / name, tmp_path / "recording.zarr")


def edited(file, *keys, value):
    """Set a value in a JSON file, or remove it where it is ABSENT."""
    content = inner = json.loads(file.read_text())
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    if value is ABSENT:
        del inner[keys[-1]]
    file.write_text(json.dumps(content))


def refused(path, *named):
    """Reading it, and resuming it, is refused in one line; what reading says holds these words."""
    for attempt in (lambda: simulate(CONFIG, CountingEngine(), path), lambda: open_recording(path).frames(0, FRAMES)):
        with within(5), pytest.raises(InputError) as caught:
            attempt()
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 800
    said = str(caught.value)
    assert all(word in said for word in (*named, str(path))), said


def named_values(names, held):
    """All wrong values of all names, without what they hold."""
    for name in names:
        for value in WRONG:
            if type(held(name)) is not type(value) or held(name) != value:
                yield pytest.param(name, value, id=f"{name} {'absent' if value is ABSENT else value}")


@pytest.mark.parametrize(("name", "value"), named_values(ATTRIBUTES, {"complete": True}.get))
def test_an_attribute_of_a_wrong_type_or_value_is_refused_by_name(copied, name, value):
    path = copied()
    edited(path / "zarr.json", "attributes", name, value=value)
    refused(path, name, "anew")


@pytest.mark.parametrize(("name", "value"), named_values(OF_CONFIG, dataclasses.asdict(CONFIG).get))
def test_a_configuration_that_the_rest_does_not_fit_is_refused_by_name(copied, name, value):
    path = copied()
    edited(path / "zarr.json", "attributes", "config", name, value=value)
    refused(path, "zarr.json", "anew")


def test_the_message_has_file_attribute_value_rule_and_remedy(copied):
    path = copied()
    edited(path / "zarr.json", "attributes", "frame_interval", value=0)
    with pytest.raises(InputError) as caught:
        open_recording(path)
    assert str(caught.value) == (
        f"{path}/zarr.json: frame_interval is 0; it must be 0.1, as its config says: remove {path} and simulate it anew"
    )
    edited(path / "zarr.json", "attributes", "frame_interval", value=0.1)
    edited(path / "zarr.json", "attributes", "config", "cell", "g_A", value="0.1")
    with pytest.raises(InputError, match=r"zarr\.json: config\.cell is .*; it must be .*: remove"):
        open_recording(path)


@pytest.mark.parametrize("value", [[], ["0" * 16] * 3, ["0" * 16] * 2, "x", 3, {}, [1, 2, 3], [None] * 3], ids=str)
def test_fingerprints_that_are_not_those_of_the_shards_are_refused(copied, value):
    path = copied()
    edited(path / "zarr.json", "attributes", "shards", value=value)
    refused(path)


def test_kinds_of_synthetic_recordings_are_those_that_can_be_made():
    assert set(SYNTHETIC_KINDS) == set(GENERATORS)


@pytest.mark.parametrize(("name", "value"), [("kind", "bars"), ("kind", 3), ("rows", 9), ("rows", "8"), ("seed", 1.5)])
def test_a_synthetic_recording_is_verified_too(copied, name, value):
    path = copied("synthetic")
    assert open_recording(path).shape == (8, 9)
    edited(path / "zarr.json", "attributes", "config", name, value=value)
    with pytest.raises(InputError, match=r"zarr\.json: .*(kind|rows|seed|shape)"):
        open_recording(path)


def _bytes(content):
    return lambda file: file.write_bytes(content)


def _cut(share):
    return lambda file: os.truncate(file, int(file.stat().st_size * share))


def _instead(make):
    def change(file):
        file.unlink()
        make(file)

    return change


CHANGES = {
    "absent": os.unlink,
    "empty": _bytes(b""),
    "cut in half": _cut(0.5),
    "cut by a byte": _cut(0.9999),
    "zeros": lambda file: file.write_bytes(bytes(file.stat().st_size)),
    "a list": _bytes(b"[]"),
    "a number": _bytes(b"5"),
    "deep": _bytes(b"[" * 100_000),
    "not text": _bytes(b"\xff\xfe\x00"),
    "a FIFO": _instead(os.mkfifo),
    "a folder": _instead(os.mkdir),
    "a link to nowhere": _instead(lambda file: file.symlink_to("nowhere")),
    "a link to itself": _instead(lambda file: file.symlink_to(file.name)),
    "a device": _instead(lambda file: file.symlink_to("/dev/zero")),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("file", ["zarr.json", "calcium/zarr.json", "calcium/c/1/0/0", "calcium/c/2/0/0"])
def test_a_file_that_is_damaged_is_refused_by_name(copied, file, change):
    path = copied()
    CHANGES[change](path / file)
    refused(path, *(["calcium/c/", "is damaged", "anew"] if "/c/" in file else []))


@pytest.mark.parametrize("change", ["a FIFO", "a link to nowhere", "a link to itself", "a device", "a number"])
def test_something_else_at_its_path_is_refused(tmp_path, change):
    path = tmp_path / "recording.zarr"
    path.touch()
    CHANGES[change](path)
    with within(5), pytest.raises(InputError, match=r"recording\.zarr (is not a recording|does not exist)"):
        open_recording(path)


def _swapped(path, first=0, second=1):
    one, two = shard_file(path, first), shard_file(path, second)
    one.rename(path / "aside")
    two.rename(one)
    (path / "aside").rename(two)


def test_a_shard_in_the_place_of_another_is_refused(copied, originals):
    path = copied()
    _swapped(path)
    refused(path, "calcium/c/0, frames 0 to 64 (exclusive), is damaged (the shard is that of place 1)", "anew")
    _swapped(path)
    shutil.copyfile(shard_file(path, 0), shard_file(path, 1))
    refused(path, "calcium/c/1, frames 64 to 128 (exclusive), is damaged (the shard is that of place 0)")
    shutil.copyfile(shard_file(originals / "other", 1), shard_file(path, 1))
    refused(path, "calcium/c/1, frames 64 to 128 (exclusive), is damaged (the shard is another than was written there)")


@pytest.mark.parametrize("fill", ["NaN", 0.0])
@pytest.mark.parametrize("frame", [0, 63, 64, 127, 149])
def test_a_chunk_that_is_absent_is_refused(copied, frame, fill):
    path = copied()
    edited(path / "zarr.json", "attributes", "shards", value=ABSENT)  # as in a recording made before
    zarr.open_array(path / "calcium", mode="r+")[frame] = math.nan
    edited(path / "calcium" / "zarr.json", "fill_value", value=fill)
    refused(path, "fill value" if fill == 0 else f"calcium/c/{frame // 64}, frames")


SHAPE = ["shape"]
SHARDING = ["codecs", 0, "configuration"]


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (SHAPE, [150, 7, 5]),
        (SHAPE, [149, 5, 7]),
        (SHAPE, [10**9, 5, 7]),
        (SHAPE, [150, 35]),
        (SHAPE, [150, 5, -7]),
        (SHAPE, "150"),
        (["data_type"], "int32"),
        (["data_type"], "float64"),
        (["fill_value"], 0.0),
        (["fill_value"], "Infinity"),
        (["chunk_grid", "configuration", "chunk_shape"], [32, 5, 7]),
        ([*SHARDING, "chunk_shape"], [2, 5, 7]),
        ([*SHARDING, "index_location"], "start"),
        ([*SHARDING, "codecs", 0, "configuration", "endian"], "big"),
        ([*SHARDING, "codecs", 2], ABSENT),
        ([*SHARDING, "codecs", 1], ABSENT),
        (["codecs"], []),
        (["node_type"], "group"),
        (["zarr_format"], 2),
    ],
    ids=str,
)
def test_an_array_of_another_form_is_refused(copied, keys, value):
    path = copied()
    edited(path / "calcium" / "zarr.json", *keys, value=value)
    refused(path)


@pytest.mark.parametrize("valid", [0, 1, 63, 65, 128, 149, 150, 151])
def test_a_finished_recording_that_calls_itself_unfinished_is_refused(copied, valid):
    path = copied()
    edited(path / "zarr.json", "attributes", "complete", value=False)
    edited(path / "zarr.json", "attributes", "valid_frames", value=valid)
    if valid == 0:  # as a simulation leaves it that was ended at its beginning
        with pytest.raises(InputError, match="shards is"):
            open_recording(path)
    else:
        refused(path, "zarr.json")


@pytest.mark.parametrize("valid", [1, 63, 65, 128, 149, 151, "64", 64.0, None])
def test_an_unfinished_recording_of_other_valid_frames_is_refused(copied, valid):
    path = copied("unfinished")
    edited(path / "zarr.json", "attributes", "valid_frames", value=valid)
    with within(5), pytest.raises(InputError, match=r"valid_frames is .*; it must be "):
        open_recording(path)
    with within(5), pytest.raises(InputError, match=r"valid_frames is .*; it must be "):
        simulate(CONFIG, CountingEngine(), path)


@pytest.mark.parametrize(
    ("frame", "shape"), [(73, (5, 7)), (75, (5, 7)), (10**9, (5, 7)), (-54, (5, 7)), (138, (5, 7)), (74, (7, 5))]
)
def test_a_state_of_another_place_is_not_gone_on_from(copied, frame, shape):
    path = copied("unfinished")
    names = np.load(path / "state.npz").files
    values = {name: np.ones(shape, np.float32) for name in names if name != "frame"}
    Snapshot(frame, values).save(path / "state.npz")
    with within(5), pytest.raises(InputError, match=r"recording\.zarr.*(state\.npz|calcium/c/1.*is damaged)"):
        simulate(CONFIG, CountingEngine(), path)


@pytest.mark.parametrize("change", [name for name in CHANGES if name != "cut by a byte"])
def test_a_state_that_is_damaged_is_not_gone_on_from(copied, change):
    path = copied("unfinished")
    CHANGES[change](path / "state.npz")
    with within(5), pytest.raises(InputError, match=r"state\.npz"):
        simulate(CONFIG, CountingEngine(), path)


@pytest.mark.parametrize("change", [name for name in CHANGES if name != "absent"])
def test_a_state_in_the_transient_that_is_damaged_is_not_gone_on_from(tmp_path, change):
    path = tmp_path / "recording.zarr"
    interrupted(path, after=4)
    (path / "state.npz").touch()
    CHANGES[change](path / "state.npz")
    with within(5), pytest.raises(InputError, match=r"state\.npz"):
        simulate(CONFIG, CountingEngine(), path)


def test_in_an_artifact_the_remedy_is_to_remove_all_of_it(originals, tmp_path):
    path = shutil.copytree(originals / "complete", tmp_path / "recording")
    (tmp_path / "status.json").write_text('{"state": "complete"}')
    shard_file(path, 1).write_bytes(b"")
    with pytest.raises(InputError, match=rf"is damaged .*: remove {tmp_path}, and it is made anew$"):
        open_recording(path)
    (path / "zarr.json").unlink()
    with pytest.raises(InputError, match=rf"is not a recording .*: remove {tmp_path}, and it is made anew$"):
        open_recording(path)


def test_flipped_bits_of_descriptions_are_refused_or_harmless(copied):
    path = copied()
    rng = random.Random(0)
    whole = open_recording(path).frames(0, FRAMES)
    refusals = 0
    for file in (path / "zarr.json", path / "calcium" / "zarr.json"):
        content = file.read_bytes()
        for _ in range(60):
            place = rng.randrange(len(content))
            file.write_bytes(content[:place] + bytes([content[place] ^ 1 << rng.randrange(8)]) + content[place + 1 :])
            try:
                with within(5):
                    np.testing.assert_array_equal(open_recording(path).frames(0, FRAMES), whole)
            except InputError as error:
                assert str(path) in str(error)
                refusals += 1
        file.write_bytes(content)
    assert refusals > 60


def test_a_recording_made_before_opens_and_is_resumed(copied, originals):
    path = copied()
    edited(path / "zarr.json", "attributes", "shards", value=ABSENT)
    assert open_recording(path).frames(0, FRAMES).shape == (FRAMES, 5, 7)
    shutil.rmtree(path)
    path = copied("unfinished")
    edited(path / "zarr.json", "attributes", "shards", value=ABSENT)
    simulate(CONFIG, CountingEngine(), path)
    expected = [frame_of(number) for number in range(11, 161)]
    np.testing.assert_array_equal(open_recording(path).frames(0, FRAMES), expected)
    _swapped(path)
    refused(path, "that of place 1")


def test_a_resumed_recording_is_the_same_to_the_byte(copied, originals):
    path = copied("unfinished")
    simulate(CONFIG, CountingEngine(), path)
    here, there = (
        {file.relative_to(folder): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
        for folder in (path, originals / "complete")
    )
    assert here == there


def test_the_disk_has_frames_and_state_before_they_are_called_valid(tmp_path, monkeypatch):
    """What a power cut leaves is what was synced: each file that attributes speak of was, before they were."""
    synced, described = [], []
    real, path = os.fsync, tmp_path / "recording.zarr"

    def fsync(descriptor):
        name = os.readlink(f"/proc/self/fd/{descriptor}")
        synced.append(name)
        if name == str(path / "zarr.json"):
            attributes = json.loads((path / "zarr.json").read_text())["attributes"]
            described.append((attributes["valid_frames"], attributes["complete"]))
            for number in range(math.ceil(attributes["valid_frames"] / 64)):
                shard = shard_file(path, number)
                for part in (shard, *list(shard.parents)[:5]):
                    assert str(part) in synced, part
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    simulate(CONFIG, CountingEngine(), path)
    assert described == [(64, False), (128, False), (150, False), (150, True)]
    assert synced[-1] == str(path) and synced[-2] == str(path / "zarr.json")
    synced.clear()
    write_synthetic(GENERATORS["fronts"].config(4, 4, 50.0, 10.0, 0.1, 0), tmp_path / "fronts.zarr")
    assert {name.rpartition("fronts.zarr")[2] for name in synced} >= {".draft/calcium/c/1/0/0", ".draft", ""}
