"""What the rows of a comparison lay over the configuration, in the presets and on the command line."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from rwtl.errors import InputError
from rwtl.study.comparison import check
from rwtl.study.rows import comparison_config, difference, needs_pretraining, run_configs
from rwtl.study.sources import groups_of

CONF = Path(__file__).parents[1] / "conf"
QUESTIONS = sorted(
    file.stem for file in (CONF / "experiment").glob("*.yaml") if "override /comparison" in file.read_text()
)


def with_row(clips):
    """Overrides by which the comparison has a row that lays these keys over the clips."""
    row = f"{{transfer: ${{comparison.conditions.freeze_none.transfer}}, clips: {{{clips}}}}}"
    return [
        f"+comparison.conditions.dt_4={row}",
        "comparison.axes=[transfer,clips]",
        "comparison.rows=[scratch,freeze_none,dt_4]",
    ]


def composed(*overrides):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("compare", overrides=list(overrides))


def runs_of(*overrides):
    cfg = composed(*overrides)
    return cfg, run_configs(cfg, comparison_config(cfg))


@pytest.mark.parametrize("question", QUESTIONS)
def test_every_question_is_one_word_and_its_rows_are_sound(question):
    cfg, runs = runs_of(f"experiment={question}")
    config = comparison_config(cfg)
    check(runs)
    assert config.baseline == "scratch" and len(config.seeds) >= 2
    assert set(config.rows) == set(config.conditions)
    for run in runs.values():
        assert all(run[section] == cfg[section] for section in ("training", "flow_data", "datasets", "evaluation"))


def test_the_questions_of_the_study_are_there():
    asked = {"controls", "displacement", "domain_gap", "motion_variety", "sequence_length", "context_encoder"}
    assert asked <= set(QUESTIONS)


def test_sources_of_the_controls_cost_the_same():
    """Steps, batches and the pixels of a clip: only what is not trained at all costs less."""
    _, runs = runs_of("experiment=controls")
    sources = {row: run for (row, seed), run in runs.items() if seed == 1 and needs_pretraining(run)}
    assert len(sources) == 12
    for row, run in sources.items():
        cost = (run.pretraining.steps, run.pretraining.batch_size, run.clips.crop, run.clips.length)
        assert cost == (0 if row.startswith("untrained") else 300, 8, 64, 3), row


def test_keys_are_laid_over_and_another_kind_replaces():
    _, runs = runs_of("experiment=controls", "clips.dt=2", "recording.rows=64", "clips.crop=32")
    time_shuffled, shapes, scenes = (runs[row, 1] for row in ("time_shuffled", "moving_shapes", "scenes"))
    assert (time_shuffled.clips.shuffle, time_shuffled.clips.dt) == ("time", 2)
    assert (shapes.recording.kind, shapes.recording.rows) == ("moving_shapes", 64) and "cell" not in shapes.recording
    assert (scenes.clips.kind, scenes.clips.crop) == ("scenes", 32) and "dt" not in scenes.clips
    assert runs["waves", 1].clips.shuffle == "none"


def test_what_a_row_differs_in_is_said():
    cfg, runs = runs_of(*with_row("dt: 4"))
    said = {row: difference(cfg, runs[row, 1], row) for row, seed in runs if seed == 1}
    assert said == {"scratch": "", "freeze_none": "", "dt_4": "transfer freeze_none · clips.dt 4"}


def test_rows_share_a_pretraining_where_it_is_the_same():
    _, runs = runs_of("comparison.rows=[scratch,freeze_none,freeze_encoder]")
    assert list(groups_of(runs)) == ["freeze_none, freeze_encoder"]
    _, runs = runs_of(*with_row("dt: 4"))
    assert list(groups_of(runs)) == ["freeze_none", "dt_4"]
    _, runs = runs_of("comparison.rows=[scratch,freeze_none]", "pretraining.seed=${seed}")
    assert list(groups_of(runs)) == ["freeze_none (seed 1)", "freeze_none (seed 2)"]


ALONE = ["comparison.rows=[scratch,dt_4]"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([*with_row("dt: 4")[:1], *ALONE], r"conditions\.dt_4 changes clips, .*add clips to"),
        (with_row("dt: 1.0"), r"the rows freeze_none and dt_4 come to the same configuration"),
        (["+comparison.conditions.scratch.model={variant: large}"], r"scratch changes model, but the rows differ in"),
        (with_row("length: 2"), r"row dt_4: clips\.length is 2"),
        (with_row("dd: 4"), r"row dt_4: clips\.dd"),
    ],
)
def test_bad_rows_are_named(overrides, message):
    with pytest.raises(InputError, match=message):
        check(runs_of(*overrides)[1])
