"""From the numbers of a scene to its frames, flow and occlusions, for many scenes at once, on any device."""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Bool, Float, Float32, Int64
from torch import Tensor

from rwtl.flow.sample import FlowSample
from rwtl.flow.scenes.elements import affine, change_light, displacement, outline_cover, sensor_noise, undo_displacement
from rwtl.flow.scenes.scene import Layer, Scenes
from rwtl.flow.scenes.texture import evaluate_texture, noise_canvas


def render(scenes: Scenes) -> FlowSample:
    """Paint pairs of frames, with the flow of the first; the scenes' times are two that follow each other.

    Returns:
        The sample, with a leading axis of scenes, on their device.
    """
    frames, flow = paint(scenes)
    image1, image2 = (frame.contiguous() for frame in frames.unbind(2))
    return FlowSample(image1, image2, flow, torch.ones_like(flow[:, 0]))


def paint(scenes: Scenes) -> tuple[Float[Tensor, "scenes 3 frames h w"], Float[Tensor, "scenes 2 h w"]]:
    """Paint the frames of every scene from the farthest layer to the nearest.

    Returns:
        RGB, 0..255, at each of the scenes' times, and the flow (px) from the first of them to the next frame.
    """
    canvas = noise_canvas(scenes.canvas)
    for depth, layer, rectangle, x, y in _visible(scenes):
        of_surface = _before_nonrigid(layer, scenes.times, x, y)
        colour = evaluate_texture(
            canvas, layer.base, layer.palette, layer.pattern, layer.used, layer.to_canvas, layer.to_waves, *of_surface
        )
        moved = _flow(layer, x, y)
        if depth == 0:
            frames, flow = colour, moved
            continue
        cover = outline_cover(layer.outline, affine(layer.to_surface, *of_surface))
        frames[rectangle].lerp_(colour, cover[:, None])
        flow[rectangle] = torch.where(cover[:, :1] >= 0.5, moved, flow[rectangle])
    if scenes.light is not None:
        frames = change_light(frames, *scenes.light)
    if scenes.noise > 0:
        frames += scenes.noise * sensor_noise(scenes.noise_keys, scenes.times, scenes.height, scenes.width)
        frames.clamp_(0, 255)
    return frames, flow


def first_frame(scenes: Scenes) -> tuple[Float[Tensor, "scenes 2 h w"], Int64[Tensor, "scenes h w"]]:
    """Return the flow (px) of the first frame and the number of the layer that each pixel shows, without painting."""
    device, count = scenes.noise_keys.device, len(scenes.noise_keys)
    shown = torch.zeros(count, scenes.height, scenes.width, dtype=torch.long, device=device)
    for depth, layer, rectangle, x, y in _visible(scenes):
        if depth == 0:
            flow = _flow(layer, x, y)
            continue
        inside = _covers(layer, scenes.times, x, y)[:, 0]
        flow[rectangle] = torch.where(inside[:, None], _flow(layer, x, y), flow[rectangle])
        shown[rectangle].masked_fill_(inside, depth)
    return flow, shown


def occlusion(scenes: Scenes) -> Bool[Tensor, "scenes h w"]:
    """Say which pixels of the first frame show what the next does not: a nearer layer hides it, or it has left.

    Both are decided at the very point that the pixel's centre moves to, for a layer covers the points inside its
    outline, and the frame reaches half a pixel beyond the centres of its outermost pixels. The scenes' times are two
    that follow each other.
    """
    flow, shown = first_frame(scenes)
    x, y = _axes(scenes)
    target_x, target_y = x + flow[:, 0], y + flow[:, 1]
    hidden = (target_x < -0.5) | (target_x > scenes.width - 0.5)
    hidden |= (target_y < -0.5) | (target_y > scenes.height - 0.5)
    for depth, layer in enumerate(scenes.layers[1:], start=1):
        covered = _covers(layer, scenes.times, target_x[:, None, None], target_y[:, None, None])[:, 1]
        hidden |= covered & (shown < depth)
    return hidden


def _visible(scenes: Scenes) -> Iterator[tuple[int, Layer, tuple, Float32[Tensor, "w"], Float32[Tensor, "h 1"]]]:
    """Yield number, layer, part of the frames and its coordinates, for all layers that some frame shows."""
    x, y = _axes(scenes)
    for depth, layer in enumerate(scenes.layers):
        left, right, top, bottom = layer.box
        if left < right and top < bottom:
            yield depth, layer, (..., slice(top, bottom), slice(left, right)), x[left:right], y[top:bottom]


def _axes(scenes: Scenes) -> tuple[Float32[Tensor, "w"], Float32[Tensor, "h 1"]]:
    device = scenes.noise_keys.device
    x = torch.arange(scenes.width, dtype=torch.float32, device=device)
    return x, torch.arange(scenes.height, dtype=torch.float32, device=device)[:, None]


def _covers(
    layer: Layer, times: Sequence[int], x: Float[Tensor, "*x"], y: Float[Tensor, "*y"]
) -> Bool[Tensor, "scenes frames h w"]:
    """Whether points of each frame lie inside the layer's outline."""
    return outline_cover(layer.outline, affine(layer.to_surface, *_before_nonrigid(layer, times, x, y))) >= 0.5


def _before_nonrigid(
    layer: Layer, times: Sequence[int], x: Float[Tensor, "*x"], y: Float[Tensor, "*y"]
) -> tuple[Float[Tensor, "..."], Float[Tensor, "..."]]:
    """Where the layer's matrices start from: the points themselves, or what they show of time 0 if it is not rigid."""
    if layer.iterations is None:
        return x, y
    shown, at = [_points(x, y, len(layer.back))], (x, y)  # by time, where points of the frame were at time 0
    for _ in range(max(times)):
        points = affine(layer.back[:, None], *at)
        points = undo_displacement(layer.vectors, layer.amplitudes, points, layer.iterations)
        shown, at = [*shown, points], (points[:, :, :1], points[:, :, 1:])
    points = torch.cat([shown[time] for time in times], dim=1)
    return points[:, :, :1], points[:, :, 1:]


def _flow(layer: Layer, x: Float32[Tensor, "w"], y: Float32[Tensor, "h 1"]) -> Float[Tensor, "scenes 2 h w"]:
    """The displacement to the next frame of points of any frame that show the layer."""
    rigid = affine(layer.flow[:, None], x, y)
    if layer.iterations is None:
        return rigid[:, 0]
    nonrigid = displacement(layer.vectors, layer.amplitudes, _points(x, y, len(rigid)))[:, 0]
    turned = torch.einsum("sij,sjhw->sihw", layer.flow[..., :2], nonrigid)
    return rigid[:, 0] + nonrigid + turned


def _points(x: Float[Tensor, "*x"], y: Float[Tensor, "*y"], scenes: int) -> Float[Tensor, "{scenes} 1 2 h w"]:
    shape = torch.broadcast_shapes(x.shape, y.shape, (scenes, 1, 1, 1, 1))
    return torch.cat([x.expand(shape), y.expand(shape)], dim=2)
