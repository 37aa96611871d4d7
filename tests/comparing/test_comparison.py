"""A comparison of runs whose curves and errors are known."""

import base64
import io
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from known_runs import CONFIG, FROZEN, WAVES, compared, fractions, line_of, run_of, study
from PIL import Image

from rwtl.comparing import pictures
from rwtl.comparing.analysis import verdicts
from rwtl.comparing.conditions import ComparisonConfig
from rwtl.comparing.measures import Cell, dataset_names
from rwtl.comparing.runs import find_runs
from rwtl.comparing.tables import latex, markdown, shown_tables
from rwtl.errors import InputError
from rwtl.flow.colour_wheel import NOT_FINITE
from rwtl.flow.scenes.dataset import ProceduralFlow
from rwtl.learning.evaluation import pooled
from rwtl.learning.metrics import METRICS
from rwtl.models.raft import FlowEstimate, build_raft
from rwtl.tracking.tracker import Tracked
from rwtl.tracking.wandb import WandbConfig, WandbTracker


def test_means_intervals_and_paired_differences():
    comparison = compared(study())
    line = line_of(comparison, "epe", "freeze_none", "test")
    own = comparison.table[(comparison.table.measure == "epe") & (comparison.table.row == "freeze_none")].value
    base = comparison.table[(comparison.table.measure == "epe") & (comparison.table.row == "scratch")].value
    assert line["mean"] == pytest.approx(own.mean()) and line.sd == pytest.approx(own.std())
    assert line.difference == pytest.approx(own.mean() - base.mean()) == pytest.approx(-1.0, abs=0.1)
    assert line.relative == pytest.approx(line.difference / base.mean())
    assert line.difference_low < -1 < line.difference_high < 0
    assert line.low < line["mean"] < line.high and line.high - line.low > 3 * (
        line.difference_high - line.difference_low
    )
    assert (line.seeds, line.pairs, line.p) == (6, 6, pytest.approx(2 / 64)) and line.significant
    assert line.seeds_needed < 6
    assert not line_of(comparison, "epe", "freeze_encoder", "test").significant
    assert pd.isna(line_of(comparison, "epe", "scratch", "test").p)


def test_a_metric_that_a_run_has_not_validated_is_named():
    runs = study()
    runs[-1].curve.drop(columns="3px", inplace=True)
    with pytest.raises(
        InputError, match=rf"{runs[-1].id} has no validation of 3px, which is analysis.metric; it has epe, "
    ):
        compared(runs, metric="3px")


def test_what_is_found_is_said_and_marked():
    comparison = compared(study())
    assert any(
        sentence.startswith("On test: a better epe than scratch: freeze_none (-2") for sentence in verdicts(comparison)
    )
    (errors, *_) = shown_tables(comparison)
    assert errors.best == 1 and errors.significant == [False, True, False] and errors.baseline == [0]
    assert errors.lines.p[1] == "0.031 *"
    nothing = compared(study(difference=0.0, noise=0.3))
    assert verdicts(nothing)[-1].startswith("Nothing differs from scratch by what counts on test; ")


def test_a_significant_difference_that_is_small_does_not_count():
    comparison = compared(study(difference=-0.1, noise=0.001))
    assert line_of(comparison, "epe", "freeze_none", "test").significant
    assert verdicts(comparison)[-1].startswith("Nothing differs from scratch by what counts on test; ")
    assert "freeze_none" in verdicts(compared(study(difference=-0.1, noise=0.001), effect=0.01))[0]


def test_worse_is_said_to_be_worse_and_more_can_be_better():
    worse = verdicts(compared(study(difference=1.0)))[0]
    assert "worse than scratch: freeze_none (+2" in worse and "better" not in worse
    turned = compared(study(), metric="3px")
    line = line_of(turned, "final", "freeze_none")
    assert line.difference > 0 and line.significant
    assert line_of(turned, "best", "scratch")["mean"] == pytest.approx(95, abs=1)


