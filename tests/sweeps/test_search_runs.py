"""Searches as a user runs them: whole programs at a tiny scale."""

import re
import signal

import pytest
from tiny import TINY, run, start

from rwtl.sweeps.jobs import read_jobs

LINE = [TINY, "clips.dt=choice(0.2,0.5)", "pretraining.batch_size=2", "pretraining.iterations=1"]
FLOW = ["hparams_search=flow", TINY, "training.gamma=0.8", "training.weight_decay=1e-4"]


def values(output):
    """The value of each trial in a table, by its number."""
    return {
        int(number): cells.split("│")[2].strip() for number, cells in re.findall(r"^│ +(\d+) │(.*)│$", output, re.M)
    }


@pytest.mark.slow
def test_one_word_is_a_search_which_goes_on_under_settings_that_change_no_result(tmp_path):
    """No -m is needed; two trials run at a time; what the digests count is what may not change."""
    first = run("pretrain", tmp_path, "hparams_search=nfp", *LINE, "hydra.sweeper.n_trials=1")
    assert first.returncode == 0 and "best: trial 0, " in first.stdout, first.stderr
    others = ["trainer.threads=2", "trainer.checkpoint_minutes=1", "logger=[csv,tensorboard]", "sweep=pretrain-nfp"]
    side_by_side = ["executor=processes", "executor.jobs=2"]
    again = run("pretrain", tmp_path, "hparams_search=nfp", *LINE, *others, *side_by_side, "hydra.sweeper.n_trials=3")
    assert again.returncode == 0 and "search nfp: 2 to make (2 pretraining)" in again.stderr
    assert values(again.stdout)[0] == values(first.stdout)[0] and len(values(again.stdout)) == 3
    assert len(list(tmp_path.glob("recording/*"))) == 1 and len(list(tmp_path.glob("pretraining/*"))) == 3
    jobs = read_jobs(tmp_path / "sweeps" / "pretrain-nfp")
    assert [job.number for job in jobs] == [0, 1, 2] and all(job.artifact.state() == "complete" for job in jobs)

    other = run("pretrain", tmp_path, "hparams_search=nfp", *LINE, "pretraining.steps=6", "hydra.sweeper.n_trials=3")
    assert other.returncode == 1 and not other.stdout
    assert other.stderr.startswith("error: study nfp was searched with pretraining: pretraining.steps=4, now it is 6; ")


@pytest.mark.slow
def test_a_training_is_tuned_for_its_error_and_one_that_was_killed_is_counted_once(tmp_path):
    line = [*FLOW, "hydra.sweeper.n_trials=3"]
    job = start("train", tmp_path, *line)
    while "making" not in job.stderr.readline():
        pass
    job.send_signal(signal.SIGKILL)
    job.communicate(timeout=60)
    done = run("train", tmp_path, *line)
    assert done.returncode == 0, done.stderr
    found = values(done.stdout)
    assert len(found) == 3 and 0 not in found, "the first was killed, and its point is a trial of its own"
    assert len(list(tmp_path.glob("training/*/model.pt"))) == 3, "the killed one's training is resumed by that trial"
    best = float(re.search(r"best: trial \d, ([\d.]+)", done.stdout)[1])
    curves = [file.read_text().splitlines()[-1].split(",") for file in tmp_path.glob("training/*/curve.csv")]
    assert best == pytest.approx(min(float(last[1]) for last in curves), rel=1e-3)


SEARCH = ["-m", "hydra/sweeper=search", "hydra.sweeper.study_name=a"]
BAD = {
    "a comparison": (
        "compare",
        ["-m", "hydra/sweeper=search", "hydra.sweeper.study_name=a", "seed=choice(1,2)"],
        "seed",
    ),
    "what has no number": (
        "simulate",
        [*SEARCH, "recording.seed=choice(1,2)"],
        "a recording has no number that a search could minimise",
    ),
    "a program without artifacts": (
        "displacements",
        [*SEARCH, "scenes=choice(1,2)"],
        "this program makes nothing|makes no artifact",
    ),
    "no trials": ("pretrain", ["hparams_search=nfp", "hydra.sweeper.n_trials=0"], r"hydra\.sweeper\.n_trials is 0"),
    "a direction": (
        "pretrain",
        ["hparams_search=nfp", "hydra.sweeper.direction=up"],
        r"direction is 'up'; choose",
    ),
    "a rate": ("pretrain", ["hparams_search=nfp", "hydra.sweeper.max_failure_rate=2"], r"max_failure_rate is 2"),
    "no point that fits": (
        "train",
        [*FLOW, "training.steps=-1"],
        r"none of its trials: .*steps is -1",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_searches_that_make_no_sense_end_with_one_message(case, tmp_path):
    app, line, said = BAD[case]
    done = run(app, tmp_path / "outputs", *line)
    assert done.returncode == 1 and re.search(said, done.stderr), done.stderr
    assert done.stderr.count("error: ") == 1 and "Traceback" not in done.stderr
    assert not list((tmp_path / "outputs").glob("*/*/status.json"))


def test_a_search_has_no_preview(tmp_path):
    done = run("status", tmp_path, "train", *FLOW)
    assert done.returncode == 1 and "a search proposes its points as it goes" in done.stderr
    assert not list(tmp_path.iterdir())
