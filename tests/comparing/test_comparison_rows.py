"""What the rows of a comparison lay over the configuration, in the presets and on the command line."""

from collections import Counter
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from rwtl.comparing.comparison import comparison, planned_runs, sources_of
from rwtl.comparing.conditions import comparison_config, conditions_of, needs_pretraining, run_configs
from rwtl.errors import InputError

CONF = Path(__file__).parents[2] / "conf"
QUESTIONS = sorted(file.stem for file in (CONF / "experiment").glob("*.yaml") if "conditions:" in file.read_text())


def with_row(clips):
    """Overrides by which the comparison has a row that lays these keys over the clips."""
    row = f"{{like: freeze_none, clips: {{{clips}}}}}"
    return [
        f"+comparison.conditions.dt_4={row}",
        "comparison.rows=[scratch,freeze_none,dt_4]",
    ]


def composed(*overrides):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("compare", overrides=list(overrides))


def runs_of(*overrides):
    cfg = composed(*overrides)
    return cfg, run_configs(cfg, comparison_config(cfg))


# Real data that the study asks for is not at hand.
WITHOUT_REAL_DATA = {
    "study": ["evaluation.datasets=[procedural_test]", "comparison.seeds=[1,2]"],
}


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.slow
def test_every_question_is_one_word_and_its_rows_are_sound(question):
    cfg, runs = runs_of(f"experiment={question}", *WITHOUT_REAL_DATA.get(question, []))
    config = comparison_config(cfg)
    planned_runs(runs)
    assert config.baseline == "scratch" and len(config.seeds) >= 2
    assert set(config.rows) <= set(config.conditions)
    for run in runs.values():
        assert all(run[section] == cfg[section] for section in ("training", "datasets", "evaluation"))
        assert run.flow_data == cfg.flow_data or run.flow_data.fraction in config.fractions


def test_of_no_run_that_could_be_made_the_first_reason_is_told():
    planned = comparison(composed("debug=tiny", "comparison.rows=[scratch,freeze_none]", "comparison.seeds=[1]"))
    lost = {run.path: f"{run.label} is bad" for run in planned.parents.values() if run.kind == "evaluation"}
    with pytest.raises(InputError, match="none of its 2 runs could be made; the first: evaluate scratch seed 1 is bad"):
        planned.without(lost)


def test_the_questions_of_the_study_are_there():
    asked = {"controls", "displacement", "domain_gap", "motion_variety", "sequence_length", "context_encoder"}
    assert asked <= set(QUESTIONS)


@pytest.mark.slow
def test_sources_of_the_controls_cost_the_same():
    """Steps, batches and the pixels of a clip: only what is not trained at all costs less."""
    _, runs = runs_of("experiment=controls")
    sources = {row: run for (row, seed), run in runs.items() if seed == 1 and needs_pretraining(run)}
    assert len(sources) == 12
    for row, run in sources.items():
        cost = (run.pretraining.steps, run.pretraining.batch_size, run.clips.crop, run.clips.length)
        assert cost == (0 if row.startswith("untrained") else 300, 8, 64, 3), row


@pytest.mark.slow
def test_keys_are_laid_over_and_another_kind_replaces():
    _, runs = runs_of("experiment=controls", "clips.dt=2", "recording.rows=64", "clips.crop=32")
    time_shuffled, shapes, scenes = (runs[row, 1] for row in ("time_shuffled", "moving_shapes", "scenes"))
    assert (time_shuffled.clips.shuffle, time_shuffled.clips.dt) == ("time", 2)
    assert (shapes.recording.kind, shapes.recording.rows) == ("moving_shapes", 64) and "cell" not in shapes.recording
    assert (scenes.clips.kind, scenes.clips.crop) == ("scenes", 32) and "dt" not in scenes.clips
    assert runs["waves", 1].clips.shuffle == "none"


@pytest.mark.slow
def test_rows_share_a_pretraining_where_it_is_the_same():
    _, runs = runs_of("comparison.rows=[scratch,freeze_none,freeze_encoder]")
    assert list(sources_of(planned_runs(runs))) == ["freeze_none, freeze_encoder"]
    _, runs = runs_of(*with_row("dt: 4"))
    assert list(sources_of(planned_runs(runs))) == ["freeze_none", "dt_4"]
    _, runs = runs_of("comparison.rows=[scratch,freeze_none]", "pretraining.seed=${seed}")
    assert list(sources_of(planned_runs(runs))) == ["freeze_none (seed 1)", "freeze_none (seed 2)"]


COLUMNS = [
    "comparison.column=clips.dt",
    "comparison.column_values=[0.5,2]",
]


def with_control(keys):
    """A row that is the untrained encoder, with such keys of the clips."""
    row = f"{{transfer: ${{comparison.conditions.freeze_none.transfer}}, pretraining: {{steps: 0}}, clips: {{{keys}}}}}"
    return [f"+comparison.conditions.untrained={row}", "comparison.rows=[scratch,freeze_none,untrained]"]


