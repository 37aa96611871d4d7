"""The next-frame-prediction model: RAFT's parts, asked for the next frame in place of the flow."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from rwtl.errors import InputError
from rwtl.models.correlation import Correlation, CorrelationKind, pixel_grid, sample_at
from rwtl.models.encoder import VARIANTS, Encoder, Norm
from rwtl.models.padding import crop_to, pad_to_multiple_of_8
from rwtl.models.parts import PARTS
from rwtl.models.update import UpdateBlock
from rwtl.models.upsampling import upsample_bilinear


def warp(frame: Float[Tensor, "b c h w"], flow: Float[Tensor, "b 2 h w"]) -> Float[Tensor, "b c h w"]:
    """Return the frame sampled at each pixel plus its flow (pixels); beyond the border the border's value."""
    points = pixel_grid(len(frame), *frame.shape[-2:], device=frame.device) + flow
    return sample_at(frame, points.permute(0, 2, 3, 1), padding_mode="border")


class WarpDecoder(nn.Module):
    """The next frame as I2 carried on by the estimated motion, plus a correction read from the hidden state.

    The motion goes from I2 to I1; at constant velocity what is at x in I3 was at x + motion(x) in I2.
    Gradients reach the update block through the motion, so the features must hold motion to predict well.
    """

    def __init__(self, hidden: int):
        super().__init__()
        self.conv1 = nn.Conv2d(hidden, 128, 3, padding=1)
        self.conv2 = nn.Conv2d(128, 64, 1)
        # Training starts from the prediction of pure motion.
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)

    def forward(
        self,
        frame2: Float[Tensor, "b 1 h w"],
        motion: Float[Tensor, "b 2 h8 w8"],
        hidden: Float[Tensor, "b c h8 w8"],
    ) -> Float[Tensor, "b 1 h w"]:
        correction = F.pixel_shuffle(self.conv2(F.relu(self.conv1(hidden))), 8)  # (b, 1, h, w)
        return warp(frame2, upsample_bilinear(motion)) + correction


class NextFrameModel(nn.Module):
    """Two frames to the third.

    Args:
        feature_encoder: the encoder that is later transferred; downsamples by 8.
        correlation: pyramid and lookup.
        update_block: RAFT's; its flow is the motion from I2 to I1.
        decoder: I2, motion and hidden state to I3.
        hidden, context: channels of the hidden state and of the context, both projected from the features of I2.
        iterations: recurrent iterations (the study used 4 and 8).
    """

    def __init__(
        self,
        feature_encoder: Encoder,
        correlation: Correlation,
        update_block: UpdateBlock,
        decoder: nn.Module,
        hidden: int,
        context: int,
        iterations: int,
    ):
        super().__init__()
        self.feature_encoder = feature_encoder
        self.correlation = correlation
        self.update_block = update_block
        self.decoder = decoder
        self.projection = nn.Conv2d(feature_encoder.out_channels, hidden + context, 1)
        self.hidden = hidden
        self.iterations = iterations

    def forward(self, frame1: Float[Tensor, "b 1 h w"], frame2: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 h w"]:
        """Predict I3 from I1 and I2, normalised calcium in 0..1, of any size."""
        frame1, window = pad_to_multiple_of_8(frame1)
        frame2, _ = pad_to_multiple_of_8(frame2)
        # Grey repeated to three channels: the encoder must fit RAFT, whose images are RGB in -1..1.
        images = (2 * torch.cat((frame1, frame2)) - 1).expand(-1, 3, -1, -1)
        features1, features2 = self.feature_encoder(images).chunk(2)  # (b, c, h/8, w/8) each
        with torch.autocast(frame1.device.type, enabled=False):  # as in RAFT
            prepared = self.correlation.prepare(features2.float(), features1.float())

        projected = self.projection(features2)
        hidden = torch.tanh(projected[:, : self.hidden])
        bound = self.update_block.bind(torch.relu(projected[:, self.hidden :]))

        start = pixel_grid(len(frame1), *features1.shape[-2:], device=frame1.device)
        motion = torch.zeros_like(start)
        for _ in range(self.iterations):
            looked_up, prepared = self.correlation.lookup(prepared, start + motion.detach())
            hidden, increment = self.update_block(hidden, looked_up, motion, bound)
            motion = motion + increment.float()
        return crop_to(self.decoder(frame2, motion, hidden), window)


def build_next_frame(
    variant: str, feature_norm: Norm, iterations: int, correlation: CorrelationKind = "all_pairs"
) -> NextFrameModel:
    """Return the model with random weights.

    Args:
        variant: `basic` or `small`, as of RAFT: only an encoder of the same variant can be transferred.
        feature_norm: normalisation of the feature encoder: `instance`, `batch` or `none`.
        iterations: recurrent iterations, at least 1.
        correlation: `all_pairs` or `on_demand`, as of RAFT.
    """
    if variant not in VARIANTS:
        raise InputError(f"variant is {variant!r}; choose one of {', '.join(VARIANTS)}")
    if iterations < 1:
        raise InputError(f"iterations is {iterations}; it must be at least 1")
    parts = PARTS[variant]
    lookup = parts.correlation(correlation)
    return NextFrameModel(
        feature_encoder=parts.feature_encoder(feature_norm),
        correlation=lookup,
        update_block=parts.update_block(lookup.out_channels),
        decoder=WarpDecoder(parts.hidden),
        hidden=parts.hidden,
        context=parts.context,
        iterations=iterations,
    )
