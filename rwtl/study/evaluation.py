"""Errors of a trained RAFT on pairs with known flow."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch.utils.data import Dataset

from rwtl.data.flow_datasets import FlyingChairs, folder_identity
from rwtl.data.procedural_flow import ProceduralFlow
from rwtl.errors import InputError
from rwtl.models.raft import RAFT
from rwtl.progress import Progress
from rwtl.training.metrics import METRICS, FlowMetrics


@dataclass
class EvaluationConfig:
    """What a trained RAFT is evaluated on.

    Args:
        iterations: recurrent iterations of RAFT; None means as many as it was trained with.
        procedural: arguments of ProceduralFlow but `split`, which is `test`.
        folder: a folder of real pairs in FlyingChairs' layout, or None.
    """

    iterations: int | None
    procedural: dict[str, Any]
    folder: str | None

    def __post_init__(self):
        if self.iterations is not None and self.iterations < 1:
            raise InputError(f"evaluation.iterations is {self.iterations}; it must be at least 1")

    def datasets(self) -> dict[str, Dataset]:
        """Return the data sets by name: `procedural`, and the folder's own name."""
        try:
            found: dict[str, Dataset] = {"procedural": ProceduralFlow(split="test", **self.procedural)}
        except TypeError as error:
            raise InputError(f"evaluation.procedural: {error}; its keys are the arguments of ProceduralFlow") from error
        if self.folder is not None:
            if Path(self.folder).resolve().name in found:
                raise InputError(f"evaluation.folder {self.folder} has the name of the procedural scenes; rename it")
            found[Path(self.folder).resolve().name] = FlyingChairs(self.folder)
        return found

    def identity(self) -> dict[str, Any]:
        """Return the values that determine an evaluation: a folder counts by its pairs, not by its path."""
        folder = None
        if self.folder is not None:
            folder = [Path(self.folder).resolve().name, folder_identity(self.folder)]
        scenes = vars(self.datasets()["procedural"])  # with defaults, and 12 as 12.0
        return {"iterations": self.iterations, "procedural": scenes, "folder": folder}


@torch.no_grad()
def evaluate(
    model: RAFT, datasets: dict[str, Dataset], iterations: int | None, label: str, device: torch.device
) -> pd.DataFrame:
    """Return one row for each pair: `dataset`, `pair`, `pixels` (valid), `epe`, `1px`, `3px`, `5px`, `no_motion`.

    `epe` is in px, those below a threshold in %; `no_motion` is the EPE (px) of predicting no motion.
    """
    model.eval().to(device)
    progress = Progress(label, sum(len(dataset) for dataset in datasets.values()), "pairs")
    rows = []
    for name, dataset in datasets.items():
        for index in range(len(dataset)):
            sample = dataset[index]
            flow = model(sample.image1[None].to(device), sample.image2[None].to(device), iterations)[-1].cpu()
            metrics = FlowMetrics()
            metrics.update(flow, sample.flow[None], sample.valid[None])
            pair = dataset.names[index] if hasattr(dataset, "names") else f"scene {index}"
            errors = {metric: float(value) for metric, value in metrics.compute().items()}
            errors["no_motion"] = float(sample.flow.norm(dim=0)[sample.valid >= 0.5].mean())
            rows.append({"dataset": name, "pair": pair, "pixels": int(metrics.pixels), **errors})
            progress(len(rows))
    return pd.DataFrame(rows)


def pooled(errors: pd.DataFrame) -> pd.DataFrame:
    """Return the errors over all valid pixels of each data set, with the number of pairs."""
    columns = [*METRICS, "no_motion"]
    weighted = errors.assign(**{column: errors[column] * errors.pixels for column in columns})
    # A sum that skipped what is not a number would flatter a model that diverged.
    sums = weighted.groupby("dataset", sort=False)[["pixels", *columns]].agg(lambda column: column.sum(skipna=False))
    table = sums[columns].div(sums.pixels, axis=0)
    table.insert(0, "pairs", errors.groupby("dataset", sort=False).size())
    return table.reset_index()
