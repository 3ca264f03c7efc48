"""rq. One job at a time; its SimpleWorker where a fork per job is not needed (flag "fork" for the default Worker)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis import Redis
from rq import Queue, Retry

from peers import jobs
from peers.adapters import Args, Settings, script, slices

SYNC = True
settings = Settings.from_environment()
options: dict[str, Any] = {} if settings.results else {"result_ttl": 0}
if settings.reliable:
    options["retry"] = Retry(max=3)


def commands(processes: int) -> list[list[str]]:
    worker = "rq.worker.Worker" if "fork" in settings.flags else "rq.worker.SimpleWorker"
    command = [script("rq"), "worker", "--quiet", "--url", settings.url, "--worker-class", worker]
    if settings.reliable:
        command += ["--maintenance-interval", "5"]  # 10 minutes by default
    return [[*command, "peers"]] * processes


class Client:
    async def open(self) -> None:
        self.queue = Queue("peers", connection=Redis.from_url(settings.url))

    async def close(self) -> None:
        self.queue.connection.close()

    async def enqueue(self, task: str, *args: object) -> object:
        return self.queue.enqueue(jobs.SYNC[task], args=args, **options)

    async def enqueue_many(self, task: str, calls: Sequence[Args]) -> None:
        for portion in slices(calls, 500):
            self.queue.enqueue_many([Queue.prepare_data(jobs.SYNC[task], args, **options) for args in portion])

    async def call(self, task: str, *args: object) -> object:
        job = self.queue.enqueue(jobs.SYNC[task], args=args, **options)
        result = job.latest_result(timeout=30)
        assert result is not None
        return result.return_value
