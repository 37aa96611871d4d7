"""Claims among real processes; another machine is one that says so, for its process ids then mean nothing here."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from rwtl.pipeline import claim as claims
from rwtl.pipeline.claim import TakenOver, claim, holder_of, this_process


def take(folder, done=lambda: False, waiting=lambda holder, silence: pytest.fail(f"waits for {holder}")):
    return claim(folder, done, waiting)


def write_holder(folder, number=1, **changes):
    folder.mkdir(exist_ok=True)
    file = folder / f"{number:06d}"
    file.write_text(json.dumps(asdict(replace(this_process(), **changes))))
    return file


def elsewhere(**changes):
    return {"machine": "another boot pid:[1]", "host": "n7", "pid": 4711, **changes}


def test_a_claim_is_free_again_once_it_is_released_and_gone_once_all_is_made(tmp_path):
    folder = tmp_path / "claims"
    take(folder).release()
    assert holder_of(folder) is None
    held = take(folder)
    assert holder_of(folder)[:2] == (this_process(), False)
    held.finish()
    assert not folder.exists()
    assert take(folder, done=lambda: True) is None and not folder.exists()


COUNTER = """
import sys, time
from pathlib import Path
from rwtl.pipeline.claim import claim
folder, number = Path(sys.argv[1]), Path(sys.argv[1]) / "number"
for _ in range(20):
    held = claim(folder / "claims", lambda: False, lambda *_: None)
    count = int(number.read_text())
    time.sleep(0.002)
    number.write_text(str(count + 1))
    held.release()
