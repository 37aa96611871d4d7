"""Motion of recordings beside that of data sets of flow: dt is chosen by measurement."""

import dataclasses
import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hydra import compose, initialize_config_dir

from rwtl.clips.motion import (
    MotionConfig,
    best_settings,
    directions_apart,
    drawn_sets,
    flow_motion,
    motion_table,
    wave_motion,
)
from rwtl.errors import InputError
from rwtl.flow.displacements import DIRECTIONS, distance, gathered, histogram_figure
from rwtl.flow.sample import FlowDataset, FlowSample
from rwtl.flow.scenes.dataset import ProceduralFlow
from rwtl.sections import typed
from rwtl.waves import open_recording
from rwtl.waves.measure.statistics import wave_statistics
from rwtl.waves.synthetic import FrontsConfig, front_times, write_synthetic

ROOT = Path(__file__).parents[2]
PLANES = FrontsConfig(32, 32, 50.0, 40.0, 0.1, 3, planes=1.0, speed=[2.0, 2.0])
VALUES = {"datasets": ["a"], "pairs": 10, "dt": [0.5, 1.0], "zoom": [1.0], "drawn": 3}


@pytest.fixture(scope="module")
def planes(tmp_path_factory):
    """Statistics of plane fronts that travel at 2 sites/s."""
    path = tmp_path_factory.mktemp("planes") / "recording"
    write_synthetic(PLANES, path)
    return wave_statistics(open_recording(path))


def uniform(right, down, pixels=50):
    """Displacements of pixels that all move alike."""
    flow = torch.tensor([right, down])[:, None, None].expand(2, 1, pixels).float()
    return gathered([(flow, torch.ones(1, pixels))])


def test_waves_move_by_their_speed_times_dt_times_zoom(planes):
    moved = wave_motion([planes], 1.5, 2.0)
    assert moved.fine.sum() == len(planes.speeds) > 1000
    assert moved.quantile(0.5) == pytest.approx(2.0 * 1.5 * 2.0, abs=0.06)
    assert moved.mean == pytest.approx(6.0, rel=0.01)
    assert wave_motion([planes, planes], 1.5, 2.0).fine.sum() == 2 * moved.fine.sum()
    # They go where the known fronts of the recorded time go.
    seen = [front.velocity[:, 0, 0] for front in front_times(PLANES) if ((front.time > 0) & (front.time < 40)).any()]
    counted = np.histogram([np.degrees(np.arctan2(y, x)) for x, y in seen], DIRECTIONS)[0] > 0
    near = counted | np.roll(counted, 1) | np.roll(counted, -1)
    assert moved.directions[near].sum() > 0.95 * moved.directions.sum() and near.sum() < len(near) / 2


def test_displacements_beyond_rafts_limit_do_not_count(planes):
    onsets = planes.onsets.dropna().assign(velocity_x=2.0, velocity_y=0.0)
    onsets.iloc[:100, onsets.columns.get_loc("velocity_x")] = 1e5
    moved = wave_motion([dataclasses.replace(planes, onsets=onsets)], 1.0, 1.0)
    assert (moved.fine.sum(), moved.mean, moved.longest) == (len(onsets) - 100, 2, 2)
    with pytest.raises(InputError, match="without a valid pixel"):
        wave_motion([planes], 400.0, 1.0)


def test_a_recording_without_fronts_is_refused(recording_of):
    still = wave_statistics(open_recording(recording_of(np.full((20, 12, 12), 100, np.float32), 0.1)))
    with pytest.raises(InputError, match="no wave of the recordings has a front of known velocity"):
        wave_motion([still], 1.0, 1.0)


def test_the_table_finds_the_dt_that_matches(planes):
    grid = [(dt, zoom) for dt in (1.0, 2.0, 3.0, 6.0) for zoom in (2.0, 1.0)]
    waves = {(dt, zoom): wave_motion([planes], dt, zoom) for dt, zoom in grid}
    flows = {"six": uniform(6.0, 0.0), "four": uniform(0.0, -4.0)}
    table = motion_table(waves, flows)
    assert list(table.dataset) == ["six"] * 8 + ["four"] * 8
    for _, rows in table.groupby("dataset"):
        assert rows.distance.is_monotonic_increasing
    # Only dt · zoom counts for the distance; of equal ones the least zoom comes first.
    assert best_settings(table) == {"six": (3.0, 1.0), "four": (2.0, 1.0)}
    assert list(table.zoom[8:10]) == [1.0, 2.0] and table.distance[8] == pytest.approx(table.distance[9])
    row = table[(table.dataset == "six") & (table.dt == 6.0) & (table.zoom == 1.0)].iloc[0]
    assert row.distance == pytest.approx(6.0, abs=0.1) and row["median"] == pytest.approx(12.0, abs=0.06)
    assert row.distance == distance(waves[6.0, 1.0], flows["six"])


def test_directions_apart_is_the_share_that_would_have_to_turn():
    right, down = uniform(3.0, 0.1), uniform(0.1, 3.0)
    assert directions_apart(right, right) == 0 and directions_apart(right, down) == pytest.approx(100)
    both = uniform(3.0, 0.1)
    both.directions = right.directions + down.directions
    assert directions_apart(right, both) == pytest.approx(50)


