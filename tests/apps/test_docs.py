"""The documentation: a site without warnings, and a reference that leaves no key out."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from omegaconf import OmegaConf

from rwtl.comparing.tables import interval
from rwtl.config import SHARED, expanded

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
sys.path.append(str(DOCS))

from reference import CONF, GROUPS, descriptions, reference  # noqa: E402

# What a group's files hold beside the arguments of its classes.
AROUND = {"defaults", "kind", "name", "_target_", "_recursive_"}
LAUNCHERS = {"submitit_folder", "additional_parameters", "poll", "stages", "n_jobs"}  # explained in their files


def groups_of_conf():
    folders = {file.parent.relative_to(CONF).as_posix() for file in CONF.rglob("*.yaml")} - {".", "local"}
    return sorted(folders)


@pytest.mark.slow
def test_the_site_builds_without_warnings(tmp_path):
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", str(DOCS), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for page in DOCS.glob("*.md"):
        assert (tmp_path / f"{page.stem}.html").is_file()
    assert "How clips are cut" in (tmp_path / "configuration.html").read_text()


def test_every_group_and_choice_is_in_the_reference():
    assert sorted(GROUPS) == groups_of_conf()
    page = reference()
    for file in (file for group in (".", *GROUPS) for file in (CONF / group).glob("*.yaml")):
        group = file.parent.relative_to(CONF).as_posix()
        of_root = f"{file.stem}.yaml" if file.stem in SHARED else f"{file.stem}.py"
        assert f"### `{of_root if group == '.' else f'{group}={file.stem}'}`" in page


@pytest.mark.parametrize("group", [group for group, (_, classes) in GROUPS.items() if classes and group != "datasets"])
def test_every_key_is_explained(group):
    known = {key for cls in GROUPS[group][1] for key in descriptions(cls)}
    for file in (CONF / group).glob("*.yaml"):
        section = OmegaConf.to_container(OmegaConf.load(file)) or {}
        section = section.get(file.stem, section) if group == "logger" else section
        assert set(section) - known - AROUND - LAUNCHERS == set(), file


def test_every_data_set_of_the_catalogue_has_explained_keys():
    from rwtl.flow.catalogue import FLOW_DATASETS

    entries = OmegaConf.to_container(OmegaConf.load(CONF / "datasets" / "catalogue.yaml"))
    for name, entry in expanded(entries, "datasets").items():
        assert set(entry) - {"name"} <= set(descriptions(FLOW_DATASETS[entry["name"]])), name


def test_the_studys_figures_are_those_of_its_table():
    page = (DOCS / "study.md").read_text()
    table = pd.read_csv(DOCS / "study.csv")
    primary = table[(table.dataset == "procedural_test") & (table.measure == "epe") & (table.fraction == 1)]
    assert len(primary) == 12 and (primary.seeds == 6).all()
    for line in primary.itertuples():
        name = line.row if pd.isna(line.column) else f"{line.row} · {line.column}"
        cells = next(text for text in page.splitlines() if text.replace("*", "").startswith(f"| {name} |"))
        shown = [interval(line.mean, line.low, line.high)]
        if line.pairs:
            shown += [
                interval(line.difference, line.difference_low, line.difference_high, "+"),
                f"{line.p_corrected:.3f}",
            ]
        assert all(text in cells for text in shown), name


def test_make_help_lists_the_targets():
    done = subprocess.run(["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True)
    listed = {line.split()[0] for line in done.stdout.splitlines()}
    assert listed == {"help", "install", "run", "test", "docs", "notebook", "wheel", "format", "peer", "clean"}
