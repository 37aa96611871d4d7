"""Pairs of frames with exact optical flow, made on the fly: nothing to download, no end of samples.

In the manner of FlyingChairs (Dosovitskiy et al., "FlowNet", ICCV 2015): shapes over a background, each under an
affine motion, with those of the shapes added to that of the background, and displacements drawn as powers of Gaussians,
so that most are short and a few are long. Scenes are numbers (`scene`) until they are rendered (`render`), one or
many at once, on the CPU or a GPU.
"""

from collections.abc import Sequence
from dataclasses import asdict, field
from typing import Annotated, Any, Literal, get_args

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor

from rwtl.flow.sample import FlowDataset, FlowSample
from rwtl.flow.scenes.render import first_frame, occlusion, render
from rwtl.flow.scenes.scene import Scenes, draw_scenes
from rwtl.flow.scenes.texture import TEXTURES
from rwtl.random import Draws
from rwtl.sections import Count, Listed, Natural, NotNegative, OneOf, Positive, Range, Unfit, section

Split = Literal["train", "validation", "test"]
VERSION = 2  # raised when the same arguments come to give other scenes, so that older results are not taken for theirs


@section("procedural", eq=False)
class ProceduralFlow(FlowDataset):
    """Textured shapes that move over a textured background, with the exact flow of every pixel of the first frame.

    A scene is a function of the arguments but `size`, and of its index, whatever the worker or the order; on another
    device, or among others in a batch, it is the same up to rounding. Flow is that of the surface seen in the first
    frame, also where the second frame hides it or it has left the frame: `occlusion` says where.

    Args:
        size: Number of scenes, at least 1.
        height: Height of the frames in px, at least 16.
        width: Width of the frames in px, at least 16.
        split: Scenes of different splits share no randomness.
        seed: 0 or more; another seed gives other scenes.
        mean_displacement: Mean length of the flow in px over the pixels of many scenes with the usual shapes,
            deformation and tail, above 0 and at most a quarter of the shorter side; single displacements reach about
            nine times that, with a tail of 4 thirty times.
        shapes: Most shapes in a scene, 0 or more; each scene has at least half as many.
        deformation: Rotation, zoom and shear in relation to translation, 0 or more: 1 is usual, 0 is translation only.
        tail: Power of the Gaussians that displacements are drawn as, 1 or more: 1 gives few very short and very long
            displacements, 2 (usual) many short and a few long ones, 4 (FlyingChairs') very many and very few.
        background_motion: How far the background moves in relation to the shapes, 0 or more: 1 is usual, 0 is a still
            background. The mean displacement stays.
        nonrigid: Smooth non-rigid motion of each surface in relation to its translation, 0 or more: 0 is none, 1 is
            about as long as the translation, though never so steep that a surface folds.
        textures: Kinds of surfaces, each as likely as the others, of TEXTURES.
        contrast: Factor of the contrast within surfaces, 0 or more: 1 is usual, 0 gives plain colours.
        photometric: Change of brightness, contrast, gamma and colour from frame to frame, 0 or more: 0 is none, 1 is
            usual.
        noise: Standard deviation of the noise in each pixel and colour of each frame, on the scale 0..255, 0 or more.

    Raises:
        InputError: An argument lies outside its range.
        IndexError: An index lies outside 0..size-1.
    """

    size: Count
    height: Annotated[int, Range(16)] = 96
    width: Annotated[int, Range(16)] = 128
    split: Split = "train"
    seed: Natural = 0
    mean_displacement: Positive = 4.0
    shapes: Natural = 8
    deformation: NotNegative = 1.0
    tail: Annotated[float, Range(1)] = 2.0
    background_motion: NotNegative = 1.0
    nonrigid: NotNegative = 0.0
    textures: Annotated[list[Annotated[str, OneOf(TEXTURES)]], Listed, Field(min_length=1)] = field(
        default_factory=lambda: ["noise", "grating", "checks"]
    )
    contrast: NotNegative = 1.0
    photometric: NotNegative = 0.0
    noise: NotNegative = 0.0

    def __post_init__(self) -> None:
        if self.mean_displacement > (most := min(self.height, self.width) / 4):
            raise Unfit(
                f"mean_displacement is {self.mean_displacement} px; it must be at most {most} px, a quarter of the "
                f"shorter side of {self.height}x{self.width} px (height x width)"
            )

    def __len__(self) -> int:
        return self.size

    def frame_size(self, index: int) -> tuple[int, int]:
        """Return height and width of the frames in px, the same for all."""
        return self.height, self.width

    def __getitem__(self, index: int) -> FlowSample:
        return FlowSample(*(many[0] for many in self.batch([index])))

    def batch(self, indices: Sequence[int], device: torch.device | str = "cpu") -> FlowSample:
        """Render scenes at once, on any device; the sample has a leading axis of scenes."""
        return render(self.scenes(indices, device))

    def occlusion(self, index: int) -> Bool[Tensor, "h w"]:
        """Return where the first frame shows what the second does not: hidden by a nearer layer, or out of frame."""
        return occlusion(self.scenes([index]))[0]

    def flows(self, indices: Sequence[int], device: torch.device | str = "cpu") -> Float[Tensor, "scenes 2 h w"]:
        """Return the flow of scenes alone, in a fraction of the time."""
        return first_frame(self.scenes(indices, device))[0]

    def scenes(
        self, indices: Sequence[int], device: torch.device | str = "cpu", times: Sequence[int] = (0, 1)
    ) -> Scenes:
        """Return scenes as numbers, for `render`; `times` 0 and 1 are the pair, and later ones go on."""
        for index in indices:
            if not 0 <= index < self.size:
                raise IndexError(f"scene {index} of {self.size}")
        appearance = {name: value for name, value in vars(self).items() if name not in ("size", "split", "seed")}
        draws = Draws((self.seed, get_args(Split).index(self.split)), list(indices), self.shapes + 1)
        return draw_scenes(draws, device, **appearance, times=times)

    @property
    def names(self) -> list[str]:
        """The name of each scene, in the order of the indices."""
        return [f"scene {index}" for index in range(self.size)]

    def identity(self) -> dict[str, Any]:
        """Return the values that determine the scenes."""
        return asdict(self) | {"version": VERSION}
