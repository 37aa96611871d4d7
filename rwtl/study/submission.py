"""Estimated flow of a benchmark's test split, in the files that its server accepts."""

from collections.abc import Callable
from pathlib import Path

import torch
from jaxtyping import Float32
from numpy import ndarray
from torch.utils.data import Dataset

from rwtl.data.flow_benchmarks import KITTI
from rwtl.data.flow_sequences import Sintel
from rwtl.data.submissions import write_kitti, write_sintel
from rwtl.errors import InputError
from rwtl.models.raft import RAFT
from rwtl.progress import Progress
from rwtl.study.evaluation import EstimationConfig, estimates

Write = Callable[[int, Float32[ndarray, "2 h w"]], Path]


def writer_of(name: str, dataset: Dataset, folder: Path) -> Write:
    """Return what writes the flow of a pair, by its number; InputError where no benchmark takes such files."""
    match dataset:
        case Sintel():
            return lambda index, flow: write_sintel(
                folder, dataset.render, dataset.sequences[index], int(dataset.names[index][-4:]), flow
            )
        case KITTI():
            return lambda index, flow: write_kitti(folder, dataset.names[index], flow)
    raise InputError(f"there is no submission format for {name}; name data sets of MPI-Sintel or KITTI")


def write_submission(
    model: RAFT,
    datasets: dict[str, Dataset],
    config: EstimationConfig,
    folder: Path,
    device: torch.device,
    precision: str,
) -> int:
    """Write the flow of every pair below `folder` and return how many there are."""
    writers = {name: writer_of(name, dataset, folder) for name, dataset in datasets.items()}
    model.eval().to(device)
    progress = Progress("submission", sum(len(dataset) for dataset in datasets.values()), "pairs")
    written = 0
    for name, dataset in datasets.items():
        for index, _, estimate in estimates(model, dataset, config.iterations, config.warm_start, device, precision):
            writers[name](index, estimate.flow[0].float().cpu().numpy())
            written += 1
            progress(written)
    return written