def test_steps_to_the_baseline_with_those_that_never_came_there():
    runs = [run_of(seed, None, [9, 7, end]) for seed, end in ((1, 5.0), (2, 6.0), (3, 5.5))]
    runs += [run_of(1, WAVES, [9, 5, 4]), run_of(2, WAVES, [9, 5, 5]), run_of(3, WAVES, [9, 8, 7])]
    runs += [run_of(seed, FROZEN, [9, 8, 7]) for seed in (1, 2, 3)]
    comparison = compared(runs, thresholds=[1.0])
    (_, limit, nobody) = comparison.thresholds
    assert limit.value == 5.5 and not limit.met_untrained
    steps = f"steps to {limit.name}"
    lines = {row: line_of(comparison, steps, row) for row in ("scratch", "freeze_none", "freeze_encoder")}
    assert {row: (line.reached, line["median"]) for row, line in lines.items()} == {
        "scratch": (2, 20),
        "freeze_none": (2, 10),
        "freeze_encoder": (0, np.inf),
    }
    assert lines["freeze_none"]["mean"] == pytest.approx((10 + 10 + 20) / 3), "not reached is 20 steps at least"
    assert lines["freeze_none"].pairs == 3, "and is not dropped"
    shown = {table.title: table.lines for table in shown_tables(comparison)}["Training, on validation"]
    assert shown[steps].tolist() == ["20 (2 of 3)", "10 (2 of 3)", "not reached (0 of 3)"]
    assert f"Steps to {nobody.name}: nobody came there." in verdicts(compared(study(), thresholds=[1.0]))


def test_a_threshold_that_untrained_networks_meet_says_nothing():
    runs = [run_of(seed, transfer, [7, 8, 7.5]) for seed in range(1, 7) for transfer in (None, WAVES)]
    comparison = compared(runs)
    assert all(limit.met_untrained for limit in comparison.thresholds)
    shown = {table.title: table.lines for table in shown_tables(comparison)}["Training, on validation"]
    assert set(shown.iloc[:, -1]) == {"met untrained"}
    assert any("is met by untrained networks" in note for note in comparison.notes)


def test_area_best_and_cost():
    comparison = compared([run_of(1, None, [9, 5, 7]), run_of(1, WAVES, [8, 8, 8])])
    assert line_of(comparison, "area", "scratch")["mean"] == pytest.approx((7 + 6) / 2)
    assert line_of(comparison, "best", "scratch")["mean"] == 5 and line_of(comparison, "final", "scratch")["mean"] == 7
    assert line_of(comparison, "both s", "freeze_none")["mean"] == 70
    assert (
        line_of(comparison, "both s", "scratch")["mean"] == line_of(comparison, "training s", "scratch")["mean"] == 60
    )


def test_data_needed_lies_between_the_fractions_that_were_run():
    comparison = compared(fractions(), baseline_shares=[1.25])
    (measure,) = {name for name in comparison.summary.measure if name.startswith("data to")}
    scratch, waves = (line_of(comparison, measure, row) for row in ("scratch", "freeze_none"))
    target = 1.25 * (4 + 0.035)
    expected = [0.1 * 10 ** ((6 + 0.01 * seed - target) / 2) for seed in range(1, 7)]
    assert scratch["mean"] == pytest.approx(np.mean(expected)), "linear in the logarithm of the fraction"
    assert waves["median"] == 0.01 and waves.reached == 6, "the smallest fraction does already"
    assert waves.significant and waves.difference < 0
    shown = {table.title: table.lines for table in shown_tables(comparison)}
    assert shown["Data needed"].iloc[1, 1].startswith("≤ 1 % (6 of 6)")
    assert list(shown)[:3] == ["test", "test, trained on 10 % of data", "test, trained on 1 % of data"]


def test_data_that_is_never_enough_is_not_reached():
    comparison = compared(fractions(), baseline_shares=[0.9])
    (measure,) = {name for name in comparison.summary.measure if name.startswith("data to")}
    line = line_of(comparison, measure, "scratch")
    assert (line.reached, line["median"], line["mean"]) == (0, np.inf, 1.0)


