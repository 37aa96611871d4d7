"""The configuration reference, from the files of conf/ and the docstrings of the classes that they fill."""

import dataclasses
import inspect
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import docstring_parser

from rwtl.clips.config import ClipsConfig
from rwtl.clips.motion import MotionConfig
from rwtl.clips.scenes import SceneClipsConfig
from rwtl.comparing.conditions import ComparisonConfig
from rwtl.comparing.measures import AnalysisConfig
from rwtl.config import SHARED, short
from rwtl.flow.augmentation import AugmentationConfig, SparseAugmentationConfig
from rwtl.flow.catalogue import FLOW_DATASETS, FlowDataConfig, PartConfig
from rwtl.learning.evaluation import EstimationConfig
from rwtl.learning.recipe import TrainerConfig
from rwtl.learning.tasks.next_frame import PretrainingRecipe
from rwtl.learning.tasks.optical_flow import FlowRecipe, WaveFlowRecipe
from rwtl.learning.tasks.self_supervised import SelfSupervisedRecipe
from rwtl.learning.transfer.config import TransferConfig
from rwtl.models.parts import ModelConfig
from rwtl.sections import Rule
from rwtl.sweeps.executors import ProcessesConfig
from rwtl.sweeps.search import SearchConfig
from rwtl.sweeps.slurm_config import SlurmConfig
from rwtl.tracking.tensorboard import TensorBoardConfig
from rwtl.tracking.wandb import WandbConfig
from rwtl.waves.config import RecordingConfig
from rwtl.waves.engines.cpp import CppEngine
from rwtl.waves.engines.cuda import CudaEngine
from rwtl.waves.engines.runtime import RuntimeEngine
from rwtl.waves.model.state import StartConfig
from rwtl.waves.model.tissue import CouplingConfig
from rwtl.waves.synthetic import FrontsConfig, MovingShapesConfig

CONF = Path(__file__).parents[1] / "conf"
# Groups in the order of the pipeline, each with what it is and the classes whose arguments its keys are.
GROUPS: dict[str, tuple[str, tuple[type, ...]]] = {
    "recording": ("One simulated run, or one made by formula.", (RecordingConfig, FrontsConfig, MovingShapesConfig)),
    "recording/cell": ("The cell: parameters by the papers' symbols.", ()),
    "engine": ("What simulates: it does not determine the result.", (CppEngine, CudaEngine, RuntimeEngine)),
    "clips": ("What a source task is trained on.", (ClipsConfig, SceneClipsConfig)),
    "model": ("RAFT's variant and the normalisation of its feature encoder.", (ModelConfig,)),
    "pretraining": ("The source task.", (PretrainingRecipe, WaveFlowRecipe, SelfSupervisedRecipe)),
    "transfer": ("What is loaded, and what is frozen.", (TransferConfig,)),
    "datasets": ("Data sets of optical flow by name; `name` chooses the class.", tuple(FLOW_DATASETS.values())),
    "flow_data": (
        "What flow is learnt from.",
        (FlowDataConfig, PartConfig, AugmentationConfig, SparseAugmentationConfig),
    ),
    "training": ("The target task's schedule.", (FlowRecipe,)),
    "evaluation": ("On what a trained RAFT is measured.", (EstimationConfig,)),
    "comparison": ("The rows of a comparison.", (ComparisonConfig,)),
    "trainer": ("Where and how fast; only the precision determines the result.", (TrainerConfig,)),
    "logger": ("What is told of a training beside its own files.", (WandbConfig, TensorBoardConfig)),
    "submission": ("Estimates for a benchmark's test split.", (EstimationConfig,)),
    "experiment": ("Whole studies and schedules by one word.", ()),
    "executor": ("Where everything is made.", (ProcessesConfig, SlurmConfig)),
    "hparams_search": ("Searches: one of them makes any line a search.", ()),
    "hydra/launcher": ("The executors again, in the words of Hydra, for the jobs of a multirun.", ()),
    "hydra/sweeper": ("How the jobs of a multirun are found.", (SearchConfig,)),
    "hydra/sweeper/sampler": ("How a search proposes points.", ()),
    "debug": ("All in seconds, to see whether the parts fit together.", ()),
}
FURTHER = (
    CouplingConfig,
    StartConfig,
    MotionConfig,
    AnalysisConfig,
)  # sections within others


