"""How many training clips are read in a second, beside a NumPy memmap of the same frames and what training uses up.

    python benchmarks/clips.py --json clips.json
    python benchmarks/clips.py --folder /fast/disk --frames 3000 --seconds 5

Recordings of smooth fields that move are written for it, of 96x96 and 432x432 cells, compressed about as those of waves
are. A sample is a clip of three frames, read, normalised, cropped to 64x64 and turned at random, in one process and one
thread; all variants make the same samples. `in memory` is what clips do while the training part fits into their budget,
`Zarr` what they do with frames beyond it, `memmap` reads the same frames, raw, from one file. Cold, a file's pages are
dropped from the operating system's cache before each sample, so that the disk is read; warm, they stay there. Variants
take turns, three times, and the figures are medians. Opening reads and checks all frames and finds their percentiles.

Training is that of the small next-frame model (batch 8, four iterations, as conf/pretraining/next_frame.yaml) on
`--threads`. `feeds` is Zarr, warm, over what it uses: above 1 a training with one data worker never waits.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch
from jaxtyping import Float, Float32
from rich.console import Console
from rich.table import Table
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torch.utils.data import Dataset

from rwtl.clips.config import ClipsConfig
from rwtl.clips.dataset import MEMORY, WaveClips, training_part
from rwtl.models.next_frame import build_next_frame
from rwtl.sampling import Part, SampleStream
from rwtl.waves import RecordingConfig, SacParameters
from rwtl.waves.store import RecordingWriter

SIDES = [96, 432]
INTERVAL = 0.1  # s
CLIPS = ClipsConfig(
    dt=1.0,
    length=3,
    active_above=200.0,
    validation_fraction=0.25,
    crop=64,
    rotations_and_flips=True,
)
BATCH, ITERATIONS = 8, 4
ROUNDS = 3


def moving_fields(side: int, count: int) -> Float32[np.ndarray, "frame side side"]:
    """Frames between 60 and 640 nM, of two smooth fields that move against each other."""
    rng = np.random.default_rng(side)
    fields = [gaussian_filter(rng.standard_normal((side, side)), 8, mode="wrap") for _ in range(2)]
    first, second = (field / field.std() for field in fields)
    frames = np.empty((count, side, side), np.float32)
    for k in range(count):
        both = np.roll(first, k, axis=0) + np.roll(second, -k, axis=1)
        frames[k] = 60 + 580 / (1 + np.exp(3 - 2 * both))
    return frames


def write(folder: Path, frames: Float32[np.ndarray, "frame side side"]) -> tuple[Path, Path]:
    """Write the frames as a recording and as a file for a memmap, and return both paths."""
    side = frames.shape[1]
    config = RecordingConfig(side, side, 50.0, len(frames) * INTERVAL, 0.0, 2e-4, INTERVAL, 0, SacParameters())
    with RecordingWriter(folder / "recording", config) as writer:
        for number, frame in enumerate(frames, start=1):
            writer.write(number, frame, None)
        writer.finish()
    np.save(folder / "frames.npy", frames)
    os.sync()  # pages that are not on disk yet cannot be dropped
    return folder / "recording", folder / "frames.npy"


class MemmapClips(Dataset):
    """The clips of a WaveClips, read from a memmap."""

    def __init__(self, file: Path, clips: WaveClips):
        self.file, self.clips = file, clips
        self.open()

    def open(self) -> None:
        self.frames = np.load(self.file, mmap_mode="r")

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> Float[Tensor, "length 1 h w"]:
        low, high = self.clips.calcium_range
        frames = (self.frames[self.clips.where(index)[1]] - np.float32(low)) / np.float32(high - low)
        return torch.from_numpy(np.clip(frames, 0, 1, out=frames)[:, None])


def per_second(work: Callable[[], None], seconds: float, prepare: Callable[[], None] = lambda: None) -> float:
    """How often something is done in a second, what prepares it not counted; the first time only warms up."""
    work()
    done, spent = 0, 0.0
    while spent < seconds:
        prepare()
        started = time.perf_counter()
        work()
        spent += time.perf_counter() - started
        done += 1
    return done / spent


def drop_from_cache(folder: Path) -> None:
    for file in folder.rglob("*"):
        if file.is_file():
            descriptor = os.open(file, os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


def read_from_disk() -> int:
    """Bytes that this process had the disk read."""
    counts = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(counts["read_bytes"])


def samples_of(clips: Dataset, augmentations: list[Callable]) -> Callable[[], None]:
    stream = SampleStream([Part(clips, augmentations)], seed=0, samples=10**9)
    numbers = iter(range(len(stream)))

    def one() -> None:
        stream[next(numbers)]

    return one


def used_in_training(crop: int, seconds: float) -> float:
    model = build_next_frame("small", "batch", ITERATIONS)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4)
    clips = torch.rand(BATCH, 3, 1, crop, crop)

    def step() -> None:
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(model(clips[:, :2]), clips[:, 2:]).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return BATCH * per_second(step, seconds)


def measured(side: int, folder: Path, arguments: argparse.Namespace) -> dict[str, float]:
    recording, file = write(folder, moving_fields(side, arguments.frames))
    stored = sum(path.stat().st_size for path in recording.rglob("*") if path.is_file())
    started = time.perf_counter()
    in_memory, augmentations = training_part([recording], CLIPS)
    opening = time.perf_counter() - started
    kept = sum(frames.kept_bytes for frames in in_memory._frames)
    zarr, memmap = (
        WaveClips([recording], CLIPS, "training", in_memory.calcium_range, memory=0),
        MemmapClips(file, in_memory),
    )
    sources = {"memmap": memmap, "in memory": in_memory, "Zarr": zarr}
    if not all(torch.equal(zarr[k], source[k]) for source in sources.values() for k in (0, len(zarr) - 1)):
        raise SystemExit("the variants do not read the same clips")
    streams = {name: samples_of(source, augmentations) for name, source in sources.items()}

    def cold() -> None:
        del memmap.frames  # mapped pages are not dropped
        drop_from_cache(folder)
        memmap.open()

    rates: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        for name, samples in streams.items():
            rates.setdefault(name, []).append(per_second(samples, arguments.seconds))
        for name in ("memmap", "Zarr"):
            before = read_from_disk()
            rates.setdefault(f"{name}, cold", []).append(per_second(streams[name], arguments.seconds, cold))
            if read_from_disk() == before:
                raise SystemExit(f"{folder} was not read from a disk: give a folder on one as --folder")
        torch.set_num_threads(arguments.threads)
        rates.setdefault("training uses", []).append(used_in_training(CLIPS.crop, arguments.seconds))
        torch.set_num_threads(1)
    figures = {name: median(values) for name, values in rates.items()}
    return figures | {
        "in memory / memmap": figures["in memory"] / figures["memmap"],
        "Zarr / memmap": figures["Zarr"] / figures["memmap"],
        "Zarr / memmap, cold": figures["Zarr, cold"] / figures["memmap, cold"],
        "feeds": figures["Zarr"] / figures["training uses"],
        "feeds, cold": figures["Zarr, cold"] / figures["training uses"],
        "seconds to open": opening,
        "part of the training frames in memory": kept / (4 * side**2 * len(zarr._frames[0].numbers)),
        "compressed to": stored / (4 * side**2 * arguments.frames),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=640, help="of each recording")
    parser.add_argument("--folder", type=Path, default=None, help="where recordings are written, and removed again")
    parser.add_argument("--seconds", type=float, default=2.0, help="for each figure and round")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of training")
    parser.add_argument("--json", type=Path, default=None)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    figures = {}
    for side in SIDES:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            figures[f"{side}x{side}"] = measured(side, Path(folder), arguments)
    table = Table(title=f"Clips a second ({arguments.frames} frames, budget of {MEMORY / 2**20:.0f} MiB)")
    table.add_column("")
    for size in figures:
        table.add_column(size, justify="right")
    for name in figures["96x96"]:
        table.add_row(name, *(f"{of_size[name]:.4g}" for of_size in figures.values()))
    Console().print(table)
    if arguments.json:
        settings = {name: getattr(arguments, name) for name in ("frames", "seconds", "threads")}
        arguments.json.write_text(json.dumps({**settings, "figures": figures}, indent=2) + "\n")


if __name__ == "__main__":
    main()
