"""Trainings so small that they take seconds, what disturbs them, and how they are stopped."""

import pytorch_lightning as pl
import torch

from rwtl.learning.recipe import TrainerConfig
from rwtl.learning.tasks.next_frame import PretrainingRecipe
from rwtl.learning.tasks.optical_flow import FlowRecipe
from rwtl.learning.tasks.self_supervised import SelfSupervisedRecipe

SCENES = {"height": 32, "width": 32, "mean_displacement": 4.0}
COMMON = {"steps": 6, "batch_size": 2, "learning_rate": 1e-3, "warmup": 0.3, "cooldown": 1, "weight_decay": 1e-4}
COMMON |= {"gradient_clip": 1.0, "validate_every": 2, "iterations": 1}
FLOW = FlowRecipe(**COMMON, validation_iterations=1, gamma=0.8, freeze_batchnorm_statistics=False)
FRAMES = {"decoder": "warp", "context": "features", "loss": "mse", "active_weight": 1.0}
NEXT_FRAME = PretrainingRecipe(**COMMON, **FRAMES, validation_clips=2, seed=1)
CENSUS = {"photometric_weight": 1.0, "census_weight": 1.0, "census_radius": 2}
SMOOTH = {"smoothness_weight": 0.05, "smoothness_order": 1, "edge_sharpness": 10.0}
SELF_SUPERVISED = SelfSupervisedRecipe(
    **COMMON, **CENSUS, **SMOOTH, validation_iterations=1, gamma=0.8, occlusion_from=3, validation_pairs=2, seed=1
)
WHERE = TrainerConfig("cpu", "32-true", 1, 0, "all_pairs", channels_last=False, scenes_on_device=False)


class Noise(pl.Callback):
    """Uses PyTorch's random numbers in every step, as dropout does."""

    def on_train_batch_start(self, trainer, module, batch, number):
        frames = batch if isinstance(batch, torch.Tensor) else batch.image1
        frames += 0.01 * torch.randn_like(frames)


class Clips(torch.utils.data.Dataset):
    """Noise that moves by a pixel from frame to frame."""

    def __init__(self, length=3):
        self.length = length

    def __len__(self):
        return 8

    def __getitem__(self, number):
        frame = torch.rand(1, 32, 32, generator=torch.Generator().manual_seed(number))
        return torch.stack([frame.roll(k, 2) for k in range(self.length)])


class StopAt(pl.Callback):
    """Does something when a hook of the training is reached for the n-th time."""

    def __init__(self, hook, count, act):
        self.left, self.act = count, act
        setattr(self, hook, self._count)

    def _count(self, *_):
        self.left -= 1
        if self.left == 0:
            self.act()


def crash():
    raise RuntimeError("the power is gone")
