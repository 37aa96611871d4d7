"""Keys of a command line: unknown ones, those of other programs, texts, references, and options without effect."""

import re

import numpy as np
import pytest
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from tiny import TINY, run

import rwtl
from rwtl.config import setting, told
from rwtl.errors import InputError, NotSet
from rwtl.keys import ELSEWHERE, as_texts, parsed
from rwtl.pipeline.known import without_effect

SCRATCH = [TINY, "transfer=scratch"]


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("training.step=3", r"there is no key training\.step; did you mean training\.steps\?"),
        ("+training.step=3", r"training\.step: training has no such key; its keys are steps"),
        ("++training.step=3", r"training\.step: training has no such key"),
        ("+start_form=a", r"there is no key start_form; did you mean start_from\?"),
        ("+foo=1", "there is no key foo; --help lists what there is"),
        ("dt=2", r"there is no key dt; did you mean clips\.dt\?"),
        ("+pretraining.lr=1", r"pretraining\.lr: pretraining has no such key"),
        ("+recording.cell.g_K_=1", r"recording\.cell\.g_K_"),
        ("+transfer.lod=[]", r"transfer\.lod: transfer has no such key"),
        ("+trainer.max_epochs=3", r"there is no key trainer\.max_epochs; .* is here training\.steps="),
        ("+slurm.partion=a", r"there is no key slurm\.partion; did you mean slurm\.partition\?"),
        ("+paths.data=a", r"there is no key paths\.data; did you mean paths\."),
        ("+paths=a", "Could not append to config"),
        ("logger=many_loggers", "there is no logger many_loggers; choose csv, wandb, tensorboard or several"),
        ("engine.threads=nan", r"engine\.threads is nan; it must be finite"),
        ("pretraining.steps=-1", r"pretraining\.steps is -1"),
        ("training.batch_size=99999999999999999999", r"training\.batch_size is 9+; it must be at most"),
        ("recording.rows=0", r"recording\.rows is 0"),
        ("training.steps=${traning.steps}", r"training\.steps refers to traning\.steps, which there is not"),
        ("training.steps=${oc.env:NOPE}", "refers to the environment variable NOPE, which is not set"),
        ("seed=${seed}", "seed refers to itself; give it a value"),
        ("seed=${nope:3}", "seed refers to a resolver nope, which there is not"),
        ("seed=choice(choice(1,2),3)", "a choice cannot itself be|cannot be read"),
        *((f"{key}=1", "there is no key") for key in ELSEWHERE if key != "data_dir"),
    ],
)
def test_what_is_no_key_or_no_value_is_named_before_any_work(word, said):
    """Though a training from scratch needs no pre-training."""
    with pytest.raises(InputError, match=said) as caught:
        cfg = rwtl.compose("train", *SCRATCH, word)
        from rwtl.pipeline.known import check_sections

        try:
            check_sections(cfg)
            rwtl.training(cfg)
        except OmegaConfBaseException as error:
            raise told(error) from error
    assert "\n" not in str(caught.value) and "use +" not in str(caught.value)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["+ckpt_path=a.ckpt"], "error: there is no key ckpt_path; what it is elsewhere is here start_from=..."),
        (["-m", "+foo=1,2"], "error: there is no key foo; --help lists what there is"),
        (["-m", "seed=choice(4,8),9"], "error: seed=choice(4,8),9: a choice cannot itself be choice()"),
        (["-m", "seed=1,2", f"sweep={'a' * 300}"], "it must be a name of at most 100 letters"),
        (["-m", "seed=1,2", "sweep=../../x"], "error: sweep is '../../x'; it must be a name"),
        (["seed=${oc.env:NOPE}"], "error: seed refers to the environment variable NOPE, which is not set"),
    ],
)
def test_the_command_line_says_the_same(tmp_path, line, said):
    done = run("train", tmp_path, *SCRATCH, *line)
    assert done.returncode == 1 and said in done.stderr and "Traceback" not in done.stderr
    assert not any(tmp_path.iterdir())


def test_every_app_names_a_key_that_it_does_not_have(tmp_path):
    for app in ("simulate", "pretrain", "evaluate", "compare", "submit", "status", "skill", "displacements"):
        done = run(app, tmp_path, "+no_such_key=1")
        assert done.returncode == 1 and "error: there is no key no_such_key" in done.stderr, (app, done.stderr)


def test_values_of_ones_own_that_others_refer_to_are_keys():
    cfg = rwtl.compose(
        "train", *SCRATCH, "+mine=7", "seed=${mine}", "+paths.mine=/data", "paths.sintel=${paths.mine}/S"
    )
    assert cfg.seed == 7 and cfg.paths.sintel == "/data/S"


def test_what_an_option_of_hydra_refers_to_is_a_key(tmp_path):
    done = run("status", tmp_path, "train", *SCRATCH, "+mine=7", "hydra.job.name=${mine}")
    assert done.returncode == 0, done.stderr


def test_a_configuration_that_an_artifact_keeps_may_hold_keys_of_an_earlier_version(tmp_path):
    kept = OmegaConf.to_yaml(rwtl.compose("train", *SCRATCH)) + "earlier: 3\n"
    (tmp_path / "config.yaml").write_text(kept)
    recorded = (f"--config-path={tmp_path}", "--config-name=config")
    for line in ([], ["-m", "seed=1,2"]):
        done = run("status", tmp_path / "out", "train", *recorded, *line)
        assert done.returncode == 0, done.stderr


