"""Displacements and directions of recordings at several dt and zooms, beside those of data sets of optical flow.

# In seconds: fronts of known speed, made by formula.
rwtl motion_statistics recording=fronts
# Spirals, at intervals of your own.
rwtl motion_statistics recording=spirals 'motion.dt=[1,2,3]'
# Beside Sintel's motion.
rwtl motion_statistics 'motion.datasets=[sintel_clean]' paths.sintel=/data/Sintel
"""

from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from rwtl import files
from rwtl.config import setting, tables_folder
from rwtl.errors import InputError
from rwtl.sweeps.app import program

if TYPE_CHECKING:
    import pandas as pd

    from rwtl.waves.measure.statistics import WaveStatistics

ABOUT = """\
Waves: the normal component of the motion, at fronts only, v · dt · zoom by the local velocity v at every onset; pixels
that no front passes are not counted. Data sets of flow: the motion of every known pixel. distance: px by which the
waves' displacements would have to change in the mean to match. directions: % of pixels that would have to turn, before
the rotations and flips of training."""


@program("motion_statistics")
def main(cfg: DictConfig) -> None:
    from rwtl.clips.motion import MotionConfig, best_settings, drawn_sets, flow_motion, motion_table, wave_motion
    from rwtl.flow.catalogue import catalogue, open_with_flow
    from rwtl.flow.displacements import summary
    from rwtl.overrides import pasted
    from rwtl.pipeline.recording import recording_configs, recordings
    from rwtl.sections import typed
    from rwtl.sweeps.sweep import made_of
    from rwtl.terminal import show_frame, tell
    from rwtl.waves.measure.statistics import wave_statistics
    from rwtl.waves.store import open_recording

    config = typed(MotionConfig, setting(cfg, "motion"), "motion")
    for number, recorded in enumerate(recording_configs(cfg)):
        config.require_multiples(recorded.frame_interval, f"recording {number}")
    entries = catalogue(cfg, config.datasets)
    datasets = {name: open_with_flow(name, entries) for name in config.datasets}

    planned = recordings(cfg)
    if not made_of(planned, cfg, "motion_statistics").succeeded():
        raise InputError("without all recordings there is nothing to compare; see above")
    measured = [wave_statistics(open_recording(each.path / files.RECORDING)) for each in planned]
    flows = {name: flow_motion(dataset, config.pairs) for name, dataset in datasets.items()}
    waves = {(dt, zoom): wave_motion(measured, dt, zoom) for dt, zoom in config.grid}
    table = motion_table(waves, flows)

    show_frame(_speeds(measured), ".2f")
    show_frame(summary(flows).drop(columns="distance"), ".2f")
    show_frame(table, ".2f", where="motion.csv")
    tell(ABOUT)
    best = best_settings(table)
    for name, (dt, zoom) in best.items():
        away = table[table.dataset == name].distance.min()
        print(
            f"nearest to {name} on this grid: {pasted({'clips.dt': dt, 'clips.zoom': zoom})}, {away:.2f} px away "
            f"(and whatever else has dt · zoom = {dt * zoom:g} s)"
        )
    _write(
        tables_folder(cfg, "motion_statistics"),
        table,
        drawn_sets(waves, flows, best[config.datasets[0]], config.drawn),
    )


def _speeds(measured: "list[WaveStatistics]") -> "pd.DataFrame":
    import pandas as pd

    rows = [(each.recording.path.parent.name, len(each.speeds), *each.quartiles_of(each.speeds)) for each in measured]
    return pd.DataFrame(rows, columns=["recording", "fronts", "lower quartile", "sites/s", "upper quartile"])


def _write(folder: Path, table: "pd.DataFrame", sets: dict) -> None:
    from rwtl.flow.displacements import histogram_figure, histograms

    files = {name: folder / name for name in ("motion.csv", "histograms.csv", "motion.png")}
    table.to_csv(files["motion.csv"], index=False)
    histograms(sets).to_csv(files["histograms.csv"], index=False)
    histogram_figure(sets).savefig(files["motion.png"], dpi=110)
    print(
        f"table:      {files['motion.csv']}\nhistograms: {files['histograms.csv']}\nfigure:     {files['motion.png']}"
    )
