"""What is known of a process that died: in which way, with which stack, how much memory, and what its job said last."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import time
from collections.abc import Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from resource import RLIMIT_CORE, getrlimit, setrlimit
from typing import Any

import deadly
import pytest
from deadly import app
from test_link import process

from windlass import JobCancelled, JobFailed
from windlass.core.outcome import ErrorInfo
from windlass.worker import evidence
from windlass.worker.evidence import OomKills, cause_of_death, oom_counter, resident
from windlass.worker.link import Orders, Process, Ready
from windlass.worker.runner import working
from windlass.worker.supervisor import Supervisor

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="signals and files that only Linux has")
READY = "from windlass.worker.link import Ready; parent.send(Ready()); "


async def enqueue(name: str, *args: Any, **options: Any) -> Any:
    return await app.get_task(name if "." in name else f"deadly.{name}").options(**options).enqueue(*args)


async def failure(job: Any) -> ErrorInfo:
    with pytest.raises(JobFailed) as caught:
        await job.result(timeout=20)
    assert caught.value.error is not None
    return caught.value.error


def state(pid: int) -> str:
    """As the kernel says it: "T" for stopped."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@asynccontextmanager
async def worker(**options: Any) -> Any:
    try:
        async with working(app, **options) as runner:
            yield runner
    finally:
        await app.close()


# --- the deaths of a job's child


@pytest.mark.parametrize(
    ("way", "said", "known", "last"),
    [
        ("os._exit(0)", "left with exit code 0", {"exit_code": 0}, ""),
        ("sys.exit()", "asked to leave: sys.exit(None)", {"exit_code": 0}, "in die\n    sys.exit()"),
        ("sys.exit(3)", "asked to leave: sys.exit(3)", {"exit_code": 3}, "in die\n    sys.exit(3)"),
        ("abort", "signal 6 (SIGABRT)", {"signal": 6}, "in die"),
        ("segfault", "signal 11 (SIGSEGV)", {"signal": 11}, "in string_at"),
        ("half a result", "signal 9 (SIGKILL)", {"signal": 9}, ""),
        ("exec", "", {}, ""),
    ],
)
async def test_each_death_of_a_child_is_a_crash_with_its_evidence(
    way: str, said: str, known: dict[str, int], last: str
) -> None:
    async with worker():
        error = await failure(await enqueue("die", way))
        after = await (await enqueue("pid")).result(timeout=20)
    assert error.kind == "quarantined"
    assert said in error.message
    assert known.items() <= error.evidence.items()
    assert error.evidence["last_log"] == "\n".join(f"line {number}" for number in range(10, 60))
    assert last in error.traceback
    assert bool(last) == bool(error.traceback)
    assert after


async def test_a_kill_from_outside_is_a_crash(tmp_path: Path, until: Callable[..., Any]) -> None:
    mark = tmp_path / "pid"
    async with worker():
        job = await enqueue("die", "outside", str(mark))
        os.kill(int(await until(lambda: mark.exists() and mark.read_text())), signal.SIGKILL)
        error = await failure(job)
    assert (error.kind, error.evidence["signal"]) == ("quarantined", signal.SIGKILL)


async def test_the_stacks_of_one_job_are_not_told_of_the_next() -> None:
    async with worker() as runner:
        await (await enqueue("pid")).result(timeout=20)
        (child,) = runner.processes._children
        assert await child.dump()
        error = await failure(await enqueue("die", "half a result"))
    assert (error.evidence["signal"], error.traceback) == (signal.SIGKILL, "")


@pytest.mark.parametrize("name", ["thread.die", "die_in_the_loop"])
async def test_sys_exit_is_a_crash_in_every_lane_and_ends_nobody(name: str) -> None:
    async with worker():
        error = await failure(await enqueue(name, "sys.exit(3)"))
    assert (error.kind, error.evidence["exit_code"]) == ("quarantined", 3)
    assert "line 59" in str(error.evidence["last_log"])


