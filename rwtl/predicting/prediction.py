"""Flow from frame to frame, estimated in the order of time, and written pair by pair."""

import json
import shutil
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple
from zipfile import BadZipFile

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float32, UInt8
from torch import Tensor

from rwtl import files
from rwtl.errors import InputError
from rwtl.flow.files import write_flo, write_kitti_flow
from rwtl.learning.recipe import autocast
from rwtl.models.parts import carry_forward
from rwtl.models.raft import RAFT
from rwtl.models.tiling import in_tiles, scaled
from rwtl.pipeline.claim import alone
from rwtl.predicting.drawing import in_colour, occluded, warped_back, with_arrows, write_picture
from rwtl.predicting.frames import Frame, Frames
from rwtl.progress import Progress
from rwtl.sections import Count, EachOnce, Listed, Natural, Positive, Unfit, section

MANIFEST = "predict.json"  # what was estimated, how, and by which weights
_CARRIED = "warm_start.npz"  # while it works: what the next pair starts from
_FILM = "film.mp4"
_REMEDY = "give another folder as output=..., or overwrite=true"
_PENDING = 4  # pairs that are drawn and written while the next ones are estimated

Kind = Literal["flo", "kitti", "npz", "colour", "arrows", "warped", "occluded", "film"]


@section("predict")
class PredictConfig:
    """What is written of the flow between frames, and how it is estimated.

    Args:
        write: any of `flo` (Middlebury), `kitti` (16-bit PNG, up to ±512 px), `npz` (flow, and backward and occluded
            where they are estimated), `colour` (with its legend), `arrows` (over the first frame), `warped` (the second
            frame warped back), `occluded` (white where the first frame is hidden in the second) and `film` (frame and
            colour side by side).
        every: estimates from each n-th frame to the next n-th.
        both: estimates the flow back too, and from the two which pixels are occluded.
        warm_start: each pair starts from the flow of the one before (RAFT, section 4.3).
        scale: of frames that are too large: 0.5 halves both sides; flow is in px of the frames as they are.
        tile: height and width of tiles, px, that are estimated one by one; null for whole frames.
        overlap: of neighbouring tiles at least, px.
        iterations: of RAFT; null for as many as it was trained with.
        longest: flow of this length, px, has full colour; null for the one that 1 % of a pair exceed.
    """

    write: Annotated[list[Kind], Listed, EachOnce()]
    every: Count = 1
    both: bool = False
    warm_start: bool = False
    scale: Positive | None = None
    tile: list[Count] | None = None
    overlap: Natural = 64
    iterations: Count | None = None
    longest: Positive | None = None

    def __post_init__(self) -> None:
        if self.tile is not None and len(self.tile) != 2:
            raise Unfit(f"tile is {self.tile}; give height and width, such as [512,512]")
        if self.tile is not None and self.overlap >= min(self.tile):
            raise Unfit(f"overlap is {self.overlap}; it must be smaller than both sides of tile, {self.tile}")
        if self.tile is not None and self.scale is not None:
            raise Unfit("tile and scale are both set; choose one of them")
        if self.warm_start and (self.tile is not None or self.scale is not None):
            raise Unfit("warm_start is true, which needs whole frames; set tile and scale to null")
        if "occluded" in self.write and not self.both:
            raise Unfit("write names occluded, which needs the flow back too; set both to true")


class Pair(NamedTuple):
    """Two frames with what was estimated of them, flow in px."""

    first: Frame
    second: Frame
    flow: Float32[np.ndarray, "2 h w"]
    backward: Float32[np.ndarray, "2 h w"] | None


@dataclass
class Estimator:
    """RAFT and how it is asked.

    Args:
        model: on its device, in eval mode.
        config: how.
        device, precision: as of an evaluation.
    """

    model: RAFT
    config: PredictConfig
    device: torch.device
    precision: str

    @torch.no_grad()
    def __call__(
        self, first: Float32[np.ndarray, "3 h w"], second: Float32[np.ndarray, "3 h w"], initial: Tensor | None
    ) -> tuple[Float32[np.ndarray, "2 h w"], Tensor | None]:
        """Return the flow (px), and of whole frames the flow at 1/8 of the resolution."""
        images = [torch.from_numpy(image)[None].to(self.device) for image in (first, second)]
        coarse = None

        def estimate(image1: Tensor, image2: Tensor) -> Tensor:
            nonlocal coarse
            with autocast(self.device, self.precision):
                found = self.model.estimate(image1, image2, self.config.iterations, initial)
            coarse = found.coarse
            return found.flow.float()

        if self.config.tile is not None:
            flow = in_tiles(estimate, *images, tuple(self.config.tile), self.config.overlap)
        elif self.config.scale is not None:
            flow = scaled(estimate, *images, self.config.scale)
        else:
            flow = estimate(*images)
        return flow[0].cpu().numpy(), coarse


