"""Pairs of frames of waves with the flow of their fronts: what RAFT itself can be pre-trained on."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32

from rwtl.clips.config import Colour
from rwtl.clips.dataset import WaveClips
from rwtl.clips.fronts import Fronts, front_flow, fronts_of
from rwtl.clips.transforms import to_rgb, zoomed
from rwtl.errors import InputError
from rwtl.flow.sample import FlowDataset, FlowSample, flow_sample
from rwtl.random import evenly


class WaveFlow(FlowDataset):
    """Clips of two frames as FlowSample, whose flow is that of `front_flow`: along the normal, on fronts only.

    Flow comes from onset times over the whole recording, frames from the clips. Items are whole frames at the
    recording's resolution. Clips without a valid pixel are left out.

    Args:
        clips: of two frames, in their own order.
        colour: of the frames.
        behind, ahead: s, which pixels lie on a front, see `front_flow`.
        fronts: of each of the clips' recordings, where they are known already; by default they are measured.

    Attributes:
        names: recording, first and second frame of every sample.
        left_out: clips without a valid pixel.
        pixels: valid ones of every sample.
        mean_flow: over all valid pixels, px to the right and down.
        mean_speed: mean length of the flow over all valid pixels, px.

    Raises:
        InputError: The clips are no pairs or shuffled, or no clip has a valid pixel.
    """

    sparse = True

    def __init__(
        self, clips: WaveClips, colour: Colour, behind: float, ahead: float, fronts: Sequence[Fronts] | None = None
    ) -> None:
        config = clips.config
        if config.length != 2:
            raise InputError(f"clips.length is {config.length}; flow is between two frames: set it to 2")
        if config.shuffle != "none":
            raise InputError(f"clips.shuffle is {config.shuffle}; in shuffled frames no front travels: set it to none")
        self.clips, self.colour, self.behind, self.ahead = clips, colour, behind, ahead
        self.fronts = list(fronts or map(fronts_of, clips.recordings))
        found = [self._summed(index) for index in range(len(clips))]
        self.numbers = [index for index, (pixels, *_) in enumerate(found) if pixels]
        self.left_out = len(clips) - len(self.numbers)
        if not self.numbers:
            raise InputError(
                f"none of the {len(clips)} {clips.split} clips has a front that travels on for clips.dt, {config.dt:g} "
                f"s: lower it, widen pretraining.behind, {behind:g} s, or take another recording"
            )
        self.pixels = [int(found[index][0]) for index in self.numbers]
        total, x, y, length = np.sum(found, axis=0)
        self.mean_flow, self.mean_speed = (float(x / total), float(y / total)), float(length / total)
        where = map(clips.where, self.numbers)
        self.names = [f"{number}_{first:06d}_{second:06d}" for number, (first, second) in where]

    def _flow(self, index: int) -> tuple[Float32[np.ndarray, "2 h w"], Float32[np.ndarray, "h w"]]:
        """Flow and valid of a clip."""
        number, frames = self.clips.where(index)
        first, second = (self.clips.recordings[number].time_of(frame) for frame in frames)
        return front_flow(self.fronts[number], first, second - first, self.behind, self.ahead)

    def _summed(self, index: int) -> tuple[float, float, float, float]:
        """Over a clip's valid pixels: their number, and the sums of flow to the right, down, and of its length."""
        flow, valid = self._flow(index)
        x, y = flow.sum(axis=(1, 2), dtype=np.float64)
        return float(valid.sum()), float(x), float(y), float(np.hypot(*flow).sum(dtype=np.float64))

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> FlowSample:
        index = self.numbers[index]
        image1, image2 = (255 * to_rgb(self.clips[index], self.colour)).numpy()
        return flow_sample(image1, image2, *self._flow(index))


class WholePairs(FlowDataset):
    """At most so many whole frames' samples, evenly spread over a WaveFlow, zoomed: what is validated on.

    Args:
        data: all pairs.
        zoom: see `zoomed`.
        most: at least 1.
    """

    sparse = True

    def __init__(self, data: WaveFlow, zoom: float, most: int) -> None:
        self.data = data
        self.zoom = zoom
        self.numbers = evenly(len(data), most)
        self.names = [data.names[number] for number in self.numbers]

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> FlowSample:
        return zoomed(self.data[self.numbers[index]], self.zoom)