@pytest.mark.parametrize("name", ["thread.die", "die_in_the_loop"])
@pytest.mark.parametrize(
    ("way", "known"), [("os._exit(0)", {"exit_code": 0}), ("segfault", {"signal": 11}), ("abort", {"signal": 6})]
)
async def test_each_death_of_a_runner_is_a_crash_with_its_evidence(
    tmp_path: Path, monkeypatch: Any, name: str, way: str, known: dict[str, int]
) -> None:
    own = deadly.build(f"sqlite:///{tmp_path}/jobs.db")
    job = await own.get_task(name if "." in name else f"deadly.{name}").options().enqueue(way)
    monkeypatch.setenv("WINDLASS_URL", own.url)
    monkeypatch.setenv("PYTHONPATH", str(Path(deadly.__file__).parent))
    supervisor = Supervisor(Orders("deadly:app"))
    running = asyncio.create_task(supervisor.run())
    error = await failure(job)
    supervisor.stop(3)
    await running
    await own.close()
    assert error.kind == "quarantined"
    assert known.items() <= error.evidence.items()
    assert ("in die" in error.traceback) == ("signal" in known)


@LINUX
async def test_the_largest_size_is_told_where_it_is_the_process_s_own(tmp_path: Path, monkeypatch: Any) -> None:
    what = "eaten = b'x' * (1 << 30); os.kill(os.getpid(), 9)"
    large, small = process(tmp_path, monkeypatch, what), Process("no_such_module")
    told = (await large.death()).evidence
    assert 1 << 30 < told["peak_rss_bytes"] < 2 << 30
    # It began with our peak, which is not its own.
    assert (await small.death()).evidence == {"exit_code": 1}
    await large.close()
    await small.close()


def test_causes_of_death_are_named() -> None:
    assert "signal 11 (SIGSEGV)" in cause_of_death(-11).message
    assert cause_of_death(3).evidence == {"exit_code": 3}
    assert "signal 40" in cause_of_death(-40).message
    assert cause_of_death(-9, 2).evidence == {"signal": 9, "oom_kill": 2}
    assert cause_of_death(-11, 2).evidence == {"signal": 11}


# --- its stacks


@LINUX
async def test_a_process_tells_its_stacks_though_it_holds_its_interpreter(tmp_path: Path, monkeypatch: Any) -> None:
    child = process(tmp_path, monkeypatch, READY + "import re\ndef hold(): re.match(r'(a+)+$', 'a' * 64 + 'b')\nhold()")
    await child.receive()
    while "in hold" not in (told := await child.dump()):
        assert "a_child.py" in told
    assert child.stack() == told
    child.kill()
    assert (await child.death()).traceback == told
    assert await child.dump() == ""
    await child.close()
    assert child.stack() == ""


@LINUX
async def test_who_can_answer_is_not_sent_the_signal(tmp_path: Path, monkeypatch: Any) -> None:
    """To walk the stacks of threads that run is what crashes: about one time in a thousand."""
    what = """
import signal, threading
from windlass.worker.link import Ready
signal.signal(signal.SIGRTMAX - 1, lambda *_: os._exit(9))
def work(depth):
    return work(depth - 1) if depth else None
def go_on():
    while True: work(20)
for _ in range(3): threading.Thread(target=go_on, daemon=True).start()
parent.send(Ready())
while True: work(20)
"""
    child = process(tmp_path, monkeypatch, what)
    await child.receive()
    for _ in range(20):
        told = await child.dump()
        assert told.startswith("Current thread")
        assert told.count("in go_on") == 3
        assert "in <module>" in told.partition("\n\n")[0]
    assert not child.gone.done()
    await child.close()


@LINUX
async def test_what_the_signal_has_answered_is_not_answered_again(tmp_path: Path, monkeypatch: Any) -> None:
    """Written later, it would be taken for what the process left as it died."""
    what = READY + "sum(range(100_000_000)); time.sleep(0.2); parent.send(Ready()); time.sleep(600)"
    child = process(tmp_path, monkeypatch, what)
    await child.receive()
    while "in _write_stacks" not in (told := await child.dump()):  # it does not tell of itself when it answers
        pass
    await child.receive()
    assert child.stack() == told
    await child.close()


