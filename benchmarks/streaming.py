"""What it costs to stream a recording to disk: time beside the same simulation with its frames thrown away, and memory.

    python benchmarks/streaming.py --rows 432 --columns 432 --threads 2

Times run from the first frame, without the compilation. Memory is what is resident of this process and of all that
it started, what they share counted for each, sampled five times a second, for two durations, with which it must not
grow.
"""

import argparse
import json
import os
import shutil
import tempfile
import threading
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from rwtl.waves import RecordingConfig, SacParameters, open_recording, simulate
from rwtl.waves.config import FRAMES_PER_SHARD
from rwtl.waves.engines.cpp import CppEngine
from rwtl.waves.simulation import first_snapshot


def config_of(arguments: argparse.Namespace, shards: int) -> RecordingConfig:
    interval = arguments.frame_interval
    duration = shards * FRAMES_PER_SHARD * interval
    return RecordingConfig(arguments.rows, arguments.columns, 50.0, duration, 0.0, 2e-4, interval, 0, SacParameters())


class PeakMemory:
    """The largest memory (bytes) of this process and its descendants while the context is open."""

    def __enter__(self) -> "PeakMemory":
        self.peak, self._done = 0, threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.2):
            self.peak = max(self.peak, sum(resident(pid) for pid in descendants(os.getpid())))


def descendants(pid: int) -> list[int]:
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [below for child in task.read_text().split() for below in descendants(int(child))]
        except OSError:
            pass
    return found


def resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def seconds(run) -> float:
    """Time between the first frame and the end of a run, which calls the function it is given for every frame."""
    times: list[float] = []
    run(lambda _: times.append(time.monotonic()))
    return time.monotonic() - times[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=432)
    parser.add_argument("--columns", type=int, default=432)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--frame-interval", type=float, default=0.1, help="s")
    parser.add_argument("--shards", type=int, default=2, help="length of the longer recording, in shards of 64 frames")
    parser.add_argument("--repeat", type=int, default=1, help="take the best of so many, interleaved")
    parser.add_argument("--folder", type=Path, default=None, help="on the disk to be measured")
    parser.add_argument("--json", type=Path, default=None)
    arguments = parser.parse_args()
    engine = CppEngine(arguments.threads, "float32")
    folder = Path(tempfile.mkdtemp(prefix="rwtl-streaming-", dir=arguments.folder))
    dropped, streamed, memory, size = [], [], {}, 0
    try:
        for number in range(arguments.repeat):
            for shards in sorted({1, arguments.shards}):
                config = config_of(arguments, shards)
                path = folder / f"{number}-{shards}"
                with PeakMemory() as used:
                    spent = seconds(lambda heard, path=path, config=config: simulate(config, engine, path, heard))
                memory[shards] = max(memory.get(shards, 0), used.peak)
            streamed.append(spent)
            size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
            assert open_recording(path).complete
            frames = engine.frames(config, first_snapshot(config))
            dropped.append(seconds(lambda heard, frames=frames: [heard(frame.number) for frame in frames]))
    finally:
        shutil.rmtree(folder)
    figures = {
        "lattice": [arguments.rows, arguments.columns],
        "threads": arguments.threads,
        "frames": arguments.shards * FRAMES_PER_SHARD,
        "seconds_frames_dropped": min(dropped),
        "seconds_streamed": min(streamed),
        "streamed_over_dropped": min(streamed) / min(dropped),
        "bytes_over_uncompressed": size
        / (4 * arguments.shards * FRAMES_PER_SHARD * arguments.rows * arguments.columns),
        "peak_memory_GB": {f"{shards * FRAMES_PER_SHARD} frames": peak / 1e9 for shards, peak in memory.items()},
    }
    table = Table(title="Streaming a recording to disk")
    table.add_column("quantity")
    table.add_column("figure", justify="right")
    for name, value in figures.items():
        shown = f"{value:.3f}" if isinstance(value, float) else str(value)
        if isinstance(value, dict):
            shown = ", ".join(f"{key}: {part:.3f}" for key, part in value.items())
        table.add_row(name.replace("_", " "), shown)
    Console().print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
