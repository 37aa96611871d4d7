"""What `--help` of each app prints: presets that compose, examples that run, values with their units."""

import os
import re
import shlex
import subprocess
import sys
from itertools import zip_longest
from shutil import copytree, ignore_patterns

import forked
import pytest
from omegaconf import OmegaConf
from tiny import ROOT

from rwtl.apps import apps
from rwtl.composition import compose
from rwtl.help import comments_of

APPS = [app for app in apps() if app not in ("completion", "transfers", "flow")]
AT_80 = os.environ | {"COLUMNS": "80"}


def helped(app, *words, **where):
    done = forked.run([f"experiments/{app}.py", "--help", *words], **{"cwd": ROOT, "env": AT_80} | where)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def offered(text):
    """The presets of each group that a help offers, without the mark of the one that holds."""
    part = re.search(r"presets, .*?\n\n(.*?)\n\nvalues", text, re.DOTALL)
    found = re.findall(r"^  (\S+) +(.*(?:\n {20}.*)*)", part[1], re.MULTILINE) if part else []
    return {group: [name.rstrip("*") for name in re.split(r",\s+", names)] for group, names in found}


def examples(app):
    module = (ROOT / "rwtl" / "apps" / f"{app}.py").read_text()
    return [shlex.split(line)[2:] for line in re.findall(rf"^(rwtl {app} .*)$", module, re.MULTILINE)]


@pytest.mark.slow
@pytest.mark.parametrize("app", APPS)
def test_every_preset_that_an_app_offers_composes(app):
    groups = offered(helped(app))
    apart = ("experiment", "recording/cell")  # they need a certain preset of another group
    lines = [[f"{group}={name}" for name in names] for group, names in groups.items() if group not in apart]
    together = [[each for each in line if each] for line in zip_longest(*lines)]
    for line in [*together, *([f"{group}={name}"] for group in apart for name in groups.get(group, []))]:
        cfg = compose(app, *line)
        search = next((each.partition("=")[2] for each in line if each.startswith("hparams_search")), None)
        if search:
            searched = OmegaConf.load(ROOT / "conf" / "hparams_search" / f"{search}.yaml").hydra.sweeper.params
            assert all(OmegaConf.select(cfg, key) is not None for key in searched), line
        assert "comparison" not in cfg or app == "compare", line


def test_an_app_offers_what_it_can_use():
    train, pretrain = offered(helped("train")), offered(helped("pretrain"))
    assert train["experiment"] == ["chairs", "kitti", "overfit_chairs", "sintel", "things"]
    assert train["hparams_search"] == ["flow", "nfp"] and pretrain["hparams_search"] == ["nfp"]
    assert not {"comparison", "evaluation", "submission"} & set(train) and "experiment" not in pretrain
    assert "study" in offered(helped("compare"))["experiment"]
    assert offered(helped("status")) == {} and set(offered(helped("dashboard"))) == {"logger"}


@pytest.mark.parametrize("app", APPS)
def test_the_examples_are_lines_that_compose(app):
    lines, shown = examples(app), re.findall(rf"^  python experiments/{app}.py (.*)$", helped(app), re.MULTILINE)
    assert len(lines) == 3 and [shlex.split(line) for line in shown] == lines
    for line in lines:
        swept = "-m" in line
        words = [word.partition(",")[0] if swept else word for word in line if "=" in word]
        compose(line[0] if line[0] in APPS else app, *words)


@pytest.mark.parametrize("app", APPS)
def test_help_fits_80_columns_and_says_what_the_app_does_first(app):
    text = helped(app)
    assert text.replace("\n", " ").startswith(apps()[app])
    commands = f"  python experiments/{app}.py"
    values = text.partition("\nvalues")[2]
    assert [line for line in text.splitlines() if len(line) > 80 and not line.startswith(commands)] == []
    assert "paths:" in values and "hydra" not in values


