"""What is printed to be typed survives a shell and Hydra: any text comes back as the same value of the same type."""

import random
import re
import shlex
import subprocess
import sys
from pathlib import Path

import forked
import numpy as np
import pytest
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import QuotedString
from tiny import ROOT

from rwtl import program
from rwtl.composition import compose
from rwtl.errors import InputError
from rwtl.keys import require_presets
from rwtl.overrides import override, pasted, written
from rwtl.sweeps.space import override_of, search_space

PARSER = OverridesParser.create()
NASTY = [
    "",
    " ",
    "a b",
    " a",
    "a ",
    "a  b",
    "it's",
    'say "hi"',
    "'",
    '"',
    "''",
    "'\"",
    "\\",
    "a\\",
    "\\'",
    "\\\\'",
    '\\"',
]
NASTY += [
    "null",
    "Null",
    "true",
    "False",
    "1",
    "-1",
    "+1",
    "01",
    "1_000",
    "0x1",
    "1e3",
    "1.",
    ".5",
    "nan",
    "inf",
    "-inf",
]
NASTY += [
    "{",
    "}",
    "{}",
    "{a:b}",
    "{a: b, c: d}",
    "[",
    "]",
    "[]",
    "[a]",
    "a,b",
    ",",
    "a=b",
    "=",
    "a:b",
    ":",
    "a;b",
    "a#b",
    "#",
]
NASTY += [
    "$",
    "$HOME",
    "${seed}",
    "${",
    "${oc.env:HOME}",
    "\\$x",
    "`ls`",
    "$(ls)",
    "!x",
    "*",
    "?",
    "~x",
    "+x",
    "++x",
    "@a",
    "%",
]
NASTY += [
    "a\nb",
    "\n",
    "a\n",
    "\t",
    "a\tb",
    "\r",
    "\\n",
    "\\,",
    "\\ ",
    "choice(1,2)",
    "range(1,3)",
    "glob(*)",
    "int(1)",
    "(",
    ")",
]
NASTY += [
    "é",
    "日本",
    "🙂",
    "e\u0301",
    "\u2028",
    "\x85",
    "\x7f",
    "\x1b[31m",
    "-m",
    "--help",
    "<",
    ">",
    "|",
    "&",
    "a/b",
    "C:\\x",
]


def texts():
    """The nasty ones, and others of their letters: always the same."""
    drawn, letters = random.Random(0), "ab1 '\"\\{}[](),=:$#\n\t~+@.*-eé🙂"
    return NASTY + ["".join(drawn.choices(letters, k=drawn.randint(1, 8))) for _ in range(400)]


def plain(value):
    """A parsed value without what says how it was quoted."""
    if isinstance(value, dict):
        return {plain(key): plain(part) for key, part in value.items()}
    if isinstance(value, list):
        return [plain(part) for part in value]
    return value.text if isinstance(value, QuotedString) else value


def read(word):
    (parsed,) = PARSER.parse_overrides([word])
    assert not parsed.is_sweep_override() and parsed.key_or_group == "key", word
    return plain(parsed.value())


def same(found, value):
    return repr(found) == repr(value)  # 1 is not true, nor 1.0, and nan is nan


VALUES = [value for text in texts() for value in (text, [text, "x"], {"k": text}, [[{"k": [text]}]])]
VALUES += [{text: 1} for text in ("a", "a b", "a:b", "a,b", "{", "a=b")]
VALUES += [
    None,
    True,
    False,
    0,
    -1,
    10**20,
    0.1,
    1e-7,
    1e300,
    5e-324,
    -0.0,
    float("nan"),
    float("inf"),
    [],
    {},
    [None, True],
]


def test_what_is_printed_is_read_back():
    for value in VALUES:
        word = override("key", value)
        line = f"rwtl train {pasted([word])}"
        assert shlex.split(line)[2:] == [word] == shlex.split(pasted({"key": value}))
        assert same(read(word), value), (value, word)


def test_a_real_shell_hands_over_the_same_words():
    words = [override("key", value) for value in VALUES]
    code = "import os, sys; sys.stdout.buffer.write(bytes(1).join(map(os.fsencode, sys.argv[1:])))"
    script = shlex.join([sys.executable, "-c", code]) + " " + pasted(words)
    done = subprocess.run(["bash"], input=script.encode(), capture_output=True, check=True)
    assert done.stdout.decode().split("\0") == words


