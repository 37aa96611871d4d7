"""Where frames come from: folders, patterns, lists, films and recordings."""

import os

import cv2
import numpy as np
import pytest
from films import SIZE, frames_of, write_film, write_images

from rwtl.errors import InputError
from rwtl.predicting.frames import Film, open_frames
from rwtl.waves.synthetic import FrontsConfig, write_synthetic


def images_of(frames, numbers=None):
    return [frame.image for frame in frames.read(range(frames.count) if numbers is None else numbers)]


@pytest.mark.parametrize("ask", ["{}", "{}/*.png", "{}/frame_*.png", "{}/frame_%d.png"])
def test_a_folder_and_patterns_are_in_the_order_of_their_numbers(tmp_path, ask):
    paths = write_images(tmp_path / "film", 12)
    (tmp_path / "film" / "notes.txt").write_text("x")
    (tmp_path / "film" / ".hidden.png").write_text("x")
    frames = open_frames(ask.format(tmp_path / "film"))
    assert frames.names == [path.stem for path in paths] and frames.name == "film"
    np.testing.assert_array_equal(images_of(frames), frames_of(12).transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(images_of(frames, range(2, 12, 4)), frames_of(12)[2:12:4].transpose(0, 3, 1, 2))


def test_a_list_is_in_its_own_order(tmp_path):
    paths = write_images(tmp_path / "film", 3)
    frames = open_frames([str(paths[2]), str(paths[0])])
    assert frames.names == ["frame_2", "frame_0"]
    twice = open_frames([str(paths[0]), str(paths[0])])
    assert len(set(twice.names)) == 2, "files of one name have names of their own"


def test_a_number_that_is_missing_is_named(tmp_path):
    write_images(tmp_path / "film", 12, "f{:03d}.png")
    assert open_frames(f"{tmp_path}/film/f%03d.png").count == 12
    (tmp_path / "film" / "f004.png").unlink()
    with pytest.raises(InputError, match=r"between f003\.png and f005\.png frames are missing; .*images=.*\*\.png"):
        open_frames(f"{tmp_path}/film/f%03d.png")


@pytest.mark.parametrize("suffix", ["mp4", "avi"])
def test_a_film_is_read_like_its_frames(tmp_path, suffix):
    frames = open_frames(str(write_film(tmp_path / f"a.{suffix}", 12)))
    assert (frames.name, frames.count, frames.rate) == ("a", 12, 10.0)
    images = images_of(frames)
    true = frames_of(12).transpose(0, 3, 1, 2).astype(float)
    assert np.abs(images - true).mean() < 12, "but for the loss of the codec"
    np.testing.assert_array_equal(images_of(frames, range(3, 12, 4)), images[3:12:4])


def test_a_film_that_is_cut_off_says_where_it_ends(tmp_path):
    path = write_film(tmp_path / "a.avi", 40, "MJPG")
    os.truncate(path, path.stat().st_size // 2)
    film = Film(path)
    film.names = [str(number) for number in range(40)]  # as its header said, where it comes first
    with pytest.raises(InputError, match=r"a\.avi: it ends after \d+ of the 40 frames"):
        images_of(film)


def test_a_film_of_two_sizes_is_refused(tmp_path, monkeypatch):
    film = Film(write_film(tmp_path / "a.mp4", 4))

    class Changing:
        """OpenCV scales what FFmpeg reads; other backends do not."""

        def __init__(self):
            self.sizes = iter([(8, 8, 3), (8, 9, 3)])

        def grab(self):
            return True

        def retrieve(self):
            return True, np.zeros(next(self.sizes), np.uint8)

        def release(self):
            pass

    monkeypatch.setattr(film, "_open", Changing)
    with pytest.raises(InputError, match=r"frame 1 is 9×8 px, those before it 8×8"):
        images_of(film)


def test_a_recording_of_waves_is_a_film(tmp_path):
    config = FrontsConfig(rows=24, columns=32, spacing=50.0, duration=5.0, frame_interval=0.1, seed=0)
    write_synthetic(config, tmp_path / "abc" / "recording")
    for path in (tmp_path / "abc", tmp_path / "abc" / "recording"):
        frames = open_frames(str(path))
        assert frames.count == 50 and frames.rate == pytest.approx(10)
        (image,) = images_of(frames, range(20, 21))
        assert image.shape == (3, 24, 32) and (image[0] == image[2]).all() and 0 <= image.min() < image.max() <= 255


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        ("none", "which does not exist; give a film"),
        ("none/*.png", "with 0 frames in it"),
        ("empty", "with 0 frames in it"),
        ("one.png", r"one image; flow is between two: give images=\["),
        ("notes.txt", "which is none that is known: images end in .png"),
        ("bad.mp4", r"bad\.mp4 cannot be read as a film"),
        (["one.png"], "with 1 frames in it; flow is between two"),
        (["one.png", "none.png"], r"none\.png is no file"),
        (["one.png", "bad.mp4"], r"bad\.mp4 is a film among several files"),
    ],
)
def test_what_is_no_sequence_is_named(tmp_path, monkeypatch, ask, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    cv2.imwrite("one.png", np.zeros((*SIZE, 3), np.uint8))
    for name in ("notes.txt", "bad.mp4"):
        (tmp_path / name).write_text("text")
    with pytest.raises(InputError, match=said):
        open_frames(ask)
