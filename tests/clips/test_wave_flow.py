"""Flow of wave fronts, measured from onset times, beside fronts whose velocity is known."""

from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
import torch

from rwtl.clips.config import ClipsConfig
from rwtl.clips.dataset import WaveClips
from rwtl.clips.front_flow import WaveFlow, WholePairs
from rwtl.clips.fronts import Fronts, front_flow, fronts_of
from rwtl.clips.transforms import CropAndZoomFlow, rotate_and_flip_flow, turned, zoomed
from rwtl.errors import InputError
from rwtl.learning.evaluation import front_errors, over_all
from rwtl.learning.metrics import normal_error
from rwtl.learning.tasks.optical_flow import WaveFlowRecipe, wave_flow_data
from rwtl.models.next_frame import warp
from rwtl.models.raft import build_raft
from rwtl.waves.store import open_recording
from rwtl.waves.synthetic import FrontsConfig, front_times, write_synthetic

BEHIND, AHEAD = 1.5, 0.25
CLIPS = ClipsConfig(
    recordings=[{}],
    dt=1.0,
    length=2,
    calcium_range=[60.0, 640.0],
    percentiles=[0.5, 99.5],
    colour="grey",
    active_above=200.0,
    active=[0.0, 1.0],
    validation_fraction=0.4,
    gap=1.0,
    zoom=1.0,
    crop=32,
    rotations_and_flips=True,
    shuffle="none",
)
RECIPE = {
    "steps": 2,
    "batch_size": 2,
    "learning_rate": 1e-3,
    "warmup": 0.2,
    "cooldown": 1,
    "weight_decay": 1e-4,
    "gradient_clip": 1.0,
    "validate_every": 2,
    "iterations": 1,
    "validation_iterations": 1,
    "gamma": 0.8,
    "freeze_batchnorm_statistics": False,
    "validation_pairs": 3,
    "seed": 1,
    "behind": BEHIND,
    "ahead": AHEAD,
}
PLANES = {"planes": 1.0, "speed": [2.5, 2.5]}
RINGS = {"planes": 0.0, "origins": [1, 1], "speed": [2.5, 2.5]}
COLLIDING = {"planes": 0.0, "origins": [3, 3], "delay": 2.0, "speed": [2.5, 2.5]}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Return a function that writes fronts of a kind and gives their configuration and the recording's path."""
    folder, made = tmp_path_factory.mktemp("fronts"), {}

    def of(kind):
        name = str(kind)
        if name not in made:
            config = FrontsConfig(40, 48, 50.0, 40.0, 0.1, 3, **kind)
            path = folder / f"recording{len(made)}"
            write_synthetic(config, path)
            made[name] = (config, path)
        return made[name]

    return of


def exact(config, time):
    """The exact time since the last front and its velocity, at each site."""
    fronts = front_times(config)
    since = np.stack([time - front.time for front in fronts])
    since[since < -AHEAD - 0.1] = np.inf
    nearest = since.argmin(axis=0)[None]
    velocity = np.stack([front.velocity for front in fronts])
    return (
        np.take_along_axis(since, nearest, axis=0)[0],
        np.take_along_axis(velocity, nearest[:, None], axis=0)[0],
    )


