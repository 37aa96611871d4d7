"""The names that RAFT's tensors have in other people's files: the same tensors, the same shapes, other names."""

import re
from collections.abc import Iterable

OFFICIAL = (
    (r"feature_encoder\.", "fnet."),
    (r"context_encoder\.", "cnet."),
    (r"update_block\.motion_encoder\.", "update_block.encoder."),
    (r"update_block\.gru\.horizontal\.(conv[zrq])", r"update_block.gru.\g<1>1"),
    (r"update_block\.gru\.vertical\.(conv[zrq])", r"update_block.gru.\g<1>2"),
    (r"upsampler\.mask\.", "update_block.mask."),
)
TORCHVISION = (
    (r"(feature|context)_encoder\.conv1\.", r"\1_encoder.convnormrelu.0."),
    (r"(feature|context)_encoder\.norm1\.", r"\1_encoder.convnormrelu.1."),
    (r"(feature|context)_encoder\.conv2\.", r"\1_encoder.conv."),
    (r"((?:feature|context)_encoder\.layer\d\.\d)\.conv(\d)\.", r"\1.convnormrelu\2.0."),
    (r"((?:feature|context)_encoder\.layer\d\.\d)\.norm(\d)\.", r"\1.convnormrelu\2.1."),
    (r"update_block\.motion_encoder\.convc(\d)\.", r"update_block.motion_encoder.convcorr\1.0."),
    (r"update_block\.motion_encoder\.convf(\d)\.", r"update_block.motion_encoder.convflow\1.0."),
    (r"update_block\.motion_encoder\.conv\.", "update_block.motion_encoder.conv.0."),
    (r"update_block\.gru\.horizontal\.", "update_block.recurrent_block.convgru1."),
    (r"update_block\.gru\.vertical\.", "update_block.recurrent_block.convgru2."),
    (r"update_block\.gru\.", "update_block.recurrent_block.convgru1."),
    (r"upsampler\.mask\.0\.", "mask_predictor.convrelu.0."),
    (r"upsampler\.mask\.2\.", "mask_predictor.conv."),
)
RULES = {"rwtl": (), "official": OFFICIAL, "torchvision": TORCHVISION}
# Official blocks register the shortcut's norm twice, counting it as the block's next one.
TWICE = {"basic": ".norm3.", "small": ".norm4."}


def foreign_names(naming: str, variant: str, own: Iterable[str]) -> dict[str, str]:
    """Map the names in a file of `naming` (rwtl, official, torchvision) to the own names of the same tensors.

    An official file holds the norm of a strided block's shortcut under two names, both of which are given.
    """
    names = {}
    for name in own:
        foreign = _renamed(name, RULES[naming])
        names[foreign] = name
        if naming == "official" and ".downsample.1." in foreign:
            names[foreign.replace(".downsample.1.", TWICE[variant])] = name
    return names


def _renamed(name: str, rules: tuple[tuple[str, str], ...]) -> str:
    for pattern, replacement in rules:
        if re.match(pattern, name):
            return re.sub(pattern, replacement, name, count=1)
    return name


def naming_of(names: Iterable[str]) -> str | None:
    """Return whose names these are, by the feature encoder's; None if nobody's that is known."""
    names = list(names)
    if any(name.startswith(("fnet.", "cnet.")) for name in names):
        return "official"
    if any(re.match(r"(feature|context)_encoder\.(layer\d\.\d\.)?convnormrelu", name) for name in names):
        return "torchvision"
    return None
