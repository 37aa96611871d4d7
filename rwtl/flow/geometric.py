"""Resizing, cutting and mirroring a sample, so that frames and flow stay consistent."""

import math
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64
from torch import Tensor
from torch.nn.functional import grid_sample

from rwtl.errors import InputError
from rwtl.flow.sample import FlowSample

Size = tuple[int, int]  # height and width, px


class Window(NamedTuple):
    """A rectangle of pixels."""

    top: int
    left: int
    height: int
    width: int

    def of(self, tensor: Tensor) -> Tensor:
        """Return that part of the tensor's last two axes; in memory of its own, unless it is all of the tensor.

        A view would keep the whole sample alive, and would be sent whole between processes.
        """
        part = tensor[..., self.top : self.top + self.height, self.left : self.left + self.width]
        return tensor.contiguous() if part.shape == tensor.shape else part.clone(memory_format=torch.contiguous_format)


def scaled_size(size: Size, crop: Size, factor_y: float, factor_x: float, slack: int) -> Size:
    """Return height and width after resizing by the factors, raised to what a crop needs.

    Args:
        size, crop: height and width in px.
        factor_y, factor_x: by which each axis is resized; both are raised to the same least factor, so that a sample
            of which one side is too small is not stretched.
        slack: px by which the result is larger than the crop at least.
    """
    least = max((part + slack) / side for part, side in zip(crop, size, strict=True))
    return round(size[0] * max(factor_y, least)), round(size[1] * max(factor_x, least))


def crop_start(room: int, margins: tuple[int, int], draw: float) -> int:
    """Return where a crop begins along an axis.

    Args:
        room: px by which the image is larger than the crop.
        margins: px before 0 and beyond `room` that are drawn too and then moved to the edge, which makes crops at the
            edges likelier.
        draw: random number, 0..1 (1 excluded).
    """
    before, after = margins
    return min(max(math.floor(draw * (before + room + after + 1)) - before, 0), room)


def crop_window(
    size: Size, crop: Size, margins: tuple[tuple[int, int], tuple[int, int]], draws: Float64[np.ndarray, "2"]
) -> Window:
    """Return a random window of an image of the given size.

    Args:
        size, crop: height and width in px.
        margins: along y and along x, see `crop_start`.
        draws: random numbers for y and x, 0..1 (1 excluded).

    Raises:
        InputError: The crop is larger than the image.
    """
    rooms = (size[0] - crop[0], size[1] - crop[1])
    if min(rooms) < 0:
        raise InputError(
            f"augmentation: crop of {crop[0]}x{crop[1]} px larger than the image of {size[0]}x{size[1]} px "
            "(height x width); choose a smaller crop, or scale_probability=1, which enlarges every image to fit"
        )
    top, left = (crop_start(*axis) for axis in zip(rooms, margins, draws.tolist(), strict=True))
    return Window(top, left, *crop)


def cut(sample: FlowSample, window: Window) -> FlowSample:
    """Cut the same window out of everything."""
    return FlowSample(*(window.of(tensor) for tensor in sample))


def resize_dense(sample: FlowSample, size: Size, window: Window) -> FlowSample:
    """Resize a sample and cut a window out of the result.

    Everything is resampled bilinearly, with half-pixel centres and without smoothing, as cv2.INTER_LINEAR does.

    Args:
        sample: the sample; unknown flow may hold anything.
        size: height and width that it is resized to, in px.
        window: what is kept of that.

    Returns:
        The sample; its flow is valid where all the pixels are that it is made of, and 0 elsewhere.
    """
    known = sample.valid >= 0.5
    # Unknown flow goes before resampling: it may be infinite, and even a weight of 0 would make its neighbours NaN.
    planes = torch.cat([sample.image1, sample.image2, sample.flow.where(known, 0.0), (~known).float()[None]])
    planes = _resample(planes, size, window)
    return _with_flow(planes[:6], planes[6:8] * _ratios(sample, size), planes[8] == 0)


def resize_sparse(sample: FlowSample, size: Size, window: Window) -> FlowSample:
    """Resize a sample as `resize_dense` does, but move each valid pixel of the flow to where it comes to lie.

    A pixel's centre is scaled and rounded, by the same half-pixel centres as the frames, so that none falls outside.
    (RAFT's code scales the corner instead, and drops row and column 0, which is needless.) Of pixels that come to lie
    on one another the last in reading order stays.

    Returns:
        The sample; its flow is valid where a valid pixel has come to lie, and 0 elsewhere.
    """
    old_height, old_width = sample.valid.shape
    old_rows, old_columns = np.nonzero(sample.valid.numpy() >= 0.5)
    # The pixel that the scaled centre (k + 0.5)·new/old lies in, in whole numbers and so exact.
    rows = (2 * old_rows + 1) * size[0] // (2 * old_height) - window.top
    columns = (2 * old_columns + 1) * size[1] // (2 * old_width) - window.left
    shown = (rows >= 0) & (rows < window.height) & (columns >= 0) & (columns < window.width)
    target = rows[shown] * window.width + columns[shown]
    u, v = sample.flow.numpy()[:, old_rows[shown], old_columns[shown]]
    planes = np.zeros((3, window.height * window.width), np.float32)
    for plane, values in zip(planes, (u, v, 1.0), strict=True):
        plane[target] = values  # in one dimension NumPy promises that the last of several values stays
    flow_and_known = torch.from_numpy(planes).view(3, window.height, window.width)
    frames = _resample(torch.cat([sample.image1, sample.image2]), size, window)
    return _with_flow(frames, flow_and_known[:2] * _ratios(sample, size), flow_and_known[2] > 0)


def _resample(planes: Float32[Tensor, "c h w"], size: Size, window: Window) -> Float32[Tensor, "c h2 w2"]:
    """Resize and cut in one: a whole image enlarged to 2 Mpx would be mostly thrown away, and dominate the time."""
    # Centres of the window's pixels as shares of the image, -1..1: the same places before and after resizing.
    y = (2 * torch.arange(window.top, window.top + window.height) + 1) / size[0] - 1
    x = (2 * torch.arange(window.left, window.left + window.width) + 1) / size[1] - 1
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)
    return grid_sample(planes[None], grid[None], mode="bilinear", padding_mode="border", align_corners=False)[0]


def _ratios(sample: FlowSample, size: Size) -> Float32[Tensor, "2 1 1"]:
    """What displacements are multiplied by: the ratio of whole sizes, by which the frames really are resized."""
    old_height, old_width = sample.valid.shape
    return torch.tensor([size[1] / old_width, size[0] / old_height])[:, None, None]


def _with_flow(
    frames: Float32[Tensor, "6 h w"], flow: Float32[Tensor, "2 h w"], known: Bool[Tensor, "h w"]
) -> FlowSample:
    image1, image2 = frames.split(3)
    return FlowSample(image1.clone(), image2.clone(), flow.where(known, 0.0), known.float())


def mirror(sample: FlowSample, axis: int) -> FlowSample:
    """Return the sample with left and right (axis -1) or top and bottom (axis -2) swapped, and its flow with them."""
    mirrored = FlowSample(*(tensor.flip(axis) for tensor in sample))
    mirrored.flow[..., -1 - axis, :, :].neg_()  # flip has copied: the sample itself stays as it was
    return mirrored
