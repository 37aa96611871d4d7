"""The presets of RAFT's schedules hold the published values (train_standard.sh, train_mixed.sh and datasets.py)."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

CONF = str(Path(__file__).parents[2] / "conf")
# steps, batch size, learning rate, crop, weight decay, γ, iterations of the evaluation
PUBLISHED = {
    "chairs": (100_000, 10, 4e-4, (368, 496), 1e-4, 0.8, 24),
    "things": (100_000, 6, 1.25e-4, (400, 720), 1e-4, 0.8, 32),
    "sintel": (100_000, 6, 1.25e-4, (368, 768), 1e-5, 0.85, 32),
    "kitti": (50_000, 6, 1e-4, (288, 960), 1e-5, 0.85, 24),
    "chairs_mixed": (120_000, 8, 2.5e-4, (368, 496), 1e-4, 0.8, 24),
    "things_mixed": (120_000, 5, 1e-4, (400, 720), 1e-4, 0.8, 32),
    "sintel_mixed": (120_000, 5, 1e-4, (368, 768), 1e-5, 0.85, 32),
    "kitti_mixed": (50_000, 5, 1e-4, (288, 960), 1e-5, 0.85, 24),
}
SCALES = {
    "chairs": {"flying_chairs_training": (1, -0.1, 1.0)},
    "things": {"flying_things_clean": (1, -0.4, 0.8), "flying_things_final": (1, -0.4, 0.8)},
    "sintel": {
        "sintel_clean": (100, -0.2, 0.6),
        "sintel_final": (100, -0.2, 0.6),
        "kitti": (200, -0.3, 0.5),
        "hd1k": (5, -0.5, 0.2),
        "flying_things_clean": (1, -0.2, 0.6),
    },
    "kitti": {"kitti": (1, -0.2, 0.4)},
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_schedule_is_the_published_one(name):
    schedule = name.removesuffix("_mixed")
    with initialize_config_dir(CONF, version_base="1.3"):
        mixed = ["recipe=mixed"] if name.endswith("_mixed") else []
        cfg = compose("train", overrides=[f"experiment={schedule}", *mixed])
    recipe, training = cfg.training, OmegaConf.to_container(cfg.flow_data, resolve=True)["training"]
    crops = {(part["augmentation"]["height"], part["augmentation"]["width"]) for part in training.values()}
    assert len(crops) == 1
    found = (recipe.steps, recipe.batch_size, recipe.learning_rate, *crops, recipe.weight_decay, recipe.gamma)
    assert (*found, recipe.validation_iterations) == PUBLISHED[name]
    assert (recipe.warmup, recipe.cooldown, recipe.iterations, recipe.gradient_clip) == (0.05, 100, 12, 1.0)
    assert recipe.freeze_batchnorm_statistics == (schedule != "chairs")
    assert recipe.steps % recipe.validate_every == 0
    assert {
        data: (part["repeats"], part["augmentation"]["min_scale"], part["augmentation"]["max_scale"])
        for data, part in training.items()
    } == SCALES[schedule]
    assert (cfg.model.variant, cfg.model.feature_norm) == ("basic", "instance")
    assert cfg.trainer.precision == ("bf16-mixed" if name.endswith("_mixed") else "32-true")


def test_kitti_alone_is_not_mirrored_and_in_the_mixture_it_is():
    with initialize_config_dir(CONF, version_base="1.3"):
        alone, mixed = (compose("train", overrides=[f"experiment={name}"]) for name in ("kitti", "sintel"))
    assert alone.flow_data.training.kitti.augmentation.horizontal_flip == 0
    assert "horizontal_flip" not in mixed.flow_data.training.kitti.augmentation
