import dataclasses
import pickle

import numpy as np
import pytest
import torch

from rwtl.clips.config import ClipsConfig
from rwtl.clips.dataset import WaveClips, training_part, validation_clips
from rwtl.clips.transforms import CropAndZoom, rotate_and_flip
from rwtl.errors import InputError
from rwtl.random import counter_rng
from rwtl.sampling import Part, SampleStream
from rwtl.sections import typed
from rwtl.waves import open_recording

CONFIG = {
    "dt": 0.5,
    "length": 3,
    "calcium_range": [100.0, 600.0],
    "active_above": 200.0,
    "active": [0.0, 1.0],
    "validation_fraction": 0.25,
    "gap": 0.0,
    "crop": 8,
    "rotations_and_flips": True,
}


def config(**changes):
    return ClipsConfig(**(CONFIG | changes))


def clips(recordings, part="training", span=None, memory=10**6, **changes):
    recordings = recordings if isinstance(recordings, list) else [recordings]
    given = {} if span is None else {"calcium_range": list(span)}
    return WaveClips(recordings, config(**changes), part, memory, **given)


def random_frames(count=40, rows=16, columns=16, seed=0):
    return np.random.default_rng(seed).uniform(50, 700, (count, rows, columns)).astype(np.float32)


def used(data):
    return sorted(number for k in range(len(data)) for number in data.where(k)[1])


@pytest.fixture
def two_recordings(recording_of):
    """One of 40 frames of 16×16 every 0.1 s, and one of 30 of 12×20 every 0.25 s, with their frames."""
    first, second = random_frames(), random_frames(30, 12, 20, seed=1)
    moved = (path := recording_of(first, frame_interval=0.1)).rename(path.with_name("first"))
    return [moved, recording_of(second, frame_interval=0.25)], [first, second]


@pytest.mark.parametrize("memory", [0, 5 * 4 * 16 * 16, 10**6])
def test_clips_are_frames_at_dt_normalised_to_0_1_from_memory_or_disk(recording_of, memory):
    frames = random_frames()
    data = clips(recording_of(frames, frame_interval=0.1), memory=memory)
    assert data.where(2) == (0, [2, 7, 12])
    expected = np.clip((frames[[2, 7, 12]] - 100) / 500, 0, 1)
    for copy in (data, pickle.loads(pickle.dumps(data))):
        np.testing.assert_allclose(copy[2][:, 0].numpy(), expected, rtol=1e-5)
        assert copy[2].dtype == torch.float32
    data[2].zero_()
    np.testing.assert_allclose(data[2][:, 0].numpy(), expected, rtol=1e-5)


def test_worker_processes_read_the_same_clips(recording_of):
    data = clips(recording_of(random_frames(), frame_interval=0.1), memory=0)
    here = torch.stack([data[k] for k in range(len(data))])
    loader = torch.utils.data.DataLoader(data, batch_size=len(data), num_workers=1, multiprocessing_context="spawn")
    assert torch.equal(next(iter(loader)), here)


def test_parts_share_no_frame_and_lie_a_gap_apart(recording_of):
    recording = recording_of(random_frames(8 * 5, 8, 8), frame_interval=0.1)
    for gap, last in ((0.0, 29), (0.1, 29), (0.3, 27), (0.35, 26), (1.0, 20)):
        training = used(clips(recording, dt=0.2, gap=gap))
        validation = used(clips(recording, "validation", dt=0.2, gap=gap))
        assert (min(training), max(training)) == (0, last), gap
        assert (min(validation), max(validation)) == (30, 39)


def test_several_recordings_each_at_its_own_frame_interval_and_size(two_recordings):
    paths, frames = two_recordings
    data = clips(paths)
    assert data.where(0) == (0, [0, 5, 10])
    assert data.where(len(data) - 1) == (1, [17, 19, 21])  # of 30 frames the first 22 are for training
    for index in (0, len(data) - 1):
        number, chosen = data.where(index)
        expected = np.clip((frames[number][chosen] - 100) / 500, 0, 1)
        np.testing.assert_allclose(data[index][:, 0].numpy(), expected, rtol=1e-5)
    assert [recording.shape for recording in data.recordings] == [(16, 16), (12, 20)]
    validation = clips(paths, "validation", length=2)
    for number in (0, 1):
        of = [[c for k in range(len(d)) for n, c in [d.where(k)] if n == number] for d in (data, validation)]
        assert np.max(of[0]) < np.min(of[1])


