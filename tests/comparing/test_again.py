"""The command by which a run is made again."""

import pytest
from hydra import compose, initialize_config_dir

from rwtl.comparing.report import again
from rwtl.config import CONF, resolved_yaml
from rwtl.pipeline.flow_training import training

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
