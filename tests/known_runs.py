"""Runs whose curves and errors are known, and their comparison."""

import copy

import numpy as np
import pandas as pd

from rwtl.comparing.analysis import analyse, cells_by_axes
from rwtl.comparing.measures import AnalysisConfig
from rwtl.comparing.runs import Run
from rwtl.learning.metrics import METRICS

CONFIG = {
    "seed": 1,
    "start_from": None,
    "model": {"variant": "small", "feature_norm": "batch"},
    "training": {"steps": 20, "batch_size": 8},
    "flow_data": {"training": {"scenes": {"repeats": 1}}, "validation": ["scenes"], "fraction": 1.0},
    "datasets": {"scenes": {"name": "procedural", "size": 10}},
    "trainer": {"precision": "32-true"},
    "transfer": {"name": "scratch", "source": None, "load": []},
    "pretraining": {"kind": "next_frame", "steps": 90, "seed": 1},
    "initial": {"name": "scratch", "source": None},
    "clips": {"kind": "waves", "dt": 1.0, "shuffle": "none"},
    "recording": {"kind": "sac", "rows": 96},
}
WAVES = {"name": "freeze_none", "source": "pretraining", "load": ["feature_encoder"]}
FROZEN = WAVES | {"name": "freeze_encoder", "freeze_encoder_weights": True}
PIXELS = {f"pixels{name}": 4 for name in ("", "_s0_10", "_s10_40", "_s40")}
IDS = iter(f"training-{number:012x}" for number in range(10**6))


def run_of(seed, transfer, curve, errors=None, **changes):
    """A run with a validation curve every 10 steps, and an error on each data set."""
    config = copy.deepcopy(CONFIG) | {"seed": seed, "transfer": transfer or CONFIG["transfer"]}
    for key, value in changes.items():
        section, name = key.split("__")
        config[section][name] = value
    table = pd.DataFrame({"step": [10 * k for k in range(len(curve))], "epe": curve}).assign(
        **dict.fromkeys(METRICS[1:], 1.0)
    )
    table["3px"] = 100 - table.epe
    evaluations = []
    if errors is not None:
        values = {"iterations": 2, "datasets": {name: {"size": 1} for name in errors}}
        lines = [
            {"dataset": name, "pair": "0", **dict.fromkeys(METRICS, 1.0), "epe": epe, "no_motion": 9.0, **PIXELS}
            for name, epe in errors.items()
        ]
        evaluations.append((values, pd.DataFrame(lines)))
    data = {"flow_data": {"training": [["scenes", {"size": 10}]]}, "start_from": None, "format": 2}
    return Run(next(IDS), config, table, evaluations, data, 60.0, {"recording-a": 10.0} if transfer else {})


def study(difference=-1.0, seeds=6, noise=0.05, **changes):
    """Scratch, waves that differ from it by so much, and a frozen encoder that does not."""
    rng = np.random.default_rng(0)
    runs = []
    for seed in range(1, seeds + 1):
        end = 5 + rng.normal(0, 0.5)
        better, same = end + difference + rng.normal(0, noise), end + rng.normal(0, 0.2)
        runs.append(run_of(seed, None, [9, 7, end], {"test": end}, **changes))
        runs.append(run_of(seed, WAVES, [9, better, better], {"test": better}, **changes))
        runs.append(run_of(seed, FROZEN, [9, 7, same], {"test": same}, **changes))
    return runs


def compared(runs, rows=("transfer",), columns=None, baseline=None, **config):
    cells = cells_by_axes(runs, list(rows), columns)
    return analyse(runs, cells, baseline, AnalysisConfig(**config))


def line_of(comparison, measure, row, dataset=None, column=None, fraction=1.0):
    table = comparison.summary
    found = table[(table.measure == measure) & (table.row == row) & (table.fraction == fraction)]
    found = found[found.column.isna() if column is None else found.column == column]
    found = found if dataset is None else found[found.dataset == dataset]
    assert len(found) == 1, found
    return found.iloc[0]


def fractions():
    runs = []
    for seed in range(1, 7):
        for part, scratch, waves in ((1.0, 4.0, 4.0), (0.1, 6.0, 4.5), (0.01, 8.0, 4.9)):
            runs.append(run_of(seed, None, [9, scratch], {"test": scratch + 0.01 * seed}, flow_data__fraction=part))
            runs.append(run_of(seed, WAVES, [9, waves], {"test": waves + 0.02 * seed}, flow_data__fraction=part))
    return runs
