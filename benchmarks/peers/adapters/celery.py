"""celery. Flags: "threads" for that pool instead of prefork."""

from __future__ import annotations

from collections.abc import Sequence

from celery import Celery

from peers import jobs
from peers.adapters import Args, Settings, script

SYNC = True
settings = Settings.from_environment()
app = Celery("peers", broker=settings.url, backend=settings.url if settings.results else None)
app.conf.update(
    task_ignore_result=not settings.results, broker_connection_retry_on_startup=True, worker_prefetch_multiplier=4
)
if settings.reliable:
    app.conf.update(
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        broker_transport_options={"visibility_timeout": 10},  # an hour by default
    )
tasks = {name: app.task(name=name)(body) for name, body in jobs.SYNC.items()}


def commands(processes: int) -> list[list[str]]:
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "ERROR"]
    command = [script("celery"), "--app", f"{__name__}:app", "worker", *quiet]
    if "threads" in settings.flags:
        return [
            [*command, "--pool", "threads", "--concurrency", str(settings.concurrency), "--hostname", f"w{number}@%h"]
            for number in range(processes)
        ]
    children = max(processes, settings.concurrency)
    return [[*command, "--pool", "prefork", "--concurrency", str(children)]]


class Client:
    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def enqueue(self, task: str, *args: object) -> object:
        return tasks[task].delay(*args)

    async def enqueue_many(self, task: str, calls: Sequence[Args]) -> None:
        """There is no bulk call; one pooled producer saves a little."""
        with app.producer_pool.acquire(block=True) as producer:
            for args in calls:
                tasks[task].apply_async(args, producer=producer)

    async def call(self, task: str, *args: object) -> object:
        return tasks[task].delay(*args).get(timeout=30)