def test_columns_have_their_own_baseline_or_share_it():
    runs = study() + [run for run in study(difference=-2.0, clips__dt=4.0) if run.config["transfer"]["source"]]
    shared = compared(runs, columns="clips.dt")
    assert [cell.name for cell in shared.all_cells] == [
        "scratch",
        "freeze_none · dt 1",
        "freeze_encoder · dt 1",
        "freeze_none · dt 4",
        "freeze_encoder · dt 4",
    ]
    assert line_of(shared, "epe", "freeze_none", column="dt 4").difference == pytest.approx(-2, abs=0.1)
    own = compared(runs, columns="clips.dt", baseline="freeze_encoder")
    assert line_of(own, "epe", "freeze_none", column="dt 4").pairs == 6
    assert line_of(own, "epe", "scratch").pairs == 0 and any(
        "scratch: there is no single" in note for note in own.notes
    )
    one = compared(runs, columns="clips.dt", baseline="freeze_none dt 1")
    assert line_of(one, "epe", "freeze_none", column="dt 4").difference == pytest.approx(-1, abs=0.1)
    assert pd.isna(line_of(one, "epe", "freeze_none", column="dt 1").p)


def test_few_and_missing_seeds_are_said_and_the_rest_is_given():
    runs = study(seeds=6)
    without = [run for run in runs if not (run.config["transfer"]["name"] == "freeze_none" and run.seed > 3)]
    comparison = compared(without)
    assert line_of(comparison, "epe", "freeze_none", "test").pairs == 3
    assert line_of(comparison, "epe", "freeze_encoder", "test").pairs == 6
    assert "freeze_none lacks seeds [4, 5, 6] of scratch: 3 seeds are compared" in comparison.notes
    assert any(note.startswith("1 of 3 conditions have few seeds (3)") for note in comparison.notes)
    errors = shown_tables(comparison)[0].lines
    assert "3 (few)" in errors.seeds.tolist()
    assert " ± " in errors["EPE px"][1] and "[" in errors["EPE px"][0], "of three seeds there is no interval"
    alone = compared(study(seeds=1))
    assert pd.isna(line_of(alone, "epe", "freeze_none", "test").sd)
    assert verdicts(alone) == [
        "Nothing can be tested: it takes two seeds or more, and a baseline beside each condition."
    ]
    assert verdicts(compared(study(seeds=4))) == ["No difference can be significant: of 4 seeds, p is at least 0.125."]


def test_a_shorter_curve_counts_as_far_as_it_goes():
    runs = [run_of(seed, None, [9, 7, 5]) for seed in (1, 2)] + [run_of(1, WAVES, [9, 4]), run_of(2, WAVES, [9, 6, 4])]
    comparison = compared(runs)
    assert any("its curve ends at step 10, others at 20" in note for note in comparison.notes)
    assert line_of(comparison, "final", "freeze_none").seeds == 1
    assert line_of(comparison, f"steps to {comparison.thresholds[1].name}", "freeze_none").reached == 2


def test_a_run_without_an_evaluation_still_has_its_curve():
    runs = [
        run_of(seed, transfer, [9, 5], {"test": 5.0} if seed == 1 else None)
        for seed in (1, 2)
        for transfer in (None, WAVES)
    ]
    comparison = compared(runs)
    assert any(note.startswith("2 of 4 runs have no evaluation") for note in comparison.notes)
    assert (
        line_of(comparison, "final", "scratch").seeds == 2 and line_of(comparison, "epe", "scratch", "test").seeds == 1
    )


def test_a_run_that_diverged_is_not_hidden():
    runs = [run_of(seed, None, [9, 7, 5]) for seed in (1, 2)] + [run_of(seed, WAVES, [9, 4, np.nan]) for seed in (1, 2)]
    line = line_of(compared(runs), "final", "freeze_none")
    assert np.isnan(line["mean"]) and pd.isna(line.p)
    shown = {table.title: table for table in shown_tables(compared(runs))}["Training, on validation"]
    assert shown.lines["final EPE px"].tolist() == ["5.00", "nan"] and shown.best == 0


