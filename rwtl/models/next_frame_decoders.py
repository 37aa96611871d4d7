"""From motion and hidden state at 1/8 of the resolution to the next frame."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from rwtl.models.correlation import pixel_grid, sample_at
from rwtl.models.upsampling import upsample_bilinear


def warp(frame: Float[Tensor, "b c h w"], flow: Float[Tensor, "b 2 h w"]) -> Float[Tensor, "b c h w"]:
    """Return the frame sampled at each pixel plus its flow (pixels); beyond the border the border's value."""
    # PyTorch's gradient with a border reads outside of memory where a training that diverged gives NaN or 1e20.
    furthest = 2 * max(frame.shape[-2:])
    flow = flow.nan_to_num().clamp(-furthest, furthest)
    points = pixel_grid(len(frame), *frame.shape[-2:], device=frame.device) + flow
    return sample_at(frame, points.permute(0, 2, 3, 1), padding_mode="border")


class DirectDecoder(nn.Module):
    """The next frame read from the hidden state alone, which must therefore hold both picture and motion.

    Args:
        hidden: channels of the hidden state.
        channels: of a frame.
    """

    def __init__(self, hidden: int, channels: int):
        super().__init__()
        self.conv1 = nn.Conv2d(hidden, 128, 3, padding=1)
        self.conv2 = nn.Conv2d(128, 64 * channels, 1)

    def forward(
        self,
        frame2: Float[Tensor, "b c h w"],
        motion: Float[Tensor, "b 2 h8 w8"],
        hidden: Float[Tensor, "b d h8 w8"],
    ) -> Float[Tensor, "b c h w"]:
        return F.pixel_shuffle(self.conv2(F.relu(self.conv1(hidden))), 8).float()  # each coarse pixel to 8×8 fine ones


class WarpDecoder(DirectDecoder):
    """The next frame as I2 carried on by the estimated motion, plus a correction read from the hidden state.

    The motion goes from I2 to I1; at constant velocity what is at x in I3 was at x + motion(x) in I2.
    Gradients reach the update block through the motion, so the features must hold motion to predict well.
    """

    def __init__(self, hidden: int, channels: int):
        super().__init__(hidden, channels)
        # Training starts from the prediction of pure motion.
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)

    def forward(
        self,
        frame2: Float[Tensor, "b c h w"],
        motion: Float[Tensor, "b 2 h8 w8"],
        hidden: Float[Tensor, "b d h8 w8"],
    ) -> Float[Tensor, "b c h w"]:
        return warp(frame2, upsample_bilinear(motion)) + super().forward(frame2, motion, hidden)


DECODERS = {"warp": WarpDecoder, "direct": DirectDecoder}
