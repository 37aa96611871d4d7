"""The transfer, proven on real training runs: what is loaded, what stays frozen and for how long, what moves."""

from dataclasses import replace

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from rwtl.composition import presets
from rwtl.errors import InputError
from rwtl.flow.scenes.dataset import ProceduralFlow
from rwtl.learning.fit import fit
from rwtl.learning.recipe import TrainerConfig
from rwtl.learning.tasks.optical_flow import FlowRecipe, OpticalFlowModule
from rwtl.learning.transfer.callback import Transfer
from rwtl.learning.transfer.config import Source, TransferConfig
from rwtl.models.encoder import batch_norms
from rwtl.models.next_frame import build_next_frame
from rwtl.models.raft import build_raft
from rwtl.sampling import Part, SampleStream
from rwtl.sections import typed

PRESETS = {name: typed(TransferConfig, values, "transfer") for name, values in presets("transfer").items()}
NONE, ENCODER, BATCHNORM, BOTH = (
    PRESETS[name] for name in ("freeze_none", "freeze_encoder", "freeze_batchnorm", "freeze_encoder_batchnorm")
)
SHUFFLED, SHUFFLED_FROZEN = (replace(preset, shuffle_weights=True) for preset in (NONE, ENCODER))
ENCODERS = ["feature_encoder", "context_encoder"]
RECIPE = FlowRecipe(
    steps=6,
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
SCENES = {"height": 32, "width": 32}


def source_of(norm="batch", variant="small", make=build_raft, colour=None, **options):
    """A source whose running statistics and BatchNorm weights are not those of a fresh model."""
    torch.manual_seed(7)
    model = make(variant, norm, iterations=1, **options)
    with torch.no_grad():
        for layer in batch_norms(model).values():
            for tensor in (layer.weight, layer.bias, layer.running_mean, layer.running_var):
                tensor.uniform_(0.5, 1.5)
            layer.num_batches_tracked.fill_(9)
    return Source("the source", variant, norm, colour, model.state_dict())


def transferred(config, norm="batch", variant="small", source=None, **options):
    torch.manual_seed(1)
    model = build_raft(variant, norm)
    return model, Transfer(model, config, source or source_of(norm, variant), **options)


def snapshot(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def moved(model, before):
    return {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}


def train(model, transfer, folder, precision="32-true", callbacks=()):
    training = SampleStream([Part(ProceduralFlow(size=8, **SCENES))], seed=1, samples=12)
    validation = ProceduralFlow(size=2, split="validation", **SCENES)
    where = TrainerConfig("cpu", precision, 1, 0, "all_pairs", channels_last=False, scenes_on_device=False)
    module = OpticalFlowModule(model, RECIPE, {"procedural": validation}, transfer)
    return fit(module, RECIPE, training, [validation], where, folder, "test", module.metrics, list(callbacks))


def fit_by_lightning(module, steps, folder, checkpoint=None, callbacks=()):
    """Train up to a step, from a checkpoint if there is one, as a job does that was cut off; return the trainer."""
    stream = SampleStream([Part(ProceduralFlow(size=8, **SCENES))], seed=1, samples=64)
    trainer = pl.Trainer(
        accelerator="cpu",
        max_steps=steps,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        callbacks=list(callbacks),
    )
    trainer.fit(module, DataLoader(stream, RECIPE.batch_size), ckpt_path=checkpoint)
    return trainer


class Steps(pl.Callback):
    """Takes down which tensors every step changed."""

    def __init__(self, model):
        self.model, self.before, self.changed = model, snapshot(model), {}

    def on_train_batch_end(self, trainer, module, *_):
        self.changed[trainer.global_step - 1] = moved(self.model, self.before)
        self.before = snapshot(self.model)


@pytest.mark.parametrize("config", [NONE, ENCODER, BATCHNORM, BOTH], ids=lambda config: config.name)
def test_loaded_tensors_equal_the_source_and_frozen_ones_stay_so(config, tmp_path):
    source = source_of(make=build_next_frame)
    model, transfer = transferred(config, source=source)
    loaded, report = snapshot(model), transfer.report

    of_encoder = [key for key in source.weights if key.startswith("feature_encoder.")]
    assert report.loaded == of_encoder
    assert all(torch.equal(loaded[key], source.weights[key]) for key in of_encoder)
    assert set(report.left_out) == set(source.weights) - set(of_encoder)

    norms = {f"feature_encoder.{layer}" for layer in batch_norms(model.feature_encoder)}
    of_norms = {key for key in of_encoder if key.rsplit(".", 1)[0] in norms}
    expected = set(of_encoder) - of_norms if config.freeze_encoder_weights else set()
    expected |= of_norms if config.freeze_batchnorm else set()
    assert set(report.frozen) == expected

    assert list(train(model, transfer, tmp_path).step) == [0, 2, 4, 6]
    changed = moved(model, loaded)
    for key in of_encoder:
        # A bias in front of a BatchNorm has no effect, and so no gradient but rounding.
        if key in expected or not key.endswith(".bias"):
            assert (key not in changed) == (key in expected), key
    assert "update_block.gru.convz.weight" in changed


def test_the_stock_context_encoder_holds_the_batchnorm_that_is_frozen():
    _, transfer = transferred(replace(BATCHNORM, load=ENCODERS), "instance", "basic")
    assert len(transfer.report.frozen) == 75 and len(transfer.report.batchnorm_in_eval) == 15
    assert all(name.startswith("context_encoder.") for name in transfer.report.frozen)


def test_from_scratch_everything_moves(tmp_path):
    model = build_raft("small", "batch")
    transfer, before = Transfer(model, PRESETS["scratch"], None), snapshot(model)
    assert not transfer.report.loaded and not transfer.report.frozen
    train(model, transfer, tmp_path)
    changed = moved(model, before)
    assert {key for key in before if key.endswith("running_mean")} <= changed
    assert "feature_encoder.conv1.weight" in changed


def test_all_parts_of_a_next_frame_model_are_loaded():
    source = source_of(make=build_next_frame, context="context_encoder")
    model, transfer = transferred(PRESETS["all_parts"], source=source)
    of_parts = {name for name in source.weights if name.split(".")[0] in (*ENCODERS, "update_block")}
    assert set(transfer.report.loaded) == of_parts and len(of_parts) == 211
    assert not moved(model, {**snapshot(model), **{name: source.weights[name] for name in of_parts}})


def test_of_the_update_block_what_agrees_is_loaded_and_the_rest_is_named():
    config = replace(NONE, load=["update_block"])
    source = source_of("instance")
    changed = "update_block.motion_encoder.convc1.weight"
    source.weights[changed] = torch.zeros(96, 200, 1, 1)
    model, transfer = transferred(config, "instance", source=source)
    of_block = {name for name in source.weights if name.startswith("update_block.")}
    assert set(transfer.report.loaded) == of_block - {changed}
    assert torch.equal(model.update_block.flow_head.conv2.weight, source.weights["update_block.flow_head.conv2.weight"])
    left_out = transfer.report.left_out
    assert left_out[changed] == "(96, 200, 1, 1) in the source, (96, 196, 1, 1) in the model"
    assert left_out["feature_encoder.conv1.bias"] == "not of update_block"


def test_an_update_block_of_another_variant_is_refused_though_a_bias_agrees():
    config = replace(NONE, load=["update_block"])
    with pytest.raises(InputError, match=r"no weight of the update_block .* agrees .* use model\.variant=basic"):
        transferred(config, "instance", source=source_of("instance", "basic"))


def test_shuffled_tensors_hold_the_same_values_elsewhere():
    source = source_of()
    (model, transfer), (again, _) = (transferred(SHUFFLED, source=source, seed=3) for _ in range(2))
    (other, _), (plain, _) = transferred(SHUFFLED, source=source, seed=4), transferred(NONE, source=source)
    report, state = transfer.report, model.state_dict()
    assert not moved(model, snapshot(again))
    of_counters = {name for name in report.loaded if name.endswith("num_batches_tracked")}
    assert set(report.shuffled) == set(report.loaded) - of_counters and len(of_counters) == 21
    for name in report.loaded:
        values, original = (tensor.flatten().sort().values for tensor in (state[name], plain.state_dict()[name]))
        assert torch.equal(values, original), name
    weights = {name for name in report.shuffled if not name.endswith(".bias") or "norm" in name}
    assert weights <= moved(model, snapshot(plain)) and weights <= moved(model, snapshot(other))
    same_shape = [state[f"feature_encoder.layer1.{block}.norm3.weight"].argsort() for block in (0, 1)]
    originals = [source.weights[f"feature_encoder.layer1.{block}.norm3.weight"].argsort() for block in (0, 1)]
    orders = [original[one.argsort()] for one, original in zip(same_shape, originals, strict=True)]
    assert not torch.equal(*orders), "every tensor has a permutation of its own"


def test_a_frozen_tensor_that_changes_is_found_out(tmp_path):
    class Tamper(pl.Callback):
        def on_train_batch_end(self, trainer, module, *_):
            with torch.no_grad():
                if trainer.global_step == 1:
                    module.model.feature_encoder.conv1.weight.view(-1)[0] += 1e-7

    model, transfer = transferred(ENCODER)
    with pytest.raises(
        RuntimeError, match=r"1 frozen tensors changed before step 6, .* feature_encoder\.conv1\.weight"
    ):
        train(model, transfer, tmp_path, callbacks=[Tamper()])
    model, transfer = transferred(replace(ENCODER, unfreeze_at=2))
    with pytest.raises(
        RuntimeError, match=r"1 frozen tensors changed before step 2, .* feature_encoder\.conv1\.weight"
    ):
        train(model, transfer, tmp_path / "unfrozen", callbacks=[Tamper()])


@pytest.mark.parametrize("every", [0, 1])
@pytest.mark.slow
def test_unfreezing_goes_by_step_from_the_output_to_the_input(every, tmp_path):
    model, transfer = transferred(replace(BOTH, unfreeze_at=1, unfreeze_every=every))
    steps = Steps(model)
    train(model, transfer, tmp_path, callbacks=[steps])
    first = {"conv2": 1, "layer3": 1 + every, "layer2": 1 + 2 * every, "layer1": 1 + 3 * every, "conv1": 1 + 4 * every}
    schedule = {
        layer: step for step, names in transfer.report.unfreezing.items() for layer in {n.split(".")[1] for n in names}
    }
    assert schedule == {**first, "norm1": first["conv1"]}
    for step in range(RECIPE.steps):
        of_encoder = {name.split(".")[1] for name in steps.changed[step] if name.startswith("feature_encoder.")}
        assert of_encoder == {layer for layer, since in schedule.items() if since <= step}, step
    statistics = {name for name in steps.changed[3] if name.endswith(("running_mean", "num_batches_tracked"))}
    assert len(statistics) == 2 * (21 if every == 0 else 7 + 7), "norms of unfrozen layers learn statistics again"


@pytest.mark.parametrize("config", [ENCODER, BATCHNORM, BOTH], ids=lambda config: config.name)
@pytest.mark.slow
def test_frozen_tensors_hold_in_bf16_with_weight_decay(config, tmp_path):
    model, transfer = transferred(config)
    before, optimised = snapshot(model), []

    class Watch(pl.Callback):
        def on_train_start(self, trainer, module):
            optimised.extend(p for group in trainer.optimizers[0].param_groups for p in group["params"])

    train(model, transfer, tmp_path, "bf16-mixed", [Watch()])
    assert {id(parameter) for parameter in optimised} == {id(parameter) for parameter in model.parameters()}
    assert transfer.report.frozen and not moved(model, before) & set(transfer.report.frozen)


def test_what_is_frozen_and_unfrozen_goes_by_step_in_a_training_that_is_gone_on_with(tmp_path):
    config = replace(BOTH, unfreeze_at=2, unfreeze_every=2, loaded_learning_rate=0.5)
    recipe = replace(RECIPE, steps=12)  # of which 6 are done

    def module():
        model, transfer = transferred(config)
        return OpticalFlowModule(model, recipe, {}, transfer)

    loaded = snapshot(module().model)
    for cut in (1, 3):  # frozen; partly unfrozen
        file = tmp_path / f"{cut}.ckpt"
        fit_by_lightning(module(), cut, tmp_path).save_checkpoint(file)
        resumed = module()
        steps = Steps(resumed.model)
        fit_by_lightning(resumed, 6, tmp_path, file, [steps])
        assert min(steps.changed) == cut
        still = {name for name in resumed.transfer.report.frozen if name.split(".")[1] in ("layer1", "conv1", "norm1")}
        assert len(still) == 49
        assert not moved(resumed.model, loaded) & still
        trained = {f"feature_encoder.{layer}.weight" for layer in ("conv2", "layer3.0.conv1")}
        assert trained <= moved(resumed.model, loaded)
        assert ("feature_encoder.conv2.weight" in steps.changed[cut]) == (cut >= 2)


def test_a_checkpoint_of_another_transfer_is_refused(tmp_path):
    file = tmp_path / "other.ckpt"
    model, transfer = transferred(SHUFFLED_FROZEN)
    fit_by_lightning(OpticalFlowModule(model, RECIPE, {}, transfer), 1, tmp_path).save_checkpoint(file)
    model, transfer = transferred(ENCODER)
    with pytest.raises(
        RuntimeError, match=r"frozen tensors changed before step 1, .*what transfer freeze_encoder loaded"
    ):
        fit_by_lightning(OpticalFlowModule(model, RECIPE, {}, transfer), 3, tmp_path, file)


def test_a_model_without_memory_is_enough_to_check():
    source = source_of()
    with torch.device("meta"):
        checked = Transfer(build_raft("small", "batch"), SHUFFLED_FROZEN, source)
    assert checked.report == transferred(SHUFFLED_FROZEN, source=source)[1].report


def test_an_encoder_of_another_variant_or_norm_is_refused_by_tensor():
    fault = r"the feature_encoder of the source .* feature_encoder\.layer1\.0\.conv3\.weight is missing"
    with pytest.raises(InputError, match=fault):
        transferred(NONE, source=source_of(variant="basic"))
    with pytest.raises(InputError, match=r"norm1\.weight is missing.*model\.feature_norm=instance"):
        transferred(NONE, source=source_of("instance"))
    with pytest.raises(InputError, match=r"context_encoder\.layer1\.0\.conv3\.weight is missing"):
        transferred(PRESETS["context_encoder"], "instance", source=source_of("instance", "basic"))


@pytest.mark.parametrize(("here", "there"), [("instance", "none"), ("none", "instance")])
def test_encoders_that_differ_in_a_normalisation_without_tensors_are_refused(here, there):
    with pytest.raises(InputError, match=f"has feature_norm {there}, the model's {here}; .*feature_norm={there}"):
        transferred(NONE, here, source=source_of(there))


@pytest.mark.slow
def test_a_second_training_freezes_what_the_first_made_of_it(tmp_path):
    """A new trainer begins at step 0, with all frozen again that the first had unfrozen."""
    model, transfer = transferred(replace(ENCODER, unfreeze_at=2))
    train(model, transfer, tmp_path / "first")
    steps = Steps(model)
    train(model, transfer, tmp_path / "second", callbacks=[steps])
    frozen = set(transfer.report.frozen)
    assert not steps.changed[1] & frozen and steps.changed[2] >= frozen


def test_a_part_that_is_lacking_is_named_with_the_remedy():
    remedy = r"pretraining\.context=context_encoder"
    with pytest.raises(InputError, match=f"the source holds no context_encoder; .*{remedy}"):
        transferred(PRESETS["context_encoder"], source=source_of(make=build_next_frame))
    with pytest.raises(InputError, match=f"loads context_encoder, but the model has none; .*{remedy}"):
        Transfer(build_next_frame("small", "batch", 1), PRESETS["context_encoder"], source_of())


def test_a_source_of_another_colour_is_refused():
    for colours in (("grey", "grey"), (None, "grey"), ("grey", None)):
        transferred(NONE, source=source_of(colour=colours[0]), expected_colour=colours[1])
    for colour, clips in (("blue_red", r"clips=triplets clips\.colour=blue_red"), ("rgb", "clips=scenes")):
        with pytest.raises(InputError, match=f"colour {colour}, but grey is configured; use {clips}"):
            transferred(NONE, source=source_of(colour=colour), expected_colour="grey")


def test_a_source_is_given_where_one_is_asked_for():
    model = build_raft("small", "batch")
    with pytest.raises(InputError, match="no source was given"):
        Transfer(model, NONE, None)
    with pytest.raises(InputError, match="source None, but the source was given"):
        Transfer(model, PRESETS["scratch"], source_of())
