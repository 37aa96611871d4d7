"""Entries of a section that are like others, presets that lie over others, and words of earlier versions."""

import re
import warnings

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from rwtl import composition
from rwtl.composition import presets
from rwtl.config import CONF, entry, expanded, outputs_folder, overrides_at_home, path_of, setting
from rwtl.errors import InputError
from rwtl.flow.catalogue import catalogue, of_catalogue
from rwtl.retired import require_current


def composed(app, *overrides):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(app, overrides=list(overrides))


def test_an_entry_is_laid_over_the_one_that_it_is_like():
    first = {"x": {"p": 1, "q": [2, 3]}, "y": 4}
    entries = {"a": first, "b": {"like": "a", "x": {"q": [5]}}, "c": {"like": "b", "y": 6}}
    laid = {"a": first, "b": {"x": {"p": 1, "q": [5]}, "y": 4}, "c": {"x": {"p": 1, "q": [5]}, "y": 6}}
    assert expanded(entries, "section") == laid
    assert expanded(laid, "section") == laid


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"a": {"like": "c"}, "b": {}}, "datasets.a.like is c; choose one of b"),
        ({"a": {"like": "b"}, "b": {"like": "a"}}, "datasets.b.like is a, which is like b itself; name another"),
        ({"a": {"like": "a"}}, "datasets.a.like is a, which is like a itself; name another"),
        ({"a": {"like": ["b"]}, "b": {}}, "datasets.a.like is ['b']; choose one of b"),
    ],
)
def test_an_entry_that_is_like_none_is_refused(entries, said):
    with pytest.raises(InputError, match=re.escape(said)):
        expanded(entries, "datasets")


def test_scenes_of_validation_follow_those_of_training():
    cfg = composed("train", "datasets.procedural_training.height=32", "+datasets.procedural_validation.width=64")
    entry = catalogue(cfg, ["procedural_validation"])["procedural_validation"]
    assert (entry["height"], entry["width"], entry["split"], entry["size"]) == (32, 64, "validation", 24)
    assert set(entry) == set(cfg.datasets.procedural_training) and "like" not in entry


def test_only_what_is_named_needs_its_paths():
    cfg = composed("train", "paths.folder_validation=/data/mine", "datasets.folder.flow=*.pfm")
    entry = catalogue(cfg, ["folder_validation"])["folder_validation"]
    assert (entry["root"], entry["flow"]) == ("/data/mine", "*.pfm")
    with pytest.raises(InputError, match=r"paths\.folder is not set"):
        catalogue(composed("train"), ["folder"])


def test_presets_lie_over_others_as_hydra_says(tmp_path, monkeypatch):
    presets.cache_clear()
    with warnings.catch_warnings(action="error"):  # such as Hydra's of a file without `_self_`
        presets("transfer")
    assert presets("transfer")["slow_encoder"] == presets("transfer")["freeze_none"] | {
        "name": "slow_encoder",
        "loaded_learning_rate": 0.1,
    }
    (tmp_path / "transfer").mkdir()
    (tmp_path / "transfer" / "a.yaml").write_text("defaults: [b, _self_]\nname: a\nrate: 1e-1\n")
    (tmp_path / "transfer" / "b.yaml").write_text("name: b\nsize: 2\n")
    (tmp_path / "transfer" / "empty.yaml").write_text("# nothing\n")
    monkeypatch.setattr("rwtl.composition.CONF", tmp_path)
    presets.cache_clear()
    try:
        assert presets("transfer")["a"] == {"name": "a", "rate": 0.1, "size": 2}
        assert presets("transfer")["empty"] == {}
        (tmp_path / "transfer" / "b.yaml").write_text("name: [b\n")
        presets.cache_clear()
        with pytest.raises(InputError, match=r"transfer/[ab]\.yaml cannot be read: "):
            presets("transfer")
    finally:
        presets.cache_clear()


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("comparison=controls", "comparison=controls is of an earlier version; write experiment=controls"),
        ("training=things", "training=things is of an earlier version; write experiment=things"),
        (
            "training=chairs_mixed",
            "; write experiment=chairs recipe=mixed",
        ),
        ("experiment=kitti_mixed", "; write experiment=kitti recipe=mixed"),
        (
            "transfer=scratch,shuffled",
            "transfer=shuffled is of an earlier version; write transfer=freeze_none transfer.",
        ),
        ("+transfer@comparison.conditions.c.transfer=shuffled_frozen", "; write transfer=freeze_encoder transfer."),
        ("comparison.axes=[transfer,clips]", "comparison.axes is of an earlier version; leave it out: rows may differ"),
        ("analysis=default", "analysis=default is of an earlier version; leave it out"),
    ],
)
def test_a_word_of_an_earlier_version_is_told_its_new_name(word, said):
    with pytest.raises(InputError, match=re.escape(said)):
        require_current(["seed=1", word])


