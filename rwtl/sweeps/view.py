"""How the making of many artifacts goes on: a live table on a terminal, lines elsewhere; and the table at the end."""

import sys
import time
from collections import Counter
from collections.abc import Iterable
from multiprocessing import active_children
from statistics import fmean

from rich.console import Group
from rich.live import Live
from rich.table import Column, Table
from rich.text import Text

from rwtl import files
from rwtl.pipeline.artifact import Artifact
from rwtl.pipeline.claim import Holder, this_process
from rwtl.pipeline.status import folder_of, maker_of
from rwtl.progress import clock_of, read_progress, say, silence
from rwtl.sweeps.executors import Executor, Inline
from rwtl.sweeps.scheduler import NEEDS, SUCCEEDED, UNSETTLED, Outcome, Outcomes, Watcher
from rwtl.terminal import console, fitted, show

REMIND = 60.0  # s between lines where nothing has ended
SHOWN = 16  # rows of the live table
BAR = 20  # characters of a bar of progress
LISTED = 6  # artifacts of one stage that went well and have lines of their own in the last table
REASON = 100  # characters of a reason that a table shows; the message has all


class View(Watcher):
    """Shows what runs or waits, what is done, reused and failed, and the time left, under a name such as a sweep's."""

    def __init__(self, name: str):
        self._name = name
        self._outcomes, self._executor = Outcomes(), Inline()
        self._began: dict[str, float] = {}
        self._said = time.monotonic()
        self._live: Live | None = None

    def begin(self, outcomes: Outcomes, executor: Executor) -> None:
        self._outcomes, self._executor = outcomes, executor
        left = [each.artifact.kind for each in outcomes.values() if each.state in UNSETTLED]
        if not left:
            return
        terminals = [stream for stream in (sys.stderr, sys.stdout) if stream.isatty()]
        if terminals:
            silence()
            # What goes into a file stays there.
            here = {"redirect_stdout": sys.stdout.isatty(), "redirect_stderr": sys.stderr.isatty()}
            live = {"get_renderable": self._table, "refresh_per_second": 1, "transient": True}
            self._live = Live(console=console(terminals[0]), **live, **here)
            self._live.start()
        elif len(left) > 1:
            reused = len(outcomes) - len(left)
            say(f"{self._name}: {len(left)} to make ({counted(left)}), {reused} there already")

    def settled(self, outcome: Outcome) -> None:
        artifact = outcome.artifact
        if outcome.state not in SUCCEEDED:
            reason = outcome.reason or outcome.state
            if reason.startswith(NEEDS):  # why, was said of what it needs
                reason = f"{NEEDS}{reason.removeprefix(NEEDS).partition(': ')[0]}"
            print(f"error: {artifact.label}: {reason}", file=sys.stderr, flush=True)
            return
        self._said = time.monotonic()
        if len(self._outcomes) < 2:
            return
        said = f" · {artifact.headline}" if artifact.headline else ""
        if outcome.state == "reused":
            say(f"{self._name}: {artifact.label} was there{said}")
            return
        took = f" in {clock_of(outcome.seconds)}" if outcome.seconds is not None else ""
        became = f"{artifact.label} {outcome.state}{took}{said}{self._clock()}"
        say(f"{self._name}: {self._count()} · {became}")

    def look(self) -> None:
        """Remind, where there are only lines, of what runs."""
        if self._live is None and time.monotonic() - self._said > REMIND:
            self._said = time.monotonic()
            shown = [each.artifact for each in self._running()[:4]]
            running = "; ".join(f"{artifact.label}: {self._says(artifact)[0]}" for artifact in shown)
            say(f"{self._name}: {self._count()} · {self._states()} · {running}")

    def end(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
            silence(False)

    def _running(self) -> list[Outcome]:
        """Those that run, and after them those that wait on a cluster."""
        running = [outcome for outcome in list(self._outcomes.values()) if outcome.state == "running"]
        return sorted(running, key=lambda outcome: bool(self._executor.waits(outcome.artifact)))

    def _states(self) -> str:
        return counted(
            "queued" if each.state == "running" and self._executor.waits(each.artifact) else each.state
            for each in self._outcomes.values()
        )

    def _count(self) -> str:
        return f"{sum(each.state not in UNSETTLED for each in self._outcomes.values())} of {len(self._outcomes)}"

    def _left(self) -> float | None:
        """The time left, s, by what artifacts of each kind have taken; None where that is not known of all kinds."""
        took: dict[str, list[float]] = {}
        waiting = []
        for outcome in self._outcomes.values():
            if outcome.state == "done" and outcome.seconds is not None:
                took.setdefault(outcome.artifact.kind, []).append(outcome.seconds)
            elif outcome.state in UNSETTLED and not outcome.artifact.here:
                waiting.append(outcome.artifact.kind)
        if any(kind not in took for kind in waiting):
            return None
        side_by_side = max(1, sum(not self._executor.waits(outcome.artifact) for outcome in self._running()))
        return sum(fmean(took[kind]) for kind in waiting) / side_by_side

    def _clock(self) -> str:
        left = self._left()
        return f" · about {clock_of(left)} left" if left else ""

    def _says(self, artifact: Artifact) -> tuple[str, str, str, str]:
        """What becomes of an artifact at this moment, the time left, a bar of its progress, and what that notes."""
        progress = read_progress(folder_of(artifact.path) / files.PROGRESS)
        held = maker_of(artifact.path)
        if held is not None and not held[0].job and not _is_ours(held[0]):
            return f"waits for {held[0]}", "", "", ""
        if progress is not None and held is not None:
            left = progress["left"]
            said = f"{progress['done']:g}/{progress['total']:g} {progress['unit']}"
            bar = "━" * int(BAR * progress["done"] / progress["total"])
            return said, "" if left is None else clock_of(left), bar, progress.get("note", "")
        return self._executor.waits(artifact) or ("running" if held else "starting"), "", "", ""

    def _table(self) -> Group:
        """The live table, which a thread of its own draws."""
        table = Table("running", Column("digest", no_wrap=True), "", Column("since", justify="right"))
        table.add_column("left", justify="right")
        table.add_column("progress", no_wrap=True)
        table.add_column("last")
        running = self._running()
        for outcome in running[:SHOWN]:
            artifact = outcome.artifact
            said, left, bar, note = self._says(artifact)
            since = ""
            if not self._executor.waits(artifact):
                began = self._began.setdefault(artifact.digest, time.monotonic())
                since = clock_of(time.monotonic() - began)
            table.add_row(artifact.label, artifact.digest, said, since, left, f"{bar:<{BAR}}", note)
        return Group(
            fitted(table, self._live.console.width if self._live else console().width, ("last", "progress"))[0],
            Text(f"{self._name}: {self._states()}{self._clock()}"),
        )


def _is_ours(holder: Holder) -> bool:
    """Whether a process is this one, or one that it has started."""
    here = this_process()
    return holder.machine == here.machine and holder.pid in (here.pid, *(child.pid for child in active_children()))


def print_outcomes(name: str, outcomes: Iterable[Outcome]) -> None:
    """Print what became of artifacts, and how many there are of each state.

    What went well is one line for each stage, where there is much of it.
    """
    outcomes = list(outcomes)
    table = Table("stage", "label", Column("state", no_wrap=True), "reason", title=name)
    table.add_column("time", justify="right", no_wrap=True)
    table.add_column("log or result", overflow="fold")
    for kind in dict.fromkeys(outcome.artifact.kind for outcome in outcomes):
        own = [outcome for outcome in outcomes if outcome.artifact.kind == kind]
        well = [outcome for outcome in own if outcome.state in SUCCEEDED]
        if len(well) > LISTED:
            took = clock_of(sum(each.seconds or 0.0 for each in well if each.state == "done"))
            states, folder = counted(each.state for each in well), well[0].artifact.path.parent
            table.add_row(kind, f"{len(well)} of {len(own)}", states, "", took, str(folder))
        for outcome in own:
            if len(well) <= LISTED or outcome.state not in SUCCEEDED:
                cells = [kind, outcome.artifact.label, *cells_of(outcome)]
                table.add_row(*cells, style=None if outcome.state in SUCCEEDED else "bold")
    show(table)
    print(counted(outcome.state for outcome in outcomes), flush=True)


def cells_of(outcome: Outcome) -> list[str]:
    """Return the cells of a table that say how an artifact ended: state, reason, time, and log or result."""
    seconds = "" if outcome.seconds is None or outcome.state == "reused" else clock_of(outcome.seconds)
    where = str(outcome.artifact.path) if outcome.state in (*SUCCEEDED, "partial") else outcome.log
    return [outcome.state, short(outcome.reason), seconds, where]


def short(reason: str) -> str:
    """Return a reason as a table shows it."""
    return reason if len(reason) <= REASON else f"{reason[: REASON - 1]}…"


def counted(states: Iterable[str]) -> str:
    """Return how many there are of each state: `2 done, 1 failed`."""
    return ", ".join(f"{count} {state}" for state, count in Counter(states).items())
