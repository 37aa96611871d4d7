"""Learning rate, gradient norm, throughput, and pictures of clips."""

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from pytorch_lightning.loggers import Logger
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import DataLoader

from rwtl.flow.colour_wheel import NOT_FINITE
from rwtl.learning import log as measurements
from rwtl.learning.log import Measurements
from rwtl.tracking.pictures import GAP, SMALLEST, clip_picture, next_frames

STEPS, EVERY, BATCH = 12, 3, 4


class Recorded(Logger):
    """Keeps what it is given."""

    name = version = "recorded"

    def __init__(self):
        super().__init__()
        self.rows = []

    def log_hyperparams(self, *_):
        pass

    def log_metrics(self, metrics, step):
        self.rows.append({"step": step, **metrics})


class Probe(pl.Callback):
    """Keeps the trainer's metrics after every step."""

    def __init__(self):
        self.seen = {}

    def on_train_batch_end(self, trainer, *_):
        self.seen[trainer.global_step] = {name: float(value) for name, value in trainer.callback_metrics.items()}


class Line(pl.LightningModule):
    """Its gradients are known: those of Σ a·x and b·x. A step takes 2 s, a validation 100 s, of a clock of its own."""

    class recipe:
        learning_rate = 0.1

    def __init__(self):
        super().__init__()
        self.a, self.b = torch.nn.Parameter(torch.zeros(3)), torch.nn.Parameter(torch.zeros(1))
        self.unused = torch.nn.Parameter(torch.zeros(5))
        self.now, self.rates = 0.0, []

    def training_step(self, x, number):
        self.now += 2.0
        return (self.a.sum() + self.b.sum()) * (self.global_step + 1)

    def validation_step(self, x, number):
        self.now += 100.0

    def on_before_optimizer_step(self, optimizer):
        self.rates.append([group["lr"] for group in optimizer.param_groups])

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW([{"params": [self.a]}, {"params": [self.b, self.unused]}], lr=0.1)
        scheduler = OneCycleLR(optimizer, [0.01, 0.1], total_steps=STEPS + 1, pct_start=0.5, cycle_momentum=False)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


@pytest.fixture(scope="module")
def trained():
    module, logger, probe = Line(), Recorded(), Probe()
    data = DataLoader(torch.zeros(STEPS, 1), BATCH // 4)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(measurements.time, "monotonic", lambda: module.now)
        pl.Trainer(
            accelerator="cpu",
            max_steps=STEPS,
            gradient_clip_val=0.5,
            val_check_interval=4,
            num_sanity_val_steps=0,
            logger=logger,
            callbacks=[Measurements(EVERY, BATCH), probe],
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        ).fit(module, data, DataLoader(torch.zeros(1, 1)))
    return module, logger.rows, probe.seen


def test_the_gradient_norm_is_that_before_clipping(trained):
    _, _, seen = trained
    measured = {step: seen[step]["gradient_norm"] for step in seen if step % EVERY == 0}
    assert measured == {step: pytest.approx(2.0 * step) for step in (3, 6, 9, 12)}  # four gradients of `step` each


def test_learning_rates_are_those_of_the_step_apart_for_what_was_loaded(trained):
    module, _, seen = trained
    for step in (3, 6, 9, 12):
        loaded, rate = module.rates[step - 1]
        assert seen[step]["learning_rate"] == pytest.approx(rate)
        assert seen[step]["learning_rate_loaded"] == pytest.approx(loaded) == pytest.approx(rate / 10)


def test_throughput_leaves_validations_out_and_goes_to_loggers_only(trained):
    _, rows, seen = trained
    throughput = {row["step"]: row["throughput"] for row in rows if "throughput" in row}
    assert throughput == {step: pytest.approx(BATCH / 2.0) for step in (3, 6, 9, 12)}
    assert not any("throughput" in metrics for metrics in seen.values())


def test_a_clip_is_shown_above_its_predictions_and_their_errors():
    clip = np.linspace(0, 1, 4 * 48 * 64).reshape(4, 1, 48, 64)
    predicted = clip[2:].copy()
    predicted[1] -= 0.5
    picture = clip_picture(clip, predicted)
    times = SMALLEST // 48
    height, width = 48 * times + GAP, 64 * times + GAP
    assert picture.shape == (3 * height, 4 * width, 3)
    cells = picture.reshape(3, height, 4, width, 3).swapaxes(1, 2)[:, :, :-GAP, :-GAP]
    assert (cells[0, 2] == cells[1, 2]).all() and (cells[0, 3] != cells[1, 3]).any()
    assert (cells[1:, :2] == 255).all()  # I1 and I2 are not predicted
    assert np.ptp(cells[2, 2].reshape(-1, 3), axis=0).max() == 0 and cells[2, 2].min() > 240  # no error: white
    assert (cells[2, 3][..., 2] > 80).all() and (cells[2, 3][..., 0] < 20).all()  # -0.5: blue
    colours = clip_picture(clip.repeat(3, axis=1), clip[2:].repeat(3, axis=1))
    assert (colours[:96, :128, 0] == colours[:96, :128, 1]).all() and colours.shape == picture.shape


def greens(picture):
    return int((picture == NOT_FINITE).all(axis=-1).sum())


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_prediction_that_is_not_finite_is_green_in_every_picture(channels, bad):
    clip = np.linspace(0, 1, 4 * 96 * 96).reshape(4, 1, 96, 96).repeat(channels, axis=1)
    predicted = clip[2:].copy()
    predicted[1, :1, :10, :20] = bad
    assert greens(clip_picture(clip, clip[2:])) == 0
    assert greens(clip_picture(clip, predicted)) == 2 * 10 * 20  # the prediction and its error
    drawn = []
    for shown in (clip[2:], predicted):
        figure = next_frames(clip[None], shown[None], 1.0)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        drawn.append(greens(np.asarray(canvas.buffer_rgba())[..., :3]))
    assert drawn[0] == 0 and drawn[1] > 2 * 10 * 20