def test_what_users_name_themselves_may_be_added(tmp_path):
    row = "+comparison.conditions.mine={like: freeze_none, clips: {dt: 0.5}}"
    assert "mine" in rwtl.compose("compare", TINY, row).comparison.conditions
    assert "mine" in rwtl.compose("train", "+datasets.mine={name: procedural, size: 3}").datasets
    (tmp_path / "transfer").mkdir()
    (tmp_path / "transfer" / "own.yaml").write_text("name: own\nsource: null\nload: []\n")
    assert rwtl.compose("train", "transfer=own", config_dir=tmp_path).transfer.name == "own"


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("sweep=20261130", "sweep='20261130'"),
        ("paths.outputs=7", "paths.outputs='7'"),
        ("paths.outputs=007", "paths.outputs=007"),  # which Hydra takes for a text
        ("runs=true", "runs='true'"),
        ("checkpoint=1e5", "checkpoint='1e5'"),
        ("runs=null", "runs=null"),
        ("runs=[a,b]", "runs=[a,b]"),
        ("sweep=a1", "sweep=a1"),
        ("seed=1", "seed=1"),
    ],
)
def test_a_text_that_looks_like_a_number_stays_as_it_was_typed(word, text):
    assert as_texts(word) == text
    if "'" in text:
        assert parsed(text).value() == word.partition("=")[2]


def test_such_texts_from_the_command_line(tmp_path):
    done = run("status", "20261130", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = run("train", tmp_path, *SCRATCH, "-m", "seed=1,2", "sweep=20261130")
    assert done.returncode == 0 and (tmp_path / "sweeps" / "20261130" / "sweep.json").exists(), done.stderr


def test_overrides_may_stand_before_and_after_a_flag(tmp_path):
    done = run("status", tmp_path, "train", "seed=3", "-m", TINY, "transfer=scratch,freeze_none")
    assert done.returncode == 0 and "training: 2 to make" in done.stdout, done.stderr
    done = run("status", tmp_path, "train", "seed=3", "--mltirun", TINY)
    assert done.returncode == 2 and "unrecognized arguments: --mltirun" in done.stderr


def test_what_plays_no_part_is_said_once(tmp_path):
    said = "note: clips.dt has no effect: nothing that is made or used here reads it"
    for line in (["transfer=scratch"], ["-m", "transfer=scratch", "seed=1,2"]):
        done = run("status", tmp_path, "train", TINY, "clips.dt=0.25", *line)
        assert done.returncode == 0 and done.stderr.count(said) == 1, done.stderr
    for line in (["transfer=freeze_none"], ["-m", "transfer=scratch,freeze_none"]):
        done = run("status", tmp_path, "train", TINY, "clips.dt=0.25", *line)
        assert done.returncode == 0 and "no effect" not in done.stderr


def test_a_key_that_others_refer_to_plays_a_part():
    cfg = OmegaConf.create({"clips": {"dt": 1}, "training": {"steps": "${clips.dt}"}, "engine": {"name": "cpp"}})
    assert without_effect(["clips.dt", "engine", "training.steps", "seed"], {"training"}, cfg) == ["engine"]


def test_a_removal_of_what_cannot_be_is_an_error(tmp_path):
    done = run("status", tmp_path, "remove=failed", "state=complete")
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr == "error: state is complete, and remove failed: nothing is both; leave state out\n"
    assert run("status", tmp_path, "remove=failed", "state=failed").returncode == 0


def test_build_is_told_what_it_is_given():
    with pytest.raises(InputError, match=r"build is given a configuration; give it a plan, such as rwtl\.training"):
        rwtl.build(rwtl.compose("train", TINY))
    with pytest.raises(InputError, match="build is given a ndarray"):
        rwtl.build(np.zeros(3))


def test_settings_of_this_machine_that_land_in_the_wrong_place_are_told(tmp_path):
    (tmp_path / "local").mkdir()
    (tmp_path / "local" / "default.yaml").write_text("paths: {outputs: elsewhere}\n")
    done = run("status", tmp_path, "train", f"--config-dir={tmp_path}", *SCRATCH)
    assert done.returncode == 1
    assert "local/default.yaml sets nothing: its first line must be # @package _global_" in done.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("start_form: a.pt", "there is no key start_form; did you mean start_from?"),
        ("ckpt_path: a.pt", "there is no key ckpt_path; what it is elsewhere is here start_from=..."),
        ("paths: {data_dir: a}", "there is no key paths.data_dir; what it is elsewhere is here paths.datasets=..."),
        ("slurm: {partion: a}", "there is no key slurm.partion; did you mean slurm.partition?"),
        ("training: {step: 3}", "training.step: training has no such key"),
        ("own: 7\nseed: ${own}", ""),
        ("paths: {own: /data, sintel: '${paths.own}/S'}", ""),
    ],
)
def test_a_preset_of_ones_own_sets_keys_that_there_are(tmp_path, text, said):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(f"# @package _global_\n{text}\n")
    for line in ([], ["-m", "seed=1,2"]):
        done = run("status", tmp_path / "out", "train", f"--config-dir={tmp_path}", *SCRATCH, "experiment=mine", *line)
        assert done.returncode == bool(said) and said in done.stderr + done.stdout, done.stderr
    if said and not text.startswith("training"):
        with pytest.raises(InputError, match=re.escape(said)):
            rwtl.compose("train", "experiment=mine", config_dir=tmp_path)


def test_what_is_not_set_is_told_apart_from_what_does_not_exist():
    cfg = OmegaConf.create({"a": "???", "b": {"c": "${a}", "d": "${e}"}})
    with pytest.raises(NotSet, match=r"a is not set; give it on the command line as a=\.\.\."):
        setting(cfg, "a")
    with pytest.raises(NotSet, match="a is not set"):
        setting(cfg, "b.c")
    with pytest.raises(InputError, match=r"b\.d refers to e, which there is not"):
        setting(cfg, "b.d")
