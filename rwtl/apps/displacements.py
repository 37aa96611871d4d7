"""Histograms of the displacements of procedural scenes, beside those of a folder of real pairs.

# A quick look at the scenes.
rwtl displacements scenes=20
# Beside real pairs.
rwtl displacements folder=/data/some_pairs
# Which of these values bring the scenes nearest to them?
rwtl displacements folder=/data/some_pairs 'search={tail:[2,4],shapes:[8,12]}'
"""

from omegaconf import DictConfig, OmegaConf

from rwtl.config import path_of, tables_folder
from rwtl.errors import InputError
from rwtl.sweeps.app import program


@program("displacements")
def main(cfg: DictConfig) -> None:
    from rwtl.flow.displacement_search import of_scenes, searched
    from rwtl.flow.displacements import gathered, histogram_figure, histograms, summary
    from rwtl.flow.layouts import FlyingChairs
    from rwtl.sections import typed
    from rwtl.terminal import show_frame

    output = tables_folder(cfg, "displacements")
    sets, arguments = {}, dict(cfg.procedural)
    if cfg.folder is not None:
        folder = path_of(cfg, "folder")
        if folder.name == "procedural":
            raise InputError(f"folder {folder} has the name of the scenes that it is compared with; rename it")
        pairs = typed(FlyingChairs, {"root": folder}, "displacements", {"root": "folder"})
        sets[folder.name] = gathered((pair.flow, pair.valid) for pair in pairs)
    if cfg.search:
        if not sets:
            raise InputError("search needs real pairs to come near to; set folder to a folder in FlyingChairs' layout")
        arguments |= searched(OmegaConf.to_container(cfg.search), arguments, cfg.scenes, sets)
    sets["procedural"] = of_scenes(arguments, cfg.scenes)
    show_frame(summary(sets), ".2f", where="displacements.csv")
    histograms(sets).to_csv(output / "displacements.csv", index=False)
    histogram_figure(sets).savefig(output / "displacements.png", dpi=110)
    print(f"table: {output / 'displacements.csv'}\nfigure: {output / 'displacements.png'}")
