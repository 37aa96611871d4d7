"""RAFT's time, memory and numbers beside a peer's, in one run: ptlflow's RAFT (the official code) or torchvision's.

    make peer                                                  # a virtual environment that holds ptlflow
    python benchmarks/raft.py --peer-python .venv-peer/bin/python
    python benchmarks/raft.py --cases large                    # 1088×1920: correlation on demand
    python benchmarks/raft.py --cases recipe --device cuda --peer torchvision --batch 10

Both run the peer's random weights, which ours loads as a foreign checkpoint, on the same images, in processes that take
turns. Times are medians; the ratio is the median of the ratios of neighbouring runs. Memory is the peak above the
loaded model. The difference is the largest of any pixel of the last iteration's flow.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

WORKER = Path(__file__).with_name("raft_worker.py")


@dataclass
class Case:
    """One row: what ours does with `options` beside what the peer does without."""

    variant: str
    task: str
    size: tuple[int, int]
    options: dict = field(default_factory=dict)
    batch: int = 1

    def __str__(self) -> str:
        options = [f"{key}" if value is True else str(value) for key, value in self.options.items()]
        return " ".join([f"{self.variant} {self.task} {self.batch}×{self.size[0]}×{self.size[1]}", *options])


SIZES = ((368, 496), (440, 1024))
INFERENCE, TRAINING = "inference", "training step"
BF16, LAST = {"precision": "bf16"}, {"channels_last": True}


def cases(name: str, batch: int) -> list[Case]:
    if name == "large":
        return [Case("basic", INFERENCE, (1088, 1920), {"correlation": "on_demand"})]
    if name == "recipe":
        return [Case("basic", TRAINING, SIZES[0], options, batch) for options in ({}, BF16, BF16 | LAST)]
    if name == "options":
        every = [{}, BF16, LAST, {"correlation": "on_demand"}]
        return [Case("basic", task, SIZES[0], options, batch) for task in (INFERENCE, TRAINING) for options in every]
    plain = [Case(v, t, s, {}, batch) for v in ("basic", "small") for t in (INFERENCE, TRAINING) for s in SIZES]
    return plain + [Case("basic", INFERENCE, size, BF16 | LAST, batch) for size in SIZES]


class Process:
    """A worker, started with its first job."""

    def __init__(self, python: str, name: str, job: dict):
        command = [python, str(WORKER), name]
        self.said = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.said, text=True
        )
        self.about = self.ask(job)

    def ask(self, job: dict) -> dict:
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            self.said.seek(0)
            raise SystemExit(f"{self.said.read()}\n{' '.join(self.process.args)} died")
        return json.loads(answer)

    def end(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def moving_noise(batch: int, height: int, width: int) -> dict[str, torch.Tensor]:
    """Images of smooth noise that moves by 5 px to the right and 3 px down."""
    noise = torch.rand(batch, 3, height // 4, width // 4, generator=torch.Generator().manual_seed(0))
    image = 255 * torch.nn.functional.interpolate(noise, (height, width), mode="bilinear")
    flow = torch.tensor([5.0, 3.0]).view(1, 2, 1, 1).expand(batch, 2, height, width).contiguous()
    return {"image1": image, "image2": image.roll((3, 5), (-2, -1)), "flow": flow}


def measure(case: Case, arguments: argparse.Namespace, folder: Path) -> dict:
    """Run a case in both implementations, in turn."""
    torch.save(moving_noise(case.batch, *case.size), folder / "images.pt")
    job = {"variant": case.variant, "task": case.task, "iterations": arguments.iterations, "device": arguments.device}
    job |= {"threads": arguments.threads, "weights": str(folder / "weights.pth"), "images": str(folder / "images.pt")}
    peer = Process(arguments.peer_python, arguments.peer, job | {"options": {}, "found": str(folder / "peer.pt")})
    ours = Process(sys.executable, "rwtl", job | {"options": case.options, "found": str(folder / "ours.pt")})
    first = [process.ask({}) for process in (peer, ours)]  # not counted
    difference = float((torch.load(folder / "peer.pt") - torch.load(folder / "ours.pt")).abs().max())
    magnitude = float(torch.load(folder / "peer.pt").norm(dim=1).mean())
    times = [(peer.ask({})["seconds"], ours.ask({})["seconds"]) for _ in range(arguments.repeat)]
    peer.end(), ours.end()
    return {
        "case": str(case),
        "peer_seconds": statistics.median(a for a, _ in times),
        "ours_seconds": statistics.median(b for _, b in times),
        "peer_over_ours": statistics.median(a / b for a, b in times),
        "peer_MiB": first[0]["bytes"] / 2**20,
        "ours_MiB": first[1]["bytes"] / 2**20,
        "largest_difference_px": difference,
        "mean_flow_px": magnitude,
        "torch": {"peer": peer.about["torch"], "ours": ours.about["torch"]},
        "threads": ours.about["threads"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", choices=("table", "options", "large", "recipe"), default="table")
    parser.add_argument("--peer", choices=("ptlflow", "torchvision"), default="ptlflow")
    parser.add_argument("--peer-python", default=".venv-peer/bin/python", help="of the peer's environment")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=None, help="of each process; they take turns")
    parser.add_argument("--iterations", type=int, default=12)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--only", default="", help="cases whose name holds this")
    parser.add_argument("--json", type=Path, default=None)
    arguments = parser.parse_args()
    rows = []
    for case in cases(arguments.cases, arguments.batch):
        if arguments.only in str(case):
            with tempfile.TemporaryDirectory(prefix="rwtl-raft-") as folder:
                rows.append(measure(case, arguments, Path(folder)))
            print(f"  {case}: {rows[-1]['peer_over_ours']:.2f} times as fast", file=sys.stderr, flush=True)
    table = Table(title=f"RAFT, {arguments.iterations} iterations, on {arguments.device}, beside {arguments.peer}'s")
    for heading in ("case", "peer s", "ours s", "peer / ours", "peer MiB", "ours MiB", "largest difference px"):
        table.add_column(heading, justify="left" if heading == "case" else "right")
    for row in rows:
        table.add_row(
            row["case"],
            *(f"{row[key]:.2f}" for key in ("peer_seconds", "ours_seconds", "peer_over_ours")),
            *(f"{row[key]:.0f}" for key in ("peer_MiB", "ours_MiB")),
            f"{row['largest_difference_px']:.1e}",
        )
    Console(width=120).print(table)
    if arguments.json:
        figures = {"machine": platform.processor() or platform.machine(), "rows": rows}
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
