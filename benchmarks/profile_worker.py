"""What the worker itself costs for a job that does nothing: a real runner, over a store that costs next to nothing.

* `python benchmarks/profile_worker.py [--jobs 100000] [--concurrency 500]`: microseconds of CPU per job.
* `python benchmarks/profile_worker.py --profile [--svg drain.svg]`: the same by part, as py-spy sees it, and a flame graph.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from windlass import Windlass
from windlass.broker.memory import MemoryBroker
from windlass.core.ids import new_id
from windlass.core.job import Claim, Ready
from windlass.core.outcome import Outcome
from windlass.worker.process import GC_THRESHOLDS, new_loop
from windlass.worker.runner import working

PARTS = {
    "fetch": r"(Fetcher|Identities)\.",
    "decode": r"(unpack|Arguments\.decode) ",
    "encode": r"(Caller\._encoded|Result\.|check_size)",
    "outcome": r"(Executor\.(finish|_outcome|_policy)|policy_of|decide|finish) ",
    "settle": r"Settler\.",
    "start": r"(Executor|LoopLane\.run|Run)\b",
    "run": r"",
}
"""To which part a function belongs, by its name; the first that fits counts."""


class Prepared(MemoryBroker):
    """Hands out what was prepared, and forgets every outcome. `done` is set with the last one."""

    def __init__(self, bodies: Sequence[bytes], task: str) -> None:
        super().__init__()
        claims = [
            Claim(new_id(), token, task, "default", "loop", body, 1, 0, 3, 0.0, 0.0, False)
            for token, body in enumerate(bodies)
        ]
        self.claims, self.left, self.done = iter(claims), len(claims), asyncio.Event()

    def sibling(self) -> Prepared:
        return self

    async def claim(self, queues: Sequence[str], room: Mapping[str, int], *args: Any, **kwargs: Any) -> list[Claim]:
        await asyncio.sleep(0)
        taken = list(islice(self.claims, room.get("loop", 0)))
        return taken or await super().claim(queues, room, *args, **kwargs)

    async def settle(
        self, pairs: Sequence[tuple[Claim, Outcome]], *, now: float | None = None
    ) -> tuple[list[bool], list[Ready]]:
        await asyncio.sleep(0)
        self.left -= len(pairs)
        if not self.left:
            self.done.set()
        return [True] * len(pairs), []


async def drain(jobs: int, concurrency: int) -> float:
    """Seconds of CPU for so many jobs."""
    app = Windlass("memory://", concurrency=concurrency)

    @app.task
    async def noop(number: int) -> int:
        return number

    broker = Prepared([noop.bind(number).job.body for number in range(jobs)], noop.name)
    with app.store_replaced(broker):
        gc.freeze()
        began = time.process_time()
        async with working(app):
            await broker.done.wait()
            took = time.process_time() - began
        gc.unfreeze()
    return took


def measure(jobs: int, concurrency: int, rounds: int) -> float:
    """Microseconds of CPU per job, the median of some rounds."""
    gc.set_threshold(*GC_THRESHOLDS)
    with asyncio.Runner(loop_factory=new_loop) as runner:
        return statistics.median(runner.run(drain(jobs, concurrency)) for _ in range(rounds)) / jobs * 1e6


def part_of(stack: str) -> str:
    """The part that a sampled stack of the draining belongs to, by its innermost function of ours; "" for any other stack."""
    start, _, work = stack.partition(";Runner.run (asyncio/runners.py")
    if not start.startswith("<module>") or not work or re.search(r";(drain|Prepared\.\S+|Upkeep\.\S+) \(", work):
        return ""
    ours = [frame for frame in work.split(";")[1:] if "windlass/" in frame or "noop" in frame]
    return next(part for part, names in PARTS.items() if re.match(names, ours[-1])) if ours else "event loop"


def profile(arguments: Sequence[str], svg: Path | None) -> Counter[str]:
    """Samples by part. Needs py-spy, and leave to look into a process."""

    def spy(*options: str) -> None:
        command = ["py-spy", "record", "--rate", "500", *options, "--", sys.executable, __file__, *arguments]
        subprocess.run(command, check=True, capture_output=True)

    samples: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "stacks"
        spy("--format", "raw", "--output", str(raw))
        for line in raw.read_text().splitlines():
            stack, _, count = line.rpartition(" ")
            samples[part_of(stack)] += int(count)
    if svg is not None:
        spy("--function", "--output", str(svg))
        svg.write_text(re.sub(r">py-spy record [^<]*<", ">the worker, draining jobs that do nothing<", svg.read_text()))
    del samples[""]
    return samples


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--concurrency", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--profile", action="store_true", help="by part")
    parser.add_argument("--svg", type=Path, help="and write a flame graph here")
    args = parser.parse_args()
    total = measure(args.jobs, args.concurrency, args.rounds)
    print(f"{total:.1f} us of CPU per job, {args.concurrency} at once; the median of {args.rounds} rounds")
    if args.profile:
        numbers = ("jobs", "concurrency", "rounds")
        samples = profile([part for name in numbers for part in (f"--{name}", str(vars(args)[name]))], args.svg)
        for part in (*PARTS, "event loop"):
            print(f"{total * samples[part] / samples.total():6.2f}  {part}")


if __name__ == "__main__":
    main()