@pytest.mark.slow
def test_columns_are_run_for_rows_that_depend_on_them():
    cfg, runs = runs_of(*COLUMNS, *with_control("zoom: 1"))
    assert list(conditions_of(cfg, comparison_config(cfg))) == [
        "scratch",
        "freeze_none · dt 0.5",
        "freeze_none · dt 2",
        "untrained · dt 0.5",
        "untrained · dt 2",
    ]
    assert runs["untrained · dt 2", 1].clips.dt == 2 and runs["scratch", 1].clips.dt == 1
    cfg, runs = runs_of(*COLUMNS, *with_control("dt: 1.0"))
    assert [name for name in conditions_of(cfg, comparison_config(cfg)) if name.startswith("untrained")] == [
        "untrained"
    ]
    assert runs["untrained", 1].clips.dt == 1


def test_null_is_a_value_of_a_column_too():
    columns = ["comparison.column=clips.calcium_range", "comparison.column_values=[null,[60,600]]"]
    _, runs = runs_of(*columns, "comparison.rows=[scratch,freeze_none]", "comparison.seeds=[1]")
    ranges = {name: run.clips.calcium_range for (name, _), run in runs.items() if name != "scratch"}
    assert ranges == {"freeze_none · calcium_range null": None, "freeze_none · calcium_range [60, 600]": [60, 600]}


def test_a_row_of_another_kind_has_no_such_column():
    cfg = composed("experiment=study", *WITHOUT_REAL_DATA["study"])
    names = list(conditions_of(cfg, comparison_config(cfg)))
    assert "scenes" in names and "time_shuffled" in names and "freeze_encoder · dt 0.2" in names


@pytest.mark.slow
def test_fractions_are_run_for_the_rows_that_are_named():
    fractions = ["comparison.fractions=[0.1,0.5]", "comparison.fraction_rows=[scratch,freeze_none dt 2]"]
    _, runs = runs_of(*COLUMNS, "comparison.rows=[scratch,freeze_none]", *fractions)
    names = dict.fromkeys(name for name, _ in runs)
    assert [name for name in names if "data" in name] == [
        "scratch · 10 % of data",
        "scratch · 50 % of data",
        "freeze_none · dt 2 · 10 % of data",
        "freeze_none · dt 2 · 50 % of data",
    ]
    run = runs["freeze_none · dt 2 · 10 % of data", 2]
    assert (run.flow_data.fraction, run.clips.dt, run.seed) == (0.1, 2, 2)
    assert len(sources_of(planned_runs(runs))) == 2, "the pre-training is that of all the data"
    with pytest.raises(InputError, match=r"fraction_rows names freeze_all; the conditions are scratch, "):
        runs_of(*COLUMNS, fractions[0], "comparison.fraction_rows=[freeze_all]")


def test_the_baseline_may_be_one_of_the_columns():
    cfg, _ = runs_of(*COLUMNS, "comparison.baseline=freeze_none dt 2")
    assert comparison_config(cfg).baseline == "freeze_none dt 2"
    with pytest.raises(InputError, match=r"comparison\.baseline is freeze_nune dt 2, none of the rows"):
        runs_of("comparison.baseline=freeze_nune dt 2")


@pytest.mark.slow
def test_the_full_study_is_planned_as_a_whole(tmp_path):
    """On a machine without its data: the pairs are stand-ins, and nothing is made."""
    data = tmp_path / "data"
    data.mkdir()
    for number in range(1, 42):
        for name in ("img1.ppm", "img2.ppm", "flow.flo"):  # the size is read, no pixel
            (data / f"{number:05}_{name}").write_bytes(b"P6\n512 384\n255\n")
    (tmp_path / "FlyingChairs_train_val.txt").write_text("1\n" * 40 + "2\n")
    where = [f"paths.flying_chairs={tmp_path}", f"paths.outputs={tmp_path / 'outputs'}"]
    smaller = ["evaluation.datasets=[flying_chairs_validation]", "comparison.seeds=[11,12]"]
    cfg = composed("experiment=study_full", *smaller, *where)
    config = comparison_config(cfg)
    assert config.baseline == "scratch" and set(config.rows) == set(config.conditions)
    counted = Counter(artifact.kind for artifact in comparison(cfg).ancestors())
    seeds, conditions, fractions = 2, 1 + 4 * 2 + 3, 2 * 3
    assert counted["training"] == counted["evaluation"] == seeds * (conditions + fractions)
    untrained = 1  # of one seed for all runs
    assert counted["pretraining"] == seeds * (2 + 2) + untrained and counted["recording"] == 1
    assert cfg.training.steps == 100_000 and (cfg.recording.rows, cfg.recording.duration) == (432, 570)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (with_row("dt: 1.0"), r"the rows freeze_none and dt_4 come to the same configuration"),
        (
            ["+comparison.conditions.scratch.training={steps: 9}"],
            r"scratch changes training; rows may differ",
        ),
        (
            ["+comparison.conditions.twin={like: freeze_all}"],
            r"conditions\.twin\.like is freeze_all; choose",
        ),
        (with_row("length: 2"), r"row dt_4: clips\.length is 2"),
        (with_row("dd: 4"), r"row dt_4: clips\.dd"),
        (["comparison.column=clips.dtt", "comparison.column_values=[1]"], r"column is clips\.dtt, which no row has"),
    ],
)
def test_bad_rows_are_named(overrides, message):
    with pytest.raises(InputError, match=message):
        planned_runs(runs_of(*overrides)[1])
