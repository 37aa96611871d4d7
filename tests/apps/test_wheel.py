"""What a user has who installs rwtl from a wheel: the command `rwtl`, in any folder, without a checkout."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from shutil import copytree, ignore_patterns

import pytest
from tiny import ROOT, TINY

pytestmark = pytest.mark.slow


def checked(*words, **where):
    done = subprocess.run([str(each) for each in words], capture_output=True, text=True, **where)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The folder `bin` of an environment with the wheel that comes of the source distribution, and this environment's
    libraries, of which the `rwtl` that is developed here is none: a folder that a .pth file adds gets its own not read.
    """
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for name in ("rwtl", "conf", "hydra_plugins"):
        copytree(ROOT / name, source / name, symlinks=True, ignore=ignore_patterns("__pycache__"))
    (source / "conf" / "local").mkdir(exist_ok=True)
    (source / "conf" / "local" / "default.yaml").write_text("seed: 7 # of the machine where the wheel is made\n")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        (source / name).write_bytes((ROOT / name).read_bytes())
    build = f"from setuptools.build_meta import build_sdist; build_sdist({str(folder)!r})"
    checked(sys.executable, "-c", build, cwd=source)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    offline = ["--no-deps", "--no-index"]
    checked(*pip, "wheel", *offline, "--no-build-isolation", "-w", folder, *folder.glob("rwtl-*.tar.gz"))
    checked(sys.executable, "-m", "venv", "--without-pip", folder / "venv")
    commit = ["-c", "user.name=user", "-c", "user.email=user@example.org", "commit", "--allow-empty", "-m", "theirs"]
    for words in (["init"], commit):  # the environment lies in another project's checkout
        checked("git", "-C", folder / "venv", *words)
    checked(
        *pip,
        "--python",
        folder / "venv" / "bin" / "python",
        "install",
        "--ignore-installed",
        *offline,
        *folder.glob("rwtl-*.whl"),
    )
    (packages,) = folder.glob("venv/lib/python*/site-packages")
    libraries = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    (packages / "libraries.pth").write_text("\n".join(libraries))
    for file in (file for folder in libraries for file in Path(folder).glob("distutils-precedence.pth")):
        (packages / "setuptools.pth").write_bytes(file.read_bytes())  # Brian2 needs it from Python 3.12 on
    return folder / "venv" / "bin"


@pytest.fixture(scope="module")
def rwtl(installed, tmp_path_factory):
    """A function that runs the installed `rwtl` in a folder, by default one that all share, without a traceback."""
    shared = tmp_path_factory.mktemp("empty")
    away = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(*words, cwd=shared, **environment):
        command = [installed / "rwtl", *words]
        done = subprocess.run(command, cwd=cwd, env=away | environment, capture_output=True, text=True)
        printed = done.stdout + done.stderr
        assert "Traceback" not in printed and "experiments/" not in printed, printed
        return done

    run.folder = shared
    return run


def well(done):
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_holds_what_rwtl_needs(installed):
    program = "import rwtl, hydra_plugins.rwtl_sweeper as plugin; print(rwtl.__file__, plugin.__file__)"
    away = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    for file in checked(installed / "python", "-c", program, cwd="/", env=away).split():
        assert Path(file).is_relative_to(installed.parent), file
    (package,) = installed.parent.glob("lib/python*/site-packages/rwtl")
    for ours, theirs, pattern in (
        (ROOT / "conf", package / "conf", "**/*.yaml"),
        (ROOT / "rwtl", package, "**/*.j2"),
        (ROOT / "rwtl", package, "py.typed"),
        (ROOT / "rwtl", package, "*.pyi"),
    ):
        files = {file.relative_to(ours) for file in ours.glob(pattern) if file.parent.name != "local"}
        assert files and files == {file.relative_to(theirs) for file in theirs.glob(pattern)}


def test_ones_own_settings_are_read_from_a_folder_of_presets(rwtl, tmp_path):
    (tmp_path / "mine" / "local").mkdir(parents=True)
    settings = "# @package _global_\npaths: {outputs: elsewhere}\nslurm: {partition: gpu, account: lab}\n"
    (tmp_path / "mine" / "local" / "default.yaml").write_text(settings)
    shown = well(rwtl("train", "--help", "--config-dir", "mine", cwd=tmp_path, COLUMNS="80"))
    assert "outputs: elsewhere" in shown and "partition: gpu, account: lab" in shown
    assert "go into local/default.yaml in the folder" in shown and "  rwtl train debug=tiny\n" in shown
    assert "elsewhere" in well(rwtl("status", "train", TINY, "--cfg", "job", "--config-dir", "mine", cwd=tmp_path))


def test_a_study_from_waves_to_the_report(rwtl):
    assert "page.html" in well(rwtl("simulate", TINY))
    line = [TINY, "transfer=scratch,freeze_encoder", "sweep=first"]
    trained = rwtl("train", "-m", *line)
    assert "2 done" in well(trained) and trained.stderr.count("validation EPE after 4 steps") == 2
    (recorded,) = (json.loads(file.read_text()) for file in rwtl.folder.glob("outputs/recording/*/status.json"))
    assert recorded["command"][:2] == ["rwtl", "simulate"] and recorded["git_commit"] is None
    assert "training: 2 to reuse" in well(rwtl("status", "train", "-m", *line))
    compared = well(rwtl("compare", "runs=outputs/sweeps/first", "rows=transfer"))
    page = (rwtl.folder / re.search(r"report: (.*)", compared)[1]).read_text()
    assert "rwtl train --config-path" in page and "rwtl compare runs=" in page and "experiments/" not in page
    assert "5 complete" in well(rwtl("status"))
