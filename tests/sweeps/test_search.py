"""The core of searches of hyper-parameters: what is searched, and the trials that Optuna proposes and stores."""

import itertools
import re
import sqlite3
import subprocess
import sys
import warnings
from math import inf, nan
from pathlib import Path

import optuna
import pytest
from hydra import compose, initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.utils import instantiate
from omegaconf import OmegaConf
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import RandomSampler, TPESampler
from sqlalchemy import create_engine, text
from test_multirun import SOURCE, row
from tiny import run

from rwtl.errors import InputError
from rwtl.sweeps.space import override_of, search_space
from rwtl.sweeps.trials import Trials

CONF = Path(__file__).parents[2] / "conf"
PARSER = OverridesParser.create()


def space_of(*line, parser=PARSER, **params):
    return search_space(params, parser.parse_overrides(list(line)), parser)


@pytest.mark.parametrize(
    ("value", "distribution"),
    [
        ("interval(0,2)", FloatDistribution(0, 2)),
        ("interval(-1e-3,0.5)", FloatDistribution(-1e-3, 0.5)),
        ("tag(log,interval(2e-4,5e-3))", FloatDistribution(2e-4, 5e-3, log=True)),
        ("int(interval(1,4))", IntDistribution(1, 4)),
        ("tag(log,int(interval(1,64)))", IntDistribution(1, 64, log=True)),
        ("int(tag(log,interval(1,64)))", IntDistribution(1, 64, log=True)),
        ("range(3)", IntDistribution(0, 2)),
        ("range(1,10)", IntDistribution(1, 9)),
        ("range(1,10,4)", IntDistribution(1, 9, step=4)),
        ("range(1,9,4)", IntDistribution(1, 5, step=4)),
        ("range(10,1,-4)", IntDistribution(2, 10, step=4)),
        ("range(0,1,0.25)", FloatDistribution(0, 0.75, step=0.25)),
        ("range(0.3,0.9,0.3)", FloatDistribution(0.3, 0.6, step=0.3)),
        ("float(range(1,4))", FloatDistribution(1, 3, step=1)),
        ("choice(4,6,8)", CategoricalDistribution((4, 6, 8))),
        ("adam,1e-3,2,true,null", CategoricalDistribution(("adam", 1e-3, 2, True, None))),
        ("sort(3,1,2)", CategoricalDistribution((1, 2, 3))),
    ],
)
def test_each_form_of_hydra_is_a_distribution(value, distribution):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Optuna warns where it changes an end of a range
        of_line, of_params = space_of(f"clips.dt={value}"), space_of(**{"clips.dt": value})
    assert of_line == of_params == ({"clips.dt": distribution}, [])
    choices = getattr(distribution, "choices", ())
    assert [type(each) for each in getattr(of_line[0]["clips.dt"], "choices", ())] == [type(each) for each in choices]


def test_glob_searches_the_options_of_a_group():
    loader = ConfigLoaderImpl(create_config_search_path(str(CONF)))
    parser = OverridesParser.create(config_loader=loader)
    space, fixed = space_of("transfer=glob(freeze_*,exclude=*encoder)", "recording=moving_shapes", parser=parser)
    names = sorted(file.stem for file in (CONF / "transfer").glob("freeze_*.yaml") if not file.match("*encoder.yaml"))
    assert len(names) > 1 and space == {"transfer": CategoricalDistribution(names)}
    assert fixed == ["recording=moving_shapes"]
    with pytest.raises(InputError, match=re.escape("transfer is glob(nothing*); no option of the group matches")):
        space_of("transfer=glob(nothing*)", parser=parser)


