"""Flow from frame to frame: what is written, that it goes on where it stopped, and what is refused."""

import json
import os
import resource
import signal
import time
import weakref
from itertools import pairwise

import cv2
import numpy as np
import pytest
import torch
from films import SIZE, frames_of, write_checkpoint, write_film, write_images
from tiny import run, start

from rwtl.errors import InputError
from rwtl.flow.files import read_flo, read_image, read_kitti_flow
from rwtl.models.checkpoints import load_raft
from rwtl.models.parts import carry_forward
from rwtl.predicting.frames import Frame, Frames, open_frames
from rwtl.predicting.prediction import Estimator, PredictConfig, predict

ALL = "flo kitti npz colour arrows warped occluded film".split()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("weights") / "raft.pt")


def estimator(checkpoint, **config):
    return Estimator(load_raft(checkpoint), PredictConfig(**config), torch.device("cpu"), "32-true")


def contents(folder, *but):
    """What is in a folder, by the names of the files."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found if path.name not in but}


@pytest.mark.parametrize("warm", [False, True])
def test_what_is_written_is_what_the_model_estimates(tmp_path, checkpoint, warm):
    paths = write_images(tmp_path / "film", 5)
    estimate = estimator(checkpoint, write=ALL, both=True, warm_start=warm)
    done = predict(open_frames(str(tmp_path / "film")), estimate, tmp_path / "out", {})
    assert done == {"pairs": 4, "made": 4}
    initial = None
    for first, second in pairwise(paths):
        images = [torch.from_numpy(read_image(path))[None] for path in (first, second)]
        expected = estimate.model.estimate(*images, None, initial)
        back = estimate.model.estimate(*reversed(images)).flow
        initial = carry_forward(expected.coarse) if warm else None
        flow = expected.flow[0].numpy()
        np.testing.assert_array_equal(read_flo(tmp_path / "out" / "flo" / f"{first.stem}.flo"), flow)
        kitti, _ = read_kitti_flow(tmp_path / "out" / "kitti" / f"{first.stem}.png")
        np.testing.assert_allclose(kitti, flow, atol=1 / 128)
        with np.load(tmp_path / "out" / "npz" / f"{first.stem}.npz") as arrays:
            np.testing.assert_array_equal(arrays["flow"], flow)
            np.testing.assert_array_equal(arrays["backward"], back[0].numpy())
            hidden = read_image(tmp_path / "out" / "occluded" / f"{first.stem}.png")[0] > 0
            np.testing.assert_array_equal(arrays["occluded"], hidden)
    for kind in ("colour", "arrows", "warped"):
        assert read_image(tmp_path / "out" / kind / "frame_3.png").shape == (3, *SIZE)
    film = open_frames(str(tmp_path / "out" / "film.mp4"))
    (frame,) = film.read(range(2, 3))
    assert film.count == 4 and frame.image.shape == (3, SIZE[0], 2 * SIZE[1])
    assert np.abs(frame.image[:, :, : SIZE[1]] - frames_of(5)[2].transpose(2, 0, 1)).mean() < 15
    assert {path.name for path in (tmp_path / "out").iterdir()} == {*ALL, "film.mp4", "predict.json"} - {"film"}


def test_every_nth_frame_and_tiles_and_scale(tmp_path, checkpoint):
    paths = write_images(tmp_path / "film", 7)
    frames = open_frames(str(tmp_path / "film"))
    for number, how in enumerate(({}, {"tile": [32, 48], "overlap": 8}, {"scale": 0.5})):
        estimate = estimator(checkpoint, write=["flo"], every=3, **how)
        assert predict(frames, estimate, tmp_path / str(number), {}) == {"pairs": 2, "made": 2}
        assert sorted(each.stem for each in (tmp_path / str(number) / "flo").iterdir()) == ["frame_0", "frame_3"]
        flow = read_flo(tmp_path / str(number) / "flo" / "frame_3.flo")
        whole = load_raft(checkpoint).estimate(*(torch.from_numpy(read_image(paths[at]))[None] for at in (3, 6))).flow
        assert flow.shape == (2, *SIZE) and np.isfinite(flow).all() and (number > 0) != np.allclose(flow, whole)


class Counted(Frames):
    """Frames without end, of which it is known how many are in memory."""

    def __init__(self, count):
        self.names, self.name, self.alive, self.most = [str(number) for number in range(count)], "counted", 0, 0

    def read(self, numbers):
        def gone():
            self.alive -= 1

        for number in numbers:
            image = np.zeros((3, *SIZE), np.float32)
            weakref.finalize(image, gone)
            self.alive += 1
            self.most = max(self.most, self.alive)
            yield Frame(self.names[number], image)

    def identity(self):
        return "counted"


def test_frames_do_not_stay_in_memory(tmp_path, checkpoint):
    frames = Counted(40)
    predict(frames, estimator(checkpoint, write=["flo"], iterations=1), tmp_path / "out", {})
    assert frames.most < 15


def test_the_same_call_makes_nothing_again_and_another_kind_is_added(tmp_path, checkpoint):
    frames = open_frames(str(write_film(tmp_path / "a.mp4", 5)))
    predict(frames, estimator(checkpoint, write=["flo"]), tmp_path / "out", {})
    before = contents(tmp_path / "out")
    assert predict(frames, estimator(checkpoint, write=["flo"]), tmp_path / "out", {}) == {"pairs": 4, "made": 0}
    assert predict(frames, estimator(checkpoint, write=["colour"]), tmp_path / "out", {}) == {"pairs": 4, "made": 4}
    assert before.items() <= contents(tmp_path / "out").items()


@pytest.mark.parametrize("change", ["weights", "iterations", "frames", "warm start"])
def test_what_another_prediction_wrote_is_not_overwritten_unless_asked(tmp_path, checkpoint, change):
    write_images(tmp_path / "film", 4)
    predict(
        open_frames(str(tmp_path / "film")), estimator(checkpoint, write=["flo", "film"]), tmp_path / "out", {"w": 1}
    )
    (tmp_path / "out" / "notes.txt").write_text("mine")
    before = contents(tmp_path / "out")
    if change == "frames":
        write_images(tmp_path / "film", 3)
    config = {"iterations": {"iterations": 3}, "warm start": {"warm_start": True}}.get(change, {})
    arguments = (
        open_frames(str(tmp_path / "film")),
        estimator(checkpoint, write=["flo"], **config),
        tmp_path / "out",
        {"w": 2 if change == "weights" else 1},
    )
    with pytest.raises(InputError, match=r"holds a prediction with another value of .*overwrite=true"):
        predict(*arguments)
    assert contents(tmp_path / "out") == before
    predict(*arguments, overwrite=True)
    after = contents(tmp_path / "out")
    assert after["notes.txt"] == b"mine" and "film.mp4" not in after and len(after) < len(before)


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path, checkpoint):
    write_images(tmp_path / "film", 3)
    (tmp_path / "out" / "colour").mkdir(parents=True)
    frames, estimate = open_frames(str(tmp_path / "film")), estimator(checkpoint, write=["flo"])
    for overwrite in (False, True):
        with pytest.raises(InputError, match="holds colour, which no prediction wrote"):
            predict(frames, estimate, tmp_path / "out", {}, overwrite)
    assert list((tmp_path / "out").iterdir()) == [tmp_path / "out" / "colour"]


def test_frames_of_two_sizes_are_named(tmp_path, checkpoint):
    write_images(tmp_path / "film", 4)
    cv2.imwrite(str(tmp_path / "film" / "frame_2.png"), np.zeros((40, 40, 3), np.uint8))
    with pytest.raises(InputError, match=r"frame_1 is 64×48 px and frame_2 is 40×40 px; the frames of a pair"):
        predict(open_frames(str(tmp_path / "film")), estimator(checkpoint, write=["flo"]), tmp_path / "out", {})
    assert [path.stem for path in (tmp_path / "out" / "flo").iterdir()] == ["frame_0"]


def test_an_estimate_that_is_not_finite_is_not_written(tmp_path, checkpoint):
    write_images(tmp_path / "film", 3)
    estimate = estimator(checkpoint, write=["flo"])
    with torch.no_grad():
        estimate.model.update_block.flow_head.conv2.bias.fill_(torch.nan)
    with pytest.raises(InputError, match="the estimated flow of frame_0 is not finite"):
        predict(open_frames(str(tmp_path / "film")), estimate, tmp_path / "out", {})


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"write": ["gif"]}, "predict.write"),
        ({"write": []}, "predict.write"),
        ({"write": ["flo"], "tile": [64]}, r"tile is \[64\]; give height and width"),
        ({"write": ["flo"], "tile": [64, 64], "overlap": 64}, "overlap is 64; it must be smaller than both sides"),
        ({"write": ["flo"], "tile": [64, 64], "overlap": 8, "scale": 0.5}, "tile and scale are both set"),
        ({"write": ["flo"], "scale": 0.5, "warm_start": True}, "warm_start is true, which needs whole frames"),
        ({"write": ["occluded"]}, "write names occluded, which needs the flow back too; set both to true"),
        ({"write": ["flo"], "every": 0}, "predict.every is 0"),
    ],
)
def test_what_does_not_fit_is_said(config, said):
    with pytest.raises(InputError, match=said):
        PredictConfig(**config)


@pytest.mark.parametrize("warm", ["false", "true"])
def test_killed_again_and_again_it_ends_with_the_same_bytes(tmp_path, checkpoint, warm):
    write_images(tmp_path / "film", 60)
    line = ["predict", tmp_path, f"checkpoint={checkpoint}", f"images={tmp_path}/film", "predict.write=[flo,colour]"]
    line += [f"predict.warm_start={warm}"]
    done = run(*line, f"output={tmp_path}/whole")
    assert done.returncode == 0, done.stderr

    def there():
        return len(list((tmp_path / "cut").rglob("frame_*.png")))

    for number in (signal.SIGKILL, signal.SIGINT, signal.SIGKILL):
        before, program = there(), start(*line, f"output={tmp_path}/cut")
        while program.poll() is None and there() < before + 6:
            time.sleep(0.002)
        if program.poll() is None:
            os.kill(program.pid, number)
        program.wait()
    assert there() < 59
    done = run(*line, f"output={tmp_path}/cut")
    assert done.returncode == 0 and "of them there already" in done.stdout
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")


def test_the_line_of_a_user(tmp_path, checkpoint):
    write_film(tmp_path / "walk.mp4", 4)
    done = run("predict", tmp_path, f"checkpoint={checkpoint}", f"images={tmp_path}/walk.mp4")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "predictions" / "walk"
    assert f"flo:      {folder}/flo" in done.stdout and "3 pairs" in done.stdout
    assert len(list((folder / "colour").iterdir())) == 3
    assert json.loads((folder / "predict.json").read_text())["checkpoint"].startswith("rwtl RAFT small")
    (tmp_path / "training" / "0123456789ab").mkdir(parents=True)
    (tmp_path / "training" / "0123456789ab" / "model.pt").write_bytes(checkpoint.read_bytes())
    for named in ("0123456789ab", f"{tmp_path}/training/0123456789ab"):
        done = run("predict", tmp_path, f"checkpoint={named}", f"images={tmp_path}/walk.mp4")
        assert done.returncode == 0 and "3 of them there already" in done.stdout, done.stderr
    done = run("predict", tmp_path, f"checkpoint={checkpoint}", f"images={tmp_path}/none.mp4")
    assert done.returncode == 1 and done.stderr.strip().splitlines()[-1].startswith("error: images is ")


def test_on_a_full_disk_what_is_written_stays_whole(tmp_path, checkpoint, monkeypatch):
    from rwtl import files as written

    write_images(tmp_path / "film", 8)
    real, count = os.replace, iter(range(100))

    def full(source, target):
        if str(target).endswith(".flo") and next(count) == 3:
            raise OSError(28, "No space left on device", str(source))
        real(source, target)

    monkeypatch.setattr(written.os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        predict(open_frames(str(tmp_path / "film")), estimator(checkpoint, write=["flo"]), tmp_path / "out", {})
    assert not list((tmp_path / "out").rglob("*.partial"))
    there = list((tmp_path / "out" / "flo").iterdir())
    assert len(there) >= 3 and all(read_flo(each).shape == (2, *SIZE) for each in there)
    done = predict(open_frames(str(tmp_path / "film")), estimator(checkpoint, write=["flo"]), tmp_path / "out", {})
    assert done["pairs"] == 7 and done["made"] == 7 - len(there)


def test_a_film_that_is_not_whole_is_none(tmp_path, checkpoint):
    """OpenCV writes what there is room for, and says nothing."""
    write_images(tmp_path / "film", 12)
    frames = open_frames(str(tmp_path / "film"))
    predict(frames, estimator(checkpoint, write=["colour"], iterations=1), tmp_path / "out", {})
    room, before = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, room[1]))  # bytes, of a file
    try:
        with pytest.raises(InputError, match=r"film\.mp4 could not be written whole; is the disk full\?"):
            predict(frames, estimator(checkpoint, write=["film"], iterations=1), tmp_path / "out", {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, room)
        signal.signal(signal.SIGXFSZ, before)
    assert not list((tmp_path / "out").glob("*film*"))
    predict(frames, estimator(checkpoint, write=["film"], iterations=1), tmp_path / "out", {})
    assert open_frames(str(tmp_path / "out" / "film.mp4")).count == 11