@LINUX
async def test_the_last_stack_is_that_of_the_death_and_the_culprit_is_on_top(tmp_path: Path, monkeypatch: Any) -> None:
    what = """
import ctypes, threading
from windlass.worker.link import Ready
def wait(depth):
    return wait(depth - 1) if depth else time.sleep(600)
def fall(): parent.receive(); ctypes.string_at(0)
threading.Thread(target=fall).start()
for _ in range(20): threading.Thread(target=wait, args=(90,), daemon=True).start()
parent.send(Ready()); time.sleep(600)
"""
    child = process(tmp_path, monkeypatch, what)
    await child.receive()
    assert "characters left out" in await child.dump()
    await child.send(Ready())
    death = await child.death()
    assert death.traceback.startswith("Fatal Python error: Segmentation fault\n\nCurrent thread")
    assert "in fall" in death.traceback[:1000]
    assert len(death.traceback) < 21_000
    await child.close()


@LINUX
@pytest.mark.parametrize(
    "what",
    [
        "time.sleep(600)",
        READY + "signal.signal(signal.SIGRTMAX - 1, signal.SIG_DFL); parent.send(Ready()); time.sleep(600)",
        READY + "parent.send(Ready()); os.kill(os.getpid(), signal.SIGSTOP)",
    ],
    ids=["starting", "it forgot how", "stopped"],
)
async def test_who_cannot_answer_is_not_harmed_by_the_question(
    tmp_path: Path, monkeypatch: Any, until: Callable[..., Any], what: str
) -> None:
    if "Ready" in what:
        child = process(tmp_path, monkeypatch, "import signal; " + what)
        await child.receive()
        await child.receive()
        await until(lambda: "SIGSTOP" not in what or state(child.group) == "T")
    else:
        (tmp_path / "a_starter.py").write_text(what)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        child = Process("a_starter")
    assert await child.dump() == ""
    assert not child.gone.done()
    os.kill(child.group, signal.SIGCONT)
    child.kill()
    assert await child.gone == -signal.SIGKILL
    await child.close()


@LINUX
async def test_a_program_may_use_faulthandler_itself(tmp_path: Path, monkeypatch: Any, capfd: Any) -> None:
    what = (
        READY
        + "import faulthandler, ctypes; faulthandler.enable(); parent.send(Ready()); parent.receive(); ctypes.string_at(0)"
    )
    child = process(tmp_path, monkeypatch, what)
    await child.receive()
    await child.receive()
    assert "a_child.py" in await child.dump()
    child.forget()
    await child.send(Ready())
    death = await child.death()
    assert (death.evidence["signal"], death.traceback) == (signal.SIGSEGV, "")
    await child.close()
    assert "Segmentation fault" in capfd.readouterr().err


@LINUX
async def test_what_it_forks_or_starts_has_nothing_of_ours(tmp_path: Path, monkeypatch: Any, capfd: Any) -> None:
    what = """
import ctypes, subprocess
from windlass.worker.link import Ready
if not os.fork():
    ctypes.string_at(0)
os.wait()
ls = subprocess.run(["ls", "-l", "/proc/self/fd"], close_fds=False, capture_output=True, text=True).stdout
parent.send(Ready(refusal=ls))
os._exit(__import__("resource").getrlimit(4)[0])
"""
    usual = getrlimit(RLIMIT_CORE)
    setrlimit(RLIMIT_CORE, (min(usual[1], 8) if usual[1] >= 0 else 8, usual[1]))
    child = process(tmp_path, monkeypatch, what)
    setrlimit(RLIMIT_CORE, usual)
    message = await child.receive()
    assert isinstance(message, Ready)
    assert not re.search("socket|memfd", message.refusal)
    assert message.refusal.count("pipe:") == 2, "its own stdout and stderr"
    death = await child.death()
    assert death.evidence["exit_code"] == 0, "no core dumps"
    assert death.traceback == ""
    await child.close()
    assert "Segmentation fault" in capfd.readouterr().err


