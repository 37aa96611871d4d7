"""What is simulated, and that the compiled program simulates it."""

import dataclasses
import gc
import tempfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from brian2 import prefs
from brian2.devices.device import get_device, runtime_device
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from rwtl.errors import InputError
from rwtl.sections import typed
from rwtl.waves import RecordingConfig, SacParameters, open_recording, simulate
from rwtl.waves.engines import engine_of
from rwtl.waves.engines.cpp import CppEngine
from rwtl.waves.engines.runtime import RuntimeEngine
from rwtl.waves.model.state import StartConfig
from rwtl.waves.model.tissue import CouplingConfig
from rwtl.waves.simulation import Engine, first_snapshot
from rwtl.waves.store import SAC
from rwtl.waves.synthetic import GENERATORS

CONFIG = RecordingConfig(
    rows=12,
    columns=20,
    spacing=50.0,
    duration=3.1,
    transient=0.1,
    time_step=2e-4,
    frame_interval=0.02,
    seed=3,
    cell=SacParameters(sigma=5.0, I_ext=20.0),
)
CONF = Path(__file__).parents[2] / "conf"


@pytest.fixture(autouse=True)
def the_same_names_again():
    """A program of the same lattice is then, but for its constants, the same text, and not compiled again."""
    forget()


def forget():
    """Let go of Brian2's objects: new ones have other names as long as there are old ones."""
    gc.collect()


def record(path: Path, config: RecordingConfig, threads: int = 1) -> np.ndarray:
    simulate(config, CppEngine(threads=threads, precision="float32"), path)
    recording = open_recording(path)
    return recording.frames(0, recording.valid_frames)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("recordings")


@pytest.fixture(scope="module")
def heard():
    """Every call of the progress function during the simulation of `frames`."""
    return []


@pytest.fixture(scope="module")
def frames(folder, heard):
    simulate(CONFIG, CppEngine(threads=1, precision="float32"), folder / "one", progress=heard.append)
    return open_recording(folder / "one").frames(0, 150)


@pytest.mark.slow
def test_a_recording_is_described_and_complete(frames, folder):
    recording = open_recording(folder / "one")
    assert recording.complete
    assert (recording.valid_frames, recording.shape) == (150, (12, 20))
    assert (recording.frame_interval, recording.spacing) == (0.02, 50.0)
    assert recording.time_of(0) == pytest.approx(0.12)
    assert recording.time_of(149) == pytest.approx(3.1)


def test_cells_burst(frames):
    assert frames.min() > 40
    assert 300 < frames.max() < 1000
    assert frames.std() > 50


def test_progress_counts_the_whole_duration(frames, heard):
    np.testing.assert_allclose(heard, 0.02 * np.arange(1, 156))


@pytest.mark.parametrize(
    ("engine", "tolerance"),
    [
        (CppEngine(2, "float64"), 0.02),
        (RuntimeEngine("numpy", "float64"), 0.02),
        (RuntimeEngine("numpy", "float32"), 0.02),
        pytest.param(RuntimeEngine("cython", "float64"), 0.02, marks=pytest.mark.slow),
    ],
)
def test_every_engine_gives_the_same_frames_to_rounding(frames, engine, tolerance):
    """The noise included: after 0.2 s, when calcium already differs between cells."""
    config = dataclasses.replace(CONFIG, duration=0.2, frame_interval=0.1)
    _, last = engine.frames(config, first_snapshot(config))
    assert np.ptp(last.calcium) > 1
    np.testing.assert_allclose(last.calcium, frames[4], atol=tolerance)
    assert prefs.core.default_float_dtype is np.float64