@pytest.mark.parametrize("dt", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("kind", [PLANES, RINGS], ids=["planes", "rings"])
def test_flow_is_the_known_velocity_times_dt_on_fronts_and_nothing_else(kind, dt, recorded):
    config, path = recorded(kind)
    fronts, off, covered, possible = fronts_of(open_recording(path)), [], 0, 0
    rows, columns = np.mgrid[: config.rows, : config.columns]
    for time in np.arange(8.0, 32.0, 2.0):
        flow, valid = front_flow(fronts, time, dt, BEHIND, AHEAD)
        since, velocity = exact(config, time)
        known = valid == 1
        assert not flow[:, ~known].any()
        assert ((since[known] > -AHEAD - 0.06) & (since[known] < BEHIND + 0.06)).all(), "only where a front is"
        off.append(np.linalg.norm(flow - velocity * dt, axis=0)[known] / (2.5 * dt))
        x, y = columns + velocity[0] * dt, rows + velocity[1] * dt
        on_front = (since > -AHEAD + 0.05) & (since < BEHIND - 0.05)
        inside = (x > 3) & (x < config.columns - 4) & (y > 3) & (y < config.rows - 4)
        away = (rows > 3) & (rows < config.rows - 4) & (columns > 3) & (columns < config.columns - 4)
        possible += (on_front & inside & away).sum()
        covered += (on_front & inside & away & known).sum()
    off = np.concatenate(off)
    assert len(off) > 500 and possible > 500
    assert np.median(off) < 0.02 and np.quantile(off, 0.9) < 0.05
    assert covered / possible > 0.8


def test_fronts_that_meet_before_they_arrive_have_no_flow(recorded):
    """Beyond the line where two rings meet lies the other ring's ground, of another velocity."""
    config, path = recorded(COLLIDING)
    fronts = fronts_of(open_recording(path))
    exact_fronts = front_times(config)
    arrived = 0
    for time in np.arange(8.0, 32.0, 1.0):
        flow, valid = front_flow(fronts, time, 3.0, BEHIND, AHEAD)
        row, column = np.nonzero(valid)
        to_row, to_column = (np.rint(place + flow[k, row, column]) for place, k in ((row, 1), (column, 0)))
        late = np.stack(
            [
                front.time[to_row.astype(int), to_column.astype(int)] - front.time[row, column] - 3.0
                for front in exact_fronts
            ]
        )
        if len(row):
            arrived += len(row)
            assert (np.abs(late).min(axis=0) < 0.3 + 0.5 / 2.5).mean() > 0.98
    assert arrived > 300


def plane(onset, wave, speed):
    """Fronts that pass column k at onset[k] s as part of wave[k], and are said to move right at `speed`, on 12 rows."""
    columns, rows = (grid.ravel() for grid in np.meshgrid(np.arange(len(onset)), np.arange(12)))
    order = np.argsort(onset[columns], kind="stable")
    rows, columns = rows[order], columns[order]
    velocity = np.stack([np.full(len(rows), speed), np.zeros(len(rows))])
    return Fronts(onset[columns], rows, columns, wave[columns], velocity, (12, len(onset)), 0.1)


COLUMNS = np.arange(24)


def known_columns(fronts, time, dt):
    """The columns of which every site has a flow, and those of which any has."""
    valid = front_flow(fronts, time, dt, behind=1.0, ahead=1.0)[1]
    return COLUMNS[valid.all(axis=0)].tolist(), COLUMNS[valid.any(axis=0)].tolist()


def test_onset_times_correct_what_velocities_are_off_by():
    """The front needs half a second for a site, and its velocities are 5 % too fast."""
    flow, valid = front_flow(plane(COLUMNS / 2, 0 * COLUMNS, 2.1), 4.0, 2.0, behind=1.0, ahead=1.0)
    assert COLUMNS[valid.all(axis=0)].tolist() == [6, 7, 8, 9, 10] and not valid[:, :6].any()
    assert flow[0][valid == 1] == pytest.approx(4.0, abs=0.03) and not flow[1].any()


def test_a_front_that_is_not_where_its_velocity_leads_has_no_flow():
    fronts = plane(COLUMNS / 2 + (COLUMNS >= 11), 0 * COLUMNS, 2.0)  # held up for a second before column 11
    assert known_columns(fronts, 4.0, 2.0) == ([6], [6])  # 7 to 10 would arrive beyond, at 11 to 14


def test_the_front_of_another_wave_is_not_where_a_front_has_gone():
    fronts = plane(COLUMNS / 2, (COLUMNS >= 11).astype(int), 2.0)  # in time as if it were the same
    assert known_columns(fronts, 4.0, 2.0) == ([6], [6])


@pytest.fixture
def data(recorded):
    _, path = recorded(PLANES)
    training, augmentations, validation, calcium_range = wave_flow_data([path], CLIPS, WaveFlowRecipe(**RECIPE))
    assert calcium_range == (60.0, 640.0)
    return training, augmentations, validation


def test_samples_are_rgb_frames_with_sparse_flow_by_which_the_second_becomes_the_first(data):
    training, _, validation = data
    assert len(validation) == 3 and len(training.names) == len(training)
    assert training.left_out + len(training) == len(training.clips)
    for sample in (training[len(training) // 2], validation[1]):
        assert sample.image1.shape == (3, 40, 48) and 0 <= sample.image1.min() and sample.image1.max() <= 255
        assert 0 < sample.valid.mean() < 0.5
        carried_back = warp(sample.image2[None], sample.flow[None])[0]
        moved = (sample.image2 - sample.image1).abs()[:, sample.valid == 1].mean()
        assert (carried_back - sample.image1).abs()[:, sample.valid == 1].mean() < 0.15 * moved


def test_valid_is_where_the_fronts_are_in_the_first_frame(data, recorded):
    config, _ = recorded(PLANES)
    training = data[0]
    for index in (0, len(training) // 2, len(training) - 1):
        first = training.clips.where(training.numbers[index])[1][0]
        since = exact(config, first * config.frame_interval)[0][training[index].valid.numpy() == 1]
        assert len(since) and since.min() > -AHEAD - 0.06 and since.max() < BEHIND + 0.06


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_turned_sample_is_the_flow_of_turned_frames(data, turns):
    sample = data[0][5]
    after = turned(sample, turns)
    carried_back = warp(after.image2[None], after.flow[None])[0]
    moved = (after.image2 - after.image1).abs()[:, after.valid == 1].mean()
    assert (carried_back - after.image1).abs()[:, after.valid == 1].mean() < 0.15 * moved
    assert after.valid.sum() == sample.valid.sum()
    once = sample.flow[:, sample.valid == 1].mean(dim=1)
    angle = np.degrees(np.arctan2(*(float(v) for v in after.flow[:, after.valid == 1].mean(dim=1).flip(0))))
    before = np.degrees(np.arctan2(float(once[1]), float(once[0])))
    assert (before - angle) % 360 == pytest.approx(90 * turns, abs=0.1), (
        "y points down: to the left is minus 90 degrees"
    )


def test_augmented_samples_still_hold_and_zoom_scales_the_flow(data):
    training, augmentations, _ = data
    assert [type(a).__name__ for a in augmentations[:1]] == ["CropAndZoomFlow"] and augmentations[1:] == [
        rotate_and_flip_flow
    ]
    sample, rng = training[int(np.argmax(training.pixels))], np.random.default_rng(0)
    length = sample.flow.norm(dim=0)[sample.valid == 1].mean()
    for zoom in (1.0, 2.0):
        done = 0
        for _ in range(24):
            cut = rotate_and_flip_flow(CropAndZoomFlow(32, zoom)(sample, rng), rng)
            assert cut.image1.shape == (3, 32, 32)
            inside = cut.valid == 1
            if inside.sum() < 10:
                continue
            done += 1
            assert cut.flow.norm(dim=0)[inside].mean() == pytest.approx(float(zoom * length), rel=0.1)
            assert not cut.flow[:, ~inside].any()
            x = torch.arange(32) + cut.flow[0]
            y = torch.arange(32)[:, None] + cut.flow[1]
            kept = inside & (x > 0) & (x < 31) & (y > 0) & (y < 31)
            if kept.sum() < 10:
                continue
            carried_back = warp(cut.image2[None], cut.flow[None])[0]
            moved = (cut.image2 - cut.image1).abs()[:, kept].mean()
            assert (carried_back - cut.image1).abs()[:, kept].mean() < 0.25 * moved
        assert done >= 4
    large = zoomed(sample, 2.0)
    assert large.image1.shape == (3, 80, 96) and large.valid.sum() == sample.valid.sum(), "no pixel is made valid"


def test_bad_input_is_named(recorded):
    _, path = recorded(PLANES)

    def wave_flow(behind=BEHIND, ahead=AHEAD, **changes):
        return WaveFlow(WaveClips([path], ClipsConfig(**(asdict(CLIPS) | changes)), "training"), "grey", behind, ahead)

    with pytest.raises(InputError, match=r"clips\.length is 3; flow is between two frames"):
        wave_flow(length=3)
    with pytest.raises(InputError, match=r"clips\.shuffle is time; in shuffled frames no front travels"):
        wave_flow(shuffle="time")
    with pytest.raises(
        InputError, match=r"none of the \d+ training clips has a front that travels on for clips\.dt, 20"
    ):
        wave_flow(dt=20.0)
    for change, message in (
        ({"validation_pairs": 0}, "validation_pairs is 0"),
        ({"behind": -1.0}, r"behind is -1\.0; it must not be negative"),
        ({"behind": 0.0, "ahead": 0.0}, "no pixel lies on a front"),
    ):
        with pytest.raises(InputError, match=message):
            WaveFlowRecipe(**(RECIPE | change))
    with pytest.raises(InputError, match=r"a window of 64 cells, but the recording has 40×48; lower it"):
        CropAndZoomFlow(64)(wave_flow()[0], np.random.default_rng(0))


def test_the_normal_error_leaves_out_what_slides_along_the_front():
    flow = torch.tensor([3.0, 0.0, 0.0])[None, :, None, None].expand(1, 3, 1, 2)[:, :2]
    predicted = torch.stack([torch.full((1, 2), 2.0), torch.tensor([[5.0, 0.0]])])[None]
    assert normal_error(predicted, flow).flatten().tolist() == [1.0, 1.0]
    assert normal_error(predicted, torch.zeros_like(flow)).flatten().tolist() == pytest.approx([29**0.5, 2.0])


def test_errors_on_fronts_are_pooled_over_pixels_beside_what_knows_less(data):
    _, _, validation = data
    torch.manual_seed(0)
    errors = front_errors(build_raft("small", iterations=1), validation, torch.device("cpu"), "32-true")
    assert list(errors.pair) == validation.names and isinstance(validation, WholePairs)
    total = over_all(errors)
    lengths = torch.cat([s.flow.norm(dim=0)[s.valid == 1] for s in (validation[k] for k in range(3))])
    assert total.no_motion == pytest.approx(float(lengths.mean()), rel=1e-5)
    assert total.mean_speed == pytest.approx(float((lengths - lengths.mean()).abs().mean()), rel=1e-4)
    assert total.normal <= total.epe + 1e-6
    spoilt = errors.assign(epe=[*errors.epe[:2], float("nan")])
    assert pd.isna(over_all(spoilt).epe), "what is no number is not skipped"
