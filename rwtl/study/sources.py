"""The pre-trainings that a comparison's rows load: each is made once, with its recordings, before any training."""

from omegaconf import DictConfig

from rwtl.errors import InputError
from rwtl.study import recordings, stages
from rwtl.study.artifact import Artifact
from rwtl.study.rows import SOURCE, RunConfigs, needs_pretraining
from rwtl.study.runs import Source, make_side_by_side, with_threads


def groups_of(configs: RunConfigs) -> dict[str, list[tuple[str, int]]]:
    """Return, by name, the rows and seeds of each distinct pre-training that the runs load.

    The name lists the rows, with their seeds where those do not share the pre-training.
    """
    groups: list[tuple[dict, list[tuple[str, int]]]] = []
    for run, cfg in configs.items():
        if not needs_pretraining(cfg):
            continue
        made_from = {section: recordings.setting(cfg, section) for section in (*SOURCE, "model")}
        same = [members for values, members in groups if values == made_from]
        if same:
            same[0].append(run)
        else:
            groups.append((made_from, [run]))
    return {_name(members, configs): members for _, members in groups}


def _name(members: list[tuple[str, int]], configs: RunConfigs) -> str:
    rows = {row: [seed for other, seed in members if other == row] for row, _ in members}
    whole = all(len(seeds) == sum(row == other for other, _ in configs) for row, seeds in rows.items())
    seeds = sorted({seed for _, seed in members})
    return ", ".join(rows) + ("" if whole else f" (seed {', '.join(map(str, seeds))})")


def make_sources(
    configs: RunConfigs, jobs: int, threads: int
) -> tuple[list[Source], dict[str, Exception], set[tuple[str, int]]]:
    """Make what is missing; return the sources, failures by name, and the runs whose source failed.

    Recordings are made one after the other, each on all threads; then pre-trainings side by side, which share them.
    """
    groups = groups_of(configs)
    waves: dict[str, tuple[Artifact, ...]] = {}
    failures: dict[str, Exception] = {}
    for name, members in groups.items():
        try:
            waves[name] = _recordings(configs[members[0]])
        except InputError as error:
            print(f"  recording for {name}, failed: {error}", flush=True)
            failures[name] = error
    first = {name: groups[name][0] for name in waves}
    tasks = {name: (with_threads(configs[run], threads, min(jobs, len(waves))), run[0]) for name, run in first.items()}
    made, failed = make_side_by_side("pre-training", stages.pretraining, tasks, jobs)
    failures |= failed
    sources = [Source(name, artifact, waves[name]) for name, artifact in made.items()]
    for source in sources:
        print(f"  {source.name}: {stages.against_baselines(source.pretraining)}", flush=True)
    lost = {run for name in failures for run in groups[name]}
    return sources, {f"pre-training of {name}": error for name, error in failures.items()}, lost


def _recordings(cfg: DictConfig) -> tuple[Artifact, ...]:
    if recordings.setting(cfg, "clips")["kind"] != "waves":
        return ()
    return tuple(recordings.recordings_of(cfg))
