"""Trainings in Weights & Biases."""

import os
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import wandb
from jaxtyping import UInt8
from pydantic import ValidationError
from pytorch_lightning.utilities import rank_zero_only
from wandb.errors import UsageError

from rwtl.errors import InputError
from rwtl.progress import say
from rwtl.sections import Listed, Positive, section
from rwtl.tracking.tracker import Lineage, Tracked, Tracker, named

FLUSH = 1.0  # seconds after which numbers are on disk: what a kill -9 can take


@section("logger.wandb")
class WandbConfig:
    """Where a training is logged.

    Args:
        mode: `offline`, `online` or `disabled`.
        project, entity: W&B's; without an entity, that of who is logged in.
        group: of the run; None: the name of the sweep.
        tags: of the run.
        init_timeout: seconds in which the server must answer at the start.
        finish_timeout: seconds that the upload may take at the end.
    """

    mode: Literal["offline", "online", "disabled"] = "offline"
    project: str = "rwtl"
    entity: str | None = None
    group: str | None = None
    tags: Annotated[list[str], Listed] = field(default_factory=list)
    init_timeout: Positive = 30.0
    finish_timeout: Positive = 60.0


LONGEST = 128  # characters of a group and of a run's name, which the server refuses at the end of the work
SETTINGS = {"project": "project", "entity": "entity", "group": "run_group", "tags": "run_tags"}  # by key


def require_accepted(config: WandbConfig, sweep: str | None) -> None:
    """Raise InputError where W&B would refuse a value, or is to be used online and nobody is logged in.

    Args:
        config: what it is asked for.
        sweep: which is the group where the configuration names none.
    """
    if config.mode == "disabled":
        return
    for key, setting in SETTINGS.items():
        with _in_its_words(f"logger.wandb.{key} is {getattr(config, key)!r}"):
            wandb.Settings(**{setting: getattr(config, key)})
    for name in (name for name in os.environ if name.startswith("WANDB_")):
        shown = "" if "KEY" in name else f" is {os.environ[name]!r}"  # no secret is printed
        with _in_its_words(f"{name}{shown} in the environment"):
            wandb.Settings().update_from_env_vars({name: os.environ[name]})
    group = config.group or sweep or ""
    if len(group) > LONGEST:
        key = "logger.wandb.group" if config.group else "logger.wandb.group, which is the name of the sweep,"
        raise InputError(f"{key} is {group!r}; W&B's limit is {LONGEST} characters, and it has {len(group)}")
    if config.mode == "online":
        wandb.setup(wandb.Settings(silent=True))
        if not wandb.login(prompt=False, verify=False):
            raise InputError(
                "logger.wandb.mode is 'online', but nobody is logged in to W&B: run `wandb login`, or set "
                "logger.wandb.mode=offline and upload the runs later with `wandb sync`"
            )


@contextmanager
def _in_its_words(given: str) -> Iterator[None]:
    """Raise InputError where W&B does not take what is given."""
    try:
        yield
    except (UsageError, ValidationError) as error:
        said = error.errors()[0]["msg"].removeprefix("Value error, ") if isinstance(error, ValidationError) else error
        raise InputError(f"{given}; W&B says: {said}") from error


