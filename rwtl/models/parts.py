"""What RAFT and the next-frame model share: the sizes and parts of their variants, and the padding of images."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from scipy.interpolate import NearestNDInterpolator
from torch import Tensor, nn

from rwtl.errors import InputError
from rwtl.flow.sample import PaddingMode
from rwtl.models.correlation import AllPairsCorrelation, Correlation, CorrelationKind, OnDemandCorrelation
from rwtl.models.encoder import BottleneckBlock, Encoder, Norm, ResidualBlock
from rwtl.models.update import (
    BasicMotionEncoder,
    BilinearUpsampler,
    ConvexUpsampler,
    ConvGRU,
    FlowHead,
    SeparableConvGRU,
    SmallMotionEncoder,
    UpdateBlock,
)
from rwtl.registry import Registry
from rwtl.sections import OneOf, Range, section

SMALLEST = 8  # px
LEVELS = 4  # of the correlation pyramid, as published
_CORRELATIONS = {"all_pairs": AllPairsCorrelation, "on_demand": OnDemandCorrelation}


@dataclass(frozen=True)
class Parts:
    """One variant (Teed & Deng, ECCV 2020, section 3 and the supplement).

    Args:
        features, hidden, context: channels of the feature maps, the hidden state and the context.
        radius: of the lookup's windows.
        block, widths: of the encoders.
        context_norm: of the context encoder.
        motion_encoder, gru, flow_channels: of the update block; the flow head's inner channels are `flow_channels`.
        upsampler: makes the upsampler.
    """

    features: int
    hidden: int
    context: int
    radius: int
    block: type[ResidualBlock] | type[BottleneckBlock]
    widths: tuple[int, int, int]
    context_norm: Norm
    motion_encoder: type[BasicMotionEncoder] | type[SmallMotionEncoder]
    gru: type[SeparableConvGRU] | type[ConvGRU]
    flow_channels: int
    upsampler: Callable[[], nn.Module]

    def feature_encoder(self, norm: Norm) -> Encoder:
        return Encoder(self.block, self.widths, self.features, norm)

    def context_encoder(self) -> Encoder:
        return Encoder(self.block, self.widths, self.hidden + self.context, self.context_norm)

    def correlation(self, kind: CorrelationKind = "all_pairs", levels: int = LEVELS) -> Correlation:
        return _CORRELATIONS[kind](levels, self.radius)

    def update_block(self, correlation_channels: int) -> UpdateBlock:
        motion_encoder = self.motion_encoder(correlation_channels)
        gru = self.gru(self.hidden, self.context, motion_encoder.out_channels)
        return UpdateBlock(motion_encoder, gru, FlowHead(self.hidden, self.flow_channels))


VARIANTS: Registry[Callable[[], Parts]] = Registry("variant")


def register_variant(name: str) -> Callable[[Callable[[], Parts]], Callable[[], Parts]]:
    """Return a decorator that makes a function's `Parts` a variant of RAFT and of the next-frame model.

    `model.variant` may then name it, everywhere: in pre-training, transfer, checkpoints, evaluation and comparisons.

    Args:
        name: of letters, digits and '_'.

    Raises:
        InputError: The name is that of another variant.

    The text of the file, or the notebook's cell, is part of what determines results: where it changes, they are made
    anew. Processes that are started later import the files that `plugins` names, and know nothing of a notebook's cell.

    >>> from dataclasses import replace
    >>> from rwtl.models.parts import small
    >>> @rwtl.register_variant("wide")
    ... def wide():
    ...     return replace(small(), widths=(48, 96, 128))
    """
    return VARIANTS.register(name)


@register_variant("basic")
def basic() -> Parts:
    """Return the parts of basic RAFT."""
    return Parts(
        features=256,
        hidden=128,
        context=128,
        radius=4,
        block=ResidualBlock,
        widths=(64, 96, 128),
        context_norm="batch",
        motion_encoder=BasicMotionEncoder,
        gru=SeparableConvGRU,
        flow_channels=256,
        upsampler=ConvexUpsampler,
    )


@register_variant("small")
def small() -> Parts:
    """Return the parts of small RAFT."""
    return Parts(
        features=128,
        hidden=96,
        context=64,
        radius=3,
        block=BottleneckBlock,
        widths=(32, 64, 96),
        context_norm="none",
        motion_encoder=SmallMotionEncoder,
        gru=ConvGRU,
        flow_channels=128,
        upsampler=BilinearUpsampler,
    )


def parts_of(variant: str) -> Parts:
    """Return the parts of a variant; raise InputError where there is none of this name, or it makes something else."""
    if variant not in VARIANTS:
        raise InputError(
            f"variant is {variant!r}; choose one of {', '.join(VARIANTS)}, or name in plugins the file that registers "
            "it"
        )
    parts = VARIANTS[variant]()
    if not isinstance(parts, Parts):
        raise InputError(f"the function of variant {variant} returns a {type(parts).__name__}; it must return Parts")
    return parts


@section("model")
class ModelConfig:
    """What source and target model have in common; only an encoder of the same kind can be transferred.

    Args:
        variant: `basic` or `small`, as of RAFT, or one that a plug-in registers.
        feature_norm: normalisation of the feature encoder: `instance` (stock RAFT, no BatchNorm), `batch`, `none`.
        levels: of the correlation pyramid: 4 as published, fewer for training on small frames. A level whose map is a
            single pixel high or wide there has taps that are always zero in training, and alive on larger frames.
    """

    variant: Annotated[str, OneOf(VARIANTS)]
    feature_norm: Norm
    levels: Annotated[int, Range(1, LEVELS)] = LEVELS

    def identity(self) -> dict[str, Any]:
        """Return what determines a model: the values, and of a registered variant its code."""
        values = asdict(self)
        if self.levels == LEVELS:  # results from before there was a choice stay what they are
            del values["levels"]
        return values | VARIANTS.code(self.variant)


def frame_pair(image1: Any, image2: Any, dtype: torch.dtype, looked_at: bool) -> tuple[Tensor, Tensor]:
    """Return two batches of frames, (b, 3, h, w) each, as numbers of a type, to which others are converted.

    Args:
        image1, image2: RGB, 0..255.
        dtype: of the model that they are for.
        looked_at: whether the pixels are checked too; not while a model is compiled or exported, which sees none.

    Raises:
        InputError: One is no tensor of such a shape or holds a pixel that is not finite, or they differ in shape.
    """
    for name, image in (("image1", image1), ("image2", image2)):
        if not isinstance(image, Tensor):
            raise InputError(f"{name} is a {type(image).__name__}; it must be a tensor, as torch.as_tensor makes one")
        if image.ndim != 4 or image.shape[0] == 0 or image.shape[1] != 3:
            raise InputError(
                f"{name} is of shape {tuple(image.shape)}; it must be (batch, 3, height, width), RGB in 0..255"
                f"{_remedy(tuple(image.shape))}"
            )
        if image.dtype == torch.bool or image.is_complex():
            raise InputError(f"{name} holds {str(image.dtype).removeprefix('torch.')}; it must hold numbers in 0..255")
        if looked_at and not torch.compiler.is_compiling() and not image.isfinite().all():
            count, place = int((~image.isfinite()).sum()), tuple((~image.isfinite()).nonzero()[0].tolist())
            raise InputError(
                f"{name} holds {count} values that are not finite, the first at {place}; it must hold none"
            )
    if image1.shape != image2.shape:
        raise InputError(
            f"image1 is of shape {tuple(image1.shape)}, image2 of {tuple(image2.shape)}; they must be equal"
        )
    return image1.to(dtype), image2.to(dtype)


def _remedy(shape: tuple[int, ...]) -> str:
    """Return what makes frames of a tensor of another shape, where that is known."""
    match shape:
        case (3, _, _):
            return ": image[None] adds the batch's axis"
        case (_, _, 3):
            return ": image.permute(2, 0, 1)[None] puts the channels first and adds the batch's axis"
        case (_, _, _, 3):
            return ": image.permute(0, 3, 1, 2) puts the channels first"
        case (_, 1, _, _):
            return ": image.expand(-1, 3, -1, -1) repeats the grey channel"
        case (_, 4, _, _):
            return ": image[:, :3] leaves out the fourth channel"
    return ""


class Window(NamedTuple):
    """Where an image lies within its padded form, in pixels."""

    top: int
    left: int
    height: int
    width: int


def pad_to_multiple_of_8(
    images: Float[Tensor, "b c h w"], mode: PaddingMode = "sintel"
) -> tuple[Float[Tensor, "b c h2 w2"], Window]:
    """Repeat the border until height and width are multiples of 8, as officially.

    Args:
        images: of at least 8×8 px.
        mode: `sintel` pads evenly on all sides; `kitti` pads the height at the bottom alone, as its sky has no flow.

    Returns:
        The padded images and where the images lie in them, for `crop_to`. 8×8 px become 16×16, as instance
        normalisation needs more than the one pixel that would be left at 1/8 of the resolution.
    """
    height, width = images.shape[-2:]
    if min(height, width) < SMALLEST:
        raise InputError(f"the images are {height}×{width} px; RAFT needs at least {SMALLEST}×{SMALLEST}")
    rows, columns = (8, 8) if height == width == SMALLEST else (-height % 8, -width % 8)
    top, left = rows // 2 if mode == "sintel" else 0, columns // 2
    padded = images
    if rows or columns:
        padded = F.pad(images, (left, columns - left, top, rows - top), mode="replicate")
    return padded, Window(top, left, height, width)


def crop_to(images: Float[Tensor, "b c h2 w2"], window: Window) -> Float[Tensor, "b c h w"]:
    """Undo `pad_to_multiple_of_8`."""
    return images[..., window.top : window.top + window.height, window.left : window.left + window.width]


def carry_forward(coarse: Float[Tensor, "b 2 h w"]) -> Float[Tensor, "b 2 h w"]:
    """Return an initial flow for the next pair, as RAFT's warm start (Teed & Deng, section 4.3) and its official code.

    Each pixel takes its flow along to where it points, and every pixel of the next frame gets that of the nearest
    arrival; what leaves the frame is forgotten, and where nothing arrives there is no motion.

    Args:
        coarse: flow at 1/8 of the resolution, in its pixels (`FlowEstimate.coarse`), finite.
    """
    height, width = coarse.shape[-2:]
    y, x = np.mgrid[:height, :width]
    carried = np.zeros(coarse.shape, np.float32)
    for flow, out in zip(coarse.detach().cpu().numpy(), carried, strict=True):
        arrivals = np.stack((x + flow[0], y + flow[1]), axis=-1).reshape(-1, 2)
        stays = ((arrivals > 0) & (arrivals < (width, height))).all(axis=1)
        if stays.any():
            nearest = NearestNDInterpolator(arrivals[stays], flow.reshape(2, -1).T[stays])
            out[:] = nearest(x, y).transpose(2, 0, 1)
    return torch.from_numpy(carried).to(coarse.device)