def test_words_of_today_pass():
    require_current(
        ["training=short", "transfer=scratch,freeze_none", "a=[1,{b: c}]", "a={b: ${d}}", "a=interval(0,1)", "="]
    )


def test_recipes_of_a_schedule_are_chosen_by_one_word():
    with pytest.raises(InputError, match=r"training\.steps refers to recipes\.mxed\.steps, which there is not"):
        setting(composed("train", "experiment=chairs", "recipe=mxed"), "training")


def test_settings_of_ones_own_machine_are_read_and_the_command_line_is_stronger(tmp_path):
    (tmp_path / "local").mkdir()
    (tmp_path / "local" / "default.yaml").write_text(
        "# @package _global_\npaths: {outputs: /scratch}\nslurm: {partition: gpu}\ntrainer: {threads: 7}\n"
    )
    own = f"hydra.searchpath=[file://{tmp_path}]"
    with initialize_config_dir(str(CONF), version_base="1.3"):
        for app in ("simulate", "train", "compare", "status", "submit", "displacements"):
            cfg = compose(app, [own, "slurm.account=lab"], return_hydra_config=True)
            assert (cfg.paths.outputs, cfg.slurm.partition, cfg.slurm.account) == ("/scratch", "gpu", "lab"), app
        cfg = compose("train", [own, "hydra/launcher=slurm", "trainer.threads=2"], return_hydra_config=True)
    assert (cfg.hydra.launcher.partition, cfg.hydra.launcher.qos, cfg.trainer.threads) == ("gpu", None, 2)


def test_an_error_of_a_data_set_names_the_key_that_is_typed(tmp_path):
    def said(name, *overrides):
        cfg = composition.compose("evaluate", f"evaluation.datasets=[{name}]", *overrides)
        with pytest.raises(InputError) as caught:
            of_catalogue(name, catalogue(cfg, [name]))
        return str(caught.value)

    nowhere, empty = tmp_path / "nowhere", tmp_path / "empty"
    empty.mkdir()
    assert said("sintel_clean", f"paths.sintel={nowhere}").startswith(
        f"paths.sintel leads to {nowhere}/training/clean: no"
    )
    own = "datasets.sintel_clean.root"
    assert said("sintel_clean", f"{own}={nowhere}").startswith(
        f"{own} leads to {nowhere}/training/clean: no such folder"
    )
    assert said("flying_chairs", f"paths.flying_chairs={empty}").startswith(
        f"paths.flying_chairs is {empty}: no Flying"
    )
    assert said("folder_validation", f"paths.folder_validation={nowhere}").startswith(
        "paths.folder_validation leads to"
    )
    pattern = "datasets.folder.image1"
    assert said("folder", f"paths.folder={empty}", f"{pattern}=a.png").startswith(
        f"{pattern} is 'a.png'; a pattern needs"
    )
    (empty / "1_img1.ppm").touch(), (empty / "1_img2.ppm").touch(), (empty / "1_flow.flo").touch()
    split = said("flying_chairs_training", f"paths.flying_chairs={empty}")
    assert split.startswith(f"datasets.flying_chairs_training.split_file is null and {empty} holds no file that splits")


def test_a_path_that_begins_with_a_tilde_is_in_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    typed = ["paths.datasets=~/data", "checkpoint=~", "plugins=[~/a.py,~/b.py]", "transfer.name=a~/b", "~logger"]
    assert overrides_at_home(typed) == [
        f"paths.datasets={tmp_path}/data",
        f"checkpoint={tmp_path}",
        f"plugins=[{tmp_path}/a.py,{tmp_path}/b.py]",
        *typed[3:],
    ]
    cfg = OmegaConf.create({"paths": {"datasets": "~/data", "sintel": "${paths.datasets}/Sintel", "name": "~x"}})
    cfg.datasets = {"sintel": {"root": "${paths.sintel}", "files": ["~/a", 1]}}
    assert path_of(cfg, "paths.sintel") == tmp_path / "data" / "Sintel" and setting(cfg, "paths.name") == "~x"
    assert entry(cfg, "datasets", "sintel") == {"root": f"{tmp_path}/data/Sintel", "files": [f"{tmp_path}/a", 1]}
    made = composition.compose("evaluate", "paths.datasets=~/data", outputs="~/outputs", checkpoint="~/model.pt")
    assert setting(made, "datasets.kitti.root") == f"{tmp_path}/data/KITTI"
    assert outputs_folder(made) == tmp_path / "outputs" and path_of(made, "checkpoint") == tmp_path / "model.pt"