def reference() -> str:
    """Return the page as Markdown."""
    parts = ["# Configuration reference", INTRODUCTION, "## What the experiments share"]
    parts += [f"### `{name}.yaml`\n\n{_yaml(CONF / f'{name}.yaml')}" for name in SHARED]
    apps = [file for file in sorted(CONF.glob("*.yaml")) if file.stem not in SHARED]
    parts += ["## Experiments", *(f"### `{file.stem}.py`\n\n{_yaml(file)}" for file in apps)]
    for group, (about, classes) in GROUPS.items():
        parts += [f"## `{group}=`", about]
        parts += [f"### `{group}={file.stem}`\n\n{_yaml(file)}" for file in sorted((CONF / group).glob("*.yaml"))]
        parts += [_arguments(cls) for cls in classes]
    parts += ["## Sections of their own", *(_arguments(cls) for cls in FURTHER)]
    return "\n\n".join(parts) + "\n"


INTRODUCTION = """\
Every choice of every group, as its file has it, and every key with what it means: keys are the arguments of the class
that is named. `key=value` on the command line sets one, `group=choice` a whole section; `--help` of an experiment shows
them too. This page is generated by `make docs`."""


def _yaml(file: Path) -> str:
    return f"```yaml\n{file.read_text().strip()}\n```"


def _arguments(cls: type) -> str:
    """A table of a class's arguments: type, default, meaning."""
    described = {key: text for key, text in descriptions(cls).items() if key in inspect.signature(cls).parameters}
    if not described:
        return ""
    hints = _hints(cls)
    defaults = _defaults(cls)
    lines = [
        f"| `{name}` | {_takes(hints.get(name))} | {defaults.get(name, '')} | {_cell(text)} |"
        for name, text in described.items()
    ]
    head = f"**{cls.__name__}** ({cls.__module__.replace('.', '/')}.py): {_cell(_summary(cls))}"
    return "\n".join([head, "", "| key | takes | default | meaning |", "| --- | --- | --- | --- |", *lines])


def descriptions(cls: type) -> dict[str, str]:
    """Return what the docstrings of a class and of those that it extends say of each argument."""
    found: dict[str, str] = {}
    for each in reversed(cls.__mro__):
        for parameter in docstring_parser.parse(each.__dict__.get("__doc__") or "").params:
            for name in parameter.arg_name.split(","):
                found[name.strip()] = parameter.description or ""
    return found


def _summary(cls: type) -> str:
    return docstring_parser.parse(cls.__doc__ or "").short_description or ""


def _hints(cls: type) -> dict[str, Any]:
    source = cls if dataclasses.is_dataclass(cls) else cls.__init__
    return get_type_hints(source, include_extras=True)


def _defaults(cls: type) -> dict[str, str]:
    """Return the defaults of a class as one would write them on the command line."""
    found = {}
    for field in dataclasses.fields(cls) if dataclasses.is_dataclass(cls) else ():
        if field.default is not dataclasses.MISSING:
            found[field.name] = f"`{_cell(short(field.default))}`"
        elif field.default_factory is not dataclasses.MISSING and isinstance(made := field.default_factory(), list):
            written = str(made).replace("'", "")
            found[field.name] = f"`{_cell(written)}`"
    return found


def _takes(hint: Any) -> str:
    """What a key takes, in words: its type, and the rules that its class declares for it."""
    if hint is None:
        return ""
    if get_origin(hint) is Annotated:
        rules = [_cell(rule.rule) for rule in hint.__metadata__ if isinstance(rule, Rule)]
        return "; ".join([_takes(hint.__origin__), *rules])
    if get_origin(hint) in (Union, UnionType):
        return " or ".join(map(_takes, get_args(hint)))
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(map(str, get_args(hint)))
    if get_origin(hint) is dict:
        return "section"
    if get_origin(hint) is list:
        return f"list: each {_takes(get_args(hint)[0])}"
    words = {int: "whole number", float: "number", str: "text", bool: "true or false", type(None): "null", Path: "path"}
    if hint in words:
        return words[hint]
    text = getattr(hint, "__name__", str(hint)) if isinstance(hint, type) else str(hint)
    return _cell(text.replace("typing.", "").replace("collections.abc.", ""))


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    print(reference())
