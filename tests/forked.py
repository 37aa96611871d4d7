"""Programs whose libraries are imported already: real processes, without the seconds that importing takes.

Importing PyTorch, Lightning, Brian2 and W&B takes 5 to 8 s of every `python experiments/….py`. Here one process imports
them once, and forks a process for each program, which has a process id, signals, an exit code, standard streams, a
folder and an environment of its own and ends as any Python program does. Forking is safe, because the process that
forks has one thread and computes nothing. Such a program cannot show that it imports all it uses: test_experiments
starts each app without rwtl, and some of them from nothing, too.
"""

import atexit
import gc
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from select import select

ENVIRONMENT = dict(os.environ)  # what libraries read while they are imported, before a test changes it
OF_APPS = "rwtl.comparing.comparison rwtl.comparing.skill_grid rwtl.sweeps.preview rwtl.sweeps.status".split()
LIBRARIES = "brian2 optuna plotly pytorch_lightning submitit torch.utils.tensorboard wandb".split()


class Program:
    """A running Python program, with the methods of subprocess.Popen.

    Args:
        arguments: the file of the program, and what it is called with.
        cwd, env: its folder and environment, by default those of this process.
        stdin: a file descriptor, by default of an empty file.
        stdout, stderr: file descriptors, such as a terminal's, by default of what `self.stdout` and `self.stderr` read.
        libraries_only: whether it finds rwtl not imported.
    """

    def __init__(self, arguments, cwd=None, env=None, stdin=None, stdout=None, stderr=None, libraries_only=False):
        self.args = [str(each) for each in arguments]
        where = {"cwd": str(cwd or Path.cwd()), "environment": dict(os.environ if env is None else env)}
        where["libraries_only"] = libraries_only
        pipes = [os.pipe() for _ in range(3)]
        with open(os.devnull) as empty:
            streams = [empty.fileno() if stdin is None else stdin, *(writing for _, writing in pipes)]
            for number, given in ((1, stdout), (2, stderr)):
                streams[number] = streams[number] if given is None else given
            socket.send_fds(_server(), [json.dumps({"arguments": self.args, **where}).encode()], streams)
        for _, writing in pipes:
            os.close(writing)
        self.stdout, self.stderr, self._life = (os.fdopen(reading) for reading, _ in pipes)
        self.pid = int(self._life.readline())
        self.returncode = None

    def poll(self):
        """Return the exit code, which is negative after a signal, or None while the program runs."""
        return self._code(0)

    def wait(self, timeout=None):
        if self._code(timeout) is None:
            raise subprocess.TimeoutExpired(self.args, timeout)
        return self.returncode

    def communicate(self, timeout=None):
        """Return what was printed and not yet read, on both streams, when the program has ended."""
        with ThreadPoolExecutor(2) as readers:
            try:
                output, errors = readers.map(lambda stream: stream.read(), (self.stdout, self.stderr), timeout=timeout)
            except TimeoutError:
                self.send_signal(signal.SIGKILL)
                raise
        self.wait()
        for stream in (self.stdout, self.stderr, self._life):
            stream.close()
        return output, errors

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def _code(self, timeout):
        if self.returncode is None and select([self._life], [], [], timeout)[0]:
            self.returncode = os.waitstatus_to_exitcode(int(self._life.readline()))
        return self.returncode


def run(arguments, **where):
    """Run a program as subprocess.run does, with its output as text."""
    program = Program(arguments, **where)
    output, errors = program.communicate()
    return subprocess.CompletedProcess(program.args, program.returncode, output, errors)


@cache
def _server():
    """Start the process that forks; it ends with this one, and its programs with it."""
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with there:
        command = [sys.executable, __file__, str(there.fileno())]
        server = subprocess.Popen(command, pass_fds=[there.fileno()], env=ENVIRONMENT, start_new_session=True)

    def end():
        here.close()
        server.wait()

    atexit.register(end)
    return here


def serve(requests):
    """Fork a program for each request; return in the program, with its arguments.

    Ends the process where nobody is left to ask.
    """
    running = {}  # the writing end of a program's `_life`, and its process id, by a descriptor of the process
    watched = selectors.DefaultSelector()
    watched.register(requests, selectors.EVENT_READ)
    while True:
        for key, _ in watched.select():
            if key.fileobj in running:
                watched.unregister(key.fileobj)
                life, pid = running.pop(key.fileobj)
                os.close(key.fileobj)
                with suppress(BrokenPipeError), os.fdopen(life, "w") as told:
                    told.write(f"{os.waitpid(pid, 0)[1]}\n")
                continue
            content, streams, *_ = socket.recv_fds(requests, 2**20, 4)
            if not content:
                for _, pid in running.values():
                    os.kill(pid, signal.SIGKILL)
                sys.exit()
            pid = os.fork()
            if pid == 0:
                watched.close()
                requests.close()
                for process, (life, _) in running.items():
                    os.close(process)
                    os.close(life)
                return _become(json.loads(content), streams)
            *given, life = streams
            for stream in given:
                os.close(stream)
            os.write(life, f"{pid}\n".encode())
            process = os.pidfd_open(pid)
            running[process] = (life, pid)
            watched.register(process, selectors.EVENT_READ)


def _become(asked, streams):
    """Give this process the standard streams, the folder and the environment of a program; return its arguments."""
    atexit.unregister(import_module("brian2.utils.logger").clean_up_logging)  # of files that all programs share
    os.setsid()
    for number, stream in enumerate(streams[:3]):
        os.dup2(stream, number)
    for stream in streams:
        os.close(stream)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    os.environ.clear()
    os.environ.update(asked["environment"])
    tempfile.tempdir = None  # which the environment may say
    pictures = import_module("wandb.sdk.data_types._private").MEDIA_TMP  # a folder that a program removes when it ends
    pictures._finalizer.detach()
    pictures.name = tempfile.mkdtemp("wandb-media")
    atexit.register(pictures.cleanup)
    os.chdir(asked["cwd"])
    if asked["libraries_only"]:
        for module in [each for each in sys.modules if each.partition(".")[0] == "rwtl"]:
            del sys.modules[module]
    return asked["arguments"]


def run_and_leave(file):
    """Run a program and end this process as Python does, except for clearing its memory, which takes 2 s here."""
    code = 0
    try:
        runpy.run_path(file, run_name="__main__")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if code and end.code is not code:
            print(end.code, file=sys.stderr)
    except BaseException as error:
        traceback.print_exc()
        code = -signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1
    threading._shutdown()  # waits for threads
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


if __name__ == "__main__":
    gc.disable()
    for library in LIBRARIES:
        import_module(library)
    for module in OF_APPS:
        with suppress(Exception):  # which the app itself will say when it is run
            import_module(module)
    gc.freeze()  # a program need not look through all this for what is no longer used
    gc.enable()
    sys.argv = serve(socket.socket(fileno=int(sys.argv[1])))
    sys.path[0] = str(Path(sys.argv[0]).parent)
    run_and_leave(sys.argv[0])
