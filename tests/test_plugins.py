"""Plug-ins and registries: what users register, where it is known, and what it counts for."""

import importlib
import sys

import pytest
from tiny import TINY, run

import rwtl
from rwtl.flow.catalogue import FLOW_DATASETS
from rwtl.models.parts import VARIANTS, basic, small
from rwtl.pipeline.source_tasks import TASKS
from rwtl.registry import Registry

WIDE = """from dataclasses import replace
import rwtl
from rwtl.models.parts import small

@rwtl.register_variant("wide")
def wide():
    return replace(small(), widths=(48, 64, 96))
"""


@pytest.fixture(autouse=True)
def nothing_stays(monkeypatch):
    """What a test registers and imports, and where Python looks for it, is forgotten at its end."""
    before = set(sys.modules)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for registry in (VARIANTS, FLOW_DATASETS, TASKS):
        monkeypatch.setattr(registry, "_things", dict(registry._things))
        monkeypatch.setattr(registry, "_origins", dict(registry._origins))
    yield
    for name in set(sys.modules) - before:
        if not name.startswith("rwtl"):
            del sys.modules[name]


def planned(tmp_path, *plugins, overrides=("model.variant=wide",)):
    line = [TINY, "transfer=freeze_encoder", *overrides]
    return rwtl.training(rwtl.compose("train", *line, plugins=list(plugins), outputs=tmp_path / "outputs"))


def written(folder, text, name="wide_encoder.py"):
    (folder / name).write_text(text)
    return folder / name


def test_a_registry_takes_a_name_once_and_the_same_thing_again():
    things = Registry("thing")

    @things.register("one")
    def one():
        return 1

    first = one

    @things.register("one")
    def one():
        return 2

    assert things["one"] is one is not first and list(things) == ["one"]
    said = r"the thing one is test_plugins\..*one \(.*py\) already; give that of test_plugins\..*two \(.*py\) another"
    with pytest.raises(rwtl.InputError, match=said):

        @things.register("one")
        def two():
            return 2

    assert things["one"] is one
    with pytest.raises(rwtl.InputError, match="'a b' is registered; its name must be of letters"):
        things.register("a b")


def test_rwtls_own_are_registered_as_a_plug_ins_are():
    assert list(VARIANTS) == ["basic", "small"] and VARIANTS["small"] is small and VARIANTS["basic"] is basic
    assert list(TASKS) == ["next_frame", "wave_flow", "self_supervised"]
    assert not any(registry.code(name) for registry in (VARIANTS, TASKS, FLOW_DATASETS) for name in registry)
    with pytest.raises(rwtl.InputError, match=r"^the variant small is rwtl\.models\.parts\.small \(.*already"):
        rwtl.register_variant("small")(basic)
    with pytest.raises(rwtl.InputError, match=r"must be a subclass of rwtl\.flow\.sample\.FlowDataset"):
        rwtl.register_dataset("mine")(object)
    with pytest.raises(rwtl.InputError, match=r"must be a subclass of rwtl\.learning\.recipe\.Task"):
        rwtl.register_task("mine")(object)
    assert "mine" not in FLOW_DATASETS and "mine" not in TASKS


def test_the_text_of_a_plug_in_counts_in_the_digest_of_what_it_makes(tmp_path):
    file = written(tmp_path, WIDE)
    run = planned(tmp_path, file)
    assert planned(tmp_path, file).digest == run.digest
    ordinary = planned(tmp_path, overrides=())
    assert [each.digest for each in planned(tmp_path, file, overrides=()).ancestors()] == [
        each.digest for each in ordinary.ancestors()
    ]
    written(tmp_path, WIDE.replace("48", "40"))
    importlib.reload(sys.modules["wide_encoder"])
    changed = planned(tmp_path, file)
    differing = [a.kind for a, b in zip(run.ancestors(), changed.ancestors(), strict=True) if a.digest != b.digest]
    assert differing == ["pretraining", "training"]


