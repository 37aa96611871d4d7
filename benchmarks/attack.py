"""What holds of claims and resumption when processes are killed, stopped and hidden from one another.

    python benchmarks/attack.py kills --kills 100
    python benchmarks/attack.py stopped
    sudo python benchmarks/attack.py hidden

`kills` ends simulations, pre-trainings, trainings and evaluations by SIGKILL, SIGTERM and SIGINT at random moments,
from the start of the process on, until each is done, and compares its results with those of one that was left alone.

`stopped` stops a simulation and a training (SIGSTOP) in a process namespace of its own, so that another process takes
it to be on another machine, and starts the same line. After the lease of 60 s that one takes over. The first is woken
while the second works, or when it has finished, with SIGINT ignored or not. It must change nothing, say that it was
taken over, and reuse what the second has made. It needs the right to make process namespaces (root).

`hidden` has two users share outputs where /proc hides each other's processes (hidepid=2): the second must wait for the
first. It needs root.
"""

import argparse
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.table import Table

from rwtl.pipeline.claim import LEASE

ROOT = Path(__file__).parents[1]
WAVES = ["debug=tiny", "engine=numpy", "recording.duration=2", "recording.frame_interval=0.01"]
SHAPES = ["recording=moving_shapes", "recording.rows=32", "recording.columns=32", "recording.duration=20"]
CLIPS = ["clips.active=[0,1]", "clips.gap=0.5", "clips.crop=32", "clips.dt=0.5", "pretraining.active_weight=0"]
STEPS = ["steps=60", "validate_every=20", "batch_size=2", "validation_clips=2", "iterations=1"]
SAVE = "trainer.checkpoint_minutes=0.0001"
TRAIN = ["debug=tiny", SAVE, "transfer=scratch"]
LINES = {
    "simulate": WAVES,
    "pretrain": [*SHAPES, *CLIPS, SAVE, "trainer.threads=1", *(f"pretraining.{step}" for step in STEPS)],
    "train": [*TRAIN, "training.steps=60", "training.validate_every=20"],
    "evaluate": [*TRAIN, "training.steps=10", "training.validate_every=5"],
}
FIRST = {"simulate": "recording", "pretrain": "pretraining", "train": "training", "evaluate": "evaluation"}
CODES = {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}


def command(app: str, outputs: Path, *before: str) -> list[str]:
    program = [sys.executable, str(ROOT / "experiments" / f"{app}.py")]
    return [*before, *program, *LINES[app], f"paths.outputs={outputs}"]


def start(app: str, outputs: Path, *before: str, **where) -> subprocess.Popen:
    """Start an app, whose session is its own, so that a signal of the terminal does not reach it."""
    log = open(outputs.with_suffix(".log"), "ab")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command(app, outputs, *before), stdout=log, stderr=log, env=environment, start_new_session=True, **where
    )


def results(outputs: Path) -> dict[str, str]:
    """SHA-256 of what every finished artifact holds: frames, weights and tables, without times and names of hosts."""
    import torch
    import zarr

    found = {}
    for folder in sorted(outputs.glob("*/*")):
        if not (folder / "status.json").exists():
            continue
        digest = hashlib.sha256()
        if (folder / "recording").exists():
            digest.update(zarr.open_array(folder / "recording" / "calcium", mode="r")[:].tobytes())
        if (folder / "model.pt").exists():
            weights = torch.load(folder / "model.pt", weights_only=True)["weights"]
            for name, tensor in weights.items():
                digest.update(name.encode() + tensor.numpy().tobytes())
        for name in ("curve.csv", "metrics.csv", "errors.csv", "skill.csv"):
            if (folder / name).exists():
                digest.update((folder / name).read_bytes())
        found[str(folder.relative_to(outputs))] = digest.hexdigest()
    return found


def kills(folder: Path, wanted: int, rng: random.Random) -> list[dict]:
    """Kill jobs of every app until `wanted` kills have been made and every job has ended."""
    alone, seconds = {}, {}
    for app in LINES:
        began = time.monotonic()
        if start(app, folder / f"alone_{app}").wait():
            raise SystemExit(f"{app} failed: see {folder}/alone_{app}.log")
        seconds[app] = time.monotonic() - began
        alone[app] = results(folder / f"alone_{app}")
    lines, made, round_ = [], 0, 0
    while made < wanted:
        app = list(LINES)[round_ % len(LINES)]
        round_ += 1
        outputs, signals, went_on = folder / f"{app}_{round_}", Counter(), 0
        for _ in range(12):
            job = start(app, outputs)
            how = rng.choice(list(CODES))
            try:
                code = job.wait(rng.uniform(0.1, 0.6) * seconds[app])
            except subprocess.TimeoutExpired:
                job.send_signal(how)
                code = job.wait()
                if code == 0:  # it had ended before the signal reached it
                    break
                signals[how.name] += 1
                made += 1
                if code not in (CODES[how], -how):
                    signals[f"{how.name} ended with {code}"] += 1
                    print(outputs.with_suffix(".log").read_text()[-3000:], flush=True)
            else:
                break
        if code != 0 and start(app, outputs).wait() != 0:
            raise SystemExit(f"{app} did not end after its kills: see {outputs}.log")
        said = outputs.with_suffix(".log").read_text()
        went_on = len(re.findall("goes on after|going on after", said))
        left = [path for path in (outputs / "unfinished").glob("*/*")]
        same = results(outputs) == alone[app]
        lines.append({"app": app, **signals, "resumed": went_on, "same bits": same, "left over": len(left)})
        print(f"{made} of {wanted} kills: {lines[-1]}", flush=True)
        shutil.rmtree(outputs)
    return lines


