"""A source task of one's own: does a clip of waves run forwards or backwards? The encoder that learns it is saved as a
file, from which any transfer can load it."""

import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from hydra import compose, initialize_config_dir
from torch import Tensor, nn

from rwtl import files
from rwtl.clips.config import ClipsConfig
from rwtl.clips.dataset import WaveClips
from rwtl.config import setting
from rwtl.models.checkpoints import save_model
from rwtl.models.raft import build_raft
from rwtl.pipeline.artifact import build
from rwtl.pipeline.recording import recordings
from rwtl.sections import typed

BATCH = 8


class ArrowOfTime(nn.Module):
    """Clips (b, 3, 1, h, w) in 0..1 to a logit for each: forwards if it is positive."""

    def __init__(self, encoder: nn.Module):
        super().__init__()
        self.encoder = encoder
        self.head = nn.Conv2d(3 * encoder.out_channels, 1, 3, padding=1)

    def forward(self, clips: Tensor) -> Tensor:
        frames = clips.expand(-1, -1, 3, -1, -1) * 2 - 1  # grey as RGB, in -1..1
        features = self.encoder(frames.flatten(0, 1)).unflatten(0, (len(clips), 3))  # (b, 3, c, h/8, w/8)
        return self.head(features.flatten(1, 2)).mean(dim=(1, 2, 3))


def main(file: str, steps: str, overrides: list[str]) -> None:
    conf = Path(__file__).parents[2] / "conf"
    with initialize_config_dir(str(conf), version_base="1.3"):
        cfg = compose("pretrain", overrides)
    section = {key: value for key, value in setting(cfg, "clips").items() if key not in ("kind", "recordings")}
    config = typed(ClipsConfig, section, "clips")
    clips = WaveClips([made.path / files.RECORDING for made in map(build, recordings(cfg))], config, "training")
    arguments = {"variant": cfg.model.variant, "feature_norm": cfg.model.feature_norm}
    raft = build_raft(**arguments)
    model = ArrowOfTime(raft.feature_encoder)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for step in range(int(steps)):
        drawn = torch.randint(len(clips), (BATCH,)).tolist()
        forwards = torch.rand(BATCH) < 0.5
        batch = torch.stack([clips[k] if f else clips[k].flip(0) for k, f in zip(drawn, forwards, strict=True)])
        loss = F.binary_cross_entropy_with_logits(model(batch), forwards.float())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        print(f"step {step + 1}: loss {loss:.3f}")
    save_model(file, "raft", arguments, raft)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
