"""RAFT by definition, slow and independent: what the model must compute, from a state dictionary by official names.

Written from the paper (Teed & Deng, ECCV 2020) and the facts of the official code, without a line of rwtl. It computes
in the precision of the weights, so that double precision can stand for the exact result. Interpolation is a sum over
all pixels, each weighted with the hat function max(0, 1 - |distance|) of both axes.
"""

import math

import torch
import torch.nn.functional as F


def official_state(path, dtype=torch.float64):
    """Read a file of the official format; floating-point tensors in `dtype`, parameters ready for gradients."""
    state = {name.removeprefix("module."): tensor for name, tensor in torch.load(path, weights_only=True).items()}
    state = {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    for name, tensor in state.items():
        tensor.requires_grad_(name.endswith(("weight", "bias")))
    return state


def raft(state, image1, image2, iterations, training=False):
    """Return the flows in pixels after each iteration; images (b, 3, h, w) in 0..255, any size."""
    small = "update_block.gru.convz.weight" in state
    hidden_channels, radius = (96, 3) if small else (128, 4)
    height, width = image1.shape[-2:]
    image1, image2 = (2 * (padded(image) / 255) - 1 for image in (image1, image2))
    top, left = (image1.shape[-2] - height) // 2, (image1.shape[-1] - width) // 2

    features = encoder(state, "fnet", torch.cat((image1, image2)), training)
    volumes = pyramid(*features.chunk(2))
    context = encoder(state, "cnet", image1, training)
    hidden, context = torch.tanh(context[:, :hidden_channels]), torch.relu(context[:, hidden_channels:])

    flow = torch.zeros_like(context[:, :2])
    flows = []
    for _ in range(iterations):
        flow = flow.detach()
        motion = motion_features(state, lookup(volumes, flow, radius), flow)
        for suffix in ("",) if small else ("1", "2"):
            hidden = gru(state, suffix, hidden, torch.cat((context, motion), dim=1))
        head = "update_block.flow_head."
        flow = flow + convolve(state, head + "conv2", torch.relu(convolve(state, head + "conv1", hidden)))
        if small:
            fine = upsampled_bilinearly(flow)
        else:
            weights = convolve(state, "update_block.mask.2", torch.relu(convolve(state, "update_block.mask.0", hidden)))
            fine = upsampled_convexly(flow, 0.25 * weights)
        flows.append(fine[..., top : top + height, left : left + width])
    return flows


def sequence_loss(flows, truth, valid, gamma):
    """Σ γ^(n-i-1) · mean over pixels and channels of valid · |Δ|; valid where known and below 400 px."""
    counted = (valid >= 0.5) & ((truth**2).sum(dim=1).sqrt() < 400)
    loss = 0
    for i, flow in enumerate(flows):
        distances = torch.where(counted[:, None], (flow - truth).abs(), torch.zeros_like(flow))
        loss = loss + gamma ** (len(flows) - i - 1) * distances.sum() / distances.numel()
    return loss


def padded(image):
    """Repeat the border on all sides up to multiples of 8, the odd row or column at the bottom or right."""
    for axis in (-2, -1):
        length = image.shape[axis]
        target = math.ceil(length / 8) * 8
        sources = [min(max(i - (target - length) // 2, 0), length - 1) for i in range(target)]
        image = image.index_select(axis, torch.tensor(sources))
    return image


def convolve(state, name, x, stride=1):
    weight = state[name + ".weight"]
    padding = (weight.shape[-2] // 2, weight.shape[-1] // 2)
    return F.conv2d(x, weight, state[name + ".bias"], stride, padding)


def normalise(state, name, x, training):
    """Instance normalisation without parameters in `fnet`; in `cnet` BatchNorm if it has parameters, else nothing."""
    if name.startswith("fnet."):
        mean, variance = x.mean(dim=(2, 3), keepdim=True), x.var(dim=(2, 3), keepdim=True, unbiased=False)
        return (x - mean) / (variance + 1e-5).sqrt()
    if name + ".weight" not in state:
        return x
    if training:
        mean, variance = x.mean(dim=(0, 2, 3)), x.var(dim=(0, 2, 3), unbiased=False)
    else:
        mean, variance = state[name + ".running_mean"], state[name + ".running_var"]
    scale = state[name + ".weight"] / (variance + 1e-5).sqrt()
    shift = state[name + ".bias"] - mean * scale
    return x * scale[:, None, None] + shift[:, None, None]


def encoder(state, name, x, training):
    x = torch.relu(normalise(state, f"{name}.norm1", convolve(state, f"{name}.conv1", x, stride=2), training))
    for layer in (1, 2, 3):
        for block in (0, 1):
            prefix = f"{name}.layer{layer}.{block}."
            bottleneck = prefix + "conv3.weight" in state
            halves = layer > 1 and block == 0
            y = x
            for number in (1, 2, 3) if bottleneck else (1, 2):
                # The stride is that of the 3×3 convolution, the first one or the one in the middle.
                stride = 2 if halves and number == (2 if bottleneck else 1) else 1
                y = convolve(state, f"{prefix}conv{number}", y, stride)
                y = torch.relu(normalise(state, f"{prefix}norm{number}", y, training))
            if halves:
                # The shortcut's norm is read by its other name: norm3, or norm4 after three convolutions.
                x = convolve(state, prefix + "downsample.0", x, stride=2)
                x = normalise(state, prefix + ("norm4" if bottleneck else "norm3"), x, training)
            x = torch.relu(x + y)
    return convolve(state, f"{name}.conv2", x)


def pyramid(features1, features2):
    """Four volumes (b, h1, w1, h2, w2) of scaled dot products, each the mean of 2×2 of the one before over h2, w2."""
    volume = torch.einsum("bcij,bckl->bijkl", features1, features2) / math.sqrt(features1.shape[1])
    volumes = [volume]
    for _ in range(3):
        *queries, h, w = volume.shape
        volume = volume[..., : h // 2 * 2, : w // 2 * 2].reshape(*queries, h // 2, 2, w // 2, 2).mean(dim=(4, 6))
        volumes.append(volume)
    return volumes


def hat(positions, length):
    """Weights (…, length) with which the pixels 0..length-1 count at `positions`; none counts beyond their ends."""
    return (1 - (positions[..., None] - torch.arange(length)).abs()).clamp(min=0)


def lookup(volumes, flow, radius):
    """Values (b, 4·(2r+1)², h, w) around where each pixel is carried by the flow; x is the slow index of a window."""
    b, _, h, w = flow.shape
    x = flow[:, 0] + torch.arange(w)
    y = flow[:, 1] + torch.arange(h)[:, None]
    offsets = torch.arange(-radius, radius + 1)
    found = []
    for level, volume in enumerate(volumes):
        columns = hat(x[..., None] / 2**level + offsets, volume.shape[-1])  # (b, h, w, 2r+1, w2)
        rows = hat(y[..., None] / 2**level + offsets, volume.shape[-2])
        window = torch.einsum("bhwxl,bhwyk,bhwkl->bxyhw", columns, rows, volume)
        found.append(window.reshape(b, -1, h, w))
    return torch.cat(found, dim=1)


def motion_features(state, correlation, flow):
    name = "update_block.encoder."
    c = torch.relu(convolve(state, name + "convc1", correlation))
    if name + "convc2.weight" in state:
        c = torch.relu(convolve(state, name + "convc2", c))
    f = torch.relu(convolve(state, name + "convf1", flow))
    f = torch.relu(convolve(state, name + "convf2", f))
    return torch.cat((torch.relu(convolve(state, name + "conv", torch.cat((c, f), dim=1))), flow), dim=1)


def gru(state, suffix, h, x):
    name = "update_block.gru."
    both = torch.cat((h, x), dim=1)
    z = torch.sigmoid(convolve(state, f"{name}convz{suffix}", both))
    r = torch.sigmoid(convolve(state, f"{name}convr{suffix}", both))
    q = torch.tanh(convolve(state, f"{name}convq{suffix}", torch.cat((r * h, x), dim=1)))
    return (1 - z) * h + z * q


def upsampled_bilinearly(flow):
    """Eight times the size, the corner pixels of both grids upon each other, and eight times the length."""
    h, w = flow.shape[-2:]
    rows = hat(torch.arange(8 * h).to(flow) * (h - 1) / (8 * h - 1), h)
    columns = hat(torch.arange(8 * w).to(flow) * (w - 1) / (8 * w - 1), w)
    return 8 * torch.einsum("yk,xl,bckl->bcyx", rows, columns, flow)


def upsampled_convexly(flow, mask):
    """Sub-pixel (i, j) of a pixel is the mean of its 3×3 neighbours with weights of its own; none beyond the border."""
    b, _, h, w = flow.shape
    fine = flow.new_zeros(b, 2, 8 * h, 8 * w)
    around = F.pad(8 * flow, (1, 1, 1, 1))
    for i in range(8):
        for j in range(8):
            weights = mask[:, i * 8 + j :: 64].softmax(dim=1)  # the nine neighbours are the slow index
            parts = [weights[:, n, None] * around[..., n // 3 : n // 3 + h, n % 3 : n % 3 + w] for n in range(9)]
            fine[..., i::8, j::8] = sum(parts)
    return fine