def until(condition, what: str, seconds: float = 300.0):
    last = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > last:
            raise SystemExit(f"waited {seconds:g} s for {what}")
        time.sleep(0.05)
    return found


def worker_of(job: subprocess.Popen) -> int:
    """The process, in the namespace that `unshare` has made, by the number that it has here."""
    return int(Path(f"/proc/{job.pid}/task/{job.pid}/children").read_text().split()[0])


def contents(folder: Path) -> dict[str, str]:
    files = (file for file in sorted(folder.rglob("*")) if file.is_file())
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def stopped(folder: Path) -> list[dict]:
    lines = []
    for app in ("simulate", "train"):
        if start(app, folder / f"alone_{app}").wait():
            raise SystemExit(f"{app} failed: see {folder}/alone_{app}.log")
        alone = results(folder / f"alone_{app}")
        for finished in (True, False):
            for ignored in (False, True):
                outputs = folder / f"{app}_{finished}_{ignored}"
                ignore = ["env", "--ignore-signal=INT"] if ignored else []
                first = start(app, outputs, "unshare", "--pid", "--fork", "--mount-proc", *ignore)
                kept = "*/*/training.ckpt" if app == "train" else "*/*/recording/state.npz"
                until(
                    lambda where=outputs, kept=kept: list((where / "unfinished").glob(f"*/{kept}")), "something saved"
                )
                worker = worker_of(first)
                os.kill(worker, signal.SIGSTOP)
                began = time.monotonic()
                second = start(app, outputs)
                attempts = outputs / "unfinished"
                before = {each for each in attempts.glob("*/*/*-*")}
                until(lambda gone=before, where=attempts: not gone & set(where.glob("*/*/*-*")), "the takeover")
                waited = time.monotonic() - began
                if finished:
                    second.wait()
                else:
                    time.sleep(1.0)
                path = next(outputs.glob(f"{FIRST[app]}/*"), None)
                was = contents(path) if path else None
                os.kill(worker, signal.SIGCONT)
                code = first.wait()
                second_code = second.wait()
                path = next(outputs.glob(f"{FIRST[app]}/*"))
                said = outputs.with_suffix(".log").read_text()
                lines.append(
                    {
                        "app": app,
                        "successor": "finished" if finished else "at work",
                        "SIGINT": "ignored" if ignored else "not ignored",
                        "taken over after": f"{waited:.0f} s (lease {LEASE:g} s)",
                        "first ended with": code,
                        "says why": said.count("was taken over by another job") == 1,
                        "second ended with": second_code,
                        "unchanged": "" if was is None else was == contents(path),
                        "same bits": results(outputs) == alone,
                        "left over": len(list(attempts.glob("*/*"))),
                    }
                )
                print(lines[-1], flush=True)
    return lines


def hidden(folder: Path) -> list[dict]:
    """Two users on a /proc with hidepid=2: the second waits for the first, whose process it cannot see."""
    folder.chmod(0o777)
    outputs = folder / "outputs"
    outputs.mkdir(mode=0o777)
    first = subprocess.Popen([sys.executable, "-c", HOLD, str(outputs)], stdout=subprocess.PIPE, text=True)
    first.stdout.readline()
    as_nobody = "mount -t proc -o hidepid=2 proc /proc && exec setpriv --reuid=65534 --regid=65534 --clear-groups "
    lines = []
    for state, expected in (("lives", "None"), ("has ended", "True")):
        if state == "has ended":
            first.kill()
            first.wait()
        done = subprocess.run(
            ["unshare", "--mount", "bash", "-c", as_nobody + '"$0" "$@"', sys.executable, "-c", LOOK, str(outputs)],
            capture_output=True,
            text=True,
            check=True,
        )
        sees, dead = done.stdout.split()
        lines.append(
            {"first": state, "its /proc entry is seen": sees, "taken to be dead": dead, "right": dead == expected}
        )
    return lines


HOLD = """
import sys, time; from pathlib import Path; from rwtl.pipeline.claim import claim
claim(Path(sys.argv[1]) / "claims", lambda: False, print); print("held", flush=True); time.sleep(600)
"""
LOOK = """
import os, sys; from pathlib import Path; from rwtl.pipeline.claim import holder_of
holder, dead, _ = holder_of(Path(sys.argv[1]) / "claims"); print(os.path.exists(f"/proc/{holder.pid}"), dead)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("attack", choices=("kills", "stopped", "hidden"))
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=None, help="of the random moments")
    parser.add_argument("--json", type=Path, help="write the table to this file too")
    arguments = parser.parse_args()
    seed = random.SystemRandom().randrange(2**32) if arguments.seed is None else arguments.seed
    with tempfile.TemporaryDirectory(prefix="attack_") as temporary:
        folder = Path(temporary)
        match arguments.attack:
            case "kills":
                lines = kills(folder, arguments.kills, random.Random(seed))
            case "stopped":
                lines = stopped(folder)
            case "hidden":
                lines = hidden(folder)
    names = list(dict.fromkeys(name for line in lines for name in line))
    table = Table(*names, title=f"{arguments.attack}, seed {seed}" if arguments.attack == "kills" else arguments.attack)
    for line in lines:
        table.add_row(*(str(line.get(name, "")) for name in names))
    Console(width=160).print(table)
    if arguments.json:
        arguments.json.write_text(
            json.dumps({"attack": arguments.attack, "seed": seed, "lines": lines}, indent=2) + "\n"
        )
    if any(value is False or (name == "left over" and value) for line in lines for name, value in line.items()):
        raise SystemExit("not all of it held: see the table")


if __name__ == "__main__":
    main()