def test_values_have_their_units_and_are_those_of_the_line():
    text = helped("train", "recording=spirals", "clips.dt=2", "seed=1,2", "-m")
    assert re.search(r"^    rows: 128 +# cells$", text, re.MULTILINE)
    assert re.search(r"^    dt: 2 +# s between frames; a whole multiple of$", text, re.MULTILINE)
    assert re.search(r"^      g_A: 0.1 +# nS \[U\]", text, re.MULTILINE)
    assert re.search(r"^  seed: 1 +# initial weights", text, re.MULTILINE)
    assert "spirals*" in text.replace("\n", "") and "rings*" not in text
    assert "what a pre-training begins with" in " ".join(text.replace("#", "").split())


def test_help_of_a_line_that_cannot_be_composed_is_one_line():
    done = forked.run([ROOT / "experiments" / "train.py", "--help", "transfer=nothing"], cwd=ROOT)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("error: In 'train': Could not find 'transfer/nothing'")
    assert done.stderr.count("\n") == 1


def test_help_is_light():
    code = "import sys; sys.argv = ['rwtl', 'train', '--help']; import rwtl.__main__ as r; r.main(); "
    code += "print({'torch', 'numpy', 'pandas', 'wandb', 'pytorch_lightning'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.endswith("set()\n"), done.stderr


def test_a_comment_belongs_to_the_key_beside_or_below_it():
    text = """\
# About the file.
defaults:
  - base
  - group@part: choice # what the group is for
a: 1 # m
# two lines
# about it
b: "x # y" # and more
c: # a section
  d: [1, 2] # s
e: {f: 3} # of f
g: {h: 4, i: 5} # of both
j: none
k: |
  text # is none
"""
    found = comments_of(text, "")
    assert found == {
        "part": "what the group is for",
        "a": "m",
        "b": "two lines about it and more",
        "c": "a section",
        "c.d": "s",
        "e.f": "of f",
        "g": "of both",
    }
    assert comments_of(text, "in.it")["in.it.c.d"] == "s" and comments_of(text, "in.it")["in.it"] == "About the file."


OWN = """\
# @package _global_
defaults: [{override /executor: processes}]
paths: {outputs: /scratch/me}
slurm: {partition: gpu, account: lab}
executor: {jobs: 3}
"""


@pytest.fixture
def own(tmp_path):
    """A folder of presets with a user's own settings, and nothing else."""
    (tmp_path / "mine" / "local").mkdir(parents=True)
    (tmp_path / "mine" / "local" / "default.yaml").write_text(OWN)
    return tmp_path / "mine"


@pytest.mark.parametrize("app", ["train", "compare", "simulate", "submit", "skill", "motion_statistics"])
def test_ones_own_settings_are_read_from_a_folder_of_presets(app, own):
    cfg = compose(app, config_dir=own)
    assert (cfg.paths.outputs, cfg.slurm.partition, cfg.slurm.account) == ("/scratch/me", "gpu", "lab")
    assert OmegaConf.to_container(cfg.executor) == {"kind": "processes", "jobs": 3}
    assert (
        compose(app, "paths.outputs=here", "executor=inline", "~executor.jobs", config_dir=own).paths.outputs == "here"
    )


def test_ones_own_settings_are_read_from_the_checkout(tmp_path, own):
    for name in ("rwtl", "conf", "hydra_plugins", "experiments"):
        copytree(ROOT / name, tmp_path / name, symlinks=True, ignore=ignore_patterns("__pycache__", "local"))
    copytree(own / "local", tmp_path / "conf" / "local")
    for app in APPS:
        command = [sys.executable, f"experiments/{app}.py", "--help"]
        environment = AT_80 | {"PYTHONPATH": str(tmp_path)}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0 and "outputs: /scratch/me" in done.stdout, (app, done.stderr)
        assert "conf/local/default.yaml" in done.stdout and "  local " not in done.stdout
