"""Several runs side by side, in processes that do not outlive the one that started them."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing.connection import wait
from typing import Any

from rwtl.process_context import process_context


def run_side_by_side(function: Callable, tasks: dict[str, tuple], jobs: int) -> Iterable[tuple[str, Any]]:
    """Call `function` with the arguments of every task, `jobs` at a time; yield (task's name, result or exception).

    Results come in the order in which they are finished. A task that fails does not stop the others; an interruption
    stops them all.
    """
    pool = ProcessPoolExecutor(jobs, mp_context=process_context(), initializer=_end_with_parent)
    try:
        names = {pool.submit(function, *arguments): name for name, arguments in tasks.items()}
        for future in as_completed(names):
            yield names[future], future.exception() or future.result()
    except BaseException:
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _end_with_parent() -> None:
    """End this process when its parent does, however that ends: nobody would take its result."""

    def watch() -> None:
        wait([multiprocessing.parent_process().sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
