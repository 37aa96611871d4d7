"""The folder for temporary files, in which simulations are compiled and run, may be of no use."""

import subprocess
import sys
from pathlib import Path

import pytest

from rwtl.errors import InputError
from rwtl.waves.engines.standalone import program_folder

SCRIPT = """
import sys
import tempfile
sys.path.insert(0, sys.argv[1])
from rwtl.waves.engines.cpp import CppEngine
from rwtl.waves.simulation import first_snapshot
from test_recording import CONFIG
tempfile.tempdir = sys.argv[2]
try:
    next(CppEngine(1, "float32").frames(CONFIG, first_snapshot(CONFIG)))
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "reason"), [("noexec", "Permission denied, ./main"), ("ro", "Read-only file system")]
)
def test_a_file_system_without_programs_or_files_is_named(tmp_path, options, reason):
    """A real file system that is mounted so, in a name space of its own."""
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
        pytest.skip("this system gives no name spaces to mount a folder in")
    (tmp_path / "mount").mkdir()
    here = str(Path(__file__).parent)
    python = [sys.executable, "-c", SCRIPT, here, str(tmp_path / "mount")]
    mount = ["sh", "-c", f'mount -t tmpfs -o {options} none {tmp_path}/mount && exec "$@"', "sh"]
    done = subprocess.run(["unshare", "-rm", *mount, *python], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = done.stdout.strip()
    assert said.startswith(f"InputError the simulation's program cannot be built or run in {tmp_path}/mount"), said
    assert reason in said and said.endswith("set TMPDIR to a folder with room that lets programs run")


def test_a_full_one_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    message = rf"in {tmp_path}/rwtl-simulation-.* \(No space left on device, when it was written\): set TMPDIR"
    with pytest.raises(InputError, match=message), program_folder(), open("/dev/full", "w") as full:
        full.write("x" * 10_000)
        full.flush()


def test_no_other_error_is_one_of_the_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(InputError, match=r"^does not compile"), program_folder():
        raise InputError("does not compile")