@pytest.mark.parametrize("metric", ["epe", "fl_all"])
def test_an_estimate_that_is_not_finite_wins_nothing_and_is_named(metric):
    runs = [run_of(seed, None, [9, 7, 5], {"test": 5.0}) for seed in (1, 2)]
    runs += [run_of(seed, WAVES, [9, 7, 5], {"test": np.nan if seed == 2 else 4.0}) for seed in (1, 2)]
    for run in runs:  # as FlowMetrics has them
        run.errors[0][1]["fl_all"] = 100.0 if run.errors[0][1].epe.isna().any() else 50.0
    comparison = compared(runs, metric=metric)
    (table, *_) = shown_tables(comparison)
    assert table.best == 0
    if metric == "epe":
        assert [text.split()[0] for text in table.lines["EPE px"]] == ["5.00", "nan"]
        assert table.lines.difference.tolist() == ["", "nan"]
    assert [note for note in comparison.notes if "not finite" in note] == [
        f"{runs[3].id} (freeze_none, seed 2): its estimate is not finite on test (0)"
    ]


def test_the_last_validation_of_a_run_of_wandb_counts_where_it_is_no_number(tmp_path):
    tracker = WandbTracker(WandbConfig(), Tracked("training", 12 * "0", "diverged", None, CONFIG), tmp_path)
    for step, epe in ((0, 9.0), (10, 4.0), (20, np.nan)):
        tracker.log_metrics({"step": step, "loss": 1.0}, step)  # which makes no validation
        tracker.log_metrics({"step": step + 1, **dict.fromkeys(METRICS, 50.0), "epe": epe, "s40": np.nan}, step + 1)
    tracker.close(failed=False)
    (run,) = find_runs(tmp_path / "wandb")
    assert run.curve.step.tolist() == [1, 11, 21]
    assert run.curve.epe.tolist() == pytest.approx([9.0, 4.0, np.nan], nan_ok=True)


def test_conditions_that_are_all_no_number_are_worse_than_no_motion():
    runs = [run_of(seed, transfer, [9, 7, 5], {"test": np.nan}) for seed in (1, 2) for transfer in (None, WAVES)]
    assert any("on test every condition is worse than predicting no motion" in note for note in compared(runs).notes)
    assert not any("worse than predicting" in note for note in compared(study(seeds=2), metric="3px").notes)


def test_a_picture_of_an_estimate_that_is_not_finite_is_green_and_its_error_nan():
    torch.manual_seed(0)
    model = build_raft("small")
    data = ProceduralFlow(size=1, height=32, width=40, mean_displacement=3.0)
    shown = []
    for bad in (0, 200):
        flow = model.estimate(data[0].image1[None], data[0].image2[None], 1).flow
        flow.view(-1)[:bad] = torch.nan
        estimate = lambda *_, flow=flow: FlowEstimate(flow, flow)  # noqa: E731
        scene = pictures._scene("one", data, 0, {"it": SimpleNamespace(estimate=estimate)}, 1)
        (_, said), (error, _) = scene["estimates"]["it"]
        image = np.asarray(Image.open(io.BytesIO(base64.b64decode(error.split(",")[1]))).convert("RGB"))
        shown.append((said, int((image == NOT_FINITE).all(axis=-1).sum())))
    assert shown[0][1] == 0 and "nan" not in shown[0][0] and "inf" not in shown[0][0]
    assert shown[1] == ("EPE nan px", 200)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"training__batch_size": 4}, r"training.batch_size: 8 \(.*\| 4 \(.*Name such a key"),
        ({"model__variant": "basic"}, r"model.variant: small .*basic"),
        ({"clips__dt": 2.0}, r"clips.dt: 1 .*\| 2 "),
        ({"recording__rows": 24}, r"recording.rows"),
        ({"trainer__precision": "bf16-mixed"}, r"trainer.precision"),
        ({"pretraining__steps": 7}, r"the runs differ in more than transfer, .*pretraining.steps: 90 .*7"),
    ],
)
def test_runs_of_different_recipes_are_not_mixed(change, said):
    with pytest.raises(InputError, match=said):
        compared([*study(seeds=2), run_of(3, WAVES, [9, 5], **change)])


def test_what_was_not_loaded_is_no_difference():
    other = run_of(7, None, [9, 7, 5], clips__dt=3.0, pretraining__steps=1, recording__rows=2)
    assert len(compared([*study(seeds=2), other]).runs) == 7


