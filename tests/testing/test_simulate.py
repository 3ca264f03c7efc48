"""The simulation: it is green, it is the same each time, it finds every mistake that we know, and it says how to see that again."""

from __future__ import annotations

import asyncio
import os
import random
import re
import subprocess
import sys
import time

import pytest

from windlass.testing.simulate.__main__ import main
from windlass.testing.simulate.campaign import FEW, SOMETIMES, Tally, run_some
from windlass.testing.simulate.clock import EPOCH, virtual_time
from windlass.testing.simulate.loop import Broken, Loop
from windlass.testing.simulate.mutants import MUTANTS
from windlass.testing.simulate.plan import FAULTS, draw
from windlass.testing.simulate.process import Process
from windlass.testing.simulate.story import simulate

SOME = 200
MOST = 1500
"""Seeds in which each mutant is found, with room to spare."""


def command(*words: str, hash_seed: str = "0") -> subprocess.CompletedProcess[str]:
    """`python -m windlass.testing.simulate`, in a process of its own."""
    environment = os.environ | {"PYTHONHASHSEED": hash_seed}
    whole = [sys.executable, "-m", "windlass.testing.simulate", *words]
    return subprocess.run(whole, capture_output=True, text=True, env=environment, check=False)


# --- what it says of Windlass


@pytest.mark.timeout(600)
def test_some_hundred_seeds_keep_all_promises() -> None:
    total = run_some(range(SOME))
    assert total.failures == {}
    assert total.seeds == SOME


@pytest.mark.timeout(900)
@pytest.mark.parametrize("mutant", MUTANTS)
def test_every_mutant_is_found(mutant: str) -> None:
    total = run_some(range(MOST), mutant)
    (reason,) = total.failures.values()
    assert reason.startswith("Violation: ")


def test_a_campaign_in_which_something_never_happened_has_failed() -> None:
    assert Tally(seeds=FEW).never() == list(SOMETIMES)
    assert Tally(seeds=FEW - 1).never() == []


# --- the same each time


def test_a_seed_is_the_same_in_every_process_and_after_whatever_ran_before() -> None:
    first, second = (command("--seed", "7", hash_seed=seed) for seed in ("1", "2"))
    assert first.stdout == second.stdout
    assert first.returncode == second.returncode == 0
    simulate(8)
    assert f"trace {simulate(7).digest()[:16]}" in first.stdout


def test_different_seeds_are_different() -> None:
    assert len({simulate(seed).digest() for seed in range(10)}) == 10


def test_nothing_of_it_is_left_behind() -> None:
    before = (time.time, os.urandom, os.getpid, asyncio.Task, random.getstate())
    simulate(3, "no_fence")
    assert (time.time, os.urandom, os.getpid, asyncio.Task, random.getstate()) == before
    assert time.time() > EPOCH + 1_000_000


# --- the command


def test_a_failing_seed_is_seen_again_with_the_command_that_it_prints(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "100", "--processes", "1", "--mutant", "no_fence"]) == 1
    said = capsys.readouterr().out
    (reason,) = re.findall(r"^seed \d+ failed: (.+)$", said, re.MULTILINE)
    (again,) = re.findall(r"^see it again with: python -m windlass\.testing\.simulate (.+)$", said, re.MULTILINE)
    seen = command(*again.split())
    assert seen.returncode == 1
    assert seen.stdout.rstrip().endswith(f"failed: {reason}")


def test_a_trace_can_be_read(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seed", "1"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("seed 1: ")
    assert re.search(r"^ +\d+\.\d{4}  m0\.1 +starts", said, re.MULTILINE)
    assert re.search(r"^ +\d+\.\d{4}  producer +enqueue +\[job \d+", said, re.MULTILINE)
    assert "all promises were kept" in said


def test_mutants_and_faults_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--mutants"]) == main(["--faults"]) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in [*MUTANTS, *FAULTS])


def test_every_fault_occurs_in_some_plan_and_none_in_all() -> None:
    plans = [draw(seed) for seed in range(200)]
    assert {fault for plan in plans for fault in plan.faults} == set(FAULTS)
    assert any(not plan.faults for plan in plans)


# --- the loop


def played(story: object, loop: Loop) -> object:
    with virtual_time(loop, 0):
        try:
            return loop.play(story, 1000)  # type: ignore[arg-type]
        finally:
            loop.close()


def test_the_clock_jumps() -> None:
    loop = Loop(0)

    async def story() -> tuple[float, float]:
        await asyncio.sleep(3600)
        return time.time(), asyncio.get_running_loop().time()

    assert played(story(), loop) == (EPOCH + 3600, 3600)


def test_callbacks_of_one_process_keep_their_order_and_those_of_two_do_not() -> None:
    def order(seed: int) -> str:
        loop, said = Loop(seed), list[str]()
        one, other = Process("one"), Process("other")

        async def story() -> None:
            for number in range(5):
                loop.call_soon(said.append, f"a{number}", context=one.room)
                loop.call_soon(said.append, f"b{number}", context=other.room)
            await asyncio.sleep(1)

        played(story(), loop)
        return "".join(said)

    orders = {order(seed) for seed in range(20)}
    assert len(orders) > 5
    for one in orders:
        assert re.sub(r"b\d", "", one) == "a0a1a2a3a4"
        assert re.sub(r"a\d", "", one) == "b0b1b2b3b4"


def test_the_dead_and_the_stopped_take_no_step() -> None:
    loop, said = Loop(0), list[str]()
    dead, stopped = Process("dead"), Process("stopped")

    async def story() -> None:
        for process in (dead, stopped):
            loop.call_later(1, said.append, process.name, context=process.room)
        loop.kill(dead, -9)
        loop.freeze(stopped)
        await asyncio.sleep(2)
        assert said == []
        loop.thaw(stopped)
        loop.thaw(dead)
        await asyncio.sleep(1)

    played(story(), loop)
    assert said == ["stopped"]


def test_waiting_for_nothing_and_turning_for_ever_are_ended() -> None:
    async def wait() -> None:
        await asyncio.Event().wait()

    async def turn() -> None:
        while True:  # noqa: ASYNC110 # that is what is wrong with it
            await asyncio.sleep(0)

    with pytest.raises(Broken, match="everybody waits"):
        played(wait(), Loop(0))
    with pytest.raises(Broken, match="turns without end"):
        played(turn(), Loop(0))