def test_an_incomplete_recording_is_used_by_its_valid_frames(recording_of):
    whole = open_recording(recording_of(random_frames(64), frame_interval=0.1))
    recording = dataclasses.replace(whole, valid_frames=40, complete=False)
    assert set(used(clips(recording, dt=0.1))) == set(range(30))
    with pytest.raises(InputError, match=r"training part of .* has 30 of its 40 valid frames"):
        clips(recording, dt=2.0)


def test_a_damaged_frame_is_refused_by_name(recording_of):
    recording = recording_of(random_frames(), frame_interval=0.1)
    data = clips(recording, memory=0)
    shard = next(path for path in (recording / "calcium" / "c").rglob("*") if path.is_file())
    content = bytearray(shard.read_bytes())
    content[200:4000] = bytes(3800)
    shard.write_bytes(content)
    for damaged in (lambda: data[0], lambda: clips(recording)):
        with pytest.raises(InputError, match=r"calcium/c/0, frames .* is damaged"):
            damaged()
    shard.unlink()  # Zarr reads a missing shard as the fill value
    with pytest.raises(InputError, match="frames are missing"):
        data[0]


def test_the_range_is_percentiles_of_the_training_parts_alone(two_recordings):
    paths, frames = two_recordings
    import zarr

    for path, values in zip(paths, frames, strict=True):  # beyond what training has
        border = len(values) * 3 // 4
        zarr.open_array(path / "calcium", mode="r+")[border:] = 5000.0
        del zarr.open_group(path, mode="r+").attrs["shards"]  # which would tell that frames were changed
    assert clips(paths, percentiles=[1.0, 90.0]).calcium_range == (100.0, 600.0)  # the configuration's goes first
    data = WaveClips(paths, config(calcium_range=None, percentiles=[1.0, 90.0]), "training")
    pooled = np.concatenate([frames[0][:30].ravel(), frames[1][:22].ravel()])
    np.testing.assert_allclose(data.calcium_range, np.percentile(pooled, [1, 90]), rtol=2e-3)
    low, high = data.calcium_range
    assert data.active_level == pytest.approx((200 - low) / (high - low))
    assert float(torch.stack([data[k] for k in range(15)]).mean()) == pytest.approx(0.55, abs=0.02)
    with pytest.raises(InputError, match="hand over its calcium_range"):
        WaveClips(paths, config(length=2, calcium_range=None), "validation")
    known = WaveClips(paths, config(length=2, calcium_range=None), "validation", calcium_range=data.calcium_range)
    assert known[0].min() == 1


@pytest.mark.parametrize("value", [0.0, 150.0])
def test_calcium_without_a_range_is_refused(recording_of, value):
    recording = recording_of(np.full((40, 8, 8), value, np.float32), frame_interval=0.1)
    with pytest.raises(InputError, match=r"percentiles \[0.5, 99.5\] of the training part are both"):
        clips(recording, calcium_range=None)
    WaveClips([recording], config(), "training")


def test_quiet_and_busy_clips_are_dropped_and_counted(recording_of):
    frames = np.full((40, 10, 10), 100, np.float32)
    frames[10:20, :3] = 400  # 30 % of the cells are active
    frames[20:30] = 400
    data = clips(recording_of(frames, frame_interval=0.1), dt=0.1, active=[0.29, 0.35])
    assert [data.where(k)[1][0] for k in range(len(data))] == list(range(10, 18))
    assert (data.counts.candidates, data.counts.too_quiet, data.counts.too_active) == (28, 10, 10)


def test_nothing_left_is_an_error_that_says_what_each_bound_removed(recording_of):
    frames = np.full((40, 8, 8), 100, np.float32)
    frames[:5] = 400
    recording = recording_of(frames, frame_interval=0.1)
    with pytest.raises(InputError, match=r"none of the 28 training clips: 24 .* than 0.4 and 4 .* than 0.6 .* 1.0000"):
        clips(recording, dt=0.1, active=[0.4, 0.6])
    with pytest.raises(InputError, match=r"spans 21 frames, but the validation part .* has 10 of its 40"):
        clips(recording, "validation", dt=1.0)


