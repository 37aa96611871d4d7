"""Two processes that share every batch train what one would; whatever ends one of them ends both."""

import os
import re
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from tiny import run, start
from trainings import COMMON, FLOW, NEXT_FRAME, SCENES, SELF_SUPERVISED, WHERE, Clips, StopAt, crash

from rwtl import files
from rwtl.errors import InputError
from rwtl.flow.scenes.dataset import ProceduralFlow
from rwtl.learning.devices import together
from rwtl.learning.fit import fit
from rwtl.learning.tasks.next_frame import NextFrameModule
from rwtl.learning.tasks.optical_flow import OpticalFlowModule
from rwtl.learning.tasks.self_supervised import SelfSupervisedModule
from rwtl.learning.transfer.callback import Transfer
from rwtl.learning.transfer.config import Source, TransferConfig
from rwtl.models.next_frame import build_next_frame
from rwtl.models.raft import build_raft
from rwtl.sampling import Part, SampleStream

ROOT = Path(__file__).parents[2]
TWO = replace(WHERE, devices=2)
pytestmark = pytest.mark.slow


class Damaged(torch.utils.data.Dataset):
    """Procedural scenes of which one cannot be had."""

    def __init__(self, bad):
        self.scenes, self.bad = ProceduralFlow(size=8, **SCENES), bad

    def __len__(self):
        return len(self.scenes)

    def __getitem__(self, index):
        if index == self.bad:
            raise InputError(f"scene {index} is damaged; make it anew")
        return self.scenes[index]


def flow(where, folder, *callbacks, unfreeze_at=None, bad=None, **changes):
    torch.manual_seed(3)
    model = build_raft("small", "batch")
    transfer = None
    if unfreeze_at is not None:
        weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        config = TransferConfig("later", "it", ["feature_encoder"], False, True, True, unfreeze_at, 0, 1.0)
        transfer = Transfer(model, config, Source("it", "small", "batch", None, weights))
    data, recipe = ProceduralFlow(size=8, **SCENES) if bad is None else Damaged(bad), replace(FLOW, **changes)
    validation = ProceduralFlow(size=2, split="validation", **SCENES)
    module = OpticalFlowModule(model, recipe, {"scenes": validation}, transfer)
    of_run = (where, folder, "test", module.metrics, [*([transfer] if transfer else []), *callbacks])
    curve = fit(module, recipe, SampleStream([Part(data)], 1, recipe.steps * 2), [validation], *of_run)
    return module.state_dict(), curve, pd.read_csv(folder / files.METRICS)


def frames(where, folder, **changes):
    torch.manual_seed(3)
    recipe = replace(NEXT_FRAME, **changes)
    model = build_next_frame("small", "batch", 1, decoder="warp", context="features")
    module = NextFrameModule(model, recipe, 0.5)
    of_run = (where, folder, "test", module.metrics, [])
    curve = fit(module, recipe, SampleStream([Part(Clips())], 1, recipe.steps * recipe.batch_size), [Clips()], *of_run)
    return module.state_dict(), curve, pd.read_csv(folder / files.METRICS)


def pairs(where, folder, **changes):
    torch.manual_seed(3)
    recipe = replace(SELF_SUPERVISED, **changes)
    module = SelfSupervisedModule(build_raft("small", "batch"), recipe, "grey")
    of_run = (where, folder, "test", module.metrics, [])
    curve = fit(
        module, recipe, SampleStream([Part(Clips(2))], 1, recipe.steps * recipe.batch_size), [Clips(2)], *of_run
    )
    return module.state_dict(), curve, pd.read_csv(folder / files.METRICS)


def folders(tmp_path, *names):
    for name in names:
        (tmp_path / name).mkdir()
    return [tmp_path / name for name in names]


def assert_close(one, two, rtol=5e-3):
    """To rounding, which grows from step to step."""
    gradient = [each[2].gradient_norm.dropna().iloc[0] for each in (one, two)]
    assert gradient[1] == pytest.approx(gradient[0], rel=1e-4)
    assert two[0].keys() == one[0].keys()
    for name, tensor in one[0].items():
        # The gradient of a bias before BatchNorm is 0, and rounding is all that AdamW makes steps of, as long as any.
        rounding = 1e-2 if re.search(r"feature_encoder.*(conv\d|downsample\.0)\.bias|running_mean", name) else 2e-4
        difference = (two[0][name] - tensor).abs().max()
        assert torch.allclose(two[0][name], tensor, rtol=rtol, atol=rounding), (name, difference)
    for first, second in zip(one[1:], two[1:], strict=True):
        assert list(first.step) == list(second.step)
        pd.testing.assert_frame_equal(first, second, rtol=rtol, check_exact=False)


@pytest.mark.parametrize("train", [flow, frames, pairs])
def test_two_processes_train_what_one_does_with_the_same_batch(train, tmp_path):
    """Batches whose halves differ: BatchNorm, what pixels weigh and the loss are those of the whole.

    The flow's samples are prepared beside each process.
    """
    first, second = folders(tmp_path, "one", "two")
    changes = {flow: {}, frames: {"batch_size": 4}, pairs: {"occlusion_from": 0}}[train] | {"steps": 4}
    where = replace(TWO, data_workers=1 if train is flow else 0)
    one, two = train(WHERE, first, **changes), train(where, second, **changes)
    assert_close(one, two)
    assert not torch.distributed.is_initialized()


def test_what_is_unfrozen_later_is_trained_alike_in_both(tmp_path):
    first, second = folders(tmp_path, "one", "two")
    one, two = flow(WHERE, first, unfreeze_at=2), flow(TWO, second, unfreeze_at=2)
    assert_close(one, two)


