"""Predictions that need no training, against which a next-frame model is measured.

All take frames I1 to In in 0..1 and return predictions of I3 to I(n + 1), each from the two frames before it.
"""

import numpy as np
import torch
from jaxtyping import Float
from skimage.registration import optical_flow_tvl1
from torch import Tensor

from rwtl.models.next_frame_decoders import warp

LUMINANCE = (0.299, 0.587, 0.114)  # of red, green and blue (ITU-R BT.601)
ADVECTIONS = 5


def copy_last(frames: Float[Tensor, "b n c h w"]) -> Float[Tensor, "b n-1 c h w"]:
    """The baseline I3 = I2."""
    return frames[:, 1:]


def extrapolate(frames: Float[Tensor, "b n c h w"]) -> Float[Tensor, "b n-1 c h w"]:
    """The baseline I3 = 2·I2 - I1, within 0..1 where frames live."""
    return (2 * frames[:, 1:] - frames[:, :-1]).clamp(0, 1)


@torch.no_grad()
def constant_motion(frames: Float[Tensor, "b n c h w"]) -> Float[Tensor, "b n-1 c h w"]:
    """The baseline that everything moves on as it did from I1 to I2: I3 is I2 carried on along dense flow.

    The flow from I2 to I1 is estimated on the luminance by TV-L1 (Zach, Pock & Bischof 2007; scikit-image's), on the
    CPU. On blobs and rings that move by 1 to 8 px a frame it is about as good as the best iterative Lucas-Kanade, and
    the only one that needs no window chosen to suit the speed; 3 warps a level serve as well as 5, in half the time.
    """
    pairs = frames.unfold(1, 2, 1).movedim(-1, 2).flatten(0, 1)  # (b·(n - 1), 2, c, h, w)
    of_channels = pairs.new_tensor(LUMINANCE if pairs.shape[2] == 3 else (1.0,))
    grey = torch.einsum("ptchw,c->pthw", pairs, of_channels).cpu().numpy()
    found = [optical_flow_tvl1(last, previous, num_warp=3)[::-1].copy() for previous, last in grey]
    flow = motion = torch.from_numpy(np.stack(found)).to(frames)  # (b·(n - 1), 2, h, w), x before y
    # Motion moves along with what moves: what is at x in I3 had the motion that I2 has where it came from.
    for _ in range(ADVECTIONS):
        flow = warp(motion, flow)
    return warp(pairs[:, 1], flow).unflatten(0, (len(frames), -1))
