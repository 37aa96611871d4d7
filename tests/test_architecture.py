"""The map in docs/architecture.md is true of the code."""

import ast
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
# Each may import those of the levels before it, and, in a package, its own modules.
LEVELS = [
    ("errors",),
    ("files",),
    ("config", "random", "processes", "progress", "terminal"),
    ("sampling",),
    ("waves", "flow"),
    ("clips",),
    ("models",),
    ("training",),
    ("tracking",),
    ("pipeline",),
    ("sweeps",),
    ("compare",),
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


def test_every_preset_composes():
    from hydra import compose, initialize_config_dir

    apps = {
        "evaluation": "evaluate",
        "comparison": "compare",
        "analysis": "compare",
        "submission": "submit",
        "hydra_settings": None,
    }
    apps |= {"hparams_search": "pretrain"}
    compared = [file.stem for file in (ROOT / "conf" / "experiment").glob("*.yaml") if "comparison" in file.read_text()]
    presets = dict.fromkeys(compared, "compare")
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        for group in (path for path in (ROOT / "conf").iterdir() if path.is_dir()):
            app = apps.get(group.name, "train")
            for choice in group.glob("*.yaml") if app else ():
                of = presets.get(choice.stem, app) if group.name == "experiment" else app
                cfg = compose(of, overrides=[f"{group.name}={choice.stem}"])
                assert group.name in cfg or group.name in ("experiment", "hparams_search")
        assert compose("compare", overrides=["experiment=demo"]).recording.rows == 96
        assert compose("train", overrides=["experiment=overfit_chairs"]).training.batch_size == 1
