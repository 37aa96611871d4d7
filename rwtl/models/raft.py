"""RAFT: recurrent all-pairs field transforms for optical flow (Teed & Deng, ECCV 2020), composed from its parts."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from rwtl.errors import InputError
from rwtl.models.correlation import Correlation, pixel_grid
from rwtl.models.encoder import VARIANTS, Encoder, Norm, basic_encoder, small_encoder, to_encoder_range
from rwtl.models.update import UpdateBlock, basic_update_block, small_update_block
from rwtl.models.upsampling import BilinearUpsampler, ConvexUpsampler, crop_to, pad_to_multiple_of_8


class RAFT(nn.Module):
    """Two images to the optical flow from the first to the second.

    Args:
        feature_encoder: downsamples by 8; applied to both images.
        context_encoder: downsamples by 8; applied to the first image; `hidden` + context channels.
        correlation: pyramid and lookup.
        update_block: one recurrent iteration.
        upsampler: flow at 1/8 of the resolution and hidden state to flow at full resolution.
        hidden: channels of the hidden state.
        iterations: recurrent iterations where the call names none.
    """

    def __init__(
        self,
        feature_encoder: Encoder,
        context_encoder: Encoder,
        correlation: Correlation,
        update_block: UpdateBlock,
        upsampler: nn.Module,
        hidden: int,
        iterations: int = 12,
    ):
        super().__init__()
        self.feature_encoder = feature_encoder
        self.context_encoder = context_encoder
        self.correlation = correlation
        self.update_block = update_block
        self.upsampler = upsampler
        self.hidden = hidden
        self.iterations = iterations

    def forward(
        self, image1: Float[Tensor, "b 3 h w"], image2: Float[Tensor, "b 3 h w"], iterations: int | None = None
    ) -> list[Float[Tensor, "b 2 h w"]]:
        """Return the flow in pixels after each iteration, the last being the best; images are 0..255, of any size."""
        size = image1.shape
        image1, corner = pad_to_multiple_of_8(image1)
        image2, _ = pad_to_multiple_of_8(image2)
        image1, image2 = to_encoder_range(image1), to_encoder_range(image2)

        # Both images in one batch, as officially: with BatchNorm it matters.
        features1, features2 = self.feature_encoder(torch.cat((image1, image2))).chunk(2)  # (b, c, h/8, w/8) each
        with torch.autocast(image1.device.type, enabled=False):  # dot products need float32, as officially
            pyramid = self.correlation.pyramid(features1.float(), features2.float())

        context_features = self.context_encoder(image1)
        hidden = torch.tanh(context_features[:, : self.hidden])
        context = torch.relu(context_features[:, self.hidden :])

        update = self.update_block.bind(context)
        start = pixel_grid(len(image1), *features1.shape[-2:], device=image1.device)
        flow = torch.zeros_like(start)
        flows = []
        for _ in range(self.iterations if iterations is None else iterations):
            flow = flow.detach()  # gradients flow through each iteration alone (section 3.3)
            looked_up = self.correlation.lookup(pyramid, start + flow)
            hidden, increment = update(hidden, looked_up, flow)
            flow = flow + increment.float()
            flows.append(crop_to(self.upsampler(flow, hidden), size, corner))
        return flows


def build_raft(variant: str, feature_norm: Norm = "instance", iterations: int = 12) -> RAFT:
    """Return RAFT with random weights.

    Args:
        variant: `basic` (5,257,536 parameters) or `small` (990,162).
        feature_norm: normalisation of the feature encoder; `instance` is stock RAFT and holds no BatchNorm.
        iterations: recurrent iterations, at least 1, where a call names none.
    """
    if variant == "basic":
        correlation = Correlation(levels=4, radius=4)
        return RAFT(
            feature_encoder=basic_encoder(256, feature_norm),
            context_encoder=basic_encoder(128 + 128, "batch"),
            correlation=correlation,
            update_block=basic_update_block(correlation.out_channels, hidden=128, context=128),
            upsampler=ConvexUpsampler(128),
            hidden=128,
            iterations=iterations,
        )
    if variant == "small":
        correlation = Correlation(levels=4, radius=3)
        return RAFT(
            feature_encoder=small_encoder(128, feature_norm),
            context_encoder=small_encoder(96 + 64, "none"),
            correlation=correlation,
            update_block=small_update_block(correlation.out_channels, hidden=96, context=64),
            upsampler=BilinearUpsampler(),
            hidden=96,
            iterations=iterations,
        )
    raise InputError(f"variant is {variant!r}; choose one of {', '.join(VARIANTS)}")