def test_dt_that_is_no_multiple_of_the_frame_interval(two_recordings):
    with pytest.raises(InputError, match=r"clips.dt is 0.3 s.*interval of .*recording, 0.25 s; the nearest is 0.25 s"):
        clips(two_recordings[0], dt=0.3)
    with pytest.raises(InputError, match=r"clips.dt is 0.01 s.*first, 0.1 s; the nearest is 0.1 s"):
        clips(two_recordings[0], dt=0.01)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("dt", -1.0),
        ("length", 1),
        ("calcium_range", [6.0, 6.0]),
        ("percentiles", [0.0, 101.0]),
        ("colour", "rgb"),
        ("active", [0.5, 0.5]),
        ("active", [0.0, 1.5]),
        ("validation_fraction", 1.0),
        ("gap", -1.0),
        ("zoom", 0.0),
        ("zoom", float("nan")),
        ("zoom", 0.0042),
        ("crop", 0),
        ("shuffle", "frames"),
        ("recordings", []),
    ],
)
def test_impossible_values_are_named(key, value):
    with pytest.raises(InputError, match=f"clips.{key} is"):
        config(**{key: value})


def test_the_config_group_is_typed():
    section = typed(ClipsConfig, CONFIG | {"recordings": [{"seed": 1}, {"cell": {"g_A": 0.2}}]}, "clips")
    assert section.recordings[1] == {"cell": {"g_A": 0.2}}
    assert typed(ClipsConfig, CONFIG | {"calcium_range": None}, "clips").calcium_range is None


def test_rotations_and_flips_turn_the_clip_as_a_whole_into_all_eight_symmetries():
    clip = torch.rand(3, 1, 4, 4)
    clip[1:] = clip[0]
    seen = set()
    for k in range(100):
        turned = rotate_and_flip(clip, counter_rng(0, k))
        assert torch.equal(turned[0], turned[1])
        assert sorted(turned.flatten().tolist()) == sorted(clip.flatten().tolist())
        seen.add(tuple(turned[0].flatten().tolist()))
    assert len(seen) == 8


def test_crop_is_the_same_in_every_frame_and_must_fit():
    clip = torch.arange(3 * 130.0).reshape(3, 1, 10, 13)
    cropped = CropAndZoom(8)(clip, counter_rng(1))
    assert cropped.shape == (3, 1, 8, 8)
    assert torch.equal(cropped[1] - cropped[0], torch.full((1, 8, 8), 130.0))
    places = {float(CropAndZoom(8)(clip, counter_rng(k))[0, 0, 0, 0]) for k in range(200)}
    assert places == {13.0 * row + column for row in range(3) for column in range(6)}
    with pytest.raises(InputError, match=r"clips.crop is 24 px at zoom 2, a window of 12 cells, .* 10×13"):
        CropAndZoom(24, 2.0)(clip, counter_rng(1))


def blob(places, side=48, width=5.0):
    rows, columns = np.mgrid[:side, :side] + 0.5  # centres of pixels
    frames = [np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / width**2) for y, x in places]
    return torch.tensor(np.array(frames), dtype=torch.float32)[:, None]


def centroid(frame):
    rows, columns = np.mgrid[: frame.shape[-2], : frame.shape[-1]] + 0.5
    weights = frame[0].numpy().astype(float)
    return np.array([(weights * rows).sum(), (weights * columns).sum()]) / weights.sum()


@pytest.mark.parametrize(("crop", "zoom"), [(96, 2.0), (72, 1.5), (24, 0.5), (16, 0.3333), (48, 1.0)])
def test_displacements_scale_by_exactly_the_zoom(crop, zoom):
    clip = blob([(22.0, 21.0), (24.5, 25.0)])
    zoomed = CropAndZoom(crop, zoom)(clip, counter_rng(1))
    assert zoomed.shape == (2, 1, crop, crop)
    moved = centroid(zoomed[1]) - centroid(zoomed[0])
    np.testing.assert_allclose(moved, np.array([2.5, 4.0]) * round(zoom * 6) / 6, rtol=1e-3)


def test_shrinking_smooths():
    clip = torch.zeros(2, 1, 32, 32)
    clip[..., ::2] = 1  # stripes finer than the pixels of the result
    assert CropAndZoom(8, 0.25)(clip, counter_rng(1))[..., 1:-1].std() < 0.01


def test_a_crop_that_is_not_whole_cells_is_refused_with_one_that_is():
    with pytest.raises(InputError, match=r"clips.crop / clips.zoom is 65 / 2.0 = 32.5 cells.*a crop of 64 px is"):
        config(crop=65, zoom=2.0)
    config(crop=64, zoom=2.0)


def test_a_crop_must_fit_into_every_recording(two_recordings):
    with pytest.raises(
        InputError, match=r"window of 14 cells, but .*recording has 12×20; a crop of at most 24 px fits"
    ):
        clips(two_recordings[0], crop=28, zoom=2.0)


