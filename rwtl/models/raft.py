"""RAFT: recurrent all-pairs field transforms for optical flow (Teed & Deng, ECCV 2020), composed from its parts."""

from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple, get_args

import torch
from jaxtyping import Float, Real
from torch import Tensor, nn

from rwtl.errors import InputError
from rwtl.flow.sample import PaddingMode
from rwtl.models.correlation import Correlation, CorrelationKind, pixel_grid
from rwtl.models.encoder import Encoder, Norm, to_encoder_range
from rwtl.models.parts import LEVELS, crop_to, frame_pair, pad_to_multiple_of_8, parts_of
from rwtl.models.update import UpdateBlock

ITERATIONS = 12  # of RAFT's training


class FlowEstimate(NamedTuple):
    """What RAFT estimates for a pair of images.

    Attributes:
        flow: from the first image to the second, in pixels.
        coarse: the same before upsampling, of the padded images at 1/8 of the resolution and in its pixels: what a warm
            start of the next pair is made from.
    """

    flow: Float[Tensor, "b 2 h w"]
    coarse: Float[Tensor, "b 2 h8 w8"]


class RAFT(nn.Module):
    """Two images to the optical flow from the first to the second.

    Args:
        feature_encoder: downsamples by 8; applied to both images.
        context_encoder: downsamples by 8; applied to the first image; `hidden` + context channels.
        correlation: what is looked up around each pixel's estimate.
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
        iterations: int = ITERATIONS,
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
        self, image1: Real[Tensor, "b 3 h w"], image2: Real[Tensor, "b 3 h w"], iterations: int | None = None
    ) -> list[Float[Tensor, "b 2 h w"]]:
        """Return the flow in pixels after each iteration, as training needs it; images are 0..255, from 8×8 px.

        Raises InputError as `estimate` does; in training pixels are not looked at, for which a GPU would be waited for.
        """
        image1, image2 = frame_pair(image1, image2, next(self.parameters()).dtype, looked_at=not self.training)
        image1, window = pad_to_multiple_of_8(image1)
        image2, _ = pad_to_multiple_of_8(image2)
        states = self._iterate(image1, image2, iterations, None)
        return [crop_to(self.upsampler(flow, hidden), window) for flow, hidden in states]

    @torch.no_grad()
    def estimate(
        self,
        image1: Real[Tensor, "b 3 h w"],
        image2: Real[Tensor, "b 3 h w"],
        iterations: int | None = None,
        initial: Float[Tensor, "b 2 h8 w8"] | None = None,
        padding: PaddingMode = "sintel",
    ) -> FlowEstimate:
        """Return the flow after the last iteration, which alone is upsampled.

        Args:
            image1, image2: RGB, 0..255, from 8×8 px, of the same size; numbers of any type.
            iterations: recurrent iterations; None means those of the constructor.
            initial: where to start from in place of no motion, like `coarse` of an earlier estimate.
            padding: where images are padded to multiples of 8: as officially for Sintel, or for KITTI.

        Raises:
            InputError: An image is no such tensor, has a pixel that is not finite, or differs in size from the other;
                so does the initial flow; or the padding is of no such kind.
        """
        image1, image2 = frame_pair(image1, image2, next(self.parameters()).dtype, looked_at=True)
        if padding not in get_args(PaddingMode):
            raise InputError(f"padding is {padding!r}; it must be {' or '.join(get_args(PaddingMode))}")
        image1, window = pad_to_multiple_of_8(image1, padding)
        image2, _ = pad_to_multiple_of_8(image2, padding)
        if initial is not None:
            initial = _fitting(initial, (len(image1), 2, image1.shape[-2] // 8, image1.shape[-1] // 8))
        flow, hidden = deque(self._iterate(image1, image2, iterations, initial), maxlen=1).pop()
        return FlowEstimate(crop_to(self.upsampler(flow, hidden), window), flow)

    def _iterate(
        self, image1: Tensor, image2: Tensor, iterations: int | None, initial: Tensor | None
    ) -> Iterator[tuple[Float[Tensor, "b 2 h8 w8"], Float[Tensor, "b c h8 w8"]]]:
        """Yield flow and hidden state, both at 1/8 of the resolution, after each iteration."""
        iterations = self.iterations if iterations is None else iterations
        if iterations < 1:
            raise InputError(f"iterations is {iterations}; it must be at least 1")
        image1, image2 = to_encoder_range(image1), to_encoder_range(image2)
        features1, features2 = self._features(image1, image2)
        with torch.autocast(image1.device.type, enabled=False):  # dot products need float32, as officially
            prepared = self.correlation.prepare(features1.float(), features2.float())

        context_features = self.context_encoder(image1)
        hidden = torch.tanh(context_features[:, : self.hidden])
        bound = self.update_block.bind(torch.relu(context_features[:, self.hidden :]))

        start = pixel_grid(len(image1), *features1.shape[-2:], device=image1.device)
        flow = torch.zeros_like(start) if initial is None else initial
        del features1, features2, context_features  # at large sizes they are worth freeing
        for _ in range(iterations):
            flow = flow.detach()  # gradients flow through each iteration alone (section 3.3)
            looked_up, prepared = self.correlation.lookup(prepared, start + flow)
            hidden, increment = self.update_block(hidden, looked_up, flow, bound)
            flow = flow + increment.float()
            yield flow, hidden

    def _features(self, image1: Tensor, image2: Tensor) -> tuple[Tensor, Tensor]:
        """Features of both images, (b, c, h/8, w/8) each."""
        if self.feature_encoder.training:  # in one batch, as officially: with BatchNorm it matters
            return self.feature_encoder(torch.cat((image1, image2))).chunk(2)
        return self.feature_encoder(image1), self.feature_encoder(image2)  # the same, in half the memory


def _fitting(initial: Any, shape: tuple[int, ...]) -> Tensor:
    """Return an initial flow in float32; an InputError says where it is no finite tensor of the shape."""
    if not isinstance(initial, Tensor):
        raise InputError(f"the initial flow is a {type(initial).__name__}; it must be a tensor")
    if initial.shape != shape:
        raise InputError(f"the initial flow is {tuple(initial.shape)}; for these images it must be {shape}")
    if not torch.compiler.is_compiling() and not initial.isfinite().all():
        raise InputError("the initial flow holds a value that is not finite; it must hold none")
    return initial.float()


def build_raft(
    variant: str,
    feature_norm: Norm = "instance",
    iterations: int = ITERATIONS,
    correlation: CorrelationKind = "all_pairs",
    levels: int = LEVELS,
) -> RAFT:
    """Return RAFT with random weights.

    Args:
        variant: `basic` (5,257,536 parameters), `small` (990,162), or one that is registered.
        feature_norm: normalisation of the feature encoder; `instance` is stock RAFT and holds no BatchNorm.
        iterations: recurrent iterations, at least 1, where a call names none.
        correlation: `all_pairs` holds the volume; `on_demand` gives the same flow in memory that grows with the number
            of pixels only.
        levels: of the correlation pyramid; 4 as published, fewer for training on small frames.
    """
    parts = parts_of(variant)
    lookup = parts.correlation(correlation, levels)
    return RAFT(
        feature_encoder=parts.feature_encoder(feature_norm),
        context_encoder=parts.context_encoder(),
        correlation=lookup,
        update_block=parts.update_block(lookup.out_channels),
        upsampler=parts.upsampler(),
        hidden=parts.hidden,
        iterations=iterations,
    )