UNSEARCHABLE = {
    "interval(5,1)": r"the lower end comes first: interval\(1,5\)",
    "interval(0,inf)": "finite",
    "interval(nan,1)": "finite",
    "tag(log,interval(0,1))": "above 0",
    "tag(log,int(interval(0,8)))": "above 0",
    "tag(int,interval(1,8))": r"int\(interval\(1,4\)\)",
    "tag(log,choice(1,2))": r"tag\(log, interval\(1,10\)\)",
    "tag(log,range(1,9))": r"tag\(log, interval\(1,10\)\)",
    "range(1,1)": r"no values; .*range\(1,10,2\)",
    "range(1,9,-1)": "no values",
    "range(1,9,0)": "no values",
    "range(0,inf)": "finite",
    "shuffle(range(1,9))": "leave shuffle out",
    "shuffle(1,2)": "leave shuffle out",
    "choice(1,2,1)": "differ",
    "choice(1,true)": "Optuna takes 1, 1.0 and true for the same",
    "choice(1,2),3": r"a choice cannot itself be choice\(\)",
    "[interval(1,2)],3": r"a choice cannot itself be choice\(\), interval\(\)",
}


@pytest.mark.parametrize("value", UNSEARCHABLE)
def test_what_cannot_be_searched_is_refused_with_its_key_and_the_remedy(value):
    with pytest.raises(InputError, match=f"^clips\\.dt is {re.escape(value)}; .*{UNSEARCHABLE[value]}"):
        space_of(f"clips.dt={value}", "seed=1,2")


@pytest.mark.parametrize("value", ["choice()", "interval(1", "interval(a,b)", "int(interval(0,inf))", "a#b"])
def test_a_preset_that_hydra_cannot_read_is_refused_in_one_line(value):
    with pytest.raises(InputError, match=re.escape(f"clips.dt in hydra.sweeper.params is {value}; ")) as refused:
        space_of(**{"clips.dt": value})
    assert "\n" not in str(refused.value)
    with pytest.raises(InputError, match="nothing to search"):
        space_of("seed=1", **{"clips.dt": "1"})


def test_the_command_line_wins_over_the_preset():
    params = {"clips.dt": "choice(1,2)", "clips.gap": 0.5, "clips.crop": "range(1,4)", "transfer": "a,b", "seed": 3}
    line = ["+x='a b'", "++clips.dt=4", "clips.gap=interval(0,1)", "~transfer", "~x.y", "+x.y={z:1}", "seed=4"]
    space, fixed = space_of(*line, **params)
    assert space == {"clips.crop": IntDistribution(1, 3), "clips.gap": FloatDistribution(0, 1)}
    assert fixed == ["+x='a b'", "++clips.dt=4", "~transfer", "~x.y", "+x.y={z:1}", "seed=4"]
    assert space_of("seed=1", "seed=1,2", "x=1,2", "x=3") == ({"seed": CategoricalDistribution((1, 2))}, ["x=3"])
    assert space_of("+db@a=x,y", "db@b=z") == ({"+db@a": CategoricalDistribution(("x", "y"))}, ["db@b=z"])


def test_what_a_preset_fixes_is_read_again_as_it_was():
    tree = {"one": 1, "no": None, "yes": True, "list": ["1", "a b", 2, {"a": "null", "b": [None, 1e-9]}], "text": "a"}
    config = OmegaConf.create({"sweeper": {"params": tree | {"dt": "1,2", "same": "${.one}"}}})
    space, fixed = search_space(config.sweeper.params, [], PARSER)
    assert {each.key_or_group: each.value() for each in PARSER.parse_overrides(fixed)} == tree | {"same": 1}
    assert list(space) == ["dt"]


CHARACTERS = " \t\\'\",:=()[]{}$a1.-+#~\n"
TEXTS = [
    *map("".join, itertools.chain.from_iterable(itertools.product(CHARACTERS, repeat=n) for n in range(3))),
    *("null", "True", "1e5", "inf", "nan", "1_000", "${a.b}", "${oc.env:HOME,x}", "f(x)", "ä", "a/b-c.d", r"a\\'b\'"),
]


