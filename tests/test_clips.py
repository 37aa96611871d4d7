import numpy as np
import pytest
import torch

from rwtl.data.clips import ClipsConfig, CropClip, WaveClips, rotate_and_flip
from rwtl.data.stream import counter_rng
from rwtl.errors import InputError

CONFIG = {
    "dt": 0.5,
    "length": 3,
    "calcium_range": [100.0, 600.0],
    "active_above": 200.0,
    "min_active": 0.0,
    "validation_fraction": 0.25,
    "crop": 8,
    "rotations_and_flips": True,
}


def clips(recording, part="training", **changes):
    return WaveClips(recording, ClipsConfig(**(CONFIG | changes)), part)


def test_clips_are_frames_at_dt_normalised_to_0_1(recording_of):
    frames = np.random.default_rng(0).uniform(50, 700, (40, 16, 16)).astype(np.float32)
    data = clips(recording_of(frames, frame_interval=0.1))
    assert data.frame_numbers(2) == [2, 7, 12]
    expected = np.clip((frames[[2, 7, 12]] - 100) / 500, 0, 1)
    np.testing.assert_allclose(data[2][:, 0].numpy(), expected, rtol=1e-6)
    assert data[2].dtype == torch.float32


def test_no_frame_is_in_both_parts(recording_of):
    recording = recording_of(np.full((40, 8, 8), 300, np.float32), frame_interval=0.1)
    used = {}
    for part in ("training", "validation"):
        data = clips(recording, part, dt=0.2)
        used[part] = {number for k in range(len(data)) for number in data.frame_numbers(k)}
    assert used["training"] == set(range(30))
    assert used["validation"] == set(range(30, 40))


def test_quiet_clips_are_dropped(recording_of):
    frames = np.full((40, 10, 10), 100, np.float32)
    frames[10:20, :3] = 400  # 30 % of the cells are active
    data = clips(recording_of(frames, frame_interval=0.1), dt=0.1, min_active=0.29)
    assert list(data.starts) == list(range(10, 18))


def test_nothing_left_is_an_error_that_says_why(recording_of):
    recording = recording_of(np.full((40, 8, 8), 100, np.float32), frame_interval=0.1)
    with pytest.raises(InputError, match=r"min_active 0.1 drops all 20 training clips .* reach 0.0000"):
        clips(recording, min_active=0.1)
    with pytest.raises(InputError, match=r"spans 21 frames, but the validation part .* has 10"):
        clips(recording, "validation", dt=1.0)


def test_dt_that_is_no_multiple_of_the_frame_interval(recording_of):
    recording = recording_of(np.full((40, 8, 8), 100, np.float32), frame_interval=0.1)
    with pytest.raises(InputError, match=r"clips.dt is 0.25 s.*frame interval of 0.1 s"):
        clips(recording, dt=0.25)


@pytest.mark.parametrize(
    ("key", "value"), [("dt", -1.0), ("length", 2), ("calcium_range", [6.0, 6.0]), ("min_active", 1.5), ("crop", 0)]
)
def test_impossible_values_are_named(key, value):
    with pytest.raises(InputError, match=f"clips.{key}"):
        ClipsConfig(**(CONFIG | {key: value}))


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
    clip = torch.arange(3 * 30.0).reshape(3, 1, 5, 6)
    cropped = CropClip(4)(clip, counter_rng(1))
    assert cropped.shape == (3, 1, 4, 4)
    assert torch.equal(cropped[1] - cropped[0], torch.full((1, 4, 4), 30.0))
    with pytest.raises(InputError, match=r"clips.crop is 6 px, but the recording has 5×6 cells"):
        CropClip(6)(clip, counter_rng(1))
