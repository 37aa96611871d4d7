"""Frames of a person's own, one after the other: files of images, a film, or a recording of waves."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from glob import glob, has_magic
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float32

from rwtl import files
from rwtl.errors import InputError
from rwtl.flow.files import read_image
from rwtl.waves import open_recording

IMAGES = (".png", ".jpg", ".jpeg", ".ppm", ".bmp", ".tif", ".tiff", ".webp")
FILMS = (".mp4", ".webm", ".gif", ".avi", ".mov", ".mkv", ".m4v")
_NUMBERED = re.compile(r"%0?(\d*)d")
_RATE = 25.0  # frames per second of a film that is made of images


class Frame(NamedTuple):
    """One frame.

    Attributes:
        name: by which what is written of it is called.
        image: RGB, 0..255, row 0 at the top.
    """

    name: str
    image: Float32[np.ndarray, "3 h w"]


class Frames:
    """Frames in the order of time; they are read as they are asked for, each time anew.

    Attributes:
        name: of all of them, as a folder may be called.
        names: of the frames; of a film there are as many as its header says.
        rate: frames per second.
    """

    name: str
    names: Sequence[str]
    rate: float = _RATE

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.names)

    def read(self, numbers: range) -> Iterator[Frame]:
        """Read the frames of these numbers, which rise."""
        raise NotImplementedError

    def identity(self) -> str:
        """Return a text that differs where the frames do: by names, sizes and times of change of the files."""
        raise NotImplementedError


class ImageFiles(Frames):
    """Files of images.

    Args:
        paths: in the order of time, at least two.
        name: of all of them.
    """

    def __init__(self, paths: Sequence[Path], name: str):
        self.paths, self.name = list(paths), name
        stems = [path.stem for path in self.paths]
        alike = len(set(stems)) < len(stems)
        self.names = [f"{number:06d}_{stem}" for number, stem in enumerate(stems)] if alike else stems

    def read(self, numbers: range) -> Iterator[Frame]:
        for number in numbers:
            yield Frame(self.names[number], read_image(self.paths[number]))

    def identity(self) -> str:
        return _digest(self.paths)


class Film(Frames):
    """A film, as OpenCV reads it.

    Args:
        path: of the file.

    Raises:
        InputError: OpenCV reads no frame of it. While it is read: a frame has another size, or it ends early.
    """

    def __init__(self, path: Path):
        self.path, self.name = path, path.stem
        film = self._open()
        count = int(film.get(cv2.CAP_PROP_FRAME_COUNT))
        rate = film.get(cv2.CAP_PROP_FPS)
        self.rate = rate if 0 < rate < 1000 else _RATE
        if count < 1:  # some containers do not say
            count = 0
            while film.grab():
                count += 1
        film.release()
        self.names = [f"{number:06d}" for number in range(count)]
        if count < 1:
            raise InputError(f"images: no frame of {path} can be read; is it whole, and a film?")

    def _open(self) -> cv2.VideoCapture:
        film = cv2.VideoCapture(str(self.path))
        if not film.isOpened():
            raise InputError(f"images: {self.path} cannot be read as a film; known are {', '.join(FILMS)}")
        return film

    def read(self, numbers: range) -> Iterator[Frame]:
        film, size = self._open(), None
        try:
            for number in range(numbers.stop):
                if not film.grab():
                    raise InputError(
                        f"{self.path}: it ends after {number} of the {self.count} frames that its header says; what "
                        "was read is done. Is the film whole? What ffmpeg -i makes of it has a true header"
                    )
                if number not in numbers:
                    continue
                _, pixels = film.retrieve()
                size = size or pixels.shape
                if pixels.shape != size:
                    raise InputError(
                        f"{self.path}: frame {number} is {pixels.shape[1]}×{pixels.shape[0]} px, those before it "
                        f"{size[1]}×{size[0]}; cut the film there, or convert it to one size"
                    )
                image = pixels[..., ::-1].transpose(2, 0, 1)  # OpenCV has blue, green, red
                yield Frame(self.names[number], np.ascontiguousarray(image, dtype=np.float32))
        finally:
            film.release()

    def identity(self) -> str:
        return _digest([self.path])


class WaveFrames(Frames):
    """The calcium of a recording, grey: black and white are the values that 0.1 % of the cells are below and above.

    Args:
        path: of the recording's Zarr group.
    """

    def __init__(self, path: Path, name: str):
        self.recording, self.name = open_recording(path), name
        self.recording.require_frames()
        self.names = [f"{number:06d}" for number in range(self.recording.valid_frames)]
        self.rate = 1 / self.recording.frame_interval
        some = np.unique(np.linspace(0, self.count - 1, min(self.count, 100)).astype(int)).tolist()
        sample = np.concatenate([self.recording.frames(number, number + 1) for number in some])
        self.low, self.high = (float(value) for value in np.quantile(sample, (0.001, 0.999)))

    def read(self, numbers: range) -> Iterator[Frame]:
        scale = 255 / (self.high - self.low) if self.high > self.low else 0.0
        for number in numbers:
            (calcium,) = self.recording.frames(number, number + 1)
            grey = ((calcium - self.low) * scale).clip(0, 255).astype(np.float32)
            yield Frame(self.names[number], np.broadcast_to(grey, (3, *grey.shape)).copy())

    def identity(self) -> str:
        return _digest([self.recording.path / "zarr.json"])


def _digest(paths: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        status = path.stat()
        digest.update(f"{path.name} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def open_frames(images: str | Sequence[str]) -> Frames:
    """Return the frames that a user names.

    Args:
        images: a film, a folder of images, a recording of waves (its artifact's folder, or the Zarr group in it), a
            pattern with `*`, a pattern with a number such as `frame_%04d.png`, or a list of files. Names that hold
            numbers are put in the order of those.

    Raises:
        InputError: There is no such thing, there are fewer than two frames, or a number of a pattern is missing.
    """
    if not isinstance(images, str):
        return _of_files(list(map(Path, images)), "images")
    path = Path(images)
    if path.is_dir():
        for group in (path / files.RECORDING, path):
            if (group / "zarr.json").exists():
                return _at_least_two(WaveFrames(group, f"{path.resolve().name}"), images)
        found = [each for each in path.iterdir() if each.suffix.lower() in IMAGES and not each.name.startswith(".")]
        return _of_files(sorted(found, key=_in_order), path.resolve().name, images)
    if _NUMBERED.search(path.name):
        return _of_files(_numbered(path), path.resolve().parent.name, images)
    if has_magic(images) and not path.exists():
        found = [Path(each) for each in glob(images)]
        return _of_files(sorted(found, key=_in_order), path.resolve().parent.name, images)
    if path.suffix.lower() in FILMS and path.exists():
        return _at_least_two(Film(path), images)
    if not path.exists():
        raise InputError(
            f"images is {images}, which does not exist; give a film, a folder, a pattern or a list of files"
        )
    if path.suffix.lower() in IMAGES:
        raise InputError(f"images is {images}, one image; flow is between two: give images=[first.png,second.png]")
    raise InputError(
        f"images is {images}, which is none that is known: images end in {', '.join(IMAGES)}, films in "
        f"{', '.join(FILMS)}"
    )


def _of_files(paths: list[Path], name: str, images: str = "") -> Frames:
    for path in paths:
        if not path.is_file():
            raise InputError(f"images: {path} is no file; give files of images")
        if path.suffix.lower() in FILMS:
            raise InputError(f"images: {path} is a film among several files; give one film, or images alone")
    return _at_least_two(ImageFiles(paths, name), images)


def _at_least_two(frames: Frames, images: str) -> Frames:
    if frames.count < 2:
        said = images or "a list"
        raise InputError(f"images is {said}, with {frames.count} frames in it; flow is between two, so give at least 2")
    return frames


def _in_order(path: Path) -> list:
    """Sort key by which frame_2 comes before frame_10."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.name)]


def _numbered(pattern: Path) -> list[Path]:
    """Return the files of a pattern with a number, from the lowest on; none may be missing on the way."""
    place = _NUMBERED.search(pattern.name)
    before, after = re.escape(pattern.name[: place.start()]), re.escape(pattern.name[place.end() :])
    expression = re.compile(rf"{before}(\d{{{place[1]},}}){after}" if place[1] else rf"{before}(\d+){after}")
    matches = [(each, expression.fullmatch(each.name)) for each in pattern.parent.glob("*")]
    found = sorted((int(match[1]), path) for path, match in matches if match)
    for (number, _), (following, path) in pairwise(found):
        if following != number + 1:
            raise InputError(
                f"images: between {pattern.name % number} and {path.name} frames are missing; restore them, or give "
                f"images={pattern.parent}/*{pattern.suffix}, which takes the files as they are"
            )
    return [path for _, path in found]