@pytest.mark.parametrize(
    ("engine", "at"),
    [
        pytest.param(CppEngine(1, "float32"), [26, 90], marks=pytest.mark.slow),
        pytest.param(CppEngine(2, "float64"), [26, 90], marks=pytest.mark.slow),
        pytest.param(RuntimeEngine("numpy", "float64"), [6], marks=pytest.mark.slow),
    ],
)
def test_a_simulation_that_goes_on_from_a_snapshot_gives_the_same_bits(engine, at):
    """With everything that differs from cell to cell or has a state: noise, spread, bias, an interval of odd length."""
    config = dataclasses.replace(
        CONFIG,
        duration=0.0014 * (at[-1] + 4),
        transient=0.0014 * at[0],
        frame_interval=0.0014,
        spread={"g_A": 0.01, "I_ext": 1.0},
        coupling=CouplingConfig(neighbours=8, boundary="periodic", bias=[0.2, 0.1]),
        start=StartConfig(kind="smooth_random"),
    )
    whole = list(engine.frames(config, first_snapshot(config)))
    snapshots = [frame.snapshot for frame in whole if frame.snapshot is not None]
    assert [snapshot.frame for snapshot in snapshots] == at
    for snapshot in snapshots:
        forget()
        rest = list(engine.frames(config, snapshot))
        assert [frame.number for frame in rest] == list(range(snapshot.frame + 1, at[-1] + 5))
        for ours, theirs in zip(rest, whole[snapshot.frame :], strict=True):
            assert ours.calcium.tobytes() == theirs.calcium.tobytes()
    assert np.ptp(whole[-1].calcium) > 1


@pytest.mark.slow
def test_two_threads_give_the_same_frames_and_nothing_is_left_behind(frames, folder, tmp_path, monkeypatch):
    """A second simulation in the same process, which ends at another time."""
    # A folder of its own: tests that run beside this one build programs in the shared one.
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    shorter = dataclasses.replace(CONFIG, duration=2.1)
    np.testing.assert_array_equal(record(folder / "two", shorter, threads=2), frames[:100])
    assert get_device() is runtime_device
    assert prefs.core.default_float_dtype is np.float64
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_long_simulation_refreshes_the_input_before_the_step():
    """Far from time 0 the clocks' times are no exact multiples of the step any more; a simulation that goes on from a
    snapshot counts anew from 0, and must do the same."""
    config = dataclasses.replace(CONFIG, time_step=50 * 1e-6, frame_interval=0.5, transient=70.0, duration=74.0)
    engine = CppEngine(1, "float32")
    whole = list(engine.frames(config, first_snapshot(config)))
    forget()
    rest = list(engine.frames(config, whole[139].snapshot))
    assert [frame.calcium.tobytes() for frame in rest] == [frame.calcium.tobytes() for frame in whole[140:]]


def test_another_seed_gives_other_frames(frames, folder):
    other = record(folder / "other", dataclasses.replace(CONFIG, seed=4, duration=0.6))
    assert np.abs(other - frames[:25]).max() > 1


def test_a_missing_compiler_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(InputError, match=r"no-such-compiler not found: install a C\+\+ compiler"):
        simulate(CONFIG, CppEngine(threads=1, precision="float32"), tmp_path / "recording")


def test_a_program_that_does_not_compile_is_reported(tmp_path, monkeypatch):
    compiler = tmp_path / "broken-compiler"
    compiler.write_text("#!/bin/sh\necho 'no space in the tool shed' >&2\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    with pytest.raises(InputError, match=r"does not compile:(.|\n)*tool shed"):
        simulate(CONFIG, CppEngine(threads=1, precision="float32"), tmp_path / "recording")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"duration": -1.0}, r"duration is -1\.0"),
        ({"rows": 0}, r"rows is 0"),
        ({"spacing": float("nan")}, r"spacing is nan"),
        ({"seed": -1}, r"seed is -1"),
        ({"transient": 3.1}, r"transient is 3\.1 s.*duration, 3\.1 s"),
        ({"time_step": 5e-4}, r"time_step is 0\.5 ms; above 0\.275 ms .*not integrated stably by the method midpoint"),
        ({"method": "euler"}, r"method is 'euler'; choose one of midpoint, rk4"),
        ({"lattice_seed": -1}, r"lattice_seed is -1"),
        ({"frame_interval": 0.0203}, r"frame_interval is 0\.0203 s.*time_step, 0\.0002 s"),
        ({"duration": 3.11}, r"duration is 3\.11 s.*frame_interval, 0\.02 s"),
        ({"transient": 0.11}, r"transient is 0\.11 s.*frame_interval, 0\.02 s"),
    ],
)
def test_impossible_values_are_refused(changes, message):
    with pytest.raises(InputError, match=rf"recording\.{message}"):
        dataclasses.replace(CONFIG, **changes)


