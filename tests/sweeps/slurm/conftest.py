"""A SLURM cluster for the tests of this folder, which are skipped, with the reason, where none can be had."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from cluster import READY
from machine import prepare

HERE = Path(__file__).parent
START = 300.0  # s that a cluster may take to come up


def pytest_collection_modifyitems(items):
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.cluster)


@pytest.fixture(scope="session")
def cluster():
    """The folder of a running cluster, to which SLURM's commands speak meanwhile."""
    reason = prepare()
    if reason:
        pytest.skip(f"no SLURM cluster: {reason}")
    program = subprocess.Popen(
        [sys.executable, HERE / "cluster.py"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C is for pytest, which then closes the program's input
    )
    watchdog = threading.Timer(START, program.terminate)  # its end ends what is read here
    watchdog.start()
    try:
        variable, _, file = program.stdout.readline().strip().removeprefix("export ").partition("=")
        assert program.stdout.readline().strip() == READY, "the cluster did not come up: see above"
        watchdog.cancel()
        os.environ[variable] = file
        yield Path(file).parent
        del os.environ[variable]
    finally:
        watchdog.cancel()
        program.stdin.close()
        program.wait()