"""


def test_one_process_at_a_time_holds_it(tmp_path):
    (tmp_path / "number").write_text("0")
    command = [
        sys.executable,
        "-c",
        COUNTER.replace("import sys", "import rwtl.pipeline.claim as c; c.POLL = 0.005; import sys"),
    ]
    jobs = [subprocess.Popen([*command, str(tmp_path)]) for _ in range(4)]
    assert [job.wait(timeout=300) for job in jobs] == [0] * 4
    assert (tmp_path / "number").read_text() == "80"


def test_a_killed_process_of_this_machine_is_dead_at_once_and_a_stopped_one_is_not(tmp_path):
    code = "import sys; from pathlib import Path; from rwtl.pipeline.claim import claim; "
    code += "claim(Path(sys.argv[1]), lambda: False, print); print('held', flush=True); sys.stdin.read()"
    job = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
    )
    assert job.stdout.readline() == "held\n"
    job.send_signal(signal.SIGSTOP)
    assert holder_of(tmp_path)[0].pid == job.pid and holder_of(tmp_path)[1] is False
    job.kill()
    while holder_of(tmp_path)[1] is False:  # until the kernel has done it
        time.sleep(0.01)
    take(tmp_path).release()  # before anybody has asked for its exit code
    job.communicate()


def test_a_process_id_that_is_used_again_is_another_process(tmp_path):
    write_holder(tmp_path / "claims", born=this_process().born - 1)
    take(tmp_path / "claims").release()


def test_of_another_machine_it_is_dead_when_it_has_given_no_sign_for_the_lease(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "LEASE", 0.6)
    monkeypatch.setattr(claims, "POLL", 0.05)
    file, waited = write_holder(tmp_path / "claims", **elsewhere()), []
    # Its clock is an hour behind, and for a while it gives signs of life: neither may be taken for an end.
    alive = threading.Event()

    def beat():
        for k in range(10):
            os.utime(file, (0, time.time() - 3600 + k))
            time.sleep(0.1)
        alive.set()

    thread = threading.Thread(target=beat)
    thread.start()
    held = take(file.parent, waiting=lambda holder, silence: waited.append((holder.host, silence)))
    assert alive.is_set()
    assert {host for host, _ in waited} == {"n7"} and 0.4 < max(silence for _, silence in waited) <= 0.6
    held.release()
    thread.join()


def test_the_same_slurm_job_run_again_does_not_wait_for_its_earlier_self(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "12")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    write_holder(tmp_path / "claims", **elsewhere(restarts=0))
    assert holder_of(tmp_path / "claims")[1] is None  # another task of the same run, for all that one knows
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert str(holder_of(tmp_path / "claims")[0]) == "process 4711 on n7, SLURM job 12_3"
    take(tmp_path / "claims").release()


def test_who_was_taken_over_learns_it_and_changes_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "HEARTBEAT", 0.02)
    for change in (claims.Claim.release, claims.Claim.finish):
        folder = tmp_path / change.__name__ / "claims"
        held = take(folder)
        held.require()
        write_holder(folder, number=2, **elsewhere())
        with pytest.raises(TakenOver, match=f"{change.__name__} was taken over by another job"):
            held.require()
        held.lost = False
        while not held.lost:  # the signs of life look too
            time.sleep(0.01)
        with pytest.raises(TakenOver):
            held.require(look=False)
        change(held)
        assert json.loads((folder / "000002").read_text())["host"] == "n7"


def test_where_nobody_can_tell_who_holds_it_nothing_is_written(unprivileged):
    held = take(unprivileged / "claims")
    (unprivileged / "claims").chmod(0)
    with pytest.raises(PermissionError):
        held.require()
    (unprivileged / "claims").chmod(0o700)
    held.require()
    held.release()


def test_a_claim_that_somebody_removed_is_lost_unless_its_fence_stands(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "HEARTBEAT", 0.02)
    held = take(tmp_path / "a" / "claims")
    shutil.rmtree(held._file.parent)
    with pytest.raises(TakenOver):
        held.require()
    held.release()
    held = take(tmp_path / "b" / "claims")
    held.fence = tmp_path / "fence"
    held.fence.touch()
    shutil.rmtree(held._file.parent)
    while not held._file.exists():  # written again, so that nobody makes the same
        time.sleep(0.01)
    assert holder_of(tmp_path / "b" / "claims")[:2] == (this_process(), False)
    held.fence.unlink()
    with pytest.raises(TakenOver):
        held.require()
    held.release()


def test_the_millionth_claim_is_the_newest(tmp_path):
    write_holder(tmp_path / "claims", number=999_999, born=1)
    take(tmp_path / "claims").release()
    assert sorted(each.name for each in (tmp_path / "claims").iterdir()) == ["1000000", "999999"]
    take(tmp_path / "claims").release()


GARBAGE = [b"", b"\xff\xfe", b"[1, 2]", b"null", b'{"host": 1}', b"[" * 100_000, b'{"released": "yes"}']
GARBAGE += [json.dumps(elsewhere(born=[], job="", restarts=0)).encode()]
GARBAGE += [json.dumps({**asdict(this_process()), "pid": pid}).encode() for pid in (-1, 0, 10**40, "1", None)]


@pytest.mark.parametrize("content", [*GARBAGE, "a folder", "²"], ids=range(len(GARBAGE) + 2))
def test_what_is_no_claim_is_waited_for_as_long_as_the_lease(tmp_path, monkeypatch, content):
    monkeypatch.setattr(claims, "LEASE", 0.1)
    monkeypatch.setattr(claims, "POLL", 0.02)
    folder = tmp_path / "claims"
    folder.mkdir()
    if content == "a folder":
        (folder / "000001").mkdir()
    elif content == "²":
        (folder / content).touch()
    else:
        (folder / "000001").write_bytes(content)
    holder_of(folder)
    take(folder, waiting=lambda holder, silence: None).release()
    assert holder_of(folder) is None


def test_a_process_that_proc_hides_is_dead_only_if_there_is_none(monkeypatch):
    # Of another user's process under hidepid=2 there is nothing in /proc, and a signal to it is not permitted.
    nobody = subprocess.Popen(["sleep", "60"], user=65534) if os.getuid() == 0 else None
    pid = nobody.pid if nobody else 1
    holder = replace(this_process(), pid=pid, born=claims._stat(pid))
    assert holder.dead() is False

    def hidden(_):
        raise FileNotFoundError

    monkeypatch.setattr(claims, "_stat", hidden)
    monkeypatch.setattr(claims, "this_process", lambda: holder)
    assert holder.dead() is None
    if nobody:
        nobody.kill()
        nobody.wait()
        assert holder.dead() is True


def test_what_was_made_while_one_was_waiting_is_not_made_again(tmp_path):
    made = Path(tmp_path / "made")
    held = take(tmp_path / "claims")

    def waiting(holder, silence):
        if not made.exists():
            made.touch()
            held.finish()

    assert take(tmp_path / "claims", done=made.exists, waiting=waiting) is None


def test_two_threads_that_find_it_removed_write_it_again_once(tmp_path):
    folder, fence = tmp_path / "claims", tmp_path / "fence"
    held = take(folder)
    fence.touch()
    held.fence = fence
    for _ in range(300):
        shutil.rmtree(folder)
        looks = []
        threads = [threading.Thread(target=lambda looks=looks: looks.append(held._ours())) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert looks == [True, True]
    held.finish()