def test_an_engine_needs_a_thread():
    with pytest.raises(InputError, match=r"engine\.threads is 0"):
        CppEngine(threads=0, precision="float32")


SIMULATED = sorted({file.stem for file in (CONF / "recording").glob("*.yaml")} - set(GENERATORS))


def recording_section(*overrides: str) -> dict:
    """The values of a section `recording` that is simulated, without its kind."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        values = OmegaConf.to_container(compose("simulate", overrides=list(overrides)).recording, resolve=True)
    assert values.pop("kind", SAC) == SAC
    return values


def test_the_default_config_is_the_default_values():
    values = recording_section()
    assert set(values) == {field.name for field in dataclasses.fields(RecordingConfig)}
    assert typed(RecordingConfig, values, "recording").cell == SacParameters()
    assert not any(values["spread"].values())
    others = {name: values[name] for name in ("method", "coupling", "start", "lattice_seed")}
    plain = dataclasses.asdict(CONFIG)
    assert others == {name: plain[name] for name in others}


@pytest.mark.parametrize("preset", SIMULATED)
@pytest.mark.parametrize("cell", sorted(file.stem for file in (CONF / "recording" / "cell").glob("*.yaml")))
def test_every_preset_is_a_recording_with_either_cell(preset, cell):
    config = typed(RecordingConfig, recording_section(f"recording={preset}", f"recording/cell={cell}"), "recording")
    assert (config.cell.g_C, config.cell.V_L) == {"g12_v72": (12, -72), "g10_v70": (10, -70)}[cell]


@pytest.mark.parametrize("preset", sorted(file.stem for file in (CONF / "engine").glob("*.yaml")))
def test_every_engine_preset_is_an_engine(preset):
    values = yaml.safe_load((CONF / "engine" / f"{preset}.yaml").read_text())
    if values["name"] == "cuda":
        pytest.importorskip("brian2cuda", reason="the engine cuda needs the extra rwtl[cuda]")
    assert isinstance(engine_of(values), Engine)


def test_an_unknown_engine_is_refused():
    with pytest.raises(InputError, match=r"engine\.name is 'abacus'; choose one of cpp, cuda, runtime"):
        engine_of({"name": "abacus"})
    with pytest.raises(InputError, match=r"engine\.target is 'weave'; choose one of cython, numpy"):
        engine_of({"name": "runtime", "target": "weave", "precision": "float64"})
    with pytest.raises(InputError, match=r"engine\.precision is 'half'; choose one of float32, float64"):
        engine_of({"name": "runtime", "target": "numpy", "precision": "half"})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"row": 3}, r"^recording\.row: recording has no such key; its keys are rows, columns"),
        ({"rows": 3.5}, r"^recording\.rows is 3\.5; it must be a whole number"),
        ({"duration": "long"}, r"^recording\.duration is 'long'; it must be a number"),
        ({"cell": {"g_a": 0.1}}, r"^recording\.cell\.g_a: recording\.cell has no such key; its keys are C_m, g_L"),
        ({"cell": {"g_A": None}}, r"^recording\.cell\.g_A is not set; give it a value"),
        ({"cell": 3}, r"^recording\.cell is 3; it must be a section of keys and values"),
    ],
)
def test_a_config_with_a_wrong_key_is_refused(changes, message):
    values = dataclasses.asdict(CONFIG) | changes
    with pytest.raises(InputError, match=message):
        typed(RecordingConfig, values, "recording")
