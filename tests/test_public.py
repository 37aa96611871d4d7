"""What `import rwtl` gives: light, complete, as its docstrings and README say, and inside a notebook's event loop."""

import asyncio
import doctest
import inspect
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny import ROOT, TINY

import rwtl
from rwtl.clips.config import ClipsConfig
from rwtl.flow.catalogue import FLOW_DATASETS
from rwtl.flow.files import write_flo
from rwtl.learning.tasks.next_frame import PretrainingRecipe
from rwtl.models.parts import VARIANTS
from rwtl.pipeline.source_tasks import TASKS
from rwtl.sections import typed
from rwtl.sweeps.jobs import Job, write_sweep

HEAVY = {"torch", "brian2", "pytorch_lightning", "numpy", "pandas", "hydra", "omegaconf", "pydantic", "zarr"}
# Later examples use what earlier ones made.
ORDER = [
    "compose",
    "training",
    "recording",
    "pretraining",
    "build",
    "build_all",
    "open_artifact",
    "evaluation",
    "open_dataset",
]
ORDER += ["load_raft", "evaluate", "transfer", "RecordingConfig", "simulate", "open_recording", "wave_statistics"]
ORDER += ["WaveClips", "find_runs", "compare", "comparison", "register_variant", "register_dataset", "register_task"]
ORDER += ["Task", "InputError"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder to work in, where two trainings are made and a recording is simulated, once."""
    folder = tmp_path_factory.mktemp("public")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


@pytest.fixture
def registries():
    """Forget at the end what a test registers."""
    registries = (VARIANTS, FLOW_DATASETS, TASKS)
    kept = [(registry, dict(registry._things), dict(registry._origins)) for registry in registries]
    yield
    for registry, things, origins in kept:
        registry._things, registry._origins = things, origins


def in_an_event_loop(function):
    """Call a function as a notebook does: while an event loop runs."""

    async def cell():
        return function()

    return asyncio.run(cell())


def test_importing_is_light_and_names_are_loaded_on_first_use():
    code = "import sys, rwtl; print(*sys.modules); print(*dir(rwtl)); rwtl.InputError; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    loaded, names, on_use = done.stdout.splitlines()
    assert not HEAVY & set(loaded.split()) and "rwtl.errors" not in loaded.split()
    assert set(ORDER) <= set(names.split()) and "rwtl.errors" in on_use.split()


def test_every_name_is_there_and_none_is_hidden_by_a_module():
    assert sorted(rwtl.__all__) == sorted(ORDER)
    modules = {path.stem for path in (ROOT / "rwtl").glob("*.py")} | {
        path.parent.name for path in (ROOT / "rwtl").glob("*/__init__.py")
    }
    assert not modules & set(rwtl.__all__), "importing the module would take the name's place"
    for name in rwtl.__all__:
        assert not inspect.ismodule(getattr(rwtl, name))
    with pytest.raises(AttributeError):
        rwtl.trainings  # noqa: B018


class Progress(doctest.OutputChecker):
    """An example without expected output may print its progress."""

    def check_output(self, want, got, flags):
        return not want or super().check_output(want, got, flags)


@pytest.mark.slow
def test_every_docstring_has_an_example_that_works(folder, registries):
    names = {"rwtl": rwtl, "Path": Path}
    runner = doctest.DocTestRunner(Progress(), optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    failures = []

    def examples_of(name):
        examples = doctest.DocTestParser().get_doctest(inspect.getdoc(getattr(rwtl, name)), names, name, None, 0)
        assert examples.examples, f"{name} has no example"
        assert len(examples.examples) <= 6
        runner.run(examples, clear_globs=False, out=failures.append)
        names.update(examples.globs)

    def all_examples():
        for name in ORDER:
            if name == "find_runs":
                rwtl.build(rwtl.training(rwtl.compose("train", "transfer=scratch", TINY, seed=1, outputs="outputs")))
            examples_of(name)

    in_an_event_loop(all_examples)
    assert not failures, "".join(failures)


@pytest.mark.slow
def test_the_code_of_the_readme_works(folder, monkeypatch):
    (code,) = re.findall(r"```python\n(import rwtl.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    for file in ("clean/alley_1/frame_0001.png", "clean/alley_1/frame_0002.png", "flow/alley_1/frame_0001.flo"):
        path = folder / "Sintel" / "training" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".png":
            Image.fromarray(np.zeros((32, 40, 3), np.uint8)).save(path)
        else:
            write_flo(path, np.ones((2, 32, 40), np.float32))
    planned = {
        name: rwtl.training(rwtl.compose("train", f"transfer={name}", TINY, seed=1, outputs="outputs"))
        for name in ("scratch", "freeze_encoder")
    }
    jobs = [Job(number, [], run) for number, run in enumerate(planned.values())]
    write_sweep(folder / "outputs" / "sweeps" / "first", "train", jobs, ended=True)
    smaller = {
        '"clips.dt=2"': '"debug=tiny"',
        "rows=96, columns=96, duration=120": "rows=24, columns=24, duration=6, transient=1",
        "dt=1.0, length=3, crop=64": "dt=0.5, length=3, crop=16, gap=0, active=[0, 1]",
        "raft-things.pth": str(planned["scratch"].path / "model.pt"),
        "outputs/pretraining/5ea0edbb112e": str(planned["freeze_encoder"].parents["pretraining"].path),
        "/data/Sintel": str(folder / "Sintel"),
    }
    for text, other in smaller.items():
        assert text in code
        code = code.replace(text, other)
    rwtl.build(planned["scratch"])
    made = {}
    in_an_event_loop(lambda: exec(code, made))
    assert made["run"].state() == "complete" and made["report"].frozen and len(made["errors"]) == 1
    assert set(made["comparison"].summary.row) == {"scratch", "freeze_encoder"} and made["comparison"].report.is_file()
    assert len(made["clips"]) and "speed" in made["waves"].waves


NOTEBOOK = """
import asyncio, sys, rwtl
async def cell():
    overrides = [*sys.argv[2:], "transfer=scratch", "trainer.data_workers=1"]
    planned = [rwtl.training(rwtl.compose("train", *overrides, seed=seed, outputs=sys.argv[1])) for seed in (1, 2)]
    print([run.state() for run in rwtl.build_all(planned, jobs=2)])

asyncio.run(cell())
"""


@pytest.mark.slow
def test_processes_start_from_a_notebook_whose_main_module_is_no_file(tmp_path):
    command = [sys.executable, "-c", NOTEBOOK, str(tmp_path / "outputs"), TINY]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "['complete', 'complete']" in done.stdout and "train scratch seed 1: 4/4 steps" in done.stderr


def section(app, name, *overrides):
    cfg = rwtl.compose(app, *overrides)
    return {key: value for key, value in cfg[name].items() if key != "kind"}


def test_defaults_of_classes_are_those_of_the_presets():
    recording = section("simulate", "recording")
    recording["spread"] = {key: value for key, value in recording["spread"].items() if value}
    for cls, values in (
        (rwtl.RecordingConfig, recording),
        (ClipsConfig, section("pretrain", "clips")),
        (PretrainingRecipe, section("pretrain", "pretraining")),
    ):
        plain = {key: typed_value(value) for key, value in values.items()}
        assert typed(cls, plain, "section") == cls(), cls


def typed_value(value):
    from omegaconf import OmegaConf

    return OmegaConf.to_container(value) if OmegaConf.is_config(value) else value


@pytest.mark.parametrize(
    ("app", "overrides", "keys", "said"),
    [
        ("trian", [], {}, r"^there is no app trian; choose one of compare, .*train$"),
        ("train", ["transfer=frozen"], {}, r"^train: .*Could not find 'transfer/frozen'; .*: all_parts, both_encoders"),
        ("train", ["clips.dtt=2"], {}, r"^train: there is no key clips\.dtt; did you mean clips\.dt\?$"),
        ("train", [], {"sed": 1}, r"^train: there is no key sed; did you mean seed\?$"),
        (
            "train",
            ["transfer"],
            {},
            r"^transfer cannot be read \(missing EQUAL at '<EOF>'\); of several values each is a plain one",
        ),
        ("train", [], {"config_dir": "nowhere"}, r"^config_dir is nowhere; give a folder of presets"),
    ],
)
def test_what_cannot_be_composed_is_said_in_one_line(app, overrides, keys, said):
    with pytest.raises(rwtl.InputError, match=said) as raised:
        rwtl.compose(app, *overrides, **keys)
    assert "\n" not in str(raised.value)


def test_values_of_python_and_presets_of_ones_own(tmp_path):
    (tmp_path / "transfer").mkdir()
    (tmp_path / "transfer" / "mine.yaml").write_text("name: it's mine\n")
    cfg = rwtl.compose(
        "train",
        transfer="mine",
        clips={"active": [0.0, 0.5], "calcium_range": None},
        start_from=Path("it's/a file.pt"),
        training={"learning_rate": 1e-5, "freeze_batchnorm_statistics": True},
        outputs=tmp_path,
        config_dir=tmp_path,
    )
    assert (cfg.transfer.name, cfg.clips.calcium_range, cfg.training.learning_rate) == ("it's mine", None, 1e-5)
    assert (cfg.start_from, cfg.paths.outputs, list(cfg.clips.active)) == ("it's/a file.pt", str(tmp_path), [0.0, 0.5])


def test_composing_works_twice_and_within_a_run_of_hydra(tmp_path):
    program = tmp_path / "app.py"
    program.write_text(
        "import hydra, rwtl\n"
        f"@hydra.main(version_base='1.3', config_path={str(ROOT / 'conf')!r}, config_name='simulate')\n"
        "def main(cfg):\n"
        "    print([rwtl.compose('train', seed=seed).seed for seed in (3, 4)])\n"
        "    print(hydra.core.global_hydra.GlobalHydra.instance().is_initialized())\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.splitlines() == ["[3, 4]", "True"], done.stderr


def test_a_plan_says_that_it_is_to_be_built(tmp_path):
    run = rwtl.training(rwtl.compose("train", "transfer=scratch", TINY, outputs=tmp_path))
    with pytest.raises(rwtl.InputError, match=r"^training scratch seed 1 is missing, not complete; make it"):
        run.curve  # noqa: B018
    with pytest.raises(rwtl.InputError, match="is no folder of an artifact"):
        rwtl.open_artifact(tmp_path)


def test_arguments_that_are_wrong_are_named(tmp_path):
    config = rwtl.RecordingConfig(rows=8, columns=8, duration=6, transient=1)
    with pytest.raises(rwtl.InputError, match=r"^engine is 'fortran'; choose one of cpp, cuda, cython, numpy$"):
        rwtl.simulate(config, tmp_path / "waves.zarr", engine="fortran")
    with pytest.raises(rwtl.InputError, match=r"^freeze is 'all'; choose one of None, encoder, batchnorm"):
        rwtl.transfer(None, source="model.pt", freeze="all")
    with pytest.raises(rwtl.InputError, match=r"^clips\.croop: clips has no such key; its keys are "):
        rwtl.WaveClips(["waves.zarr"], croop=8)
    with pytest.raises(rwtl.InputError, match="there are no runs to compare"):
        rwtl.compare([])