def predict(
    frames: Frames, estimate: Estimator, folder: Path, about: dict[str, Any], overwrite: bool = False
) -> dict[str, int]:
    """Estimate the flow from each frame to the next, and write it; what is there already is not made again.

    Frames are read, estimated, drawn and written one after the other, so memory does not grow with their number. Each
    file is written in one step: a kill or a full disk leaves whole files, and the same call goes on from them.

    Args:
        frames: at least two.
        estimate: with the configuration of what is written.
        folder: is made; each kind has a folder in it, but for the film.
        about: what else the flow depends on: the weights.
        overwrite: whether to remove what was written there of other frames, by other weights or in another way.

    Returns:
        The numbers of `pairs`, and of those that were `made` now.

    Raises:
        InputError: There is something else in the folder, a pair's frames differ in size, or an estimate is not finite.
    """
    config = estimate.config
    names = frames.names[:: config.every]
    total = len(names) - 1
    if total < 1:
        raise InputError(f"predict.every is {config.every}, which leaves one of {frames.count} frames; set it lower")
    wanted = {"frames": frames.identity(), "count": frames.count, **asdict(config), **about}
    del wanted["write"]  # further kinds may be asked for later
    _require_same(folder, json.loads(json.dumps(wanted)), overwrite)
    with alone(folder, "predict"):
        _prepare(folder, json.loads(json.dumps(wanted)))
        kinds = [kind for kind in config.write if kind != FILM]
        kinds += [COLOUR] if FILM in config.write and COLOUR not in kinds else []
        lacking = [[kind for kind in kinds if not _file(folder, kind, name).exists()] for name in names[:-1]]
        made = _make(frames, estimate, folder, lacking)
        if FILM in config.write and (made or not (folder / _FILM).exists()):
            _write_film(frames, config.every, folder)
        (folder / _CARRIED).unlink(missing_ok=True)
    return {"pairs": total, "made": made}


def _make(frames: Frames, estimate: Estimator, folder: Path, lacking: list[list[str]]) -> int:
    """Estimate the pairs that lack files, and return how many there were."""
    config, total = estimate.config, len(lacking)
    start = next((number for number, kinds in enumerate(lacking) if kinds), total)
    carried = None
    if config.warm_start and start < total:  # each pair depends on the one before
        start, carried = _carried(folder, start)
    progress = Progress("predict", total, "pairs", rate=" pairs/s")
    made, pending = 0, deque[Future]()
    with ThreadPoolExecutor(1) as writer:  # draws and writes while the next pair is estimated
        try:
            pairs = pairwise(frames.read(range(start * config.every, frames.count, config.every)))
            for number, (first, second) in enumerate(pairs, start):
                if lacking[number] or config.warm_start:
                    _require_one_size(first, second)
                    flow, coarse = estimate(first.image, second.image, carried)
                    backward = estimate(second.image, first.image, None)[0] if config.both else None
                    pair = Pair(first, second, flow, backward)
                    carried = carry_forward(coarse) if config.warm_start else None
                    pending.append(
                        writer.submit(_write, folder, config.longest, lacking[number], pair, number, carried)
                    )
                    made += 1
                    if len(pending) > _PENDING:
                        pending.popleft().result()
                progress(number + 1, f"{first.image.shape[2]}×{first.image.shape[1]} px")
        finally:
            for each in pending:
                each.result()
    return made


def _require_one_size(first: Frame, second: Frame) -> None:
    if first.image.shape != second.image.shape:
        sizes = [f"{frame.name} is {frame.image.shape[2]}×{frame.image.shape[1]} px" for frame in (first, second)]
        raise InputError(f"images: {' and '.join(sizes)}; the frames of a pair must have one size")


def _require_same(folder: Path, wanted: dict[str, Any], overwrite: bool) -> None:
    """Raise InputError where a folder holds what another prediction wrote, or what none did."""
    before = _manifest(folder)
    theirs = _written(folder)
    if before is None and theirs:
        names = ", ".join(path.name for path in theirs)
        raise InputError(f"{folder} holds {names}, which no prediction wrote; give another folder as output=...")
    differing = [key for key in wanted if before is not None and before.get(key) != wanted[key]]
    if differing and not overwrite:
        first = differing[0]
        raise InputError(
            f"{folder} holds a prediction with another value of {', '.join(differing)} ({first}: {before.get(first)}, "
            f"now {wanted[first]}); {_REMEDY}"
        )


def _prepare(folder: Path, wanted: dict[str, Any]) -> None:
    """Write the manifest of a folder, and remove what was written by another one."""
    if _manifest(folder) not in (None, wanted):
        for path in _written(folder):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        (folder / _CARRIED).unlink(missing_ok=True)
    for partial in folder.rglob(".*.partial*"):  # of a call that was killed as it wrote
        partial.unlink()
    files.write_json(folder / MANIFEST, wanted)


