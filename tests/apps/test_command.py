"""The command `rwtl`, what it prints of itself, and the completion of its lines by real shells."""

import ast
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time

import forked
import pytest
from tiny import ROOT, TINY

from rwtl import __version__, program
from rwtl.apps import apps


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    """The file that pip makes of the entry in pyproject.toml."""
    file = tmp_path_factory.mktemp("bin") / "rwtl"
    file.write_text(f"#!{sys.executable}\nfrom rwtl.__main__ import main\n\nif __name__ == '__main__':\n    main()\n")
    file.chmod(0o755)
    return file


@pytest.fixture(scope="module")
def rwtl(command):
    """A function that runs it."""
    return lambda *words, **where: forked.run([command, *words], **where)


def test_the_command_and_the_folder_have_the_same_apps():
    files = {file.stem: file for file in (ROOT / "experiments").glob("*.py")}
    assert list(apps())[:5] == ["simulate", "pretrain", "train", "evaluate", "compare"]
    assert files.keys() == apps().keys() - {"completion"}
    for name, file in files.items():
        assert ast.get_docstring(ast.parse(file.read_text())) == apps()[name]
        assert f"from rwtl.apps.{name} import main" in file.read_text()


def test_help_lists_the_apps_and_imports_none():
    code = "import sys; sys.argv[1:] = ['--help']; import rwtl.__main__ as r; r.main(); "
    code += "print({'hydra', 'numpy', 'torch'} & set(sys.modules))"
    for width in (80, 200):
        environment = os.environ | {"COLUMNS": str(width)}
        words = [sys.executable, "-c", code]
        done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True)
        assert done.returncode == 0 and done.stdout.endswith("set()\n"), done.stderr
        assert max(map(len, done.stdout.splitlines())) <= width
    for name, about in apps().items():
        assert re.search(rf"^  {name} +{re.escape(about)}$", done.stdout, re.MULTILINE)


def test_help_ends_quietly_where_its_reader_has_enough(command):
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([command, "--help"], stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


def test_without_a_word_it_helps_and_fails(rwtl):
    helped, nothing = rwtl("--help"), rwtl()
    assert helped.returncode == 0 and nothing.returncode == 2
    assert nothing.stderr == helped.stdout and not nothing.stdout and not helped.stderr


def test_version(rwtl):
    assert rwtl("--version").stdout == f"rwtl {__version__}\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["traim", "seed=1"], "rwtl has no app 'traim'; did you mean train? rwtl --help lists all"),
        (["-m", "train"], "rwtl has no app '-m'; rwtl --help lists all"),
        (["seed=1"], "rwtl has no app 'seed=1'; rwtl --help lists all"),
    ],
)
def test_an_unknown_word_is_named_with_the_nearest(rwtl, words, said):
    done = rwtl(*words)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"error: {said}\n")


def test_the_command_does_what_the_file_does(rwtl):
    wide = os.environ | {"COLUMNS": "200"}
    by_file = forked.run([ROOT / "experiments" / "train.py", "--help"], env=wide).stdout
    as_module = [sys.executable, "-m", "rwtl", "train", "--help"]
    by_module = subprocess.run(as_module, cwd=ROOT, env=wide, capture_output=True, text=True).stdout
    by_command = rwtl("train", "--help", env=wide).stdout
    assert by_command.startswith("Train RAFT") and "  rwtl train debug=tiny\n" in by_command
    assert by_module.replace("python -m rwtl train", "rwtl train") == by_command
    assert by_file.replace(f"python {ROOT}/experiments/train.py", "rwtl train") == by_command


