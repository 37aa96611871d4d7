"""Errors of a trained RAFT on pairs with known flow, and on the measured flow of wave fronts."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from rich.table import Table
from torch import Tensor

from rwtl.errors import InputError
from rwtl.flow.sample import FlowDataset, FlowSample
from rwtl.learning.metrics import METRICS, FlowMetrics, end_point_error, normal_error, pixels_of, require_known
from rwtl.learning.recipe import autocast
from rwtl.models.parts import carry_forward
from rwtl.models.raft import RAFT
from rwtl.models.tiling import in_tiles
from rwtl.progress import Progress, say
from rwtl.sections import Count, EachOnce, Unfit, section
from rwtl.terminal import show

FRONT_METRICS = ("epe", "normal", "no_motion", "mean_speed")
HEADINGS = {"epe": "EPE px", "1px": "< 1 px %", "3px": "< 3 px %", "5px": "< 5 px %", "fl_all": "Fl-all %"}
HEADINGS |= {"s0_10": "s0-10", "s10_40": "s10-40", "s40": "s40+"}
LISTED_PAIRS = 12


@section("evaluation")
class EstimationConfig:
    """On what, and how, a trained RAFT estimates flow: to be evaluated, or to be submitted to a benchmark.

    Args:
        datasets: names of the section `datasets`, at least one.
        iterations: recurrent iterations of RAFT; None means as many as it was trained with.
        warm_start: whether each pair of a sequence begins with the flow of the one before (RAFT, section 4.3), in the
            data sets that have sequences.
        tile: height and width of tiles, px, that are estimated one by one and blended: such as the frames of training,
            where those of the data sets are larger; None for whole frames.
    """

    datasets: Annotated[list[str], EachOnce()]
    iterations: Count | None
    warm_start: bool
    tile: list[Count] | None = None

    def __post_init__(self) -> None:
        if self.tile is not None and len(self.tile) != 2:
            raise Unfit(f"tile is {self.tile}; give height and width, such as [96,128], or null for whole frames")
        if self.tile is not None and self.warm_start:
            raise Unfit("warm_start is true, which needs whole frames; set tile to null")

    def identity(self) -> dict[str, Any]:
        """Return the values that determine the estimates."""
        values = asdict(self)
        if self.tile is None:  # results from before there was a choice stay what they are
            del values["tile"]
        return values


@torch.no_grad()
def estimates(
    model: RAFT,
    dataset: FlowDataset,
    iterations: int | None,
    warm_start: bool,
    device: torch.device,
    precision: str,
    tile: Sequence[int] | None = None,
) -> Iterator[tuple[int, FlowSample, Float[Tensor, "1 2 h w"]]]:
    """Yield the number of every pair, its sample (CPU) and its flow (`device`, px), of frames padded as officially.

    The model is put to `device` and in eval mode. Tiles overlap by a quarter of their shorter side.
    """
    model.eval().to(device)
    sequences = dataset.sequences if warm_start else None
    initial = None
    for index in range(len(dataset)):
        sample = dataset[index]
        images = (sample.image1[None].to(device), sample.image2[None].to(device))
        if sequences is not None and index > 0 and sequences[index] != sequences[index - 1]:
            initial = None
        try:
            with autocast(device, precision):
                if tile is None:
                    estimate = model.estimate(*images, iterations, initial, dataset.padding)
                    flow = estimate.flow
                else:
                    flow = _tiled(model, *images, iterations, tile)
        except InputError as error:
            raise InputError(f"{type(dataset).__name__}, {dataset.names[index]}: {error}") from error
        if sequences is not None:
            initial = carry_forward(estimate.coarse)
        yield index, sample, flow


def _tiled(
    model: RAFT, image1: Tensor, image2: Tensor, iterations: int | None, tile: Sequence[int]
) -> Float[Tensor, "b 2 h w"]:
    height, width = tile
    overlap = min(height, width) // 4
    return in_tiles(lambda *images: model.estimate(*images, iterations).flow, image1, image2, (height, width), overlap)


def evaluate(
    model: RAFT,
    datasets: FlowDataset | Mapping[str, FlowDataset],
    iterations: int | None = None,
    warm_start: bool = False,
    label: str = "evaluate",
    device: torch.device | str = "cpu",
    precision: str = "32-true",
    tile: Sequence[int] | None = None,
) -> pd.DataFrame:
    """Return errors, one row for each pair: `dataset`, `pair`, numbers of valid pixels, METRICS and `no_motion`.

    `epe` is the end-point error in px, the mean over a pair's valid pixels, and `no_motion` that of predicting no
    motion. `rwtl.learning.evaluation.pooled` gives them over all valid pixels of each data set, as they are published.

    Args:
        model: RAFT; put to `device` and in eval mode.
        datasets: with flow; several by name.
        iterations: recurrent iterations; None means those of the model.
        warm_start: whether each pair of a sequence begins with the flow of the one before.
        label: names the work where progress is printed.
        device: where the flow is estimated.
        precision: `32-true`, `bf16-mixed` or `16-mixed`.
        tile: height and width of tiles, px, that are estimated one by one; None for whole frames.

    Raises:
        InputError: A data set holds no flow or none that is known, or a pair is damaged.

    >>> errors = rwtl.evaluate(raft, scenes, iterations=2)
    >>> errors[["dataset", "pair"]].values.tolist(), bool((errors.epe > 0).all())
    ([['ProceduralFlow', 'scene 0'], ['ProceduralFlow', 'scene 1']], True)
    """
    if isinstance(datasets, FlowDataset):
        datasets = {type(datasets).__name__: datasets}
    if not isinstance(datasets, Mapping):
        raise InputError(
            f"datasets is a {type(datasets).__name__}; it must be a data set, or several by name, in a dict"
        )
    for name, dataset in datasets.items():
        if not dataset.has_flow:
            raise InputError(f"{name} holds no flow to compare with: it is a test split")
    device = torch.device(device)
    progress = Progress(label, sum(len(dataset) for dataset in datasets.values()), "pairs")
    rows = []
    for name, dataset in datasets.items():
        for index, sample, flow in estimates(model, dataset, iterations, warm_start, device, precision, tile):
            metrics = FlowMetrics()
            metrics.update(flow.float().cpu(), sample.flow[None], sample.valid[None])
            errors = {metric: float(value) for metric, value in metrics.compute().items()}
            errors["no_motion"] = float(sample.flow.norm(dim=0)[sample.valid >= 0.5].mean())
            rows.append({"dataset": name, "pair": dataset.names[index], **errors})
            progress(len(rows))
        require_known(name, int(sum(row["pixels"] for row in rows if row["dataset"] == name)))
    return pd.DataFrame(rows)


def not_finite(errors: pd.DataFrame) -> dict[str, list[str]]:
    """Return by data set the pairs whose estimate is not finite at some valid pixel, where there are any."""
    bad = errors[(errors.pixels > 0) & ~np.isfinite(errors.epe)]
    return {dataset: list(pairs.pair) for dataset, pairs in bad.groupby("dataset", sort=False)}


def pooled(errors: pd.DataFrame) -> pd.DataFrame:
    """Return the errors over all valid pixels of each data set, with the number of pairs and the mean of their EPEs.

    Published EPEs of KITTI are that mean, `epe_of_pairs`; all other published figures are over all pixels.
    """
    lines = []
    for dataset, of_dataset in errors.groupby("dataset", sort=False):
        line = {"dataset": dataset, "pairs": len(of_dataset)}
        for column in (*METRICS, "no_motion"):
            counted = of_dataset[of_dataset[pixels_of(column)] > 0]
            weights = counted[pixels_of(column)]
            # Weighted by hand: a mean that skipped what is not a number would flatter a model that diverged.
            total = (counted[column] * weights).sum(skipna=False)
            line[column] = total / weights.sum() if len(counted) else float("nan")
        line["epe_of_pairs"] = of_dataset[of_dataset.pixels > 0].epe.mean(skipna=False)
        lines.append(line)
    return pd.DataFrame(lines)


def front_errors(model: RAFT, data: FlowDataset, device: torch.device, precision: str) -> pd.DataFrame:
    """Return one row for each pair with its number of valid pixels and, in px, the means over them of FRONT_METRICS.

    `epe` is the end-point error; `normal` that of the component along the true flow alone, all that is known of a
    front; `no_motion` the end-point error of predicting no motion; `mean_speed` that of the true direction with the
    mean length over all pairs: what is left to somebody who knows where fronts go and not how fast.
    """
    samples = [data[index] for index in range(len(data))]
    lengths = torch.cat([sample.flow.norm(dim=0)[sample.valid >= 0.5] for sample in samples])
    rows = []
    for index, sample, estimate in estimates(model, data, None, False, device, precision):
        valid = sample.valid >= 0.5
        predicted, flow = estimate.float().cpu(), sample.flow[None]
        length = flow.norm(dim=1)
        of_mean_speed = (length - lengths.mean()).abs()
        errors = (end_point_error(predicted, flow), normal_error(predicted, flow), length, of_mean_speed)
        means = [float(error[0][valid].mean()) for error in errors]
        pair = {"pair": data.names[index], "pixels": int(valid.sum())}
        rows.append(pair | dict(zip(FRONT_METRICS, means, strict=True)))
    return pd.DataFrame(rows)


def over_all(errors: pd.DataFrame) -> pd.Series:
    """Return the means over the pixels of all pairs."""
    counted = errors[errors.pixels > 0]  # of others the means are no numbers
    return counted[list(FRONT_METRICS)].mul(counted.pixels, axis=0).sum(skipna=False) / counted.pixels.sum()


def print_evaluation(errors: pd.DataFrame) -> None:
    """Print the errors of every data set as a whole, and of every pair where they are few.

    `-` stands for an error over no pixels, `nan` or `inf` for one of an estimate that is not finite; the pairs that
    have such an estimate are named.
    """
    columns = [*METRICS, "no_motion"]
    table = Table("data set", "pair", *HEADINGS.values(), "no motion px", "pairs' EPE px")
    for dataset, pairs in errors.groupby("dataset", sort=False):
        if len(pairs) <= LISTED_PAIRS:
            for _, row in pairs.iterrows():
                table.add_row(dataset, row.pair, *(_cell(row, column, row) for column in columns))
    for _, row in pooled(errors).iterrows():
        pixels = errors[errors.dataset == row.dataset][list(dict.fromkeys(map(pixels_of, columns)))].sum()
        numbers = [_cell(row, column, pixels) for column in (*columns, "epe_of_pairs")]
        table.add_row(row.dataset, f"all {row.pairs}", *numbers, style="bold")
    show(table, ("s40+", "s10-40", "s0-10", "pairs' EPE px", "Fl-all %", "< 5 px %"), "errors.csv")
    for dataset, pairs in not_finite(errors).items():
        say(f"warning: on {dataset} the estimate is not finite, and so no estimate, for {shortened(pairs)}")


def _cell(errors: pd.Series, column: str, pixels: pd.Series) -> str:
    return f"{errors[column]:.2f}" if pixels[pixels_of(column)] else "-"


def shortened(names: Sequence[str]) -> str:
    """Return names as a list, and how many more there are."""
    more = f" and {len(names) - LISTED_PAIRS} more" if len(names) > LISTED_PAIRS else ""
    return ", ".join(names[:LISTED_PAIRS]) + more
