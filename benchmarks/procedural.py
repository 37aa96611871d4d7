"""How many procedural scenes are made in a second, beside how many a training step of small RAFT uses up.

    python benchmarks/procedural.py --json procedural.json
    python benchmarks/procedural.py --device cuda --batch 16 --everything

Scenes come from one process one by one, from a loader with two workers, and in batches on the device. Training and
batches use `--threads`, a single process one; the loader is measured while nothing trains. Training steps are measured
at 48x48 (batch 8, two iterations, as conf/training/short.yaml) and at 184x248 (batch 2, twelve iterations): `feeds` is
the loader's (on a GPU, the batches') scenes over those that training uses up, and above 1 training never waits.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch.utils.data import DataLoader

from rwtl.flow.scenes.dataset import ProceduralFlow
from rwtl.flow.scenes.texture import TEXTURES
from rwtl.learning.metrics import sequence_loss
from rwtl.models.raft import build_raft

SIZES = [(48, 48), (96, 128), (184, 248), (368, 496)]
TRAINED = {(48, 48): (8, 2), (184, 248): (2, 12)}  # batch and iterations
EVERYTHING = {"nonrigid": 1.0, "photometric": 1.0, "noise": 4.0, "textures": TEXTURES}


def per_second(work: Callable[[], int], seconds: float, device: str) -> float:
    """What is done in a second, by calls that each return how much they did; the first one only warms up."""
    work()
    wait_for(device)
    done, started = 0, time.monotonic()
    while time.monotonic() - started < seconds:
        done += work()
        wait_for(device)
    return done / (time.monotonic() - started)


def wait_for(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def single(scenes: ProceduralFlow, seconds: float) -> float:
    indices = iter(range(len(scenes)))

    def one() -> int:
        scenes[next(indices)]
        return 1

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    speed = per_second(one, seconds, "cpu")
    torch.set_num_threads(threads)
    return speed


def loaded(scenes: ProceduralFlow, batch: int, seconds: float) -> float:
    batches = iter(DataLoader(scenes, batch, num_workers=2))
    # Workers run ahead of the first request: what waits in their queues is no measure of their speed.
    for _ in range(5):
        next(batches)
    return per_second(lambda: len(next(batches).image1), seconds, "cpu")


def batched(scenes: ProceduralFlow, batch: int, seconds: float, device: str) -> float:
    starts = iter(range(0, len(scenes) - batch, batch))

    def some() -> int:
        start = next(starts)
        return len(scenes.batch(range(start, start + batch), device).image1)

    return per_second(some, seconds, device)


def used_in_training(scenes: ProceduralFlow, batch: int, iterations: int, seconds: float, device: str) -> float:
    model = build_raft("small").to(device)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4)
    sample = scenes.batch(range(batch), device)

    def step() -> int:
        optimizer.zero_grad()
        sequence_loss(model(sample.image1, sample.image2, iterations), sample.flow, sample.valid, 0.8).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return batch

    return per_second(step, seconds, device)


def measured(size: tuple[int, int], arguments: argparse.Namespace) -> dict[str, float]:
    scenes = ProceduralFlow(10**7, *size, **(EVERYTHING if arguments.everything else {}))
    batch, iterations = TRAINED.get(size, (arguments.batch, None))
    seconds, device = arguments.seconds, arguments.device
    figures = {
        "single": single(scenes, seconds),
        "two workers": loaded(scenes, batch, seconds),
        "batched": batched(scenes, arguments.batch, seconds, device),
    }
    if iterations is not None:
        figures["training uses"] = used_in_training(scenes, batch, iterations, seconds, device)
        figures["feeds"] = figures["two workers" if device == "cpu" else "batched"] / figures["training uses"]
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="of batches and training, for instance cuda")
    parser.add_argument("--batch", type=int, default=8, help="scenes of a batch on the device")
    parser.add_argument("--everything", action="store_true", help="non-rigid motion, light, noise and all textures")
    parser.add_argument("--seconds", type=float, default=3.0, help="for each figure")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of training and batches")
    parser.add_argument("--json", type=Path, default=None)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    figures = {f"{size[0]}x{size[1]}": measured(size, arguments) for size in SIZES}
    table = Table(title=f"Procedural scenes a second, batches of {arguments.batch} on {arguments.device}")
    table.add_column("height x width")
    columns = list(figures["48x48"])
    for column in columns:
        table.add_column(column, justify="right")
    for size, row in figures.items():
        table.add_row(size, *(f"{row[column]:.1f}" if column in row else "-" for column in columns))
    Console().print(table)
    if arguments.json:
        settings = {name: getattr(arguments, name) for name in ("device", "batch", "threads", "everything")}
        arguments.json.write_text(json.dumps({**settings, "scenes_per_second": figures}, indent=2) + "\n")


if __name__ == "__main__":
    main()
