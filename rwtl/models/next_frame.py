"""From motion and hidden state at 1/8 of the resolution to the next frame."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from rwtl.clips.config import Colour
from rwtl.clips.transforms import channels_of, to_rgb
from rwtl.errors import InputError
from rwtl.models.correlation import Correlation, CorrelationKind, pixel_grid, sample_at
from rwtl.models.encoder import Encoder, Norm
from rwtl.models.parts import LEVELS, crop_to, pad_to_multiple_of_8, parts_of
from rwtl.models.update import UpdateBlock, upsample_bilinear


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
CONTEXTS = ("features", "context_encoder")


class NextFrameModel(nn.Module):
    """Frames to the next one, step by step.

    Args:
        feature_encoder: the encoder that is later transferred; downsamples by 8.
        context_encoder: of I2, to hidden state and context, as RAFT's; None: a projection of the features of I2.
        correlation: pyramid and lookup.
        update_block: RAFT's; its flow is the motion from I2 to I1.
        decoder: I2, motion and hidden state to I3.
        hidden, context: channels of the hidden state and of the context.
        iterations: recurrent iterations of each step (the study used 4 and 8).
        colour: how frames become the RGB images that the encoders see.
    """

    def __init__(
        self,
        feature_encoder: Encoder,
        context_encoder: Encoder | None,
        correlation: Correlation,
        update_block: UpdateBlock,
        decoder: nn.Module,
        hidden: int,
        context: int,
        iterations: int,
        colour: Colour,
    ):
        super().__init__()
        self.feature_encoder = feature_encoder
        self.correlation = correlation
        self.update_block = update_block
        self.decoder = decoder
        if context_encoder is None:
            self.projection = nn.Conv2d(feature_encoder.out_channels, hidden + context, 1)
        else:
            self.context_encoder = context_encoder
        self.hidden = hidden
        self.iterations = iterations
        self.colour = colour

    def forward(self, frames: Float[Tensor, "b n c h w"]) -> Float[Tensor, "b n-1 c h w"]:
        """Predict I3 to I(n + 1) from I1 to In, each from the true frames before it.

        Hidden state and motion are carried from step to step, gradients included: what an early frame leaves behind is
        learnt only if the errors of later predictions reach it. With running statistics (`eval`) no prediction depends
        on frames after its own I2; BatchNorm in training mixes the statistics of all frames of a batch.

        Args:
            frames: at least 2 of any size from 8×8 px, in 0..1, of the model's colour.
        """
        if frames.ndim != 5:
            raise InputError(
                f"the frames are of shape {tuple(frames.shape)}; they must be (batch, frames, channels, height, width)"
            )
        b, n = frames.shape[:2]
        if n < 2:
            raise InputError(f"there are {n} frames to predict the next one from; there must be at least 2")
        padded, window = pad_to_multiple_of_8(frames.flatten(0, 1))
        images = 2 * to_rgb(padded, self.colour) - 1
        features = self.feature_encoder(images).unflatten(0, (b, n))  # (b, n, k, h/8, w/8)
        hidden_states, contexts = self._context(images.unflatten(0, (b, n)), features)

        hidden = hidden_states[:, 0]
        start = pixel_grid(b, *features.shape[-2:], device=frames.device)
        motion = torch.zeros_like(start)
        hiddens, motions = [], []
        for step in range(n - 1):
            with torch.autocast(frames.device.type, enabled=False):  # as in RAFT
                prepared = self.correlation.prepare(features[:, step + 1].float(), features[:, step].float())
            bound = self.update_block.bind(contexts[:, step])
            for _ in range(self.iterations):
                looked_up, prepared = self.correlation.lookup(prepared, start + motion.detach())
                hidden, increment = self.update_block(hidden, looked_up, motion, bound)
                motion = motion + increment.float()
            hiddens.append(hidden)
            motions.append(motion)

        frames2 = padded.unflatten(0, (b, n))[:, 1:].flatten(0, 1)
        predicted = self.decoder(frames2, torch.stack(motions, 1).flatten(0, 1), torch.stack(hiddens, 1).flatten(0, 1))
        return crop_to(predicted, window).unflatten(0, (b, n - 1))

    def _context(
        self, images: Float[Tensor, "b n 3 h w"], features: Float[Tensor, "b n k h8 w8"]
    ) -> tuple[Float[Tensor, "b n-1 d h8 w8"], Float[Tensor, "b n-1 e h8 w8"]]:
        """Return the initial hidden state and the context of each step, both of its I2."""
        if hasattr(self, "context_encoder"):
            found = self.context_encoder(images[:, 1:].flatten(0, 1))
        else:
            found = self.projection(features[:, 1:].flatten(0, 1))
        found = found.unflatten(0, (len(images), -1))
        return torch.tanh(found[:, :, : self.hidden]), torch.relu(found[:, :, self.hidden :])


def build_next_frame(
    variant: str,
    feature_norm: Norm,
    iterations: int,
    correlation: CorrelationKind = "all_pairs",
    colour: Colour = "grey",
    decoder: str = "warp",
    context: str = "features",
    levels: int = LEVELS,
) -> NextFrameModel:
    """Return the model with random weights.

    Args:
        variant: `basic` or `small`, as of RAFT: only an encoder of the same variant can be transferred.
        feature_norm: normalisation of the feature encoder: `instance`, `batch` or `none`.
        iterations: recurrent iterations of each step, at least 1.
        correlation: `all_pairs` or `on_demand`, as of RAFT.
        colour: of the frames: `grey` and `blue_red` have one channel, `rgb` three.
        decoder: `warp` carries I2 on by the motion and corrects it, `direct` reads the frame from the hidden state.
        context: initial hidden state and context are a projection of the `features` of I2, or what RAFT's
            `context_encoder` makes of I2.
        levels: of the correlation pyramid, as of RAFT.
    """
    choices = (("decoder", decoder, DECODERS), ("context", context, CONTEXTS))
    parts = parts_of(variant)
    for key, value, known in choices:
        if value not in known:
            raise InputError(f"{key} is {value!r}; choose one of {', '.join(known)}")
    if iterations < 1:
        raise InputError(f"iterations is {iterations}; it must be at least 1")
    lookup = parts.correlation(correlation, levels)
    return NextFrameModel(
        feature_encoder=parts.feature_encoder(feature_norm),
        context_encoder=parts.context_encoder() if context == "context_encoder" else None,
        correlation=lookup,
        update_block=parts.update_block(lookup.out_channels),
        decoder=DECODERS[decoder](parts.hidden, channels_of(colour)),
        hidden=parts.hidden,
        context=parts.context,
        iterations=iterations,
        colour=colour,
    )