def test_jobs_of_a_sweep_keep_what_the_line_said():
    for value in VALUES:
        for line in (override("key", value), f"{override('key', value)},zz"):
            (jobs,) = BasicSweeper.split_arguments(PARSER.parse_overrides([line]), None)
            assert same(read(jobs[0][0]), value), (value, line)


def test_choices_of_a_search_keep_what_the_line_said():
    for value in VALUES:
        if value in ("zz", [], {}) or (isinstance(value, float) and np.isnan(value)):
            continue
        line = f"key={written(value)},zz"
        space, _ = search_space({}, PARSER.parse_overrides([line]), PARSER)
        assert same(read(override_of("key", space["key"].choices[0])), value), (value, line)


def test_recorded_command_lines_are_read_back():
    words = ["rwtl", "train", *(override("key", value) for value in VALUES)]
    assert shlex.split(program.command_line(words)) == words
    assert shlex.split(program.command_line(["a b.py", *words[2:]])) == ["python", "a b.py", *words[2:]]


@pytest.mark.parametrize("value", [np.float64(0.1), np.float32(0.5), np.int64(3)])
def test_numbers_of_numpy_are_numbers(value):
    assert read(override("key", value)) == value.item() and type(read(override("key", value))) is type(value.item())


def test_paths_and_texts_reach_the_configuration():
    for value in ("it's {a}, b=c", "null", "1e3", "", "a\nb", Path("/a b/'c'")):
        assert compose("status", state=value).state == str(value)
    cfg = compose("train", clips={"active": [0.1, 0.2]}, transfer="freeze_encoder", plugins=["it's, mine.py"])
    assert cfg.clips.active == [0.1, 0.2] and cfg.transfer.name == "freeze_encoder" and cfg.plugins == ["it's, mine.py"]


@pytest.mark.parametrize("value", ["null", "1", "true", "[null]", "[wandb,null]", "1.5", "{a:1}", "wandb,null"])
def test_a_group_is_given_a_name(value):
    said = (
        f"^logger={re.escape(value)}: logger is a group; give the name of a preset, as --help lists them, or leave it "
    )
    with pytest.raises(InputError, match=said):
        compose("train", f"logger={value}")
    done = forked.run([ROOT / "experiments" / "train.py", "-m", f"logger={value}"], cwd=ROOT)
    assert done.returncode == 1 and re.match(said.replace("^", "error: "), done.stderr) and done.stderr.count("\n") == 1


@pytest.mark.parametrize("word", ["~logger", "logger=[]", "logger=[wandb,csv]", "logger='csv'", "~experiment"])
def test_other_words_about_a_group_are_left_to_hydra(word):
    require_presets([word, "debug=tiny", "clips.dt=1", "seed=null", "+debug/x=1", "transfer=glob(*)"])


def test_a_value_stands_for_one():
    (parsed,) = PARSER.parse_overrides(["key=choice(1,2)"])
    with pytest.raises(ValueError, match="a choice cannot itself be"):
        written([parsed.value()])


def test_the_jobs_that_messages_name_can_be_typed(tmp_path):
    names = ["it's", "a b;c", "{x}", "$HOME"]
    line = [
        f"transfer.name={','.join(written(name) for name in names)}",
        "training.steps=-1",
        f"paths.outputs={tmp_path}",
    ]
    done = forked.run([ROOT / "experiments" / "status.py", "train", "-m", *line], cwd=ROOT)
    shown = re.findall(r"^error: job \d \((.*)\): training.steps is -1", done.stderr, re.MULTILINE)
    assert done.returncode == 1 and len(shown) == len(names), done.stderr
    for words, name in zip(map(shlex.split, shown), names, strict=True):
        assert same(plain(PARSER.parse_overrides(words)[0].value()), name), words
    twice = override("transfer.name", "it's")
    done = forked.run([ROOT / "experiments" / "train.py", "-m", f"{twice},{written('it' + chr(39) + 's')}"], cwd=ROOT)
    (said,) = re.findall(r"^error: jobs 0 and 1 of the sweep are the same, (.*); name every", done.stderr)
    assert shlex.split(said) == [twice]
