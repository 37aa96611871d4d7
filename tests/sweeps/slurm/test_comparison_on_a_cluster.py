"""A whole comparison on a cluster, by one line that is killed half-way and given again."""

import json
import os
import signal

import pandas as pd
import pytest
from sweeps import queue, run, slurm, start, until
from tiny import TINY

ROWS = ["comparison.rows=[scratch,freeze_none,freeze_encoder]", "comparison.seeds=[1,2]"]
SLURM = ["executor=slurm", "executor.cpus_per_task=1", "executor.mem_gb=1", "executor.poll=1"]
LINE = [TINY, *ROWS, "trainer.threads=1", "engine.threads=1"]


def finished(outputs, kind):
    """Who made each finished artifact of a kind, by its digest."""
    found = {}
    for file in outputs.glob(f"{kind}/*/status.json"):
        status = json.loads(file.read_text())
        if status["state"] == "complete":
            found[file.parent.name] = status["slurm_job"]
    return found


def errors_of(outputs):
    """The table but for the times."""
    (file,) = outputs.glob("comparison/*/comparison.csv")
    table = pd.read_csv(file)
    return table[~table.measure.str.endswith(" s")].reset_index(drop=True)


@pytest.mark.slow
def test_a_comparison_that_is_killed_half_way_ends_with_the_same_tables(cluster, tmp_path):
    """The line's own process is killed and all its jobs are cancelled; what was finished is not made again."""
    alone = run("compare", tmp_path / "alone", *LINE, "executor=inline")
    assert alone[0] == 0, alone[2]

    outputs = tmp_path / "outputs"
    job = start("compare", outputs, *LINE, *SLURM)
    until(lambda: len(finished(outputs, "training")) >= 2, "two trainings")
    os.kill(job.pid, signal.SIGKILL)
    job.communicate(timeout=60)
    slurm("scancel", "--me")
    until(lambda: queue("%i") == [], "the end of the jobs")
    before = {kind: finished(outputs, kind) for kind in ("recording", "pretraining", "training", "evaluation")}
    assert len(before["training"]) < 6 or len(before["evaluation"]) < 6, "it was killed before its end"
    assert not list(outputs.glob("comparison/*"))

    code, output, errors = run("compare", outputs, *LINE, *SLURM)
    assert code == 0, errors
    after = {kind: finished(outputs, kind) for kind in before}
    assert [len(after[kind]) for kind in before] == [1, 1, 6, 6]
    assert all(before[kind].items() <= after[kind].items() for kind in before), "what was there is as it was"
    assert all(job for kind in before for job in after[kind].values()), "the cluster made all of it"
    missing = 14 - sum(map(len, before.values()))
    assert f"{missing} SLURM jobs submitted, 0 were in the queue" in errors
    assert "report: " in output and queue("%i") == []
    assert set(errors_of(outputs).row) == {"scratch", "freeze_none", "freeze_encoder"}
    pd.testing.assert_frame_equal(errors_of(outputs), errors_of(tmp_path / "alone"))

    code, output, errors = run("compare", outputs, *LINE, *SLURM)
    assert code == 0 and "submitted" not in errors and "comparison: reused" in errors, errors
