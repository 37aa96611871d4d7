"""The map in docs/architecture.md is true of the code."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Each may import those of the levels before it, and, in a package, its own modules.
LEVELS = [
    ("errors",),
    ("files",),
    (
        "config",
        "program",
        "overrides",
        "retired",
        "sections",
        "random",
        "processes",
        "progress",
        "terminal",
        "registry",
        "plugins",
    ),
    ("keys",),
    ("sampling", "composition"),
    ("help",),
    ("waves", "flow"),
    ("clips",),
    ("models",),
    ("learning",),
    ("tracking",),
    ("pipeline",),
    ("predicting",),
    ("sweeps",),
    ("comparing",),
    ("api",),
    ("apps",),
    ("__main__",),
]
MODULES = {
    ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file
    for file in (ROOT / "rwtl").rglob("*.py")
}


def imported(file):
    """The modules of rwtl that a file imports, inside functions too."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("rwtl"))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("rwtl"):
            for alias in node.names:
                module = f"{node.module}.{alias.name}"
                yield module if module in MODULES else node.module


def level_of(module):
    name = module.split(".")[1]
    return next(level for level, names in enumerate(LEVELS) if name in names)


def test_no_module_imports_one_to_its_right():
    for module, file in MODULES.items():
        for other in set(imported(file)) - {"rwtl"} if module != "rwtl" else ():
            same = module.split(".")[1] == other.split(".")[1]
            assert same or level_of(other) < level_of(module), f"{module} imports {other}"


def test_no_imports_go_round_in_a_circle():
    graph = {module: set(imported(file)) - {module} for module, file in MODULES.items()}
    while leaves := [module for module, others in graph.items() if not others & graph.keys()]:
        graph = {module: others for module, others in graph.items() if module not in leaves}
    assert not graph, f"among these modules imports go round in a circle: {', '.join(sorted(graph))}"


def test_every_package_is_on_the_map():
    page = (ROOT / "docs" / "architecture.md").read_text()
    for name in {module.split(".")[1] for module in MODULES if module != "rwtl"}:
        assert re.search(rf"^  {name}/? ", page, re.M), name


def test_every_dependency_has_its_line():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [name for names in project["optional-dependencies"].values() for name in names]
    page = (ROOT / "docs" / "architecture.md").read_text().split("## Dependencies")[1]
    for requirement in project["dependencies"] + extras:
        name = re.match(r"[\w-]+", requirement)[0]
        assert re.search(rf"\b{name}\b", page), name


@pytest.mark.slow
def test_every_preset_composes():
    """Those of different groups together, for each takes a while alone."""
    from hydra import compose, initialize_config_dir

    conf = ROOT / "conf"
    choices = {path.name: sorted(file.stem for file in path.glob("*.yaml")) for path in conf.iterdir() if path.is_dir()}
    apart = {"evaluate": ["evaluation"], "submit": ["submission"], "pretrain": ["hparams_search"]}
    apart |= {"compare": ["comparison"]}
    of_train = set(choices).difference(*apart.values(), ["debug", "hydra", "experiment"])
    with initialize_config_dir(str(conf), version_base="1.3"):
        for app, groups in {**apart, "train": sorted(of_train)}.items():
            for number in range(max(len(choices[group]) for group in groups)):
                together = [f"{group}={choices[group][number % len(choices[group])]}" for group in groups]
                cfg = compose(app, overrides=together)
                assert all(group in cfg for group in groups if group != "hparams_search")
        for experiment in choices["experiment"]:
            if "comparison" not in (conf / "experiment" / f"{experiment}.yaml").read_text():
                compose("train", overrides=[f"experiment={experiment}"])  # test_comparison_rows plans the others
        assert compose("compare", overrides=["experiment=demo"]).recording.rows == 96
        assert compose("train", overrides=["experiment=overfit_chairs"]).training.batch_size == 1