def test_other_data_of_the_same_name_is_a_difference():
    other = run_of(7, None, [9, 7, 5])
    other.data["flow_data"] = {"training": [["scenes", {"size": 11}]]}
    with pytest.raises(InputError, match=r"data.training at flow_data.fraction 1"):
        compared([*study(seeds=2), other])


def test_runs_of_one_cell_differ_in_their_seed_alone():
    twice = [run_of(1, None, [9, 5]), run_of(1, None, [9, 6])]
    with pytest.raises(InputError, match=r"are both scratch with seed 1"):
        compared(twice)
    namesakes = [run_of(1, WAVES, [9, 5]), run_of(2, WAVES | {"load": []}, [9, 5])]
    with pytest.raises(InputError, match=r"both stand for freeze_none, but differ in transfer.load"):
        compared(namesakes, baseline="freeze_none")


def test_pretraining_seeds_that_follow_the_runs_are_no_difference():
    follow = [run_of(seed, WAVES, [9, 5], pretraining__seed=seed) for seed in (1, 2)]
    assert len(compared(follow, baseline="freeze_none").all_cells) == 1
    with pytest.raises(InputError, match=r"pretraining.seed"):
        compared([run_of(1, WAVES, [9, 5]), run_of(2, WAVES, [9, 5], pretraining__seed=5)], baseline="freeze_none")


def test_sections_are_axes_too():
    runs = [run_of(1, WAVES, [9, 5]), run_of(2, WAVES, [9, 5])]
    runs += [run_of(1, WAVES, [9, 5], clips__shuffle="time"), run_of(1, WAVES, [9, 4], pretraining__steps=0)]
    comparison = compared(
        runs, rows=("transfer", "clips", "pretraining.steps"), baseline="freeze_none · pretraining.steps 0"
    )
    assert {cell.name for cell in comparison.all_cells} == {
        "freeze_none · pretraining.steps 90",
        "freeze_none · shuffle time · pretraining.steps 90",
        "freeze_none · pretraining.steps 0",
    }


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"baseline": "nothing"}, "baseline is nothing; choose one of scratch, freeze_none, freeze_encoder"),
        (
            {"rows": ("transfer", "clips.dd")},
            "clips.dd is no key that determines any of the runs; did you mean clips.dt",
        ),
        ({"columns": "transfer"}, "columns is transfer, which rows names too"),
        ({"metric": "epee"}, "analysis.metric is 'epee'; choose one of epe, 1px"),
        ({"confidence": 95.0}, "analysis.confidence is 95"),
        ({"baseline_shares": [0.0]}, "analysis.baseline_shares"),
    ],
)
def test_bad_questions_are_named(arguments, said):
    with pytest.raises(InputError, match=said):
        compared(study(seeds=2), **arguments)


def test_there_may_be_no_scratch():
    runs = [run for run in study(seeds=2) if run.config["transfer"]["source"]]
    with pytest.raises(
        InputError, match="no baseline is named, and there is no row scratch; choose one of freeze_none"
    ):
        compared(runs)


def test_a_control_that_is_the_baseline_itself_is_noticed():
    runs = [run_of(seed, transfer, [9, 5 + seed]) for seed in (1, 2) for transfer in (None, WAVES)]
    assert any(
        note.startswith("scratch and freeze_none have the same curves to the bit") for note in compared(runs).notes
    )
    other = [*runs[:3], run_of(2, WAVES, [9, 6.5])]
    assert not any("to the bit" in note for note in compared(other).notes)


def test_errors_above_those_of_no_motion_are_said_to_be():
    runs = [run_of(seed, transfer, [9, 5], {"test": 5.0, "far": 9.5}) for seed in (1, 2) for transfer in (None, WAVES)]
    said = [note for note in compared(runs).notes if "no motion" in note]
    (note,) = said
    assert note.startswith("on far every condition is worse than predicting no motion (9.00 px)")