class WandbTracker(Tracker):
    """Logs a training as the W&B run `kind-digest`, in `folder`/wandb, with the step as its own metric `step`.

    A job that goes on with a training continues the run where it is online, and writes another piece with the same id
    where it is offline: `rwtl.tracking.read_back` puts them together. Where the server does not answer, at the start or
    later, the training goes on and the rest is kept offline; a message says how to upload it.

    Args:
        config: where.
        tracked: what is trained.
        folder: in whose subfolder `wandb`, which is W&B's name for it, runs are kept.
    """

    def __init__(self, config: WandbConfig, tracked: Tracked, folder: Path):
        super().__init__(tracked)
        self.config = config
        self.folder = folder
        self.mode = config.mode
        self.opened: wandb.Run | None = None
        self.results: list[Lineage] = []
        self.sent: list[wandb.Artifact] = []  # that the server has not acknowledged

    def _use(self, action: Callable[[wandb.Run], Any]) -> None:
        """Do something with the run, which begins now if it has not yet; offline, where it cannot be done online."""
        try:
            if self.opened is None:
                self.opened = self._begin()
                self._introduce(self.opened)
            action(self.opened)
        except Exception as error:  # whatever W&B raises for its network must not end a training
            if self.mode == "offline":
                raise
            self._go_offline(error)
            self._use(action)

    def _go_offline(self, error: Exception) -> None:
        self._say(" ".join(str(error).split()) or type(error).__name__)
        self.mode, self.opened, self.sent = "offline", None, []
        wandb.teardown(exit_code=1)  # W&B's service would not begin another piece of a run that has not ended well

    def _begin(self) -> wandb.Run:
        self.folder.mkdir(parents=True, exist_ok=True)
        return wandb.init(
            mode=self.mode,
            project=self.config.project,
            entity=self.config.entity,
            id=self.tracked.id,
            name=self.tracked.label[:LONGEST],
            group=self.config.group or self.tracked.sweep,
            job_type=self.tracked.kind,
            tags=self.config.tags,
            config=self.tracked.described(),
            dir=self.folder,
            resume="allow",
            reinit="create_new",  # never the run of an earlier job in the same process
            settings=wandb.Settings(
                silent=True,
                console="off",
                save_code=False,
                disable_git=True,
                init_timeout=self.config.init_timeout,
                finish_timeout=self.config.finish_timeout,
                finish_timeout_raises=True,
                x_transaction_log_flush_interval=FLUSH,
            ),
        )

    def _introduce(self, run: wandb.Run) -> None:
        run.define_metric("step")
        run.define_metric("*", step_metric="step")
        for name, text, numbers in self.notes:
            run.summary.update({name: text} | {f"{name}/{key}": value for key, value in numbers.items()})
        for parent in self.tracked.parents.values():
            # As `use_artifact` does, which refuses to work offline, and online waits for the upload.
            self.sent.append(run._log_artifact(_artifact(parent), is_user_created=True, use_after_commit=True))
        for result in self.results:
            self.sent.append(run.log_artifact(_artifact(result)))

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, int | float], step: int) -> None:
        numbers = {name: metrics[key] for key, name in named(metrics).items()}
        self._use(lambda run: run.log(numbers | {"step": step}))

    @rank_zero_only
    def log_picture(self, name: str, picture: UInt8[np.ndarray, "h w 3"], step: int) -> None:
        self._use(lambda run: run.log({name: wandb.Image(picture), "step": step}))

    @rank_zero_only
    def result(self, result: Lineage) -> None:
        self._use(lambda run: self.sent.append(run.log_artifact(_artifact(result))))
        self.results.append(result)

    def close(self, failed: bool) -> None:
        if self.opened is None:
            return
        self._wait_for_artifacts()
        run, self.opened = self.opened, None
        try:
            run.finish(exit_code=int(failed))
        except TimeoutError:
            self._say(f"it has not taken all within {self.config.finish_timeout:g} s")

    def _wait_for_artifacts(self) -> None:
        """Unlike numbers, artifacts of an online run are not on disk: where one does not arrive, they go there."""
        if self.mode == "online":
            try:
                for artifact in self.sent:
                    artifact.wait(timeout=int(self.config.finish_timeout))
            except Exception as error:
                self._go_offline(error)
                self._use(lambda run: None)

    def _say(self, reason: str) -> None:
        pieces = f"{shlex.quote(str(self.folder / 'wandb'))}/*run-*-{self.tracked.id}"
        say(
            f"  {self.tracked.label}: W&B does not take the run ({reason}); the training goes on and nothing is lost, "
            f"upload it later: wandb sync --no-skip-online {pieces}"
        )


def _artifact(lineage: Lineage) -> wandb.Artifact:
    """A folder is referred to where it is; a file is uploaded, and not copied before, for it does not change."""
    folder = lineage.path.is_dir()
    artifact = wandb.Artifact(lineage.id, lineage.kind if folder else "model", metadata={"digest": lineage.digest})
    if folder:
        artifact.add_reference(lineage.path.resolve().as_uri(), checksum=False)  # its digest says what it holds
    else:
        artifact.add_file(str(lineage.path.resolve()), policy="immutable")
    return artifact
