"""A training that is stopped, by whatever means and wherever, and started again ends with the same bits."""

import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from damage import ODD, damage
from trainings import FLOW, NEXT_FRAME, SCENES, SELF_SUPERVISED, WHERE, Clips, Noise, StopAt, crash

from rwtl import files
from rwtl.errors import InputError
from rwtl.flow.scenes.dataset import ProceduralFlow
from rwtl.learning.fit import fit
from rwtl.learning.resumption import Interruption, load_checkpoint, random_state, set_random_state
from rwtl.learning.tasks.next_frame import NextFrameModule
from rwtl.learning.tasks.optical_flow import OpticalFlowModule
from rwtl.learning.tasks.self_supervised import SelfSupervisedModule
from rwtl.models.next_frame import build_next_frame
from rwtl.models.raft import build_raft
from rwtl.sampling import Part, SampleStream, StepBatches


def run(task, folder, *callbacks, where=WHERE):
    """Begin as a new process would: with new weights, before what the folder holds is looked at."""
    torch.manual_seed(3)
    if task == "optical flow":
        data = ProceduralFlow(size=8, **SCENES)
        validation = ProceduralFlow(size=2, split="validation", **SCENES)
        module = OpticalFlowModule(build_raft("small", "batch"), FLOW, {"scenes": validation})
        recipe = FLOW
    elif task == "self-supervised flow":
        data, validation, recipe = Clips(2), Clips(2), SELF_SUPERVISED
        module = SelfSupervisedModule(build_raft("small", "batch"), recipe, "grey")
    else:
        data, validation, recipe = Clips(), Clips(), NEXT_FRAME
        model = build_next_frame("small", "batch", 1, decoder="warp", context="features")
        module = NextFrameModule(model, recipe, 0.5)
    folder.mkdir(exist_ok=True)
    stream = SampleStream([Part(data)], 1, recipe.steps * recipe.batch_size)
    curve = fit(module, recipe, stream, [validation], where, folder, "test", module.metrics, [Noise(), *callbacks])
    return module.state_dict(), curve, (folder / files.METRICS).read_text()


@pytest.fixture(scope="module", params=["optical flow", "next frame"])
def undisturbed(request, tmp_path_factory):
    return request.param, *run(request.param, tmp_path_factory.mktemp("undisturbed"))


def assert_same(undisturbed, resumed):
    _, weights, curve, log = undisturbed
    assert weights.keys() == resumed[0].keys()
    assert all(torch.equal(weights[name], resumed[0][name]) for name in weights)
    assert curve.equals(resumed[1]) and list(curve.step) == [0, 2, 4, 6]
    assert log == resumed[2]


@pytest.mark.parametrize(
    ("hook", "count"),
    [
        ("on_train_batch_start", 1),
        ("on_train_batch_start", 4),
        ("on_train_batch_end", 1),
        ("on_train_batch_end", 2),
        ("on_before_optimizer_step", 5),
        ("on_validation_batch_end", 4),
        ("on_validation_end", 2),
        ("on_train_end", 1),
    ],
)
def test_crashes_anywhere_change_no_bit(undisturbed, tmp_path, hook, count):
    every_step = replace(WHERE, checkpoint_minutes=0.0)
    with pytest.raises(RuntimeError, match="the power is gone"):
        run(undisturbed[0], tmp_path / "run", StopAt(hook, count, crash), where=every_step)
    torch.rand(7)  # another process has drawn other random numbers
    assert_same(undisturbed, run(undisturbed[0], tmp_path / "run", where=every_step))


@pytest.mark.slow
def test_self_supervised_training_that_crashes_goes_on_to_the_same_bits(tmp_path):
    whole = "self-supervised flow", *run("self-supervised flow", tmp_path / "whole")
    with pytest.raises(RuntimeError, match="the power is gone"):
        run(whole[0], tmp_path / "run", StopAt("on_train_batch_end", 5, crash))
    torch.rand(7)
    (tmp_path / "run" / f".{files.CHECKPOINT}.0.partial").touch()  # as a kill leaves it that comes during a checkpoint
    assert_same(whole, run(whole[0], tmp_path / "run"))
    assert {file.name for file in (tmp_path / "run").iterdir()} == {files.CHECKPOINT, files.METRICS}


def test_crashes_between_checkpoints_lose_only_what_came_after_the_last(undisturbed, tmp_path, capsys):
    rarely = replace(WHERE, checkpoint_minutes=60.0)
    for count in (6, 2):
        with pytest.raises(RuntimeError, match="the power is gone"):
            run(undisturbed[0], tmp_path / "run", StopAt("on_before_optimizer_step", count, crash), where=rarely)
    assert "test: goes on after step 4 of 6" in capsys.readouterr().err
    assert_same(undisturbed, run(undisturbed[0], tmp_path / "run", where=rarely))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("hook", ["on_train_batch_start", "on_validation_batch_end"])
