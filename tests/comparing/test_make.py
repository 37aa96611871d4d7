"""Parts of a comparison that are made side by side, and the command by which a run is made again."""

import os
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from rwtl.comparing.make import build_side_by_side, raise_failures
from rwtl.comparing.report import again
from rwtl.config import CONF, resolved_yaml
from rwtl.errors import InputError
from rwtl.pipeline.artifact import Artifact
from rwtl.pipeline.flow_training import training


def part(outputs: Path, name: str) -> Artifact:
    """An artifact that says in which process it was made."""

    def make(folder: Path) -> None:
        if name == "bad":
            raise InputError("bad is no name; choose another")
        (folder / "process").write_text(str(os.getpid()))

    return Artifact("training", name, {"name": name}, make, outputs)


def side_by_side(outputs, *names):
    artifacts = {name: part(outputs, name) for name in names}
    tasks = {name: (part, (outputs, name)) for name in names}
    return artifacts, build_side_by_side("part", artifacts, tasks, 2)


@pytest.mark.slow
def test_what_is_complete_is_reused_here_and_the_rest_is_made_elsewhere(tmp_path, capfd):
    artifacts, failures = side_by_side(tmp_path, "one", "bad")
    assert int((artifacts["one"].path / "process").read_text()) != os.getpid()
    assert str(failures.pop("bad")) == "bad is no name; choose another" and not failures
    assert artifacts["bad"].state() == "failed"
    assert f"one: reused {artifacts['one'].path}" not in capfd.readouterr().out

    artifacts, failures = side_by_side(tmp_path, "two", "one")
    assert not failures and artifacts["two"].state() == "complete"
    said = capfd.readouterr().out
    assert f"two: making {artifacts['two'].path}" in said and f"one: making {artifacts['one'].path}" not in said
    assert "  part 1 of 2, one, finished\n" in said


def test_all_bad_input_is_one_error_and_what_nobody_expected_comes_first():
    raise_failures({})
    bad = {"one": InputError("is bad"), "two": InputError("is worse")}
    with pytest.raises(InputError, match=r"2 failed, the others are kept\. one: is bad; two: is worse"):
        raise_failures(bad)
    with pytest.raises(ZeroDivisionError):
        raise_failures(bad | {"three": ZeroDivisionError()})


LINES = {
    "a strategy": ["transfer=freeze_encoder", "clips.dt=2"],
    "several recordings": ["transfer=freeze_none", "clips.recordings=[{},{seed:1},{cell:{sigma:5}}]"],
    "a key of its own": ["transfer=freeze_none", "+recording.spread.V_L=0.5", "pretraining.seed=${seed}"],
}


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
def test_a_run_is_asked_for_again_by_the_configuration_that_it_keeps(line, tmp_path):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("evaluate", overrides=[*line, "seed=3"])
    planned = training(cfg)
    folder = tmp_path / planned.digest
    folder.mkdir()
    (folder / "config.yaml").write_text(resolved_yaml(cfg))
    command, said = again(folder)
    assert said == "It asks for the same artifact."
    assert command.startswith(f"rwtl train --config-path {folder} --config-name config ")
    (folder / "config.yaml").write_text(resolved_yaml(cfg).replace("seed: 3", "seed: 4"))
    assert again(folder)[1].startswith("It asks for another artifact")