def _manifest(folder: Path) -> dict[str, Any] | None:
    return files.read_checked(folder / MANIFEST, dict[str, Any], _REMEDY)


def _written(folder: Path) -> list[Path]:
    """Return the folders and the film that predictions write, as far as they are there."""
    return [path for path in (*(folder / kind for kind in _WRITERS), folder / _FILM) if path.exists()]


def _file(folder: Path, kind: str, name: str) -> Path:
    return folder / kind / f"{name}{_SUFFIXES.get(kind, '.png')}"


def _write(
    folder: Path, longest: float | None, kinds: list[str], pair: Pair, number: int, carried: Tensor | None
) -> None:
    """Write the files of a pair, and then what the next pair starts from."""
    for flow in (pair.flow, pair.backward):
        if flow is not None and not np.isfinite(flow).all():
            raise InputError(f"the estimated flow of {pair.first.name} is not finite: its checkpoint is of no use")
    for kind in kinds:
        file = _file(folder, kind, pair.first.name)
        file.parent.mkdir(exist_ok=True)
        with files.replaced(file) as draft:
            _WRITERS[kind](draft, pair, longest)
    if carried is not None:
        with files.replaced(folder / _CARRIED) as draft, open(draft, "wb") as stream:
            np.savez(stream, number=number + 1, flow=carried.cpu().numpy())


def _carried(folder: Path, most: int) -> tuple[int, Tensor | None]:
    """Return the number of the pair that an earlier call was to go on with, of at most this one, and what that starts
    from; 0 and None where nothing of use was left."""
    try:
        with np.load(folder / _CARRIED, allow_pickle=False) as content:
            number, flow = int(content["number"]), torch.from_numpy(content["flow"])
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return 0, None
    return (number, flow) if number <= most else (0, None)


def _write_npz(file: Path, pair: Pair, longest: float | None) -> None:
    arrays = {"flow": pair.flow}
    if pair.backward is not None:
        arrays |= {"backward": pair.backward, "occluded": occluded(pair.flow, pair.backward)}
    with open(file, "wb") as stream:
        np.savez_compressed(stream, **arrays)


def _write_kitti(file: Path, pair: Pair, longest: float | None) -> None:
    write_kitti_flow(file, pair.flow, np.ones(pair.flow.shape[1:], np.float32))


def _in_grey(of: Bool[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    return np.repeat((255 * of.astype(np.uint8))[..., None], 3, axis=2)


FILM, COLOUR = "film", "colour"
_SUFFIXES = {"flo": ".flo", "npz": ".npz"}
_WRITERS: dict[str, Callable[[Path, Pair, float | None], None]] = {
    "flo": lambda file, pair, longest: write_flo(file, pair.flow),
    "kitti": _write_kitti,
    "npz": _write_npz,
    COLOUR: lambda file, pair, longest: write_picture(file, in_colour(pair.flow, longest)),
    "arrows": lambda file, pair, longest: write_picture(file, with_arrows(pair.first.image, pair.flow)),
    "warped": lambda file, pair, longest: write_picture(file, warped_back(pair.second.image, pair.flow)),
    "occluded": lambda file, pair, longest: write_picture(file, _in_grey(occluded(pair.flow, pair.backward))),
}


def _write_film(frames: Frames, every: int, folder: Path) -> None:
    """Write a film of the frames, each with the picture of its flow beside it, as the pictures are on disk."""
    draft = folder / f".{_FILM}.partial.mp4"  # OpenCV goes by the suffix
    film = None
    try:
        for frame in frames.read(range(0, frames.count - every, every)):
            picture = cv2.imread(str(_file(folder, COLOUR, frame.name)))
            image = frame.image.transpose(1, 2, 0)[..., ::-1].round().clip(0, 255).astype(np.uint8)
            both = np.ascontiguousarray(np.hstack((image, picture)))
            both = both[: both.shape[0] // 2 * 2, : both.shape[1] // 2 * 2]  # the codec takes even sides alone
            if film is None:
                rate = max(1.0, frames.rate / every)
                film = cv2.VideoWriter(str(draft), cv2.VideoWriter_fourcc(*"mp4v"), rate, both.shape[1::-1])
                if not film.isOpened():
                    raise InputError(f"OpenCV cannot write {folder / _FILM}; leave film out of predict.write")
            film.write(both)
        film.release()
        written = int(cv2.VideoCapture(str(draft)).get(cv2.CAP_PROP_FRAME_COUNT))
        if written != len(frames.names[::every]) - 1:  # OpenCV does not say that a disk is full
            raise InputError(
                f"{folder / _FILM} could not be written whole; is the disk full? The same line tries again"
            )
        draft.replace(folder / _FILM)
    finally:
        draft.unlink(missing_ok=True)
