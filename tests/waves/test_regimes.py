"""The presets show what their names say, on small lattices."""

import dataclasses
import gc
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from rwtl.sections import typed
from rwtl.waves import RecordingConfig, open_recording, simulate
from rwtl.waves.engines.cpp import CppEngine
from rwtl.waves.measure.statistics import wave_statistics
from rwtl.waves.measure.verdict import verdict

CONF = Path(__file__).parents[2] / "conf"
pytestmark = pytest.mark.slow


@pytest.fixture
def statistics_of(tmp_path):
    """Statistics of a preset, recorded on 64 × 64 cells from 30 to 90 s."""

    def record(preset, **changes):
        with initialize_config_dir(str(CONF), version_base="1.3"):
            values = OmegaConf.to_container(compose("simulate", overrides=[f"recording={preset}"]).recording)
        values.pop("kind", None)
        config = dataclasses.replace(
            typed(RecordingConfig, values, "recording"), **{"rows": 64, "columns": 64, "duration": 90.0} | changes
        )
        gc.collect()  # presets of one lattice then have one program, which is compiled once (see tests/compiler)
        simulate(config, CppEngine(threads=1, precision="float32"), tmp_path / "recording")
        return wave_statistics(open_recording(tmp_path / "recording"))

    return record


def test_rings(statistics_of):
    statistics = statistics_of("rings")
    assert verdict(statistics) == []
    assert statistics.quartiles_of(statistics.speeds * 50)[1] == pytest.approx(118, rel=0.05)
    assert 0.05 < statistics.activity.active_fraction.mean() < 0.12
    assert len(statistics.large_waves) > 3


def test_spirals_return_sooner_than_rings_and_never_rest(statistics_of):
    statistics = statistics_of("spirals", rows=96, columns=96, duration=75.0)
    assert statistics.quartiles_of(statistics.intervals)[1] == pytest.approx(27, abs=3)
    assert statistics.activity.active_fraction[100:].min() > 0.02


def test_near_synchrony(statistics_of):
    (warning,) = verdict(statistics_of("near_synchrony", rows=48, columns=48))
    assert warning.startswith("Synchronous")


def test_patches_stay_small(statistics_of):
    """What starts in one place spreads over a few cells, seldom over a hundredth of the lattice."""
    statistics = statistics_of("patches")
    assert statistics.onset_rate > 1
    assert statistics.waves.cells.median() < 10
    assert len(statistics.large_waves) < 0.1 * len(statistics.waves)
    assert statistics.waves.fraction.max() < 0.1


def test_silence(statistics_of):
    statistics = statistics_of("silence", rows=48, columns=48, duration=60.0)
    assert statistics.onset_rate == 0
    assert [warning.partition(":")[0] for warning in verdict(statistics)] == ["Silent"]
