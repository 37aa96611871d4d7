"""Histograms of the displacements of procedural scenes, beside those of a folder of real pairs."""

import itertools
from pathlib import Path

import hydra
import pandas as pd
import torch
from omegaconf import DictConfig, OmegaConf

from rwtl.errors import InputError
from rwtl.flow.catalogue import flow_dataset
from rwtl.flow.displacements import Displacements, gathered, histogram_figure, histograms, summary
from rwtl.flow.layouts import FlyingChairs
from rwtl.progress import Progress
from rwtl.sweeps.app import experiment


def of_scenes(arguments: dict, count: int) -> Displacements:
    scenes = flow_dataset({"name": "procedural", "size": count, **arguments}, "procedural")
    flows = (scenes.flows([index]) for index in range(count))
    return gathered((flow, torch.ones_like(flow[:, 0])) for flow in flows)


def searched(cfg: DictConfig, sets: dict[str, Displacements]) -> dict:
    """The arguments, among all combinations of `search`, whose displacements are nearest to the real ones."""
    grid = OmegaConf.to_container(cfg.search)
    for key, values in grid.items():
        if not isinstance(values, list):
            raise InputError(f"search.{key} is {values!r}; give a list of values to try")
    tried = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    progress = Progress("search", len(tried), "combinations")
    rows = []
    for number, values in enumerate(tried, start=1):
        measured = summary(sets | {"procedural": of_scenes({**cfg.procedural, **values}, cfg.scenes)})
        rows.append(values | measured.iloc[-1].drop(["set", "pairs"]).to_dict())
        progress(number)
    table = pd.DataFrame(rows).sort_values("distance")
    print(table.head(10).to_string(index=False, float_format="{:.2f}".format))
    return tried[table.index[0]]


@hydra.main(version_base="1.3", config_path="../conf", config_name="displacements")
@experiment()
def main(cfg: DictConfig) -> None:
    sets, arguments = {}, dict(cfg.procedural)
    if cfg.folder is not None:
        if Path(cfg.folder).name == "procedural":
            raise InputError(f"folder {cfg.folder} has the name of the scenes that it is compared with; rename it")
        sets[Path(cfg.folder).name] = gathered((pair.flow, pair.valid) for pair in FlyingChairs(cfg.folder))
    if cfg.search:
        if not sets:
            raise InputError("search needs real pairs to come near to; set folder to a folder in FlyingChairs' layout")
        arguments |= searched(cfg, sets)
    sets["procedural"] = of_scenes(arguments, cfg.scenes)
    print(summary(sets).to_string(index=False, float_format="{:.2f}".format))
    output = Path(cfg.paths.outputs) / "displacements"
    output.mkdir(parents=True, exist_ok=True)
    histograms(sets).to_csv(output / "displacements.csv", index=False)
    histogram_figure(sets).savefig(output / "displacements.png", dpi=110)
    print(f"table: {output / 'displacements.csv'}\nfigure: {output / 'displacements.png'}")


if __name__ == "__main__":
    main()
