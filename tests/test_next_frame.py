import torch
import torch.nn.functional as F

from rwtl.models.next_frame import build_next_frame, warp
from rwtl.training.next_frame import copy_last, extrapolate


def test_warp_samples_where_the_flow_points_and_repeats_the_border():
    frame = torch.arange(16.0).reshape(1, 1, 4, 4)
    flow = torch.zeros(1, 2, 4, 4)
    flow[:, 0] = 1.0
    assert torch.allclose(warp(frame, flow)[..., :3], frame[..., 1:], atol=1e-5)
    assert torch.allclose(warp(frame, flow)[..., 3], frame[..., 3], atol=1e-5)


def test_the_motion_that_the_decoder_expects_carries_a_moving_front_on():
    """A front moves 2 px to the right per frame: the motion from I2 to I1 is -2 px, and warping I2 by it gives I3."""
    ramp = torch.sigmoid(torch.arange(24.0) - 8).expand(1, 1, 16, 24)
    frame2, frame3 = torch.roll(ramp, 2, dims=-1), torch.roll(ramp, 4, dims=-1)
    motion = torch.zeros(1, 2, 16, 24)
    motion[:, 0] = -2.0
    inner = (..., slice(6, 20))
    assert torch.allclose(warp(frame2, motion)[inner], frame3[inner], atol=1e-5)


def test_prediction_has_the_frames_size_and_trains_encoder_and_flow_head():
    torch.manual_seed(0)
    model = build_next_frame("small", "batch", iterations=2)
    frames = torch.rand(3, 2, 1, 20, 28)
    predicted = model(frames[0], frames[1])
    assert predicted.shape == (2, 1, 20, 28)
    F.mse_loss(predicted, frames[2]).backward()
    for module in (model.feature_encoder.conv1, model.update_block.flow_head.conv1, model.decoder.conv2):
        assert module.weight.grad.abs().sum() > 0


def test_baselines():
    frame1, frame2 = torch.full((1, 1, 2, 2), 0.5), torch.full((1, 1, 2, 2), 0.9)
    assert torch.equal(copy_last(frame1, frame2), frame2)
    assert torch.allclose(extrapolate(frame1, frame2), torch.ones(1, 1, 2, 2))
    assert torch.allclose(extrapolate(frame2, frame1), torch.full((1, 1, 2, 2), 0.1))