def test_a_signal_takes_effect_after_a_checkpoint(undisturbed, tmp_path, capsys, hook, number, monkeypatch):
    if number is signal.SIGTERM:
        monkeypatch.setattr(signal, "default_int_handler", signal.default_int_handler)
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            run(undisturbed[0], tmp_path / "run", StopAt(hook, 3, lambda: os.kill(os.getpid(), number)))
    finally:
        if number is signal.SIGTERM:
            signal.signal(signal.SIGTERM, before)
    resumed = run(undisturbed[0], tmp_path / "run")
    assert "test: goes on after step 3 of 6" in capsys.readouterr().err or hook == "on_validation_batch_end"
    assert_same(undisturbed, resumed)


def test_the_same_signal_again_takes_effect_at_once(undisturbed, tmp_path):
    def twice():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        pytest.fail("went on")

    with pytest.raises(KeyboardInterrupt):
        run(undisturbed[0], tmp_path / "run", StopAt("on_train_batch_start", 2, twice))
    assert not (tmp_path / "run" / files.CHECKPOINT).exists()
    assert_same(undisturbed, run(undisturbed[0], tmp_path / "run"))


def test_a_warning_of_slurm_reaches_who_requeues_after_the_checkpoint(undisturbed, tmp_path):
    """Submitit's handler is called, and may end the process, or not: then the training goes on."""
    seen = []
    before = signal.signal(signal.SIGUSR2, lambda *_: seen.append((tmp_path / "run" / files.CHECKPOINT).exists()))
    try:
        ended = run(
            undisturbed[0],
            tmp_path / "run",
            StopAt("on_train_batch_start", 2, lambda: os.kill(os.getpid(), signal.SIGUSR2)),
        )
        assert signal.getsignal(signal.SIGUSR2) not in (signal.SIG_DFL, None)
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert seen == [True]
    assert_same(undisturbed, ended)


def test_the_exit_of_who_requeues_is_not_taken_for_ctrl_c(tmp_path):
    def requeue(*_):
        raise SystemExit(-1)

    before = signal.signal(signal.SIGUSR2, requeue)
    try:
        with pytest.raises(SystemExit) as ended:
            run(
                "next frame",
                tmp_path / "run",
                StopAt("on_train_batch_start", 2, lambda: os.kill(os.getpid(), signal.SIGUSR2)),
            )
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert ended.value.code == -1


def test_a_signal_that_is_ignored_stays_ignored_and_handlers_are_put_back():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interruption() as interruption:
            interruption.hold()
            os.kill(os.getpid(), signal.SIGINT)
            assert interruption.pending is None
    finally:
        signal.signal(signal.SIGINT, before)
    with Interruption() as interruption:
        interruption.hold()
        assert signal.getsignal(signal.SIGINT) != before
    assert signal.getsignal(signal.SIGINT) == before


def test_a_checkpoint_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / files.CHECKPOINT).write_bytes(b"PK")
    with pytest.raises(
        InputError, match=rf"{files.CHECKPOINT} cannot be read .*; remove it, and the training begins anew"
    ):
        run("next frame", tmp_path / "run")


def test_a_checkpoint_with_a_flipped_bit_or_of_another_kind_is_named(tmp_path):
    file = tmp_path / files.CHECKPOINT
    torch.save({"state_dict": {"weight": torch.ones(1000)}}, file)
    assert load_checkpoint(file)["state_dict"]["weight"].sum() == 1000
    content = bytearray(file.read_bytes())
    content[content.index(np.ones(4, np.float32).tobytes()) + 40] ^= 1
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"cannot be read \(BadZipFile: .*\); remove it, and the training begins anew"):
        load_checkpoint(file)
    torch.save({"weights": {}}, file)
    with pytest.raises(InputError, match=r"cannot be read \(KeyError: 'state_dict'\); remove it"):
        load_checkpoint(file)


@pytest.mark.parametrize("how", ODD)
def test_what_is_in_the_place_of_a_checkpoint_is_named(tmp_path, how):
    damage(tmp_path / files.CHECKPOINT, how)
    with pytest.raises(InputError, match=rf"{files.CHECKPOINT} cannot be read \(OSError: .*\); remove it"):
        load_checkpoint(tmp_path / files.CHECKPOINT)


def test_random_states_come_back(tmp_path):
    import random

    state = random_state()
    drawn = [torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random(), random.gauss(0, 1)]  # noqa: NPY002
    torch.save(state, tmp_path / "state")
    set_random_state(torch.load(tmp_path / "state", weights_only=True))
    again = [torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random(), random.gauss(0, 1)]  # noqa: NPY002
    assert drawn == again


def test_processes_share_every_batch_and_go_on_where_they_were():
    whole = list(StepBatches(5, 4))
    assert whole == [list(range(4 * step, 4 * step + 4)) for step in range(5)]
    shares = [list(StepBatches(5, 4, first_step=2, process=process, processes=2)) for process in range(2)]
    assert [one + other for one, other in zip(*shares, strict=True)] == whole[2:]
    assert len(StepBatches(5, 4, first_step=2)) == 5
    with pytest.raises(InputError, match="3 samples cannot be shared equally by 2 processes"):
        StepBatches(5, 3, processes=2)
