"""Making many artifacts: each once, whatever becomes of some, in this process and in several."""

import os
import threading
import time
from dataclasses import replace

import pytest
from hydra import compose, initialize_config_dir

from rwtl.config import CONF
from rwtl.errors import InputError
from rwtl.pipeline.artifact import Artifact, build
from rwtl.pipeline.claim import claim
from rwtl.pipeline.recording import recording
from rwtl.pipeline.status import claims_of, unfinished
from rwtl.sweeps.executors import Inline, Processes, ProcessesConfig
from rwtl.sweeps.scheduler import Outcome, Outcomes, Watcher, build_all
from rwtl.sweeps.sweep import executor_of
from rwtl.sweeps.view import View, print_outcomes


def part(outputs, name, *parents, make=None, **about):
    """An artifact that notes in which order artifacts were made."""

    def write(folder):
        with (outputs / "order").open("a") as order:
            order.write(f"{name} ")
        if make:
            make(folder)

    needed = {f"training {number}": parent for number, parent in enumerate(parents)}
    return Artifact("training", name, {"name": name}, write, outputs, needed, **about)


def fail(error):
    def make(folder):
        raise error

    return make


def order(outputs):
    return (outputs / "order").read_text().split()


def states(outcomes):
    return {outcome.artifact.label: outcome.state for outcome in outcomes.values()}


def test_what_several_need_is_made_once_and_first(tmp_path, capsys):
    shared = part(tmp_path, "shared")
    one, two = part(tmp_path, "one", shared), part(tmp_path, "two", shared)
    top = part(tmp_path, "top", one, two)
    outcomes = build_all([top, one], Inline())
    assert order(tmp_path) == ["shared", "one", "two", "top"] and outcomes.succeeded()
    assert set(states(outcomes).values()) == {"done"}
    assert "reused" not in capsys.readouterr().err, "what was just made is not said to be reused"
    again = build_all([top, one], Inline())
    assert states(again) == {"top": "reused", "one": "reused"} and len(order(tmp_path)) == 4


def test_a_failure_stops_nothing_that_does_not_depend_on_it(tmp_path, capsys):
    bad = part(tmp_path, "bad", make=fail(InputError("the loss is nan; lower the rate")))
    broken = part(tmp_path, "broken", make=fail(ZeroDivisionError("no such luck")))
    roots = [part(tmp_path, "lost", part(tmp_path, "between", bad)), broken, part(tmp_path, "fine")]
    outcomes = build_all(roots, Inline(), View("all"))
    assert states(outcomes) == {
        "bad": "failed",
        "between": "failed",
        "lost": "failed",
        "broken": "failed",
        "fine": "done",
    }
    assert order(tmp_path) == ["bad", "broken", "fine"]
    by_label = {outcome.artifact.label: outcome for outcome in outcomes.values()}
    assert by_label["lost"].reason == "what it needs was not made: bad: the loss is nan; lower the rate"
    assert by_label["broken"].reason == "ZeroDivisionError: no such luck"
    errors = capsys.readouterr().err
    assert "error: bad: the loss is nan; lower the rate\n" in errors and "no such luck" in errors
    print_outcomes("all", outcomes.values())
    table = capsys.readouterr().out
    assert "4 failed, 1 done" in table and "the loss is nan" in table


def test_what_can_do_without_is_made_from_the_rest(tmp_path):
    good, bad = part(tmp_path, "good"), part(tmp_path, "bad", make=fail(InputError("is bad")))
    lost = {}

    def without(failed):
        lost.update(failed)
        return part(tmp_path, "some", good)

    whole = part(tmp_path, "whole", good, bad, here=True, without=without)
    (*_, outcome) = (outcomes := build_all([whole], Inline())).values()
    assert (outcome.state, outcome.artifact.label) == ("partial", "some") and not outcomes.succeeded()
    assert lost == {bad.path: "is bad"} and outcome.artifact.state() == "complete" and whole.state() == "missing"

    def nothing(failed):
        raise InputError("the baseline has no runs")

    outcomes = build_all([replace(whole, without=nothing)], Inline())
    assert outcomes[whole.path].state == "failed" and "the baseline has no runs" in outcomes[whole.path].reason


def test_what_can_do_without_is_made_where_a_status_is_damaged(tmp_path):
    good, bad = build(part(tmp_path, "good")), build(part(tmp_path, "bad"))
    (bad.path / "status.json").write_text("{")
    later = part(tmp_path, "later", bad)
    lost = {}

    def without(failed):
        lost.update(failed)
        return part(tmp_path, "some", good)

    whole = part(tmp_path, "whole", good, later, here=True, without=without)
    outcomes = build_all([whole], Inline())
    assert states(outcomes) == {"later": "failed", "some": "partial"}
    assert lost.keys() == {later.path} and "status.json is damaged (" in lost[later.path]
    whole.path.mkdir()
    (whole.path / "status.json").write_text("{")
    assert states(build_all([whole], Inline())) == {"whole": "failed"}