def test_data_sets_that_were_evaluated_differently_keep_apart():
    one, other = run_of(1, None, [9, 5], {"test": 5.0}), run_of(1, WAVES, [9, 5], {"test": 4.0})
    other.errors[0][0]["iterations"] = 12
    assert set(dataset_names({"a": one, "b": other}).values()) == {"test (iterations 2)", "test (iterations 12)"}
    assert set(dataset_names({"a": one}).values()) == {"test"}


def test_tables_in_markdown_and_latex():
    comparison = compared(study())
    text = markdown(comparison)
    assert "| **freeze_none** |" in text and "0.031 \\*" in text and "| scratch " in text
    tex = latex(comparison)
    assert r"\textbf{freeze\_none}" in tex and r"\toprule" in tex and "0.031$^*$" in tex
    assert "freeze_none" not in tex.replace(r"freeze\_none", "").split("% mean")[0]


def test_a_cell_is_called_by_row_and_column():
    assert Cell("a", "dt 3", 1.0).name == "a · dt 3" and Cell("a", None, 0.1).name == "a"
    assert sorted([Cell("a", "dt 10", 1.0), Cell("a", "dt 2", 1.0)], key=lambda cell: cell.order)[0].column == "dt 2"


def test_errors_of_a_data_set_are_pooled_over_the_pixels_that_they_are_of():
    nan = float("nan")
    errors = pd.DataFrame({"dataset": ["a", "a", "b"], "pair": ["0", "1", "0"], "pixels": [1, 3, 2]})
    errors = errors.assign(**dict.fromkeys(METRICS, 0.0), no_motion=2.0)
    errors["epe"], errors["5px"] = [4.0, 0.0, 1.0], [8.0, 8.0, nan]
    errors["s40"], errors["pixels_s40"] = [nan, 6.0, nan], [0, 1, 0]
    errors["pixels_s0_10"] = errors["pixels_s10_40"] = errors.pixels
    table = pooled(errors)
    assert (
        table.epe.tolist() == [1.0, 1.0] and table.no_motion.tolist() == [2.0, 2.0] and table.pairs.tolist() == [2, 1]
    )
    assert table.epe_of_pairs.tolist() == [2.0, 1.0]
    assert table.s40[0] == 6.0 and pd.isna(table.s40[1]), "no pixel of that speed is no error, and spoils none"
    assert table["5px"][0] == 8.0 and pd.isna(table["5px"][1]), "what is no number is not skipped"


def test_runs_of_different_texts_of_a_plug_in_are_not_mixed():
    runs = [run_of(1, None, [9, 5]), run_of(1, WAVES, [9, 5]), run_of(2, WAVES, [9, 5])]
    compared(runs)
    for run, code in zip(runs[1:], ("1a2b3c", "4d5e6f"), strict=True):
        run.data["code"] = {"pretraining.code": code}
    with pytest.raises(InputError, match=r"pretraining\.code: 1a2b3c .* \| 4d5e6f"):
        compared(runs)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"rows": ["scratch", "nothing"]}, "comparison.rows names nothing; the conditions are scratch, frozen"),
        ({"baseline": "frozen"}, "baseline is frozen, none of the rows scratch"),
        ({"seeds": []}, "comparison.seeds"),
        ({"seeds": [1, 1]}, "comparison.seeds"),
        ({"column": "clips.dt"}, "column is clips.dt and column_values \\[\\]; give both"),
        ({"column": "training.steps", "column_values": [1]}, "column is training.steps; choose a key of pretraining"),
        ({"column": "clips.dt", "column_values": [1, 1]}, "column_values is .*name each value once"),
        ({"fractions": [0.1]}, "fractions is .*give both, or neither"),
        ({"conditions": {"scratch": {"training": {}}}}, "scratch changes training; rows may differ in .* alone$"),
        (
            {"conditions": {"scratch": {"transfer": "none"}}},
            "scratch.transfer is 'none'; it must be a section",
        ),
    ],
)
def test_bad_comparisons_are_named(changes, named):
    values = {
        "conditions": {"scratch": {}, "frozen": {}},
        "rows": ["scratch"],
        "baseline": "scratch",
        "seeds": [1],
    }
    with pytest.raises(InputError, match=named):
        ComparisonConfig(**(values | changes))
