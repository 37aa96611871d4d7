"""Where to start the next pair of a sequence: the flow so far, carried forward by itself."""

import numpy as np
import torch
from jaxtyping import Float
from scipy.interpolate import NearestNDInterpolator
from torch import Tensor


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