def test_an_interruption_keeps_what_is_finished_and_says_what_is_left(tmp_path):
    interrupt = KeyboardInterrupt("SIGTERM")
    roots = [part(tmp_path, "one"), part(tmp_path, "two", make=fail(interrupt)), part(tmp_path, "three")]
    outcomes = build_all(roots, Inline())
    assert outcomes.interrupt is interrupt
    assert states(outcomes) == {"one": "done", "two": "interrupted", "three": "not started"}
    assert outcomes[roots[1].path].reason == "SIGTERM"


def test_a_damaged_artifact_is_a_failure_of_its_own(tmp_path):
    def damaged(folder):
        raise InputError(f"{folder} is damaged")

    one = part(tmp_path, "one")
    build_all([one], Inline())
    outcomes = build_all([replace(one, check=damaged), part(tmp_path, "two")], Inline())
    assert states(outcomes) == {"one": "failed", "two": "done"}


def test_what_somebody_else_is_making_comes_last(tmp_path):
    taken, free = part(tmp_path, "taken"), part(tmp_path, "free")
    held = claim(claims_of(taken.path), lambda: False, lambda *_: None)
    attempt = unfinished(taken.path) / "000001-0"
    attempt.mkdir()
    (attempt / "status.json").write_text('{"state": "running"}')

    class Release(Watcher):
        def settled(self, outcome):
            held.release()

    outcomes = build_all([taken, free], Inline(), Release())
    assert order(tmp_path) == ["free", "taken"] and outcomes.succeeded()


def shapes(outputs, **keys):
    line = ["recording=moving_shapes", "recording.rows=24", "recording.columns=24", f"paths.outputs={outputs}"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return recording(compose("simulate", [*line, *(f"recording.{key}={value}" for key, value in keys.items())]))


@pytest.mark.slow
def test_processes_make_side_by_side_and_outlive_one_that_dies(tmp_path, capfd):
    """Of three recordings one is long, and its process is killed."""
    executor = Processes(ProcessesConfig(jobs=2))
    roots = [shapes(tmp_path, duration=4000, seed=1), *(shapes(tmp_path, duration=2, seed=seed) for seed in (2, 3))]

    def kill():
        while (status := roots[0].status()).get("state") != "running":
            time.sleep(0.05)
        assert status["pid"] != os.getpid()
        os.kill(status["pid"], 9)

    killer = threading.Thread(target=kill)
    killer.start()
    outcomes = build_all(roots, executor, View("all"))
    killer.join()
    assert [outcome.state for outcome in outcomes.values()] == ["died", "done", "done"]
    assert "killed, or out of memory?" in outcomes[roots[0].path].reason
    said = capfd.readouterr()
    assert said.err.count(": making ") == 3 and "all: 3 of 3" in said.err
    assert "error: recording of moving shapes: its process ended" in said.err


class Recorded(Watcher):
    def __init__(self):
        self.begun = None
        self.said = []

    def begin(self, outcomes, executor):
        self.begun = dict(outcomes)

    def settled(self, outcome):
        self.said.append((outcome.artifact.label, outcome.state))


def test_a_watcher_is_told_of_all(tmp_path):
    there, new = part(tmp_path, "there"), part(tmp_path, "new")
    build_all([there], Inline())
    watcher = Recorded()
    build_all([there, new], Inline(), watcher)
    assert watcher.said == [("there", "reused"), ("new", "done")] and len(watcher.begun) == 2


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"kind": "cloud"}, "executor.kind is 'cloud'; choose one of inline, processes, slurm"),
        ({"kind": "processes", "jobs": 0}, "executor.jobs is 0"),
        ({"kind": "inline", "jobs": 2}, "executor.jobs: executor=inline has no keys; write executor=processes"),
        ({"kind": "processes", "jobs": 1, "threads": 2}, "executor.threads: executor has no such key"),
    ],
)
def test_bad_executors_are_named(values, said):
    with pytest.raises(InputError) as error:
        executor_of(values, "executor", "train")
    assert str(error.value).startswith(said)


def test_the_time_left_is_what_the_others_of_the_kind_took(tmp_path, capsys):
    done, *waiting = (Outcome(part(tmp_path, name)) for name in ("one", "two", "three"))
    outcomes = Outcomes({outcome.artifact.path: outcome for outcome in (done, *waiting)})
    view = View("all")
    view.begin(outcomes, Inline())
    assert capsys.readouterr().err == "all: 3 to make (3 training), 0 there already\n"
    assert view._left() is None, "nothing is known of how long one takes"
    done.state, done.seconds = "done", 4.0
    assert view._left() == 8.0
    for outcome in waiting:
        outcome.state = "running"
    assert view._left() == 4.0, "two at a time"


def test_no_roots_are_no_work():
    assert build_all([], Inline()) == {}