def test_any_choice_comes_back_from_the_command_line():
    """Texts are quoted, as a user does, where Hydra reads them in quotes at all."""
    given = {}
    for each in TEXTS:
        quoted = "'" + each.replace("\\", "\\\\").replace("'", "\\'") + "'"
        try:
            given[PARSER.parse_overrides([f"x={quoted}"])[0].value()] = quoted
        except HydraException:
            continue
    assert len(given) > 0.9 * len(TEXTS)
    for form in ("choice({})", "{}"):
        space, _ = space_of(f"x={form.format(','.join(given.values()))}")
        choices = space["x"].choices
        read = [PARSER.parse_overrides([override_of("x", each)])[0] for each in choices]
        assert [each.value() for each in read] == list(given) and not any(each.is_sweep_override() for each in read)
    assert choices[list(given).index("a/b-c.d")] == "a/b-c.d", "what needs no quotes has none"


def test_lists_and_dictionaries_and_numbers_come_back_from_the_command_line():
    values = [[1, "1", "", None], {"a": [True, "b c"], "d": {}}, [], 0.1 + 0.2, 1e-12, -3, 2**70, None, False]
    given = "[1,'1','',null],{a:[true,'b c'],d:{}},[],0.30000000000000004,1e-12,-3,1180591620717411303424,null,false"
    space, _ = space_of(f"x={given}")
    read = [PARSER.parse_overrides([override_of("+a.b", each)])[0] for each in space["x"].choices]
    assert [each.value() for each in read] == values and {each.get_key_element() for each in read} == {"+a.b"}
    assert [type(each.value()) for each in read] == [type(each) for each in values]


def trials(tmp_path, seed=1, **changes):
    space = {"rate": FloatDistribution(1e-4, 1, log=True), "batch": CategoricalDistribution((4, 8))}
    sampler = OmegaConf.create({"_target_": "optuna.samplers.TPESampler", "seed": seed, "n_startup_trials": 2})
    settings = {"name": "a", "storage": f"sqlite:///{tmp_path}/made/a.db", "direction": "minimize"}
    return Trials(**({**settings, "sampler": sampler, "space": space, "about": {"app": "pretrain"}} | changes))


def ask_and_tell(search, count):
    """Return the next points, telling the rate as the value of each."""
    points = []
    for _ in range(count):
        ((number, point),) = search.ask(1).items()
        search.tell(number, point["rate"])
        points.append(point)
    return points


def unknown(point):
    return None


def test_a_search_that_was_killed_proposes_what_it_would_have_proposed(tmp_path):
    whole = ask_and_tell(trials(tmp_path / "whole"), 6)
    assert len({point["rate"] for point in whole}) == 6
    parts = ask_and_tell(trials(tmp_path), 3)
    ((_, half_done),) = trials(tmp_path).ask(1).items()
    resumed = trials(tmp_path)
    resumed.take_up(unknown)
    assert len(resumed.all()) == 3 and not resumed.failed(), "a trial that was killed is not counted"
    parts += ask_and_tell(resumed, 3)
    assert parts == whole and parts[3] == half_done
    assert resumed.best().params == min(whole, key=lambda point: point["rate"])
    resumed.take_up(pytest.fail)


def test_a_search_with_several_trials_at_a_time_proposes_none_twice_and_may_be_killed_twice(tmp_path):
    search = trials(tmp_path)
    points = search.ask(2) | search.ask(1)
    assert len({point["rate"] for point in points.values()}) == 3
    for _ in range(2):
        resumed = trials(tmp_path)
        resumed.take_up(unknown)
        again = resumed.ask(3)
        assert list(again.values()) == list(points.values()) and not again.keys() & points.keys()
        points = again
    resumed.take_up(unknown)
    assert resumed.best() is None and resumed.all() == []
    trials(tmp_path).ask(2)
    resumed = trials(tmp_path)
    resumed.take_up(unknown)
    assert sorted(map(str, resumed.ask(3).values())) == sorted(map(str, points.values()))


