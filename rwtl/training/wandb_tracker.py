"""Trainings in Weights & Biases."""

import html
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import wandb
from jaxtyping import UInt8
from pytorch_lightning.utilities import rank_zero_only
from wandb.errors import CommError, UsageError

from rwtl.errors import InputError
from rwtl.training.tracker import Lineage, Tracked, Tracker

MODES = ("offline", "online")
FLUSH = 1.0  # seconds after which numbers are on disk: what a kill -9 can take


@dataclass
class WandbConfig:
    """Where a training is logged.

    Args:
        mode: `offline` or `online`.
        project, entity: W&B's; without an entity, that of who is logged in.
        group: of the run; None: the name of the sweep.
        tags: of the run.
        init_timeout: seconds in which the server must answer at the start.
        finish_timeout: seconds that the upload may take at the end.
    """

    mode: str = "offline"
    project: str = "rwtl"
    entity: str | None = None
    group: str | None = None
    tags: list[str] = field(default_factory=list)
    init_timeout: float = 30.0
    finish_timeout: float = 120.0

    def __post_init__(self):
        if self.mode not in MODES:
            raise InputError(f"logger.wandb.mode is {self.mode!r}; choose one of {', '.join(MODES)}")
        for key in ("init_timeout", "finish_timeout"):
            if getattr(self, key) <= 0:
                raise InputError(f"logger.wandb.{key} is {getattr(self, key)}; it must be positive (seconds)")


def require_login(config: WandbConfig) -> None:
    """Raise InputError where W&B is to be used online, and nobody is logged in."""
    if config.mode == "online":
        wandb.setup(wandb.Settings(silent=True))
        if not wandb.login(prompt=False, verify=False):
            raise InputError(
                "logger.wandb.mode is 'online', but nobody is logged in to W&B: run `wandb login`, or set "
                "logger.wandb.mode=offline and upload the runs later with `wandb sync`"
            )


class WandbTracker(Tracker):
    """Logs a training as the W&B run `kind-digest`, in `folder`/wandb, with the step as its own metric `step`.

    A job that goes on with a training continues the run where it is online, and writes another piece with the same id
    where it is offline: `rwtl.study.wandb_runs` puts them together. Where the server does not answer, the training goes
    on, and a message says how to upload the run later.

    Args:
        config: where.
        tracked: what is trained.
        folder: in whose subfolder `wandb`, which is W&B's name for it, runs are kept.
    """

    def __init__(self, config: WandbConfig, tracked: Tracked, folder: Path):
        super().__init__(tracked)
        self.config = config
        self.folder = folder
        self._run: wandb.Run | None = None

    @property
    def run(self) -> wandb.Run:
        """The run, which begins now if it has not yet."""
        if self._run is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._run = self._begin()
            self._run.define_metric("step")
            self._run.define_metric("*", step_metric="step")
            for name, text, numbers in self.notes:
                self._run.summary.update({f"{name}/{key}": value for key, value in numbers.items()})
                self._run.log({name: wandb.Html(f"<pre>{html.escape(text)}</pre>")})
            for parent in self.tracked.parents.values():
                # As `use_artifact` does, which refuses to work offline and waits for the server online.
                self._run._log_artifact(_artifact(parent), is_user_created=True, use_after_commit=True)
        return self._run

    def _begin(self) -> wandb.Run:
        settings = wandb.Settings(
            silent=True,
            console="off",
            save_code=False,
            disable_git=True,
            init_timeout=self.config.init_timeout,
            finish_timeout=self.config.finish_timeout,
            finish_timeout_raises=True,
            x_transaction_log_flush_interval=FLUSH,
        )
        arguments: dict[str, Any] = {
            "project": self.config.project,
            "entity": self.config.entity,
            "id": self.tracked.id,
            "name": self.tracked.label,
            "group": self.config.group or self.tracked.sweep,
            "job_type": self.tracked.kind,
            "tags": self.config.tags,
            "config": self.tracked.described(),
            "dir": self.folder,
            "resume": "allow",
            "reinit": "create_new",  # never the run of an earlier job in the same process
            "settings": settings,
        }
        try:
            return wandb.init(mode=self.config.mode, **arguments)
        except CommError as error:
            reason = str(error).splitlines()[-1]
            run = wandb.init(mode="offline", **arguments)
            self._say(f"W&B cannot be reached ({reason})", run)
            return run
        except UsageError as error:
            raise InputError(f"W&B refuses the run: {error}; or set logger.wandb.mode=offline") from error

    def _say(self, what: str, run: wandb.Run) -> None:
        folder = run.settings.sync_dir
        print(
            f"  {self.tracked.label}: {what}; nothing is lost: upload it later with `wandb sync {folder}`", flush=True
        )

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        self.run.log(metrics | {"step": step})

    @rank_zero_only
    def log_picture(self, name: str, picture: UInt8[np.ndarray, "h w 3"], step: int) -> None:
        self.run.log({name: wandb.Image(picture), "step": step})

    @rank_zero_only
    def result(self, result: Lineage) -> None:
        self.run.log_artifact(_artifact(result))

    def close(self, failed: bool) -> None:
        if self._run is None:
            return
        run, self._run = self._run, None
        try:
            run.finish(exit_code=int(failed))
        except TimeoutError:
            self._say(f"W&B has not taken all of the run within {self.config.finish_timeout:g} s", run)


def _artifact(lineage: Lineage) -> wandb.Artifact:
    """A folder is referred to where it is; a file is uploaded, and not copied before, for it does not change."""
    folder = lineage.path.is_dir()
    artifact = wandb.Artifact(lineage.id, lineage.kind if folder else "model", metadata={"digest": lineage.digest})
    if folder:
        artifact.add_reference(lineage.path.resolve().as_uri(), checksum=False)  # its digest says what it holds
    else:
        artifact.add_file(str(lineage.path.resolve()), policy="immutable")
    return artifact