async def test_a_job_killed_for_its_limit_shows_where_it_was() -> None:
    async with worker():
        error = await failure(await enqueue("die", "sleep", timeout=0.2, retry=deadly.ONCE))
        assert "in die\n    time.sleep(600)" in error.traceback
        left = await failure(await enqueue("die", "exit when told", timeout=0.2, retry=deadly.ONCE))
        assert left.message == "over its time limit of 0.2 s", "nobody killed it"
        stopped = await failure(await enqueue("die", "stop", timeout=0.2, retry=deadly.ONCE))
    assert (stopped.kind, stopped.type) == ("timeout", "TimeLimitExceeded")
    assert "was killed" in stopped.message


async def test_a_stopped_child_is_cancelled(tmp_path: Path, until: Callable[..., Any]) -> None:
    mark = tmp_path / "pid"
    async with worker():
        job = await enqueue("die", "stop", str(mark))
        pid = int(await until(lambda: mark.exists() and mark.read_text()))
        await until(lambda: state(pid) == "T")
        await job.cancel()
        with pytest.raises(JobCancelled):
            await job.result(timeout=20)


# --- its memory


def test_resident_memory_counts_and_does_not_mind_the_dead() -> None:
    assert resident(os.getpid()) > 1 << 20
    assert resident(2**22 + 1) == 0


@LINUX
async def test_a_child_is_replaced_between_jobs_by_its_size_and_by_their_number(monkeypatch: Any) -> None:
    monkeypatch.setattr(app, "settings", replace(app.settings, child_memory=300 << 20, child_jobs=4))
    async with worker():
        sizes = (1, 400 << 20, 1, 1, 1, 1, 1)
        pids = [await (await enqueue("keep", size)).result(timeout=20) for size in sizes]
    assert [pids.index(pid) for pid in pids] == [0, 0, 2, 2, 2, 2, 6]


@pytest.mark.parametrize(
    ("membership", "file"),
    [
        ("5:cpu:/b\n4:memory:/a\n0::/", "memory/a/memory.oom_control"),
        ("4:cpu,memory:/of/the/host", "memory/memory.oom_control"),
        ("0::/a/b", "a/b/memory.events"),
        ("0::/../other", "memory.events"),
        ("5:cpu:/", ""),
        ("", ""),
    ],
)
def test_the_counter_is_found_in_both_versions_and_in_containers(
    tmp_path: Path, monkeypatch: Any, membership: str, file: str
) -> None:
    monkeypatch.setattr(evidence, "_CGROUPS", tmp_path)
    if file:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    assert oom_counter(membership) == (tmp_path / file if file else None)


def test_only_what_is_counted_now_means_this_process(tmp_path: Path, monkeypatch: Any) -> None:
    first, second, clock = tmp_path / "first", tmp_path / "second", [100.0]
    found: list[Path | None] = [first]
    monkeypatch.setattr(evidence, "oom_counter", lambda _: found[0])
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    first.write_text("oom_kill_disable 0\noom_kill 3\n")
    second.write_text("low 0\noom_kill 7\n")
    kills = OomKills(os.getpid())
    assert kills.more == 0, "what was before"
    first.write_text("oom_kill 4\n")
    assert kills.more == 1
    clock[0] += 0.1
    kills.look()
    assert kills.more == 1, "a look between the kill and the death"
    for _ in "ab":
        clock[0] += 1.1
        kills.look()
    assert kills.more == 0, "it was another"
    found[0] = second
    kills.look()
    assert kills.more == 0, "it was moved"
    found[0] = None
    kills.look()
    second.write_text("oom_kill 8\n")
    assert kills.more == 1
    found[0] = first
    monkeypatch.setattr(evidence, "resident", lambda _: 0)
    kills.look()
    assert kills.more == 1, "the dead seem to be elsewhere"
    second.unlink()
    assert kills.more <= 0, "its cgroup is gone"
