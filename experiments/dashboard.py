"""Build the W&B workspace of a sweep from what its runs have logged; without a login, as a JSON file."""

import json

import hydra
from omegaconf import DictConfig

from rwtl.errors import InputError
from rwtl.study.app import readable_errors
from rwtl.study.dashboard import publish, specification, workspace
from rwtl.study.recordings import outputs_folder, setting
from rwtl.study.tracking import check_loggers
from rwtl.study.wandb_runs import read_runs


@hydra.main(version_base="1.3", config_path="../conf", config_name="dashboard")
@readable_errors
def main(cfg: DictConfig) -> None:
    sweep, stage, outputs = str(setting(cfg, "sweep")), str(cfg.stage), outputs_folder(cfg)
    config = check_loggers(cfg).get("wandb")
    if config is None:
        raise InputError("a dashboard is W&B's; use logger=wandb")
    known = read_runs(outputs / "wandb")
    runs = [run for run in known if (run.group, run.job_type) == (sweep, stage)]
    if not runs:
        found = ", ".join(sorted({f"{run.group} ({run.job_type})" for run in known if run.group})) or "none"
        raise InputError(f"{outputs / 'wandb'} holds no {stage} of the sweep {sweep!r}; sweeps there: {found}")
    built = workspace(sweep, stage, runs, config.project, config.entity or "")
    file = outputs / "dashboard" / (f"{sweep}.json" if stage == "training" else f"{sweep}_{stage}.json")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(specification(built), indent=2) + "\n")
    print(f"{len(runs)} runs; specification: {file}")
    if config.mode == "online":
        print(f"dashboard: {publish(built)}")
    else:
        print(
            f"to publish it: wandb login; wandb sync {outputs / 'wandb' / '*run-*'}; and this command with "
            "logger.wandb.mode=online"
        )


if __name__ == "__main__":
    main()
