"""The report's interactive figures, as Plotly draws them."""

from collections.abc import Iterable
from itertools import cycle
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.colors import qualitative

from rwtl.comparing.analysis import Comparison
from rwtl.comparing.measures import Cell, steps_to_reach
from rwtl.comparing.statistics import interval_of_mean, median_until
from rwtl.comparing.tables import UNITS

DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
THRESHOLDS = 40  # points of the curve of steps over thresholds


def styles(cells: Iterable[Cell]) -> dict[Cell, dict[str, Any]]:
    """Return how each cell's line is drawn: a colour for each row, a dash for each column."""
    rows = dict.fromkeys(cell.row for cell in cells)
    columns = dict.fromkeys(cell.column for cell in cells if cell.column is not None)
    palette = qualitative.Plotly if len(rows) <= 10 else qualitative.Dark24
    colours = dict(zip(rows, cycle(palette), strict=False))
    dashes = {None: "solid", **dict(zip(columns, cycle(DASHES), strict=False))}
    return {cell: {"color": colours[cell.row], "dash": dashes[cell.column], "width": 2} for cell in cells}


def learning_curves(compared: Comparison) -> go.Figure:
    """Validation over steps with all the data: the mean over seeds as a line, its interval as a band."""
    metric, config = compared.config.metric, compared.config
    style = styles(compared.firsts)
    figure = go.Figure()
    shown = []
    for cell in compared.firsts:
        runs = compared.runs_of(cell)
        wide = pd.concat([run.curve.set_index("step")[metric] for run in runs], axis=1).dropna()
        if wide.empty:
            continue
        steps, mean = wide.index.to_numpy(), wide.mean(axis=1).to_numpy()
        shown.append(mean[steps > 0] if (steps > 0).any() else mean)
        low, high = interval_of_mean(wide.to_numpy(dtype=float), config.confidence)
        if np.isnan(low).any():  # of few seeds, their range
            low, high = wide.min(axis=1).to_numpy(), wide.max(axis=1).to_numpy()
        group = {"legendgroup": cell.name, "hoverinfo": "skip", "showlegend": False}
        band = {"x": np.concatenate([steps, steps[::-1]]), "y": np.concatenate([high, low[::-1]])}
        looks = {
            "fill": "toself",
            "fillcolor": style[cell]["color"],
            "opacity": 0.08,
            "line": {"width": 0},
            "mode": "lines",
        }
        figure.add_scatter(**band, **looks, **group)
        figure.add_scatter(
            x=steps,
            y=mean,
            name=cell.name,
            legendgroup=cell.name,
            mode="lines+markers",
            marker={"size": 4},
            line=style[cell],
            hovertemplate=f"{cell.name}<br>step %{{x}}: %{{y:.3f}}<extra></extra>",
        )
    for limit in compared.thresholds:
        figure.add_hline(y=limit.value, line={"color": "#666", "width": 1, "dash": "dot"})
    values = np.concatenate(shown)
    values = values[np.isfinite(values)]
    if len(values):  # the first steps may be off by a multiple of what follows; the axis shows what is compared
        figure.update_yaxes(range=[0.9 * float(values.min()), 1.05 * float(values.max())])
    return _laid_out(figure, "training steps", f"validation {UNITS[metric]}")


def steps_over_thresholds(compared: Comparison) -> go.Figure:
    """How many steps it takes to come to each value on validation: the median over seeds."""
    config, metric = compared.config, compared.config.metric
    style = styles(compared.firsts)
    runs = {cell: compared.runs_of(cell) for cell in compared.firsts}
    values = np.concatenate([run.curve[run.curve.step > 0][metric] for of_cell in runs.values() for run in of_cell])
    values = values[np.isfinite(values)]
    figure = go.Figure()
    limits = np.linspace(values.min(), values.max(), THRESHOLDS) if len(values) else []
    for cell, of_cell in runs.items():
        points = []
        for limit in limits:
            steps, came = zip(*(steps_to_reach(run.curve, float(limit), config) for run in of_cell), strict=True)
            points.append(median_until(np.array(steps), np.array(came)))
        figure.add_scatter(
            x=limits,
            y=points,
            name=cell.name,
            mode="lines",
            line=style[cell] | {"shape": "hv"},
            hovertemplate=f"{cell.name}<br>%{{x:.2f}}: %{{y}} steps<extra></extra>",
        )
    return _laid_out(figure, f"validation {UNITS[metric]} to be reached", "steps (median over seeds)")


