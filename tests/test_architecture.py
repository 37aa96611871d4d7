"""The map in docs/architecture.md is true of the code."""

import ast
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
LEFT_TO_RIGHT = ["waves", "data", "models", "training", "study"]


def imported_packages(file):
    for node in ast.walk(ast.parse(file.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
        yield from (name.split(".")[1] for name in names if name.startswith("rwtl."))


def test_no_module_imports_one_to_its_right():
    for position, package in enumerate(LEFT_TO_RIGHT):
        for file in (ROOT / "rwtl" / package).glob("*.py"):
            right = set(imported_packages(file)) & set(LEFT_TO_RIGHT[position + 1 :])
            assert not right, f"{file.name} imports {right}"


def test_every_module_is_on_the_map():
    page = (ROOT / "docs" / "architecture.md").read_text()
    for file in (ROOT / "rwtl").rglob("*.py"):
        name = re.sub(r"^(procedural|clip)_\w+", r"\1_*", file.stem) + ".py"
        assert file.name == "__init__.py" or name in page, name


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
