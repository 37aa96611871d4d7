"""Making many artifacts: what is missing of all of them, each once, whatever becomes of some."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from rwtl.errors import InputError
from rwtl.pipeline.artifact import Artifact, hush
from rwtl.pipeline.status import reason_of
from rwtl.processes import reason_of as reason_of_interrupt
from rwtl.sweeps.executors import Ended, Executor, make

SUCCEEDED = ("done", "reused")
UNSETTLED = ("not started", "running")
NEEDS = "what it needs was not made: "  # what is told of what needs it begins so


@dataclass
class Outcome:
    """What became of an artifact.

    Args:
        artifact: which.
        state: `not started`, `running`, `done`, `reused`, `partial` (made without what could not be made), `failed`,
            `interrupted`, or `died` where its maker ended without a word.
        reason: why it is neither done nor reused, in one line.
        seconds: how long it took; None where it was not made.
        log: file of what was printed, where that is not the terminal.
    """

    artifact: Artifact
    state: str = "not started"
    reason: str = ""
    seconds: float | None = None
    log: str = ""


class Outcomes(dict[Path, Outcome]):
    """Outcomes by the artifacts' folders, parents first.

    Attributes:
        interrupt: by which the user ended it before all was settled, or None.
    """

    interrupt: KeyboardInterrupt | None = None

    def succeeded(self) -> bool:
        """Return whether all that was asked for is there."""
        return all(outcome.state in SUCCEEDED for outcome in self.values())


class Watcher:
    """Is told how the making of artifacts goes on; this one says nothing."""

    def begin(self, outcomes: Outcomes, executor: Executor) -> None:
        """All is planned, and what is there is reused."""

    def settled(self, outcome: Outcome) -> None:
        """One has ended, or was there."""

    def look(self) -> None:
        """Some time has passed."""

    def end(self) -> None:
        """Nothing is made any more."""


def build_all(roots: Iterable[Artifact], executor: Executor, watcher: Watcher | None = None) -> Outcomes:
    """Make artifacts, and before them what they lack upstream: each once, however many need it.

    A failure stops nothing that does not depend on it. What became of an artifact is what its own status says. Ctrl-C
    and SIGTERM end what runs, which the same call goes on with.

    Args:
        roots: the artifacts that are wanted.
        executor: makes them.
        watcher: is told how it goes.

    Returns:
        The outcome of every root, and of what had to be made for them.

    Raises:
        InputError: The executor can make nothing at all, such as a cluster that does not answer.
    """
    watcher = watcher or Watcher()
    outcomes = Outcomes()
    try:
        for root in roots:
            _plan(root, outcomes)
            if root.path not in outcomes:  # it is there
                said = make(root)
                outcomes[root.path] = Outcome(root, said.state or "reused", _line(said.detail))
        watcher.begin(outcomes, executor)
        for outcome in outcomes.values():
            if outcome.state not in UNSETTLED:
                watcher.settled(outcome)
        while any(outcome.state in UNSETTLED for outcome in outcomes.values()):
            _start(outcomes, executor, watcher)
            running = any(outcome.state == "running" for outcome in outcomes.values())
            ended = executor.ended() if running else {}
            for path in [path for path in outcomes if path in ended]:  # parents first
                if not _lost(outcomes[path], outcomes):
                    _settle(outcomes[path], ended[path])
                    hush(outcomes[path].artifact)  # that it is there was said by the process that made it
                    watcher.settled(outcomes[path])
            _give_up(outcomes, executor, watcher)
            watcher.look()
    except KeyboardInterrupt as interrupt:
        watcher.end()  # before anything is asked on the terminal
        goes_on = executor.leave(interrupt)
        for outcome in outcomes.values():
            if outcome.state == "running":
                _stop(outcome, interrupt, goes_on)
        outcomes.interrupt = interrupt
    finally:
        watcher.end()
    return outcomes


def _plan(artifact: Artifact, outcomes: Outcomes) -> None:
    """Add what has to be made for an artifact; where a status is damaged, which stops no other, that it has failed."""
    try:
        for each in artifact.missing():
            outcomes.setdefault(each.path, Outcome(each))
    except InputError as error:
        if artifact.without is None or _is_damaged(artifact):
            outcomes[artifact.path] = Outcome(artifact, "failed", _line(str(error)))
            return
        for parent in artifact.parents.values():
            _plan(parent, outcomes)
        outcomes.setdefault(artifact.path, Outcome(artifact))


def _is_damaged(artifact: Artifact) -> bool:
    try:
        artifact.state()
    except InputError:
        return True
    return False


def _start(outcomes: Outcomes, executor: Executor, watcher: Watcher) -> None:
    """Begin what can be made now: what other processes are making comes last, for it would be waited for."""
    waiting = [outcome for outcome in outcomes.values() if outcome.state == "not started"]
    ready = [outcome for outcome in waiting if _ready(outcome, outcomes, executor)]
    others = [outcome for outcome in ready if not outcome.artifact.here]
    chosen = sorted(others, key=lambda each: found(each.artifact).state == "running")[: executor.free()]
    for outcome in ready:
        if outcome.artifact.here:
            _make_here(outcome, outcomes)
            watcher.settled(outcome)
    for outcome in chosen:
        outcome.state = "running"
    if chosen:
        watcher.look()
        executor.start([outcome.artifact for outcome in chosen])


def _ready(outcome: Outcome, outcomes: Outcomes, executor: Executor) -> bool:
    parents = _parents(outcome, outcomes)
    if outcome.artifact.without is not None:
        return all(parent.state not in UNSETTLED for parent in parents)
    return (executor.ahead and not outcome.artifact.here) or all(parent.state in SUCCEEDED for parent in parents)


def _parents(outcome: Outcome, outcomes: Outcomes) -> list[Outcome]:
    """What became of those of its parents that were not there."""
    return [outcomes[parent.path] for parent in outcome.artifact.parents.values() if parent.path in outcomes]


def _lost(outcome: Outcome, outcomes: Outcomes) -> list[Outcome]:
    """Those of its parents that cannot be made."""
    return [parent for parent in _parents(outcome, outcomes) if parent.state not in (*SUCCEEDED, *UNSETTLED)]


def _make_here(outcome: Outcome, outcomes: Outcomes) -> None:
    artifact, lost = outcome.artifact, _lost(outcome, outcomes)
    if lost:
        try:
            artifact = artifact.without({each.artifact.path: each.reason or each.state for each in lost})
        except InputError as error:
            outcome.state, outcome.reason = "failed", f"{error} ({len(lost)} of what it needs could not be made)"
            return
    outcome.artifact = artifact
    _settle(outcome, make(artifact))
    if lost and outcome.state in SUCCEEDED:
        outcome.state, outcome.reason = "partial", f"without {len(lost)} of what it needs, which could not be made"


def _settle(outcome: Outcome, said: Ended) -> None:
    """Say what became of an artifact that nobody works on any more."""
    outcome.log = said.log
    try:
        state, status = outcome.artifact.state(), outcome.artifact.status()
    except InputError as error:
        outcome.state, outcome.reason = "failed", str(error)
        return
    if status.get("finished"):
        began, ended = (datetime.fromisoformat(status[key]) for key in ("started", "finished"))
        outcome.seconds = (ended - began).total_seconds()
    if state == "complete":
        outcome.state = "reused" if said.reused else "done"
    elif said.state != "failed" and status.get("state") in ("failed", "interrupted"):
        outcome.state, reason = status["state"], _reason(status)
        outcome.reason = _line(f"{reason}; {said.detail}" if said.state == "interrupted" else reason)
    else:
        outcome.state, outcome.reason = said.state or "died", _line(said.detail)


def found(artifact: Artifact) -> Outcome:
    """Return how an artifact stands that nobody has asked for now; one whose status is damaged has failed."""
    try:
        state = artifact.state()
        reason = _line(_reason(artifact.status())) if state in ("failed", "interrupted") else ""
    except InputError as error:
        return Outcome(artifact, "failed", _line(str(error)))
    return Outcome(artifact, {"complete": "reused", "missing": "not started"}.get(state, state), reason)


def _stop(outcome: Outcome, interrupt: KeyboardInterrupt, goes_on: bool) -> None:
    """Say how an artifact stands after the user has ended its making, which on a cluster may go on."""
    now = found(outcome.artifact)
    outcome.state = "done" if now.state == "reused" else now.state
    if outcome.state == "running" and not goes_on:
        outcome.state = "interrupted"
    outcome.reason = reason_of_interrupt(interrupt) if outcome.state == "interrupted" else now.reason


def _reason(status: dict[str, Any]) -> str:
    return reason_of(status).removeprefix("KeyboardInterrupt: ") or "Ctrl-C"


def _give_up(outcomes: Outcomes, executor: Executor, watcher: Watcher) -> None:
    """Settle all that needs what could not be made."""
    for outcome in outcomes.values():  # parents first
        lost = _lost(outcome, outcomes)
        if lost and outcome.state in UNSETTLED and outcome.artifact.without is None:
            first = lost[0]
            known = first.reason.startswith(NEEDS)
            outcome.reason = first.reason if known else f"{NEEDS}{first.artifact.label}: {first.reason}"
            outcome.state = "failed"
            executor.drop(outcome.artifact)
            watcher.settled(outcome)


def _line(text: str) -> str:
    return (text.strip().splitlines() or [""])[0]