def data_efficiency(compared: Comparison, dataset: str) -> go.Figure | None:
    """The error over the part of the training data, on one data set; None where there is one part only."""
    style = styles(compared.all_cells)
    figure = go.Figure()
    for _, lines in compared.evaluated(dataset).groupby(["row", "column"], sort=False, dropna=False):
        if len(lines) < 2:
            continue
        ordered = lines.sort_values("fraction")
        cell = Cell.of(ordered.iloc[-1])
        low, high = (ordered["mean"] - ordered.low).fillna(0), (ordered.high - ordered["mean"]).fillna(0)
        figure.add_scatter(
            x=100 * ordered.fraction,
            y=ordered["mean"],
            name=cell.name,
            error_y={"type": "data", "symmetric": False, "array": high, "arrayminus": low, "thickness": 1},
            mode="lines+markers",
            line=style[cell],
        )
    if not figure.data:
        return None
    parts = [100 * part for part in sorted({cell.fraction for cell in compared.all_cells})]
    figure.update_xaxes(type="log", tickvals=parts, ticktext=[f"{part:g} %" for part in parts])
    return _laid_out(figure, "part of the training data", UNITS[compared.config.metric])


def differences(compared: Comparison, dataset: str) -> go.Figure | None:
    """Differences from the baseline on one data set with their intervals, full where significant; None without any."""
    own = compared.evaluated(dataset).query("pairs > 0 and fraction == @compared.most")
    if own.empty:
        return None
    style = styles(compared.all_cells)
    figure = go.Figure()
    for line in own[::-1].itertuples():
        cell = Cell.of(line)
        bounds = [line.difference_low, line.difference_high]
        low, high = (0, 0) if pd.isna(bounds[0]) else (line.difference - bounds[0], bounds[1] - line.difference)
        said = f"p {line.p_corrected:.3f}, corrected" if not pd.isna(line.p_corrected) else "no test"
        figure.add_scatter(
            x=[line.difference],
            y=[cell.name],
            error_x={"type": "data", "symmetric": False, "array": [high], "arrayminus": [low], "thickness": 1.5},
            mode="markers",
            marker={
                "size": 10,
                "color": style[cell]["color"],
                "symbol": "circle" if line.significant else "circle-open",
            },
            hovertemplate=f"{cell.name}: %{{x:+.3f}}, {said}<extra></extra>",
            showlegend=False,
        )
    figure.add_vline(x=0, line={"color": "#666", "width": 1})
    return _laid_out(figure, f"difference in {UNITS[compared.config.metric]}", "", height=110 + 30 * len(own))


def heat_map(compared: Comparison, dataset: str) -> go.Figure | None:
    """Relative differences from the baseline by row and column on one data set; None without two columns."""
    own = compared.evaluated(dataset).query("pairs > 0 and fraction == @compared.most and column.notna()")
    if own.column.nunique() < 2:
        return None
    wide = own.pivot_table(index="row", columns="column", values="relative", sort=False)
    said = {
        (line.row, line.column): f"{100 * line.relative:+.1f} %{' *' if line.significant else ''}"
        for line in own[own.relative.notna()].itertuples()
    }
    texts = [[said.get((row, column), "") for column in wide.columns] for row in wide.index]
    largest = float(np.nanmax(np.abs(wide.to_numpy()))) or 1.0
    figure = go.Figure(
        go.Heatmap(
            z=100 * wide.to_numpy(),
            x=list(wide.columns),
            y=list(wide.index),
            text=texts,
            texttemplate="%{text}",
            colorscale="RdBu_r" if compared.config.lower_is_better else "RdBu",
            zmin=-100 * largest,
            zmax=100 * largest,
            colorbar={"title": {"text": "%"}, "thickness": 12},
            hovertemplate="%{y}, %{x}: %{text}<extra></extra>",
        )
    )
    figure.update_yaxes(autorange="reversed")
    return _laid_out(figure, "", "", height=140 + 55 * len(wide), margin=dict.fromkeys("lrtb", 10))


def _laid_out(figure: go.Figure, x: str, y: str, height: float = 430, margin: dict | None = None) -> go.Figure:
    figure.update_layout(
        template="plotly_white",
        height=height,  # px
        margin=margin or {"l": 60, "r": 15, "t": 15, "b": 45},
        xaxis_title=x,
        yaxis_title=y,
        legend={"orientation": "h", "yanchor": "top", "y": -0.18, "x": 0},
        font={"size": 13},
        hovermode="closest",
    )
    figure.update_xaxes(automargin=True)
    figure.update_yaxes(automargin=True)
    return figure
