"""The sizes and parts of RAFT's two variants, which the next-frame model shares."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from rwtl.models.correlation import AllPairsCorrelation, Correlation, CorrelationKind, OnDemandCorrelation
from rwtl.models.encoder import BottleneckBlock, Encoder, Norm, ResidualBlock
from rwtl.models.update import BilinearUpsampler, ConvexUpsampler, UpdateBlock, basic_update_block, small_update_block

_CORRELATIONS = {"all_pairs": AllPairsCorrelation, "on_demand": OnDemandCorrelation}


@dataclass(frozen=True)
class Parts:
    """One variant (Teed & Deng, ECCV 2020, section 3 and the supplement).

    Args:
        features, hidden, context: channels of the feature maps, the hidden state and the context.
        radius: of the lookup's windows.
        block, widths: of the encoders.
        context_norm: of the context encoder.
        make_update_block: of correlation, hidden and context channels.
        upsampler: makes the upsampler.
    """

    features: int
    hidden: int
    context: int
    radius: int
    block: type[ResidualBlock] | type[BottleneckBlock]
    widths: tuple[int, int, int]
    context_norm: Norm
    make_update_block: Callable[[int, int, int], UpdateBlock]
    upsampler: Callable[[], nn.Module]

    def feature_encoder(self, norm: Norm) -> Encoder:
        return Encoder(self.block, self.widths, self.features, norm)

    def context_encoder(self) -> Encoder:
        return Encoder(self.block, self.widths, self.hidden + self.context, self.context_norm)

    def correlation(self, kind: CorrelationKind = "all_pairs") -> Correlation:
        return _CORRELATIONS[kind](levels=4, radius=self.radius)

    def update_block(self, correlation_channels: int) -> UpdateBlock:
        return self.make_update_block(correlation_channels, self.hidden, self.context)


PARTS = {
    "basic": Parts(
        features=256,
        hidden=128,
        context=128,
        radius=4,
        block=ResidualBlock,
        widths=(64, 96, 128),
        context_norm="batch",
        make_update_block=basic_update_block,
        upsampler=lambda: ConvexUpsampler(128),
    ),
    "small": Parts(
        features=128,
        hidden=96,
        context=64,
        radius=3,
        block=BottleneckBlock,
        widths=(32, 64, 96),
        context_norm="none",
        make_update_block=small_update_block,
        upsampler=BilinearUpsampler,
    ),
}
