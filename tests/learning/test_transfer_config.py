"""The section `transfer`: what every preset touches in every variant, and settings that make no sense."""

from dataclasses import replace

import pytest
import torch

from rwtl.composition import presets
from rwtl.errors import InputError
from rwtl.learning.transfer.callback import Transfer, require_unfreezing_within, touched, unfreezing_schedule
from rwtl.learning.transfer.config import Source, TransferConfig
from rwtl.models.raft import build_raft
from rwtl.sections import typed

PRESETS = {name: typed(TransferConfig, values, "transfer") for name, values in presets("transfer").items()}
NONE, BOTH = PRESETS["freeze_none"], PRESETS["freeze_encoder_batchnorm"]
# Tensors loaded, frozen at first, BatchNorm layers in eval, for basic and small with feature_norm instance, then batch.
# None: an error, since a flag would freeze nothing.
TOUCHED = {
    "scratch": [(0, 0, 0), (0, 0, 0), (0, 0, 0), (0, 0, 0)],
    "freeze_none": [(32, 0, 0), (44, 0, 0), (107, 0, 0), (149, 0, 0)],
    "freeze_encoder": [(32, 32, 0), (44, 44, 0), (107, 32, 0), (149, 44, 0)],
    "freeze_batchnorm": [None, None, (107, 75, 15), (149, 105, 21)],
    "freeze_encoder_batchnorm": [None, None, (107, 107, 15), (149, 149, 21)],
    "context_encoder": [(107, 0, 0), (44, 0, 0), (107, 0, 0), (44, 0, 0)],
    "both_encoders": [(139, 0, 0), (88, 0, 0), (214, 0, 0), (193, 0, 0)],
    "all_parts": [(165, 0, 0), (106, 0, 0), (240, 0, 0), (211, 0, 0)],
    "unfreeze_later": [(32, 32, 0), (44, 44, 0), (107, 32, 0), (149, 44, 0)],
    "unfreeze_gradually": [(32, 32, 0), (44, 44, 0), (107, 32, 0), (149, 44, 0)],
    "slow_encoder": [(32, 0, 0), (44, 0, 0), (107, 0, 0), (149, 0, 0)],
}


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_touches_what_it_says(name):
    kinds = [(variant, norm) for norm in ("instance", "batch") for variant in ("basic", "small")]
    for (variant, norm), expected in zip(kinds, TOUCHED[name], strict=True):
        if expected is None:
            with pytest.raises(InputError, match=r"would freeze nothing; use model\.feature_norm=batch"):
                touched(variant, norm, PRESETS[name])
            continue
        report = touched(variant, norm, PRESETS[name])
        assert (len(report.loaded), len(report.frozen), len(report.batchnorm_in_eval)) == expected
        for part, counts in report.parts.items():
            assert counts.tensors_loaded in (0, counts.tensors), "a source of the same kind fits as a whole"
            assert (counts.tensors_loaded > 0) == (part in PRESETS[name].load)


def test_the_table_counts_by_part():
    lines = [line.split("  ") for line in touched("small", "batch", BOTH).table().splitlines()]
    cells = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    assert cells[1] == ["feature_encoder", "149 of 149", "149 of 149", "56,800 of 56,800", "21 of 21"]
    assert cells[3] == ["update_block", "0 of 18", "0 of 18", "0 of 876,530", "0 of 0"]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"load": ["encoder"]}, r"load\[0\] is 'encoder'; choose one of feature_encoder"),
        ({"load": ["feature_encoder"] * 2}, "load names a part twice"),
        ({"source": None}, "load names feature_encoder, but source is null"),
        ({"load": []}, "source is pretraining, but load is empty"),
        ({"load": ["update_block"], "freeze_batchnorm": True}, "load names no encoder, but one is frozen"),
        ({"source": None, "load": [], "freeze_batchnorm": True}, "load names no encoder, but one is frozen"),
        ({"source": None, "load": [], "shuffle_weights": True}, "shuffle_weights permutes what is loaded"),
        ({"source": None, "load": [], "loaded_learning_rate": 0.5}, "loaded_learning_rate is 0.5, but load is empty"),
        ({"loaded_learning_rate": 0.0}, "loaded_learning_rate is 0.0; it must be positive"),
        ({"loaded_learning_rate": float("nan")}, "loaded_learning_rate is nan; it must be finite"),
        ({"freeze_encoder_weights": True, "unfreeze_at": 0}, "unfreeze_at is 0; it must be at least 1"),
        ({"freeze_encoder_weights": True, "unfreeze_at": 1, "unfreeze_every": -1}, "unfreeze_every is -1"),
        ({"freeze_encoder_weights": True, "unfreeze_every": 5}, "unfreeze_every is 5, but unfreeze_at is null"),
        ({"unfreeze_at": 5}, "unfreeze_at is 5, but nothing is frozen"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(change, fault):
    with pytest.raises(InputError, match=rf"^transfer\.{fault}"):
        replace(NONE, **change)


def test_settings_without_effect_are_refused():
    with pytest.raises(InputError, match=r"loaded_learning_rate 0\.1, but all that it loads is frozen for good"):
        touched("small", "batch", replace(BOTH, loaded_learning_rate=0.1))
    touched("small", "batch", replace(BOTH, loaded_learning_rate=0.1, unfreeze_at=1))


@pytest.mark.parametrize(("at", "every", "last"), [(3, 0, 3), (3, 100, 403)])
def test_unfreezing_must_come_to_its_end_within_the_training(at, every, last):
    with torch.device("meta"):
        model, same = build_raft("small", "batch"), build_raft("small", "batch")
    source = Source("the source", "small", "batch", None, same.state_dict())
    transfer = Transfer(model, replace(BOTH, unfreeze_at=at, unfreeze_every=every), source)
    require_unfreezing_within(transfer, last + 1)
    with pytest.raises(InputError, match=f"unfreezes until step {last}, but the training has {last} steps"):
        require_unfreezing_within(transfer, last)


def test_a_layer_that_no_turn_unfreezes_is_named():
    frozen = ["feature_encoder.conv1.weight", "feature_encoder.attention.weight"]
    with pytest.raises(InputError, match=r"unfreeze_at is 5, but feature_encoder\.attention\.weight is in none of the"):
        unfreezing_schedule(frozen, 5, 0)
    assert unfreezing_schedule(frozen, None, 0) == {}