class Pairs(FlowDataset):
    """Pair k moves k px to the right, and is known in its first column alone."""

    def __len__(self):
        return 9

    def __getitem__(self, index):
        image = torch.zeros(3, 4, 6)
        flow, valid = torch.zeros(2, 4, 6), torch.zeros(4, 6)
        flow[0, :, 0], flow[1, :, 1:], valid[:, 0] = index, 300, 1
        return FlowSample(image, image, flow, valid)


def test_known_pixels_of_pairs_over_the_whole_set_count():
    moved = flow_motion(Pairs(), 3)  # pairs 0, 4 and 8
    assert (moved.pairs, moved.fine.sum(), moved.longest, moved.mean) == (3, 12, 8, 4)
    assert flow_motion(Pairs(), 100).pairs == 9


def test_procedural_scenes_count_without_being_rendered():
    scenes = ProceduralFlow(3, 32, 32, mean_displacement=2.0)
    expected = gathered((sample.flow, sample.valid) for sample in scenes)
    assert flow_motion(scenes, 3).fine.tolist() == expected.fine.tolist()


def test_the_figure_is_about_the_best_zoom_and_the_dt_around_the_best(planes):
    waves = {(dt, zoom): wave_motion([planes], dt, zoom) for dt in (0.5, 1.0, 2.0, 4.0, 8.0) for zoom in (1.0, 2.0)}
    sets = drawn_sets(waves, {"flow": uniform(1.0, 1.0)}, (2.0, 2.0), 3)
    shown = [f"waves, dt {dt} s, zoom 2" for dt in (1, 2, 4)]
    assert list(sets) == ["flow", *shown] and sets[shown[1]] is waves[2.0, 2.0]
    (legend,) = histogram_figure(sets).legends
    assert [text.get_text().split(", mean")[0] for text in legend.get_texts()] == list(sets)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dt": []}, r"motion\.dt is \[\]"),
        ({"zoom": [1.0, 1.0]}, r"motion\.zoom is \[1\.0, 1\.0\]; name each once"),
        ({"dt": [-1.0]}, r"motion\.dt\[0\] is -1\.0; it must be positive"),
        ({"zoom": [0.0]}, r"motion\.zoom\[0\] is 0\.0; it must be positive"),
        ({"pairs": 0}, r"motion\.pairs is 0"),
        ({"drawn": 0}, r"motion\.drawn is 0"),
        ({"datasets": ["a", "a"]}, r"motion\.datasets is \['a', 'a'\]"),
    ],
)
def test_wrong_values_are_named(changes, message):
    with pytest.raises(InputError, match=message):
        typed(MotionConfig, VALUES | changes, "motion")


def test_dt_must_be_a_multiple_of_the_frame_interval():
    config = typed(MotionConfig, VALUES | {"dt": [0.5, 1.0]}, "motion")
    config.require_multiples(0.1, "recording 0")
    with pytest.raises(InputError, match=r"motion\.dt has 0\.5 s, .* of recording 1, 0\.2 s; the nearest is 0\.4 s"):
        config.require_multiples(0.2, "recording 1")
    with pytest.raises(InputError, match=r"the nearest is 2 s"):
        config.require_multiples(2.0, "recording 1")


def run(*overrides):
    """Run the experiment as Hydra would."""
    spec = importlib.util.spec_from_file_location("app", ROOT / "experiments" / "motion_statistics.py")
    app = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(app)
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        app.main.__wrapped__(compose("motion_statistics", overrides=list(overrides)))


def test_experiment_names_the_best_dt(tmp_path, capsys):
    waves = ["recording=fronts", "recording.speed=[2,2]", "recording.planes=1", "recording.duration=15"]
    lattice = ["recording.rows=24", "recording.columns=24"]
    scenes = [f"datasets.procedural_training.{value}" for value in ("height=32", "width=32", "mean_displacement=4")]
    motion = ["motion.pairs=30", "motion.dt=[0.5,2,8]", "motion.zoom=[1]", f"paths.outputs={tmp_path}"]
    overrides = [*waves, *lattice, *scenes, *motion]
    with pytest.raises(SystemExit):
        run(*overrides, "motion.dt=[0.25]")
    assert "motion.dt has 0.25 s, which is no whole multiple" in capsys.readouterr().err
    assert not (tmp_path / "recording").exists()
    run(*overrides)
    shown = capsys.readouterr().out
    assert "nearest to procedural_training on this grid: clips.dt=2.0 clips.zoom=1.0" in shown
    assert "normal component" in shown
    table = pd.read_csv(tmp_path / "motion_statistics" / "motion.csv")
    assert table.dt[0] == 2 and table.distance.is_monotonic_increasing and len(table) == 3
    bins = pd.read_csv(tmp_path / "motion_statistics" / "histograms.csv")
    assert bins.set.nunique() == 4 and bins.groupby(["set", "quantity"]).share.sum().to_numpy() == pytest.approx(1)
    assert (tmp_path / "motion_statistics" / "motion.png").stat().st_size > 10_000
