import pandas as pd
import pytest

from rwtl.errors import InputError
from rwtl.study.evaluation import pooled
from rwtl.study.gather import compare, steps_to_reach
from rwtl.study.report import verdict
from rwtl.study.rows import ComparisonConfig
from rwtl.study.tables import mean_and_deviation, steps_reached
from rwtl.training.metrics import METRICS


def curves_of(epe):
    rows = [
        {"row": row, "seed": seed, "step": 10 * k, "epe": value, **dict.fromkeys(METRICS[1:], 0.0)}
        for (row, seed), values in epe.items()
        for k, value in enumerate(values)
    ]
    return pd.DataFrame(rows)


def errors_of(epe):
    rows = [
        {
            "row": row,
            "seed": seed,
            "dataset": "procedural",
            "pairs": 2,
            **dict.fromkeys(METRICS, 1.0),
            "epe": value,
            "no_motion": 9.0,
        }
        for (row, seed), value in epe.items()
    ]
    return pd.DataFrame(rows)


@pytest.fixture
def table():
    curves = curves_of(
        {
            ("scratch", 1): [9, 5, 3],
            ("scratch", 2): [9, 6, 5],
            ("frozen", 1): [9, 4, 2],
            ("frozen", 2): [9, 8, 7],
            ("worse", 1): [9, 8, 7],
            ("worse", 2): [9, 8, 7],
        }
    )
    errors = errors_of(
        {
            ("scratch", 1): 3.0,
            ("scratch", 2): 5.0,
            ("frozen", 1): 2.0,
            ("frozen", 2): 4.0,
            ("worse", 1): 7.0,
            ("worse", 2): 7.0,
        }
    )
    differences = {"scratch": "", "frozen": "transfer freeze_encoder", "worse": "clips.dt 4"}
    return compare(curves, errors, "scratch", differences).set_index("row")


def test_mean_and_deviation_over_seeds(table):
    assert table.epe_mean.to_dict() == {"scratch": 4.0, "frozen": 3.0, "worse": 7.0}
    assert table.epe_sd["scratch"] == pytest.approx(2**0.5)
    assert list(table.index) == ["scratch", "frozen", "worse"]
    assert table.differs_in["worse"] == "clips.dt 4"


def test_steps_to_the_baselines_final_error_with_not_reached_shown(table):
    assert set(table.threshold_px) == {4.0}
    assert table.seeds_reached.to_dict() == {"scratch": 1, "frozen": 1, "worse": 0}
    assert table.steps_to_threshold["frozen"] == 10
    assert table.steps_to_threshold["scratch"] == 20
    shown = {row: steps_reached(line) for row, line in table.iterrows()}
    assert shown == {"scratch": "20 (1 of 2 seeds)", "frozen": "10 (1 of 2 seeds)", "worse": "not reached"}


def test_steps_to_reach_takes_the_first_time():
    curve = pd.DataFrame({"step": [0, 10, 20, 30], "epe": [9.0, 3.0, 5.0, 2.0]})
    assert steps_to_reach(curve, 3.0) == 10
    assert steps_to_reach(curve, 1.0) is None


def test_the_verdict_tells_a_difference_from_the_spread(table):
    assert verdict(table.reset_index(), "scratch") == "On procedural, frozen had a lower mean EPE than scratch."
    clear = table.reset_index()
    clear["epe_sd"] = 0.1
    assert "frozen (by more than the spread)" in verdict(clear, "scratch")


def test_one_seed_is_shown_as_such():
    assert mean_and_deviation(1.0, float("nan")) == "1.00 (one seed)"
    assert mean_and_deviation(1.0, 0.126) == "1.00 ± 0.13"


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


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"rows": ["scratch", "nothing"]}, "row nothing; the conditions are scratch, frozen"),
        ({"baseline": "frozen"}, "baseline is frozen, none of the rows scratch"),
        ({"seeds": []}, "comparison.seeds"),
        ({"seeds": [1, 1]}, "comparison.seeds"),
        ({"jobs": 0}, "comparison.jobs"),
        ({"axes": ["transfer", "training"]}, "axes names training; rows may differ in transfer, "),
        ({"conditions": {"scratch": {"clips": {}}}}, "scratch changes clips, .*or add clips to comparison.axes"),
        ({"conditions": {"scratch": {"training": {}}}}, "scratch changes training, .*alone; leave it out$"),
        ({"conditions": {"scratch": {"transfer": "none"}}}, "must hold sections, each with keys"),
    ],
)
def test_bad_comparisons_are_named(changes, named):
    values = {
        "conditions": {"scratch": {}, "frozen": {}},
        "axes": ["transfer"],
        "rows": ["scratch"],
        "baseline": "scratch",
        "seeds": [1],
        "jobs": 1,
    }
    with pytest.raises(InputError, match=named):
        ComparisonConfig(**(values | changes))
