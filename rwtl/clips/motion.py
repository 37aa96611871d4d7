"""How far the fronts of waves move between two frames, beside the pixels of data sets of flow.

Clips of waves at an interval dt and a zoom move by v · dt · zoom px, where v is the local velocity of a front in
sites/s: so every dt is measured from one pass over a recording. It is the velocity normal to the front, and known on
fronts alone. Pixels that no front passes do not count, while in a data set of flow all known pixels do.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Annotated

import numpy as np
import pandas as pd
import torch

from rwtl.clips.config import stride_of, zoom_fraction
from rwtl.errors import InputError
from rwtl.flow.displacements import Displacements, distance, gathered
from rwtl.flow.sample import MAX_DISPLACEMENT, FlowDataset
from rwtl.flow.scenes.dataset import ProceduralFlow
from rwtl.random import evenly
from rwtl.sections import Count, EachOnce, Positive, section
from rwtl.waves.measure.statistics import WaveStatistics

Setting = tuple[float, float]  # dt in s, and zoom


@section("motion")
class MotionConfig:
    """What the motion of recordings is compared with, and for which clips.

    Args:
        datasets: names of the section `datasets`, at least one.
        pairs: at most so many pairs of each are measured, evenly spread.
        dt: frame intervals of clips, s, each a whole multiple of the recordings' frame interval.
        zoom: zooms of clips.
        drawn: at most so many dt are drawn, those nearest to the best one.
    """

    datasets: Annotated[list[str], EachOnce()]
    pairs: Count
    dt: Annotated[list[Positive], EachOnce()]
    zoom: Annotated[list[Positive], EachOnce()]
    drawn: Count

    def __post_init__(self):
        for zoom in self.zoom:
            zoom_fraction(zoom, "motion.zoom")

    @property
    def grid(self) -> list[Setting]:
        """Every dt with every zoom."""
        return [(dt, zoom) for dt in self.dt for zoom in self.zoom]

    def require_multiples(self, frame_interval: float, recording: str) -> None:
        """Refuse a dt that is no whole multiple of a recording's frame interval, in s."""
        for dt in self.dt:
            stride_of(dt, frame_interval, recording, "motion.dt has")


def wave_motion(recordings: Iterable[WaveStatistics], dt: float, zoom: float) -> Displacements:
    """Return how far the fronts of recordings move in dt (s), in px at a zoom; every onset of a known velocity counts.

    Displacements that RAFT's loss would leave out, of 400 px and more, do not count.

    Raises:
        InputError: No front of any recording has a known velocity.
    """
    fronts = [statistics.onsets[["velocity_x", "velocity_y"]].dropna().to_numpy() for statistics in recordings]
    moved = torch.from_numpy(np.concatenate(fronts).T[:, None]) * (dt * zoom)
    if not moved.numel():
        raise InputError(
            "no wave of the recordings has a front of known velocity; choose recordings with waves, or longer ones"
        )
    return gathered([(moved, (moved.norm(dim=0) < MAX_DISPLACEMENT).to(moved.dtype))])


def flow_motion(dataset: FlowDataset, pairs: int) -> Displacements:
    """Return the displacements of at most so many pairs of a data set of flow, evenly spread over it."""
    chosen = evenly(len(dataset), pairs)
    if isinstance(dataset, ProceduralFlow):  # without rendering what is not looked at
        return gathered((flow, torch.ones_like(flow[:, 0])) for flow in (dataset.flows([index]) for index in chosen))
    return gathered((sample.flow, sample.valid) for sample in (dataset[index] for index in chosen))


def directions_apart(first: Displacements, second: Displacements) -> float:
    """Return the percentage of pixels whose direction would have to change for both to have the same histogram."""
    shares = [each.directions / max(each.directions.sum(), 1.0) for each in (first, second)]
    return 50 * float(np.abs(shares[0] - shares[1]).sum())


def motion_table(waves: Mapping[Setting, Displacements], flows: Mapping[str, Displacements]) -> pd.DataFrame:
    """Compare the waves at every dt and zoom with every data set of flow.

    Returns:
        A row for each data set, dt and zoom, the nearest of each data set first: `dataset`, `dt` (s), `zoom`, of the
        waves' displacements `median`, `mean` and `p90` (px), `distance` (px) by which they would have to be lengthened
        or shortened in the mean to match, and `directions`, by how many % the directions differ.
    """
    rows = [
        {
            "dataset": name,
            "dt": dt,
            "zoom": zoom,
            "median": moved.quantile(0.5),
            "mean": moved.mean,
            "p90": moved.quantile(0.9),
            "distance": distance(moved, flow),
            "directions": directions_apart(moved, flow),
        }
        for name, flow in flows.items()
        for (dt, zoom), moved in waves.items()
    ]
    table = pd.DataFrame(rows)
    # What has the same dt · zoom has the same distance, up to rounding: the least zoom, without interpolation, first.
    order = table.assign(dataset=table.dataset.map(list(flows).index), distance=table.distance.round(6))
    return table.loc[order.sort_values(["dataset", "distance", "zoom"]).index].reset_index(drop=True)


def best_settings(table: pd.DataFrame) -> dict[str, Setting]:
    """Return the dt and the zoom that are nearest to each data set, of a `motion_table`."""
    return {row.dataset: (row.dt, row.zoom) for row in table.drop_duplicates("dataset").itertuples()}


def drawn_sets(
    waves: Mapping[Setting, Displacements], flows: Mapping[str, Displacements], best: Setting, most: int
) -> dict[str, Displacements]:
    """Name the sets for a figure: all data sets, and the waves at the best zoom, at the dt nearest to the best one."""
    best_dt, best_zoom = best
    at_zoom = sorted((dt for dt, zoom in waves if zoom == best_zoom), key=lambda dt: abs(math.log(dt / best_dt)))
    shown = {f"waves, dt {dt:g} s, zoom {best_zoom:g}": waves[dt, best_zoom] for dt in sorted(at_zoom[:most])}
    return dict(flows) | shown