@pytest.mark.parametrize(
    ("argv", "recorded", "line", "other"),
    [
        (["rwtl train", "a=1 2"], ["rwtl", "train", "a=1 2"], "rwtl train 'a=1 2'", "rwtl compare"),
        (["python -m rwtl train"], ["python", "-m", "rwtl", "train"], "python -m rwtl train", "python -m rwtl compare"),
        (["experiments/train.py"], ["experiments/train.py"], "python experiments/train.py", None),
        (["/a script.py", "x"], ["/a script.py", "x"], "python '/a script.py' x", "rwtl compare"),
        (
            ["mine/experiments/train.py"],
            ["mine/experiments/train.py"],
            "python mine/experiments/train.py",
            "rwtl compare",
        ),
    ],
)
def test_commands_are_recorded_and_printed_as_rwtl_was_called(argv, recorded, line, other, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", argv)
    assert program.command() == recorded and program.command_line(recorded) == line
    assert program.call_of("compare") == (other or "python experiments/compare.py")


@pytest.fixture
def presets(tmp_path):
    """A folder with a preset of a user's own."""
    (tmp_path / "mine" / "model").mkdir(parents=True)
    small = (ROOT / "conf" / "model" / "small.yaml").read_text()
    (tmp_path / "mine" / "model" / "own.yaml").write_text(small.replace("variant: small", "variant: huge"))
    return tmp_path


def test_presets_of_ones_own_are_found(rwtl, presets):
    own = ["--config-dir", "mine", TINY, "model=own"]
    refused = r"model\.variant is 'huge'"
    for line in (["train", *own], ["train", "-m", *own, "seed=1,2"], ["status", "train", "-m", *own, "seed=1,2"]):
        done = rwtl(*line, cwd=presets)
        assert done.returncode == 1 and re.search(refused, done.stderr) and "Traceback" not in done.stderr, done.stderr
    done = rwtl("status", "train", "--config-dir", "away", cwd=presets)
    assert done.returncode == 1 and done.stderr == f"error: Additional config directory '{presets}/away' not found\n"


def test_a_relative_config_path_is_that_of_the_current_folder(rwtl, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "own.yaml").write_text("remove: nothing\npaths: {outputs: out}\nstage: null\nstate: null\n")
    done = rwtl("status", "--config-path", "mine", "--config-name=own", "hydra.output_subdir=null", cwd=tmp_path)
    assert done.returncode == 1 and "remove is 'nothing'" in done.stderr, done.stderr


def test_status_of_what_makes_no_artifact(rwtl, tmp_path):
    for word in ("traim", "skill"):
        done = rwtl("status", word, "seed=1", cwd=tmp_path)
        assert done.returncode == 1 and done.stderr.startswith(
            f"error: status of '{word}': no such app makes artifacts"
        )


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["engine=cpp"], r"g\+\+ not found: install a C\+\+ compiler and make"),
        (["engine=cuda"], r"nvcc not found: install the CUDA toolkit|no GPU found .* needs an NVIDIA GPU"),
    ],
)
def test_a_machine_without_compilers(rwtl, tmp_path, line, said):
    bare = {name: value for name, value in os.environ.items() if name != "CXX"} | {"PATH": "/nonexistent"}
    done = rwtl("simulate", TINY, *line, cwd=tmp_path, env=bare)
    *_, last = done.stderr.splitlines()
    assert done.returncode == 1 and re.match(rf"error: recording: ({said})", last), done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "line",
    [
        ["simulate", TINY],
        ["train", TINY],
        ["train", "-m", TINY, "seed=1,2"],
        ["displacements", "scenes=1"],
        ["motion_statistics", TINY],
    ],
    ids=lambda line: " ".join(line[:2]),
)
def test_a_folder_that_is_not_writable(rwtl, line):
    done = rwtl(*line, cwd="/sys")
    assert done.returncode == 1 and re.match(
        r"error: (recording: |training scratch seed 1: |)cannot write to outputs[ /].*; set paths\.outputs", done.stderr
    )
    consequence = "error: without all recordings there is nothing to compare; see above"
    assert done.stderr.splitlines()[1:] == ([consequence] if line[0] == "motion_statistics" else [])


class Terminal:
    """An interactive shell, whose keys a test presses."""

    def __init__(self, shell, environment):
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.execvpe(shell[0], shell, environment)

    def press(self, keys, shown):
        """Press keys, and return what is shown until all of `shown` is."""
        os.write(self.terminal, keys.encode())
        text, end = "", time.monotonic() + 60
        while not all(each in text for each in shown):
            assert select.select([self.terminal], [], [], end - time.monotonic())[0], text
            text += os.read(self.terminal, 2**16).decode(errors="replace")
        return text

    def close(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.terminal)


LIST_AT_ONCE = "bind 'set show-all-if-ambiguous on'"
BASH = ["bash", "--norc", "--noprofile", "-i"]
SHELLS = {
    "bash": (BASH, f'{LIST_AT_ONCE}; eval "$(rwtl completion bash)"'),
    "bash where '=' breaks no word": (
        BASH,
        f'{LIST_AT_ONCE}; COMP_WORDBREAKS=${{COMP_WORDBREAKS//=}}; eval "$(rwtl completion bash)"',
    ),
    "zsh": (
        ["zsh", "-f", "-i"],
        'setopt no_list_ambiguous; autoload -Uz compinit; compinit -D -u; eval "$(rwtl completion zsh)"',
    ),
}


@pytest.fixture(params=SHELLS)
def shell(request, command, tmp_path):
    arguments, line = SHELLS[request.param]
    if shutil.which(arguments[0]) is None:
        pytest.skip(f"there is no {arguments[0]} here")
    path = f"{command.parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT), "TERM": "dumb", "HOME": str(tmp_path)}
    opened = Terminal(arguments, environment)
    opened.press(f"{line}; echo re''ady\n", ["ready"])
    yield opened
    opened.close()


FREEZING = ["freeze_batchnorm", "freeze_encoder", "freeze_encoder_batchnorm", "freeze_none"]


@pytest.mark.slow
def test_a_shell_completes(shell):
    clear = "\x15"
    shown = shell.press("rwtl tr\t", ["train", "transfers"])
    assert "trainer" not in shown and "simulate" not in shown
    shell.press(f"{clear}rwtl ev\t", ["evaluate "])
    shown = shell.press(f"{clear}rwtl train transfer=fr\t", FREEZING)
    assert "scratch" not in shown
    shell.press(f"{clear}rwtl train -m seed=1,2 transfer=unfreeze_g\t", ["unfreeze_gradually"])
    shell.press(
        "\x01echo is \n", ["\nis rwtl train -m seed=1,2 transfer=unfreeze_gradually\r"]
    )  # the line, as it is now
    shell.press(f"{clear}rwtl status train trainer=g\t", ["trainer=gpu"])
    shell.press(f"{clear}rwtl status eval\t", ["evaluate"])


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("fish") is None, reason="there is no fish here")
def test_fish_completes(command, tmp_path):
    path = f"{command.parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT), "HOME": str(tmp_path)}

    def completed(line):
        code = f"rwtl completion fish | source; complete -C '{line}'"
        shell = ["fish", "--no-config", "-c", code]
        return subprocess.run(shell, env=environment, capture_output=True, text=True).stdout.split()

    assert completed("rwtl tr") == ["train", "transfers"]
    assert completed("rwtl train transfer=fr") == [f"transfer={each}" for each in FREEZING]
    assert completed("rwtl status train trainer=g") == ["trainer=gpu"]