@pytest.mark.parametrize("marked", [[], [0]])
def test_the_point_of_a_trial_that_was_killed_is_tried_again_without_a_seed_too(marked, tmp_path):
    """Marked as killed, where the process that took the search up was killed in turn."""
    ((number, half_done),) = trials(tmp_path, seed=None).ask(1).items()
    study = optuna.load_study(study_name="a", storage=f"sqlite:///{tmp_path}/made/a.db")
    study.set_user_attr("killed", marked)
    resumed = trials(tmp_path, seed=None)
    resumed.take_up(unknown)
    ((again, point), (_, other)) = resumed.ask(2).items()
    assert again > number and point == half_done != other


def test_a_trial_that_had_finished_when_the_search_was_killed_is_not_run_again(tmp_path):
    ((_, finished), (_, half_done)) = trials(tmp_path).ask(2).items()
    resumed = trials(tmp_path)
    resumed.take_up(lambda point: 0.5 if point == finished else None)
    assert [(trial.value, trial.params) for trial in resumed.all()] == [(0.5, finished)]
    ((number, point),) = resumed.ask(1).items()
    assert point == half_done
    resumed.tell(number, None)
    assert [trial.number for trial in resumed.failed()] == [number] and len(trials(tmp_path).all()) == 2


def test_a_trial_without_all_its_parameters_is_neither_judged_nor_tried_again(tmp_path):
    """As a search leaves it that is killed while it asks."""
    trials(tmp_path)
    study = optuna.load_study(study_name="a", storage=f"sqlite:///{tmp_path}/made/a.db")
    study.ask({"rate": FloatDistribution(1e-4, 1, log=True)})
    resumed = trials(tmp_path)
    resumed.take_up(pytest.fail)
    assert resumed.all() == [] and resumed.ask(1) == {1: trials(tmp_path / "other").ask(1)[0]}


@pytest.mark.parametrize("value", [None, nan, inf, -inf])
def test_a_trial_without_a_number_for_its_value_failed(value, tmp_path):
    search = trials(tmp_path, storage=None)
    (number,) = search.ask(1)
    search.tell(number, value)
    assert [trial.number for trial in search.failed()] == [number] and search.best() is None


def test_a_study_of_something_else_is_refused(tmp_path):
    trials(tmp_path)
    with pytest.raises(InputError, match=r"study a was searched with seed=not set, now it is 2; .*study_name"):
        trials(tmp_path, about={"app": "pretrain", "seed": "2"})
    with pytest.raises(InputError, match=r"a was searched with batch=.*\(choices=\(4, 8\)\), now it is not set"):
        trials(tmp_path, space={"rate": FloatDistribution(1e-4, 1, log=True)})
    with pytest.raises(InputError, match=r"study a was searched with direction=minimize, now it is maximize"):
        trials(tmp_path, direction="maximize")
    trials(tmp_path, name="b", direction="maximize")


def test_a_storage_that_cannot_be_used_is_refused(tmp_path):
    (tmp_path / "text.db").write_text("this is no database, and long enough to be seen as none" * 40)
    for storage in (f"sqlite:///{tmp_path}/text.db", "sqlite:////dev/null/a.db", "nonsense", "mysql+cymysql://a/b"):
        with pytest.raises(InputError, match=re.escape(f"storage is {storage}, which cannot be used: ")):
            trials(tmp_path, storage=storage)
    trials(tmp_path)
    with sqlite3.connect(tmp_path / "made" / "a.db") as database:
        database.execute("BEGIN IMMEDIATE")
        with pytest.raises(InputError, match="cannot be used: "):
            trials(tmp_path, storage=f"sqlite:///{tmp_path}/made/a.db?timeout=0.1")