def test_validation_clips_are_whole_zoomed_frames_evenly_spread(recording_of):
    frames = random_frames(80, 17, 20)
    recording = recording_of(frames, frame_interval=0.1)
    settings = config(zoom=1.5, crop=12, calcium_range=None, validation_fraction=0.5)
    training, augmentations = training_part([recording], settings)
    data = validation_clips([recording], settings, training.calcium_range, most=4)
    assert [data.clips.where(k)[1][0] for k in data.indices] == [40, 50, 59, 69]
    assert data[0].shape == (3, 1, 24, 30)  # 16×20 cells, since 17 · 1.5 is not whole
    assert data.active_level == training.active_level
    assert len(validation_clips([recording], settings, training.calcium_range, most=100)) == 30
    stream = SampleStream([Part(training, augmentations)], seed=0, samples=50)
    assert torch.stack([stream[k] for k in range(50)]).shape == (50, 3, 1, 12, 12)
    turned = [training_part([recording], config(rotations_and_flips=on))[1] for on in (True, False)]
    assert [rotate_and_flip in these for these in turned] == [True, False]


def test_validation_clips_of_recordings_that_differ_in_size_have_one(two_recordings):
    data = validation_clips(two_recordings[0], config(length=2), (100.0, 600.0), most=8)
    assert {tuple(data[k].shape) for k in range(len(data))} == {(2, 1, 12, 16)}
    assert {data.clips.where(k)[0] for k in data.indices} == {0, 1}


def test_the_time_shuffle_keeps_the_pixels_of_every_position_and_destroys_the_motion(recording_of):
    frames = np.random.default_rng(0).uniform(100, 600, (1, 8, 8)) + 4 * np.arange(120)[:, None, None]  # drifts evenly
    recording = recording_of(np.clip(frames, 0, 10**4).astype(np.float32), frame_interval=0.1)
    settings = {"dt": 0.2, "span": (0.0, 1200.0), "active_above": 600.0, "active": [0.1, 0.9]}
    for part in ("training", "validation"):
        plain, shuffled = (clips(recording, part, shuffle=how, **settings) for how in ("none", "time"))
        assert plain.counts == shuffled.counts
        before, after = (np.array([data.where(k)[1] for k in range(len(data))]) for data in (plain, shuffled))
        np.testing.assert_array_equal(np.sort(before, axis=0), np.sort(after, axis=0))
        assert (np.diff(before) == 2).all()
        assert (np.diff(after) == 2).mean() < 0.2
        assert abs(np.corrcoef(np.diff(after).T)[0, 1]) > 0.2  # steps to and fro, as of unrelated frames: -0.5
        np.testing.assert_array_equal(
            after, [clips(recording, part, shuffle="time", **settings).where(k)[1] for k in range(len(plain))]
        )
        assert torch.equal(shuffled[0][1], plain[int(np.flatnonzero(before[:, 1] == after[0, 1])[0])][1])


@pytest.mark.parametrize("memory", [0, 10**6])
def test_the_space_shuffle_moves_the_cells_alike_in_all_frames_and_parts(recording_of, memory):
    frames = random_frames(40, 12, 9)
    recording = recording_of(frames, frame_interval=0.1)
    orders = []
    for part in ("training", "validation"):
        plain, shuffled = (
            clips(recording, part, shuffle=how, dt=0.1, memory=memory, span=(0.0, 1000.0)) for how in ("none", "space")
        )
        for index in (0, len(plain) - 1):
            before, after = plain[index].flatten(1), shuffled[index].flatten(1)
            order = np.argsort(np.argsort(after[0].numpy()))
            order = np.argsort(before[0].numpy())[order]
            assert torch.equal(before[:, order], after)
            orders.append(order.tolist())
        assert plain.where(1) == shuffled.where(1)
    assert all(order == orders[0] for order in orders)
    assert (np.array(orders[0]) != np.arange(108)).mean() > 0.9


def test_too_few_clips_to_shuffle_in_time_are_refused(recording_of):
    """Of one clip, or two, the frames could only stay in order."""
    recording = recording_of(random_frames(20), frame_interval=0.1)
    assert len(clips(recording, dt=0.4)) < 8 < len(clips(recording, dt=0.1))
    clips(recording, dt=0.1, shuffle="time")
    with pytest.raises(InputError, match=r"shuffle is time, but the training part of recording 1 has \d clips to shuf"):
        clips(recording, dt=0.4, shuffle="time")