def test_code_that_cannot_be_read_is_refused(tmp_path):
    exec(compile(WIDE, "<string>", "exec"), {"__name__": "nowhere"})
    with pytest.raises(rwtl.InputError, match=r"wide was registered by nowhere\.wide .*whose text cannot be read"):
        planned(tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import rwtl\n1 / 0\n", r"wide_encoder\.py, line 2: ZeroDivisionError: division by zero$"),
        ("import rwtl\n\ndef f(:\n", r"wide_encoder\.py, line 3: SyntaxError: invalid syntax$"),
        ("import nothing_of_this_name\n", r"wide_encoder\.py, line 1: ModuleNotFoundError: No module named"),
        (
            WIDE.replace('"wide"', '"small"'),
            r"wide_encoder\.py, line 5: the variant small is rwtl\.models\.parts\.small",
        ),
    ],
)
def test_a_plug_in_that_fails_is_said_with_file_and_line(tmp_path, text, said):
    with pytest.raises(rwtl.InputError, match=said):
        planned(tmp_path, written(tmp_path, text))


def test_plug_ins_that_are_not_there_or_hidden_are_named(tmp_path):
    for plugin, said in [
        (tmp_path / "none.py", r"^plugins names .*none\.py, but there is no such file in "),
        ("no.such_module", r"^plugins names no\.such_module, which Python does not find; give a file"),
        (
            written(tmp_path, WIDE, "json.py"),
            r"json\.py, but Python imports .*json/__init__\.py as json; give the file another name",
        ),
        (written(tmp_path, WIDE, "my-encoder.py"), r"my-encoder\.py; name the file as a Python module"),
    ]:
        with pytest.raises(rwtl.InputError, match=said):
            planned(tmp_path, plugin)
    with pytest.raises(rwtl.InputError, match=r"^plugins is 'wide\.py'; give a list"):
        rwtl.training(rwtl.compose("train", "plugins=wide.py"))


def test_a_variant_that_is_no_parts_and_one_that_is_unknown(tmp_path):
    written(tmp_path, WIDE.replace("replace(small(), widths=(48, 64, 96))", "None"))
    with pytest.raises(rwtl.InputError, match=r"variant wide returns a NoneType; it must return Parts"):
        planned(tmp_path, tmp_path / "wide_encoder.py")
    with pytest.raises(rwtl.InputError, match=r"^model\.variant is 'wider'; choose one of basic, small"):
        planned(tmp_path, overrides=["model.variant=wider"])


def test_keys_that_kind_alone_leaves_of_another_preset_are_passed_over_unless_somebody_set_them(tmp_path):
    from rwtl.learning.recipe import Task

    class Nothing(Task):
        pass

    rwtl.register_task("nothing")(Nothing)
    (pretraining,) = planned(tmp_path, overrides=["pretraining.kind=nothing"]).parents.values()
    assert pretraining.values["pretraining"]["kind"] == "nothing" and "decoder" not in pretraining.values["pretraining"]
    with pytest.raises(
        rwtl.InputError, match=r"^pretraining\.decoder: pretraining has no such key; its keys are steps"
    ):
        planned(tmp_path, overrides=["pretraining.kind=nothing", "pretraining.decoder=direct"])


@pytest.mark.slow
def test_an_app_ends_with_one_line_where_a_plug_in_fails(tmp_path):
    file = written(tmp_path, "import rwtl\nraise RuntimeError('no GPU here')\n", "broken.py")
    for line in (["seed=1"], ["-m", "sweep=two", "seed=1,2"]):
        done = run("train", tmp_path / "outputs", *line, f"plugins=[{file}]")
        assert done.returncode == 1 and "broken.py, line 2: RuntimeError: no GPU here" in done.stderr
        assert "Traceback" not in done.stderr
    assert not (tmp_path / "outputs" / "training").exists()
