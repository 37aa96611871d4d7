"""Every tensor annotation of rwtl is checked while testing, and W&B reports no errors of tests to its makers."""

import atexit
import gc
import os
from collections import Counter
from functools import cache, wraps
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FunctionType

import forked
import jaxtyping
import pytest

os.environ["WANDB_ERROR_REPORTING"] = "false"
os.environ.pop("COLUMNS", None)  # into files programs print as wide as they like
CHECKED_CALLS = 10  # of each function in each test
calls = Counter()
check_shapes = jaxtyping.jaxtyped


def check_shapes_where_tensors_are(typechecker):
    """The decorator of jaxtyping's import hook, for annotations of tensors alone: a process needs 10 s to decorate all
    functions of rwtl. A function's first calls in each test are checked, for checks of all take a quarter of the time
    of a training."""

    def decorate(decorated):
        function = getattr(decorated, "fget", getattr(decorated, "__func__", decorated))
        if "jaxtyping." not in str(getattr(function, "__annotations__", {})):
            return decorated
        checked = check_shapes(decorated, typechecker=typechecker)
        if not isinstance(decorated, FunctionType):
            return checked

        @wraps(decorated)
        def checked_at_first(*values, **named):
            calls[decorated] += 1
            return (checked if calls[decorated] <= CHECKED_CALLS else decorated)(*values, **named)

        return checked_at_first

    return decorate


@pytest.fixture
def unprivileged():
    """A folder of one's own, while this process is a user whom permissions hold."""
    with TemporaryDirectory() as folder:  # pytest's own folders are for the user alone who runs it
        as_root = os.geteuid() == 0
        if as_root:
            os.chown(folder, 65534, 65534)
            os.seteuid(65534)
        try:
            yield Path(folder)
        finally:
            if as_root:
                os.seteuid(0)


@pytest.fixture(autouse=True)
def shapes_are_checked_anew():
    calls.clear()


# What rwtl imports while the hook is at work is compiled anew, libraries too.
gc.disable()
for library in forked.LIBRARIES:
    import_module(library)
gc.freeze()  # Brian2 searches for garbage at each simulation, and need not look through all this
gc.enable()
atexit.register(gc.freeze)
jaxtyping.jaxtyped = check_shapes_where_tensors_are  # where the hook looks it up
jaxtyping.install_import_hook("rwtl", "beartype.beartype")


@pytest.fixture(scope="session", autouse=True)
def compiler_that_remembers(tmp_path_factory):
    """Simulations of this process and its children are compiled by `tests/compiler`, which compiles nothing twice."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # which the processes of a session share
    (folder / "objects").mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as environment:
        if "CXX" in os.environ:
            environment.setenv("RWTL_CXX", os.environ["CXX"])
        environment.setenv("RWTL_OBJECTS", str(folder / "objects"))
        environment.setenv("CXX", str(Path(__file__).with_name("compiler")))
        yield


def pytest_itemcollected(item):
    """Mark as slow the tests of what takes long to set up."""
    if {"cluster", "compared", "made", "undisturbed"} & set(item.fixturenames):
        item.add_marker("slow")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Sort the files so that those with most slow tests, and the cluster's above all, begin first."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: (item.get_closest_marker("cluster") is None, -slow[item.path]))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """With --dist loadfile, give a file to one process, for its tests share what they make, and to one process, too,
    all files whose tests share the cluster."""
    from xdist.scheduler import LoadFileScheduling

    if config.getvalue("dist") != "loadfile":
        return None

    class OneCluster(LoadFileScheduling):
        def _split_scope(self, nodeid):
            file = super()._split_scope(nodeid)
            return "cluster" if "/slurm/" in file else file

    return OneCluster(config, log)


@pytest.fixture
def recording_of(tmp_path):
    """Write given frames (frame, row, column), nM, as a recording and return its path."""
    from rwtl.waves import RecordingConfig, SacParameters
    from rwtl.waves.store import RecordingWriter

    def write(frames, frame_interval):
        config = RecordingConfig(
            rows=frames.shape[1],
            columns=frames.shape[2],
            spacing=50.0,
            duration=len(frames) * frame_interval,
            transient=0.0,
            time_step=1e-4,
            frame_interval=frame_interval,
            seed=1,
            cell=SacParameters(),
        )
        with RecordingWriter(tmp_path / "recording", config) as writer:
            for number, frame in enumerate(frames, start=1):
                writer.write(number, frame, None)
            writer.finish()
        return tmp_path / "recording"

    return write


@pytest.fixture(scope="module")
def wandb_read_once():
    """Let each file of W&B's be read once, for that takes W&B's program most of a second; no test may change one."""
    from rwtl.tracking import read_back

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(read_back, "_records", cache(read_back._records))
        yield
