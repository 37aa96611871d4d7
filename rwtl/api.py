"""Functions of the public API that put several packages together: to be used as `rwtl.simulate` and so on."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

from torch import nn

from rwtl.comparing.comparison import ComparisonArtifact, of_found
from rwtl.comparing.runs import Run
from rwtl.composition import compose, presets
from rwtl.errors import InputError
from rwtl.learning.transfer.callback import Transfer
from rwtl.learning.transfer.config import Loadable, TransferConfig
from rwtl.learning.transfer.report import TransferReport
from rwtl.pipeline.artifact import A, Artifact, build
from rwtl.pipeline.evaluation import EvaluationArtifact
from rwtl.pipeline.pretraining import PretrainingArtifact, TrainedArtifact
from rwtl.pipeline.recording import RecordingArtifact
from rwtl.pipeline.source import load_source
from rwtl.progress import Progress
from rwtl.sweeps.scheduler import SUCCEEDED
from rwtl.sweeps.sweep import made_of
from rwtl.sweeps.view import print_outcomes
from rwtl.waves import simulation
from rwtl.waves.config import RecordingConfig
from rwtl.waves.engines import engine_of
from rwtl.waves.simulation import Engine
from rwtl.waves.store import Recording, open_recording

ARTIFACTS: dict[str, type[Artifact]] = {
    "recording": RecordingArtifact,
    "pretraining": PretrainingArtifact,
    "training": TrainedArtifact,
    "evaluation": EvaluationArtifact,
    "comparison": ComparisonArtifact,
}


def open_artifact(folder: str | Path) -> Artifact:
    """Return the finished artifact in a folder `outputs/<stage>/<digest>`, with what its stage has: `curve`,
    `load_model()`, `errors`, `report` and so on.

    Raises:
        InputError: There is none, or it is not complete.

    >>> rwtl.open_artifact(run.path).curve.columns.tolist()[:2]
    ['step', 'epe']
    """
    folder = Path(folder)
    kind = folder.parent.name
    if kind not in ARTIFACTS:
        raise InputError(f"{folder} is no folder of an artifact; give one such as outputs/training/<digest>")
    artifact = ARTIFACTS[kind].at(folder)
    artifact.file("")
    return artifact


def build_all(artifacts: Iterable[A], executor: str = "processes", **settings: Any) -> list[A]:
    """Return artifacts, finished: each, and what several of them need, is made once, by several processes or a cluster.

    A failure stops nothing that does not depend on it; Ctrl-C keeps what is finished.

    Args:
        artifacts: plans, as `training` and the others return them.
        executor: `inline`, `processes` or `slurm`.
        settings: keys of the section `executor`, such as `jobs=4`.

    Raises:
        InputError: There is no such executor or setting, or some could not be made; the others are kept.

    >>> cfgs = [rwtl.compose("train", f"transfer={name}", "debug=tiny") for name in ("scratch", "freeze_encoder")]
    >>> runs = rwtl.build_all(map(rwtl.training, cfgs), jobs=2)
    >>> [run.state() for run in runs]
    ['complete', 'complete']
    """
    listed = list(artifacts)
    if not listed:
        return []
    outputs = listed[0].outputs
    cfg = compose("simulate", f"executor={executor}", outputs=outputs, executor=settings)
    outcomes = made_of(listed, cfg, "build_all")
    print_outcomes("build_all", outcomes.values())
    failed = [each for each in outcomes.values() if each.state not in SUCCEEDED]
    if failed:
        said = "; ".join(f"{each.artifact.label}: {each.reason}" for each in failed)
        raise InputError(f"{len(failed)} of {len(outcomes)} could not be made. {said}")
    return [replace(each, reused=outcomes[each.path].state == "reused") for each in listed]


def simulate(
    config: RecordingConfig, path: str | Path, engine: str | Engine = "cpp", progress: bool = True
) -> Recording:
    """Simulate retinal waves, and return their recording, open.

    A simulation that was interrupted is gone on with, to the same bits; one that is complete is opened.

    Args:
        config: what to simulate.
        path: of the recording, a Zarr group.
        engine: a preset of the group `engine`: `cpp`, `cuda`, `cython` or `numpy`; or an engine of your own.
        progress: whether to print it.

    Raises:
        InputError: At `path` is another recording or something else, the disk is too small, or a tool is lacking.

    >>> config = rwtl.RecordingConfig(rows=24, columns=24, duration=6, transient=1)
    >>> recording = rwtl.simulate(config, "waves.zarr")
    >>> recording.frames(0, 10).shape  # calcium, nM
    (10, 24, 24)
    """
    path = Path(path)
    if path.exists():
        before = open_recording(path)
        if before.complete and before.config == asdict(config):
            return before
    runs = _engine(engine) if isinstance(engine, str) else engine
    say = Progress("simulate", config.duration, "s of model time", rate=" × real time") if progress else None
    simulation.simulate(config, runs, path, say)
    return open_recording(path)


def _engine(name: str) -> Engine:
    engines = presets("engine")
    if name not in engines:
        raise InputError(f"engine is {name!r}; choose one of {', '.join(engines)}")
    return engine_of(engines[name])


def transfer(
    model: nn.Module,
    source: str | Path | Artifact,
    load: Loadable | Iterable[Loadable] = ("feature_encoder",),
    freeze: Literal["encoder", "batchnorm", "encoder_batchnorm"] | None = None,
    shuffle_weights: bool = False,
    seed: int = 0,
) -> TransferReport:
    """Load parts of a trained model into another, freeze some of it, and return a report of what was done.

    What is frozen asks for no gradient, and frozen BatchNorm layers are in eval mode: call `eval()` again on those that
    the report names as `batchnorm_in_eval`, where a training of your own calls `train()`. One that rwtl makes does all
    this by itself (`transfer=freeze_encoder`).

    Args:
        model: RAFT or a next-frame model; changed in place.
        source: an artifact or its folder, or any file of weights that `load_raft` reads.
        load: of `feature_encoder`, `context_encoder`, `update_block`.
        freeze: of the loaded encoders: all but BatchNorm, BatchNorm alone, or both; None freezes nothing.
        shuffle_weights: whether each tensor's values are permuted within it, as a control.
        seed: of that permutation.

    Raises:
        InputError: The models differ in what is loaded, a part is lacking, or nothing would be frozen.

    >>> report = rwtl.transfer(raft, source=source.path, load=["feature_encoder"], freeze="encoder")
    >>> print(report)
    149 tensors loaded, 24 of the source left out, 44 frozen, 0 BatchNorm layers in eval
    """
    strategies = (None, "encoder", "batchnorm", "encoder_batchnorm")
    if freeze not in strategies:
        raise InputError(f"freeze is {freeze!r}; choose one of {', '.join(map(str, strategies))}")
    path = source.path if isinstance(source, Artifact) else Path(source)
    config = TransferConfig(
        name=f"from {path}",
        source=str(path),
        load=[load] if isinstance(load, str) else list(load),
        shuffle_weights=shuffle_weights,
        freeze_encoder_weights=freeze in ("encoder", "encoder_batchnorm"),
        freeze_batchnorm=freeze in ("batchnorm", "encoder_batchnorm"),
        unfreeze_at=None,
        unfreeze_every=0,
        loaded_learning_rate=1.0,
    )
    report = Transfer(model, config, load_source(path), seed=seed).report
    for layer in report.batchnorm_in_eval:
        model.get_submodule(layer).eval()
    return report


def compare(
    runs: Sequence[Run],
    rows: str | Sequence[str] = "transfer",
    columns: str | None = None,
    baseline: str | None = None,
    outputs: str | Path | None = None,
    **analysis: Any,
) -> ComparisonArtifact:
    """Compare finished runs over seeds, and return the comparison, made: `summary`, `table`, `curves` and `report`.

    Args:
        runs: of `find_runs`, or some of them.
        rows: keys or sections of the configuration by whose values the rows are told apart; they are all that runs may
            differ in, beside columns, fraction of the data and seed.
        columns: such a key for the columns.
        baseline: the row that the others are compared with; None for `scratch`.
        outputs: the folder of all artifacts; None for that of the runs, or `outputs` where only W&B tells of them.
        analysis: keys of the section `analysis`, such as `thresholds=[5, 3]`.

    Raises:
        InputError: Runs differ in anything else, there is no such key or baseline, or there are no runs.

    >>> compared = rwtl.compare(runs, rows="transfer", baseline="scratch")
    >>> sorted(compared.summary.row.unique()), compared.report.name
    (['freeze_encoder', 'scratch'], 'report.html')
    """
    if not runs:
        raise InputError("there are no runs to compare; find some with rwtl.find_runs")
    folders = [run.folder for run in runs if run.folder is not None]
    outputs = outputs or (folders[0].parents[1] if folders else "outputs")
    listed = [str(run.folder or run.id) for run in runs]
    axes = {"rows": [rows] if isinstance(rows, str) else list(rows), "columns": columns, "baseline": baseline}
    cfg = compose("compare", outputs=outputs, runs=listed, **axes, analysis=analysis)
    return build(of_found(cfg, runs))