def test_a_training_of_two_that_breaks_off_goes_on_to_the_same_bits(tmp_path):
    whole, parts = folders(tmp_path, "whole", "parts")
    undisturbed = flow(TWO, whole, steps=4)
    with pytest.raises(RuntimeError, match="the power is gone"):
        flow(TWO, parts, StopAt("on_train_batch_end", 3, crash), steps=4)
    resumed = flow(TWO, parts, steps=4)
    assert all(torch.equal(tensor, resumed[0][name]) for name, tensor in undisturbed[0].items())
    assert resumed[1].equals(undisturbed[1]) and resumed[2].equals(undisturbed[2])


def children():
    listed = subprocess.run(["pgrep", "-P", str(os.getpid()), "-f", "spawn_main"], capture_output=True, text=True)
    return [int(pid) for pid in listed.stdout.split()]


def test_a_process_that_is_killed_is_named(tmp_path):
    def kill():
        (pid,) = children()
        os.kill(pid, signal.SIGKILL)

    with pytest.raises(RuntimeError, match=r"process 1 of the training \(\d+\) ended with signal 9: killed, or out of"):
        flow(TWO, tmp_path, StopAt("on_train_batch_end", 2, kill))
    assert not children() and not torch.distributed.is_initialized()


class Late:
    """Does something where it is unpickled: in the other process, before the training begins."""

    def __init__(self, *does):
        self.does = does

    def __reduce__(self):
        return self.does[0], self.does[1:]


@pytest.mark.parametrize(
    ("late", "said"),
    [
        (Late(signal.raise_signal, signal.SIGKILL), r"process 1 of the training \(\d+\) ended with signal 9"),
        (Late(int, "seven"), r"process 1 of the training failed: ValueError: .*'seven'"),
    ],
)
def test_a_process_that_does_not_come_up_is_not_waited_for(late, said):
    begun = time.monotonic()
    with pytest.raises(RuntimeError, match=said), together(2, print, late):
        pass
    assert time.monotonic() - begun < 60 and not children()


def test_bad_input_of_another_process_is_said_as_its_own(tmp_path):
    with pytest.raises(InputError, match=r"^scene 2 is damaged; make it anew$") as ended:
        flow(TWO, tmp_path, bad=2, steps=8)
    assert isinstance(ended.value.__cause__, RuntimeError), "the first process has only lost its connection"
    assert not children()


def test_a_batch_that_cannot_be_shared_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"batch_size is 2, which trainer\.devices=3 cannot share equally"):
        flow(replace(WHERE, devices=3), tmp_path)


def test_more_gpus_than_there_are_are_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(InputError, match=r"trainer\.devices is 2, but PyTorch finds 1 GPU"):
        flow(replace(TWO, accelerator="gpu"), tmp_path)


LINE = [
    "trainer=ddp",
    "trainer.accelerator=cpu",
    "trainer.precision=32-true",
    "trainer.threads=1",
    "trainer.data_workers=0",
]
LINE += [*(f"datasets.procedural_training.{name}={value}" for name, value in SCENES.items())]
LINE += ["datasets.procedural_validation.size=2", "training.iterations=1", "training.validation_iterations=1"]
LINE += ["training.steps=4000", "training.validate_every=20", f"training.batch_size={COMMON['batch_size']}"]


def test_processes_of_a_job_beside_others_start_processes_of_their_own(tmp_path):
    """The processes of an executor prepare samples in others, which end with them."""
    jobs = ["-m", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    line = [*LINE, "training.steps=2", "training.validate_every=2", "trainer.data_workers=1"]
    done = run("train", tmp_path, *jobs, *line)
    assert done.returncode == 0 and "1 done" in done.stdout, done.stderr
    assert len(list(tmp_path.glob("training/*/model.pt"))) == 1


def wait_for(condition):
    last = time.monotonic() + 300
    while not (value := condition()):
        assert time.monotonic() < last
        time.sleep(0.05)
    return value


def descendants(pid):
    listed = subprocess.run(["pgrep", "-P", str(pid), "-f", "spawn_main"], capture_output=True, text=True)
    return [int(each) for each in listed.stdout.split()]


def alive(pid):
    """Whether a process is there, and no zombie that nobody has taken notice of."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def begin(tmp_path, *overrides):
    """Start a training of two processes; return it, all others that it has started, and what it has saved first."""
    job = start("train", tmp_path, *LINE, *overrides)
    saved = wait_for(lambda: next(tmp_path.glob("unfinished/training/*/*/training.ckpt"), None))
    others = descendants(job.pid)
    return job, others + [each for other in others for each in descendants(other)], saved


@pytest.mark.parametrize(("how", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_that_reaches_all_processes_is_heeded_by_the_first(how, code, tmp_path):
    """As Ctrl-C in a terminal does, and a cluster's signals: also those that prepare samples."""
    job, others, saved = begin(tmp_path, "trainer.data_workers=1")
    assert len(others) >= 3
    os.killpg(job.pid, how)
    _, errors = job.communicate(timeout=300)
    assert job.returncode == code, errors
    wait_for(lambda: not any(map(alive, others)))
    assert f"{how.name}: saves, then ends" in errors and "Traceback" not in errors
    assert torch.load(saved, weights_only=True)["global_step"] > 0


def test_death_ends_all_processes_and_keeps_what_was_saved(tmp_path):
    job, (other,), saved = begin(tmp_path)
    os.kill(other, signal.SIGSTOP)  # so that it takes no notice of a broken connection
    job.send_signal(signal.SIGKILL)
    job.communicate(timeout=300)
    wait_for(lambda: not alive(other))
    torch.load(saved, weights_only=True)
