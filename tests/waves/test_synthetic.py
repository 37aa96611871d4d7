"""Synthetic recordings: what they show, that they are recordings like any other, and how a configuration names them."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import zarr
from hydra import compose, initialize_config_dir

from rwtl import files
from rwtl.errors import InputError
from rwtl.pipeline.artifact import build
from rwtl.pipeline.recording import recording_configs, recordings
from rwtl.waves import RecordingConfig, open_recording
from rwtl.waves.measure.onsets import find_activity
from rwtl.waves.measure.statistics import wave_statistics
from rwtl.waves.synthetic import (
    GENERATORS,
    KINDS,
    FrontsConfig,
    MovingShapesConfig,
    front_times,
    fronts,
    moving_shapes,
    shapes_of,
    write_synthetic,
)

CONF = Path(__file__).parents[2] / "conf"
LATTICE = {"spacing": 50.0, "frame_interval": 0.1, "seed": 4}
SHAPES = MovingShapesConfig(rows=32, columns=40, duration=12.0, **LATTICE)
FRONTS = FrontsConfig(rows=40, columns=48, duration=60.0, **LATTICE)


@pytest.fixture(scope="module")
def statistics(tmp_path_factory):
    """Of a recording of planes and rings."""
    path = tmp_path_factory.mktemp("fronts") / "recording"
    write_synthetic(FRONTS, path)
    return wave_statistics(open_recording(path))


@pytest.mark.parametrize("kind", KINDS)
def test_a_shape_moves_at_its_velocity(kind):
    """With minutes between shapes, whatever there is is one shape, whose centroid is where its path says."""
    config = MovingShapesConfig(64, 64, 50.0, 1500.0, 5.0, 1, kinds=[kind], interval=150.0, size=[10.0, 12.0])
    shapes = shapes_of(config)
    seen = 0
    for frame, calcium in enumerate(moving_shapes(config)):
        near = [shape for shape in shapes if shape.is_near(5.0 * frame)]
        if len(near) != 1:
            continue
        x, y = np.add(near[0].centre, np.multiply(near[0].velocity, 5.0 * frame - near[0].time))
        if min(x, y, 63 - x, 63 - y) > 10:
            above = calcium - config.rest
            centroid = [(above.sum(axis=axis) * np.arange(64)).sum() / above.sum() for axis in (0, 1)]
            assert centroid == pytest.approx((x, y), abs=0.15)
            assert calcium.max() == pytest.approx(near[0].peak, rel=0.02) and 1.5 <= np.hypot(*near[0].velocity) <= 3.5
            seen += 1
    assert seen > 10


def test_shapes_come_from_everywhere_and_from_the_beginning():
    shapes = shapes_of(dataclasses.replace(SHAPES, duration=4000.0))
    units = np.array([shape.velocity for shape in shapes])
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    assert len(shapes) > 1000 and np.abs(units.mean(axis=0)).max() < 0.1
    active = np.array(
        [
            [
                (frame > 200).mean()
                for frame in moving_shapes(dataclasses.replace(SHAPES, seed=seed, frame_interval=6.0))
            ]
            for seed in range(150)
        ]
    )
    first, later = active.mean(axis=0)
    assert first == pytest.approx(later, rel=0.25) and first > 0.02


@pytest.mark.parametrize(("config", "frames"), [(SHAPES, moving_shapes), (FRONTS, fronts)])
def test_frames_depend_on_the_seed_and_not_on_the_duration(config, frames):
    short, other = (dataclasses.replace(config, duration=6.0, seed=seed) for seed in (4, 5))
    whole = np.array(list(frames(config)))
    np.testing.assert_array_equal(whole[:60], list(frames(short)))
    assert np.abs(whole[:60] - list(frames(other))).max() > 100
    assert whole.min() == pytest.approx(100) and whole.max() < 641


def test_onsets_come_when_they_are_said_to(statistics):
    """Every onset of the recording is one of the known times, and every known time within it is an onset."""
    times = np.stack([front.time for front in front_times(FRONTS)])
    onsets = statistics.onsets
    apart = np.abs(times[:, onsets.row, onsets.column] - onsets.time.to_numpy()).min(axis=0)
    assert apart.max() < 0.01
    assert len(onsets) == pytest.approx(((times > 0.05) & (times < 59.85)).sum(), abs=60)
    activity = find_activity(statistics.recording, 550.0, 150.0)  # later on the flank, where it is less steep
    times = np.stack([front.time.ravel()[activity.cell] for front in front_times(FRONTS, 550.0)])
    assert np.abs(times - activity.time).min(axis=0).max() < 0.01


def test_measured_velocities_are_the_known_ones(statistics):
    onsets = statistics.onsets.dropna()
    waves = front_times(FRONTS)
    times = np.stack([wave.time for wave in waves])[:, onsets.row, onsets.column]
    wave = np.abs(times - onsets.time.to_numpy()).argmin(axis=0)
    known = np.stack([wave.velocity for wave in waves])[wave, :, onsets.row, onsets.column]
    measured = onsets[["velocity_x", "velocity_y"]].to_numpy()
    error = np.linalg.norm(measured - known, axis=1) / np.linalg.norm(known, axis=1)
    assert np.median(error) < 0.03 and np.quantile(error, 0.9) < 0.15
    assert len(np.unique(np.linalg.norm(known, axis=1).round(6))) >= 2


def test_velocity_is_the_gradient_of_the_times_and_rings_annihilate():
    config = dataclasses.replace(FRONTS, planes=0.0, origins=[3, 3], duration=100.0)
    for wave in front_times(config):
        down, right = np.gradient(wave.time)
        slowness = np.stack([right, down])
        velocity = slowness / (slowness**2).sum(axis=0)
        error = np.linalg.norm(velocity - wave.velocity, axis=0) / np.linalg.norm(wave.velocity, axis=0)
        assert np.quantile(error, 0.7) < 0.03  # the others are where rings meet, and at their origins
        assert np.ptp(np.linalg.norm(wave.velocity, axis=0)) < 1e-9
        # A time is never later than a neighbour's by more than the front needs: what is there first, counts.
        speed = np.linalg.norm(wave.velocity[:, 0, 0])
        assert max(np.abs(np.diff(wave.time, axis=axis)).max() for axis in (0, 1)) <= 1 / speed + 1e-9


def test_no_site_is_reached_while_it_is_refractory():
    times = np.stack([wave.time for wave in front_times(dataclasses.replace(FRONTS, duration=300.0, interval=1.0))])
    assert np.diff(times, axis=0).min() == pytest.approx(FRONTS.refractory)
    with pytest.raises(InputError, match=r"the level is 700.* nM: calcium rises from 100"):
        front_times(FRONTS, 700.0)


@pytest.mark.parametrize("kind", GENERATORS)
def test_a_synthetic_recording_is_a_recording(kind, tmp_path):
    config = {"moving_shapes": SHAPES, "fronts": dataclasses.replace(FRONTS, duration=12.0)}[kind]
    write_synthetic(config, tmp_path / "recording")
    recording = open_recording(tmp_path / "recording")
    assert (recording.kind, recording.complete, recording.periodic) == (kind, True, False)
    assert (recording.valid_frames, recording.shape) == (120, (config.rows, config.columns))
    assert recording.config == {"kind": kind, **dataclasses.asdict(config)}
    np.testing.assert_array_equal(recording.frames(0, 120), list(GENERATORS[kind].frames(config)))
    with pytest.raises(InputError, match="exists: remove it"):
        write_synthetic(config, tmp_path / "recording")
    zarr.open_group(tmp_path / "recording", mode="r+").attrs["generator_version"] = 0
    with pytest.raises(InputError, match="generator_version 0, and this version of rwtl makes and reads"):
        open_recording(tmp_path / "recording")


def test_what_was_interrupted_is_never_seen_and_made_anew(tmp_path):
    path = tmp_path / "recording"

    def interrupt(frames):
        if frames == 100:  # a shard has been written
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_synthetic(SHAPES, path, interrupt)
    with pytest.raises(InputError, match="does not exist"):
        open_recording(path)
    write_synthetic(SHAPES, path)
    assert open_recording(path).complete


def composed(*overrides, app="motion_statistics"):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(app, overrides=list(overrides))


def test_a_word_on_the_command_line_chooses_the_kind():
    assert recording_configs(composed("recording=moving_shapes", "recording.rows=64", app="simulate")) == [
        MovingShapesConfig(64, 96, 50.0, 90.0, 0.1, 0)
    ]
    assert recording_configs(composed("recording=fronts")) == [FrontsConfig(96, 96, 50.0, 90.0, 0.1, 0)]
    simulated = composed()
    assert simulated.recording.kind == "sac"
    without = composed("~recording.kind")
    assert recording_configs(simulated) == recording_configs(without)
    assert "kind" not in {field.name for field in dataclasses.fields(RecordingConfig)}


def test_recordings_by_list():
    first, second, third = recording_configs(
        composed(
            "recording.duration=60",
            "clips.recordings=[{},{seed: 3, cell: {g_A: 0.2}},{kind: fronts, rows: 8, columns: 8, "
            "spacing: 50, duration: 3, frame_interval: 0.1, seed: 2}]",
        )
    )
    assert (second.seed, second.cell.g_A) == (3, 0.2)
    assert dataclasses.replace(second, seed=0, cell=first.cell) == first and first.duration == 60
    assert third == FrontsConfig(8, 8, 50.0, 3.0, 0.1, 2)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["clips.recordings=[{},{seed: 0}]"],
            r"clips\.recordings\[1\] shows the same waves as clips\.recordings\[0\]",
        ),
        (  # other frames of the same waves: what one part of time is kept from, the other would show
            ["clips.recordings=[{},{seed: 1},{duration: 60, transient: 20, frame_interval: 0.2}]"],
            r"clips\.recordings\[2\] shows the same waves as clips\.recordings\[0\]",
        ),
        (
            ["clips.recordings=[{},{cel: {g_A: 1}}]"],
            r"^clips\.recordings\[1\]\.cel: clips\.recordings\[1\] has no such key; its keys are rows, columns",
        ),
        (["clips.recordings=[{duration: -5}]"], r"^clips\.recordings\[0\]\.duration is -5; it must be positive"),
        (["clips.recordings=[{kind: fronts}]"], r"^clips\.recordings\[0\]\.rows is not set"),
        (["clips.recordings=[]"], r"clips\.recordings is \[\]; give a list"),
        (["clips.recordings=5"], r"clips\.recordings is 5; give a list"),
        (["clips.recordings=[seed]"], r"clips\.recordings is \['seed'\]; give a list"),
        (["recording.kind=rings"], r"^recording\.kind is 'rings'; choose one of sac, moving_shapes, fronts"),
        (["recording=fronts", "+recording.cell=1"], r"^recording\.cell: .*its keys are rows"),
        (["recording=fronts", "recording.planes=2"], r"^recording\.planes is 2; it must lie in 0 to 1"),
        (["recording=fronts", "recording.refractory=4"], r"recording\.refractory is 4.*rise \+ fall, 4\.5 s"),
        (["recording=fronts", "recording.peak=90"], r"recording\.peak is 90.* above rest, 100\.0 nM"),
        (["recording=fronts", "recording.origins=[0,2]"], r"recording\.origins\[0\] is 0; it must be at least 1"),
        (
            ["recording=moving_shapes", "recording.speed=[3,1]"],
            r"recording\.speed is \[3, 1\]; .*the lower first",
        ),
        (
            ["recording=moving_shapes", "recording.kinds=[star]"],
            r"recording\.kinds\[0\] is 'star'; .*disc, bar",
        ),
        (["recording=moving_shapes", "recording.edge=0"], r"recording\.edge is 0"),
        (["recording=moving_shapes", "recording.duration=0.25"], r"recording\.duration is 0\.25 s; it must be a whole"),
    ],
)
def test_wrong_sections_are_named(overrides, message):
    with pytest.raises(InputError, match=message):
        recording_configs(composed(*overrides))


def test_artifacts_hold_the_recordings_and_what_can_be_drawn(tmp_path, capsys):
    overrides = ["recording=moving_shapes", "recording.rows=24", "recording.columns=24", "recording.duration=2"]
    overrides += ["clips.recordings=[{},{seed: 1}]", f"paths.outputs={tmp_path}"]
    made = [build(artifact) for artifact in recordings(composed(*overrides))]
    assert len({artifact.digest for artifact in made}) == 2
    for artifact in made:
        values = artifact.status()["values"]
        assert values["kind"] == "moving_shapes" and values["generator_version"] == 1
        assert open_recording(artifact.path / files.RECORDING).complete
        for name in (files.MOSAIC, files.MOVIE, files.STATISTICS, files.WAVES):
            assert (artifact.path / name).stat().st_size > 100
        assert not (artifact.path / files.PAGE).exists()
        assert "warning" not in (artifact.path / files.STATISTICS).read_text()
    again = [build(artifact) for artifact in recordings(composed(*overrides))]
    assert [artifact.digest for artifact in again] == [artifact.digest for artifact in made]
    assert all(artifact.reused for artifact in again)
