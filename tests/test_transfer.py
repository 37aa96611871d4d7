"""The transfer, proven on real training runs: what is loaded, what stays frozen, what moves."""

import pytest
import pytorch_lightning as pl
import torch

from rwtl.data.procedural_flow import ProceduralFlow
from rwtl.data.stream import Part, SampleStream
from rwtl.errors import InputError
from rwtl.models.encoder import batch_norms
from rwtl.models.next_frame import build_next_frame
from rwtl.models.raft import build_raft
from rwtl.training.fit import TrainerConfig, fit
from rwtl.training.optical_flow import FlowRecipe, OpticalFlowModule
from rwtl.training.transfer import KeepFrozen, TransferConfig, apply_transfer

STRATEGIES = {
    "freeze_none": TransferConfig("freeze_none", True, False, False),
    "freeze_encoder": TransferConfig("freeze_encoder", True, True, False),
    "freeze_batchnorm": TransferConfig("freeze_batchnorm", True, False, True),
    "freeze_encoder_batchnorm": TransferConfig("freeze_encoder_batchnorm", True, True, True),
}
RECIPE = FlowRecipe(
    steps=4,
    batch_size=2,
    learning_rate=1e-3,
    warmup=0.05,
    cooldown=1,
    weight_decay=0.1,
    gradient_clip=1.0,
    validate_every=2,
    iterations=2,
    validation_iterations=2,
    gamma=0.8,
    freeze_batchnorm_statistics=False,
)


def source_weights(norm="batch", variant="small"):
    """A next-frame model whose running statistics are not those of a fresh one."""
    torch.manual_seed(7)
    model = build_next_frame(variant, norm, iterations=1).train()
    model(*torch.rand(2, 4, 1, 32, 32))
    return model.state_dict()


def train(model, callbacks, folder):
    training = SampleStream([Part(ProceduralFlow(size=8, height=32, width=32))], seed=1, samples=8)
    validation = ProceduralFlow(size=2, height=32, width=32, split="validation")
    where = TrainerConfig(
        "cpu", "32-true", 1, 0, "all_pairs", compile=False, channels_last=False, scenes_on_device=False
    )
    module = OpticalFlowModule(model, RECIPE, {"procedural": validation})
    return fit(module, RECIPE, training, [validation], where, folder, "test", module.metrics, callbacks)


@pytest.mark.parametrize("name", STRATEGIES)
def test_loaded_tensors_equal_the_source_and_frozen_ones_stay_so(name, tmp_path):
    config, source, model = STRATEGIES[name], source_weights(), build_raft("small", "batch")
    report = apply_transfer(model, config, source, "the source")
    loaded = {key: tensor.clone() for key, tensor in model.state_dict().items()}

    of_encoder = [key for key in source if key.startswith("feature_encoder.")]
    assert report.loaded == of_encoder
    assert all(torch.equal(loaded[key], source[key]) for key in of_encoder)
    assert set(report.left_out) == set(source) - set(of_encoder)

    norms = {f"feature_encoder.{layer}" for layer in batch_norms(model.feature_encoder)}
    of_norms = {key for key in of_encoder if key.rsplit(".", 1)[0] in norms}
    assert len(norms) == 21
    expected = set()
    if config.freeze_encoder_weights:
        expected |= set(of_encoder) - of_norms
    if config.freeze_batchnorm:
        expected |= of_norms
    assert set(report.frozen) == expected

    curve = train(model, [KeepFrozen(model, report)], tmp_path)
    assert list(curve.step) == [0, 2, 4]
    after = model.state_dict()
    for key in of_encoder:
        unchanged = torch.equal(after[key], loaded[key])
        # A bias in front of a BatchNorm has no effect, and so no gradient but rounding.
        if key in expected or not key.endswith(".bias"):
            assert unchanged == (key in expected), key
    assert not torch.equal(after["update_block.gru.convz.weight"], loaded["update_block.gru.convz.weight"])


def test_from_scratch_everything_moves(tmp_path):
    model = build_raft("small", "batch")
    report = apply_transfer(model, TransferConfig("scratch", False, False, False), None)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    assert not report.loaded and not report.frozen
    train(model, [KeepFrozen(model, report)], tmp_path)
    moved = {key for key, tensor in model.state_dict().items() if not torch.equal(tensor, before[key])}
    assert {key for key in before if key.endswith("running_mean")} <= moved
    assert "feature_encoder.conv1.weight" in moved


def test_a_frozen_tensor_that_changes_is_found_out(tmp_path):
    class Tamper(pl.Callback):
        def on_train_batch_end(self, trainer, module, *_):
            with torch.no_grad():
                module.model.feature_encoder.conv1.weight.view(-1)[0] += 1e-7

    model = build_raft("small", "batch")
    report = apply_transfer(model, STRATEGIES["freeze_encoder"], source_weights())
    with pytest.raises(RuntimeError, match=r"1 frozen tensors changed .* feature_encoder\.conv1\.weight"):
        train(model, [KeepFrozen(model, report), Tamper()], tmp_path)


def test_freezing_batchnorm_where_there_is_none_is_an_error():
    with pytest.raises(InputError, match=r"freeze_batchnorm .* has none: it would freeze nothing"):
        apply_transfer(build_raft("small", "instance"), STRATEGIES["freeze_batchnorm"], source_weights("instance"))


def test_an_encoder_of_another_variant_or_norm_is_refused_by_tensor():
    with pytest.raises(InputError, match=r"conv1\.weight is \(64, 3, 7, 7\) in place of \(32, 3, 7, 7\)|is missing"):
        apply_transfer(build_raft("small", "batch"), STRATEGIES["freeze_none"], source_weights(variant="basic"))
    with pytest.raises(InputError, match=r"norm1\.weight is missing"):
        apply_transfer(build_raft("small", "batch"), STRATEGIES["freeze_none"], source_weights("instance"))


def test_a_source_and_a_strategy_must_agree():
    with pytest.raises(InputError, match="no source was given"):
        apply_transfer(build_raft("small", "batch"), STRATEGIES["freeze_none"], None)
    with pytest.raises(InputError, match="freezes an encoder but loads none"):
        apply_transfer(build_raft("small", "batch"), TransferConfig("odd", False, True, False), None)