@pytest.mark.parametrize("changes", [{"seed": -1}, {"seed": 1.5}, {"_target_": "optuna.samplers.No"}, {"nothing": 1}])
def test_a_sampler_that_cannot_be_made_is_refused_before_anything_is_stored(changes, tmp_path):
    sampler = OmegaConf.create({"_target_": "optuna.samplers.TPESampler", "seed": 1} | changes)
    with pytest.raises(InputError, match=r"hydra\.sweeper\.sampler is .*, which cannot be used: \S+"):
        trials(tmp_path, sampler=sampler)
    assert not list(tmp_path.iterdir())


OLD = """
CREATE TABLE version_info (
    version_info_id INTEGER NOT NULL PRIMARY KEY CHECK (version_info_id = 1),
    schema_version INTEGER, library_version VARCHAR(256)
);
INSERT INTO version_info VALUES (1, 12, '2.10.1');
CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY);
INSERT INTO alembic_version VALUES ('v2.6.0.a');
"""


def test_a_storage_of_an_old_optuna_is_refused_with_what_to_do(tmp_path):
    storage = f"sqlite:///{tmp_path}/a.db"
    with create_engine(storage).begin() as database:
        for statement in OLD.strip().split(";\n"):
            database.execute(text(statement))
    with pytest.raises(InputError, match=r"another search .*study_name=.*storage=.*optuna 2\.10\.1.*storage upgrade"):
        trials(tmp_path, storage=storage)


QUIET = """
import logging, sys
logging.basicConfig(level=logging.INFO)
from optuna.distributions import FloatDistribution
from rwtl.sweeps.trials import Trials
sampler = {"_target_": "optuna.samplers.TPESampler", "n_startup_trials": 1, "group": True, "multivariate": True}
for _ in range(2):
    trials = Trials("a", sys.argv[1], "minimize", sampler, {"x": FloatDistribution(0, 1)}, {})
    trials.take_up(lambda point: None)
    for number in range(3):
        (number,) = trials.ask(1)
        trials.tell(number, 0.5 if number else None)
    trials.ask(1)
"""


def test_optuna_says_nothing(tmp_path):
    line = [sys.executable, "-c", QUIET, f"sqlite:///{tmp_path}/a.db"]
    done = subprocess.run(line, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("line", "kind"),
    [(["hparams_search=nfp"], TPESampler), (["hydra/sweeper=search", "hydra/sweeper/sampler=random"], RandomSampler)],
)
def test_the_presets_of_samplers_make_what_they_say(line, kind):
    with initialize_config_dir(str(CONF), version_base="1.3"), warnings.catch_warnings():
        config = compose("pretrain", [*line, "hydra.sweeper.sampler.seed=3"], return_hydra_config=True)
        warnings.simplefilter("ignore", ExperimentalWarning)
        assert type(instantiate(config.hydra.sweeper.sampler)) is kind


@pytest.mark.slow
def test_a_search_outlives_failed_trials_and_its_end(tmp_path):
    """dt 99 s is longer than the recording, so that trials fail."""
    line = ["-m", "hparams_search=nfp", *SOURCE, "pretraining.steps=0", "clips.dt=choice(0.2,99)"]
    settings = ["pretraining.learning_rate=1e-3", "pretraining.weight_decay=1e-4", "hydra.sweeper.n_trials=4"]
    outputs = tmp_path / "outputs"
    first = run("pretrain", outputs, *line, *settings, "hydra.sweeper.max_failure_rate=1")
    assert first.returncode == 0, first.stderr
    states = {row(first.stdout, number)[0]: row(first.stdout, number)[1] for number in range(4)}
    assert set(states) == {"clips.dt=0.2", "clips.dt=99"} and states["clips.dt=99"] == "failed"
    assert re.search(r"best: trial \d, [\d.]+: clips\.dt=0\.2$", first.stdout, re.MULTILINE)
    again = run("pretrain", outputs, *line, *settings, "hydra.sweeper.max_failure_rate=0.1")
    assert again.returncode == 1 and "Launching" not in again.stdout, "all trials were there"
    assert re.search(r"error: \d of 4 trials failed, more than hydra\.sweeper\.max_failure_rate=0\.1", again.stderr)
