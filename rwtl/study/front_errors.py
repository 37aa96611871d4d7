"""Errors of a RAFT on the measured flow of wave fronts."""

import pandas as pd
import torch
from torch.utils.data import Dataset

from rwtl.models.raft import RAFT
from rwtl.study.evaluation import estimates
from rwtl.training.metrics import end_point_error, normal_error

METRICS = ("epe", "normal", "no_motion", "mean_speed")


def front_errors(model: RAFT, data: Dataset, device: torch.device, precision: str) -> pd.DataFrame:
    """Return one row for each pair with its number of valid pixels and, in px, the means over them of METRICS.

    `epe` is the end-point error; `normal` that of the component along the true flow alone, all that is known of a
    front; `no_motion` the end-point error of predicting no motion; `mean_speed` that of the true direction with the
    mean length over all pairs: what is left to somebody who knows where fronts go and not how fast.
    """
    model.eval().to(device)
    samples = [data[index] for index in range(len(data))]
    lengths = torch.cat([sample.flow.norm(dim=0)[sample.valid >= 0.5] for sample in samples])
    rows = []
    for index, sample, estimate in estimates(model, data, None, False, device, precision):
        valid = sample.valid >= 0.5
        predicted, flow = estimate.flow.float().cpu(), sample.flow[None]
        length = flow.norm(dim=1)
        errors = {
            "epe": end_point_error(predicted, flow),
            "normal": normal_error(predicted, flow),
            "no_motion": length,
            "mean_speed": (length - lengths.mean()).abs(),
        }
        row = {"pair": data.names[index], "pixels": int(valid.sum())}
        rows.append(row | {name: float(error[0][valid].mean()) for name, error in errors.items()})
    return pd.DataFrame(rows)


def over_all(errors: pd.DataFrame) -> pd.Series:
    """Return the means over the pixels of all pairs."""
    return errors[list(METRICS)].mul(errors.pixels, axis=0).sum(skipna=False) / errors.pixels.sum()
