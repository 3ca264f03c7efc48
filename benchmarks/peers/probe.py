"""The limit: the least code on redis-py that is as safe as Windlass. Leased, fenced, results kept, pushed to who waits, in order; one Lua
call per batch, and nothing else: no retries, no routing, no limits, no upkeep that takes a dead worker's jobs back. What Windlass takes
beyond it is the price of being a product. It takes part in a run like any other contender.

Flag "lpush": enqueueing one by one is a bare `LPUSH`, without any safety: what redis-py itself costs.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from typing import Any

import msgspec
import uvloop
from redis.asyncio import Redis

from peers import jobs
from peers.adapters import Args, Settings, module_worker, slices

SYNC = False
LEASE_SECONDS, KEEP_SECONDS, BULK = 30, 3600, 500
READY, LEASES, WAKE, ORDER = "probe:ready", "probe:leases", "probe:wake", "probe:order"

# KEYS: ready, wake, order. ARGV: id, envelope, ... A job that is there already stays as it is.
ENQUEUE = """
local place = redis.call('INCRBY', KEYS[3], #ARGV / 2)
for i = 1, #ARGV, 2 do
  local job = 'probe:job:' .. ARGV[i]
  if redis.call('HSETNX', job, 'state', 'ready') == 1 then
    redis.call('HSET', job, 'call', ARGV[i + 1])
    redis.call('ZADD', KEYS[1], place - (#ARGV - i) / 2, ARGV[i])
  end
end
if redis.call('LLEN', KEYS[2]) < 16 then redis.call('LPUSH', KEYS[2], 1) end
"""

# KEYS: ready, leases. ARGV: how many, worker, lease. Answers id, attempt, envelope, ...
CLAIM = """
local taken, out = redis.call('ZPOPMIN', KEYS[1], ARGV[1]), {}
for i = 1, #taken, 2 do
  local id, job = taken[i], 'probe:job:' .. taken[i]
  out[#out + 1] = id
  out[#out + 1] = redis.call('HINCRBY', job, 'attempt', 1)
  out[#out + 1] = redis.call('HGET', job, 'call')
  redis.call('HSET', job, 'state', 'running', 'worker', ARGV[2])
  redis.call('ZADD', KEYS[2], ARGV[3], id)
end
return out
"""

# KEYS: leases. ARGV: worker, seconds to keep, then id, attempt, result, reply, ... Fenced: who lost the job changes nothing.
SETTLE = """
local settled = 0
for i = 3, #ARGV, 4 do
  local id, job = ARGV[i], 'probe:job:' .. ARGV[i]
  local owner = redis.call('HMGET', job, 'attempt', 'worker')
  if owner[1] == ARGV[i + 1] and owner[2] == ARGV[1] then
    redis.call('ZREM', KEYS[1], id)
    redis.call('HSET', job, 'state', 'succeeded', 'result', ARGV[i + 2])
    redis.call('HDEL', job, 'worker')
    redis.call('EXPIRE', job, ARGV[2])
    redis.call('PUBLISH', ARGV[i + 3], id .. ARGV[i + 2])
    settled = settled + 1
  end
end
return settled
"""


class Envelope(msgspec.Struct, array_like=True):
    """A call, as it is stored."""

    task: str
    args: list[Any]
    kwargs: dict[str, Any]
    at: float
    reply: str


settings = Settings.from_environment()
encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(Envelope).decode
decode_result = msgspec.msgpack.Decoder().decode


def commands(processes: int) -> list[list[str]]:
    return module_worker("peers.probe", processes)


def new_id() -> str:
    """24 characters, so that a message can be cut in two without a parser."""
    return os.urandom(12).hex()


class Client:
    async def open(self) -> None:
        self.redis = Redis.from_url(settings.url)
        self.store = self.redis.register_script(ENQUEUE)
        self.channel = f"probe:done:{new_id()}"
        self.waiting: dict[bytes, asyncio.Future[object]] = {}
        self.messages = self.redis.pubsub()
        self.listener: asyncio.Task[None] | None = None

    async def close(self) -> None:
        if self.listener:
            self.listener.cancel()
        await self.messages.aclose()  # type: ignore[no-untyped-call] # redis-py has no types there
        await self.redis.aclose()

    async def listen(self) -> None:
        """Wake who waits for a result."""
        async for message in self.messages.listen():
            if message["type"] == "message" and (future := self.waiting.pop(message["data"][:24], None)):
                future.set_result(decode_result(message["data"][24:]))

    def envelope(self, task: str, args: Args) -> bytes:
        return encode(Envelope(task, list(args), {}, time.time(), self.channel))

    async def put(self, *pairs: str | bytes) -> None:
        await self.store(keys=[READY, WAKE, ORDER], args=pairs)

    async def enqueue(self, task: str, *args: object) -> None:
        if "lpush" in settings.flags:
            await self.redis.lpush("probe:list", self.envelope(task, args))
        else:
            await self.put(new_id(), self.envelope(task, args))

    async def enqueue_many(self, task: str, calls: Sequence[Args]) -> None:
        for portion in slices(calls, BULK):
            pairs: list[str | bytes] = []
            for args in portion:
                pairs += (new_id(), self.envelope(task, args))
            await self.put(*pairs)

    async def call(self, task: str, *args: object) -> object:
        if self.listener is None:  # who never waits for a result is not sent any
            await self.messages.subscribe(self.channel)
            self.listener = asyncio.create_task(self.listen())
        job = new_id()
        future = self.waiting[job.encode()] = asyncio.get_running_loop().create_future()
        await self.put(job, self.envelope(task, args))
        return await future


class Worker:
    """Claims while there is room, runs each job as a task of its own, settles what is done in batches, all at the same time."""

    def __init__(self) -> None:
        self.name = new_id()
        self.waker, self.claimer, self.writer = (Redis.from_url(settings.url) for _ in range(3))
        self.claim, self.settle = self.claimer.register_script(CLAIM), self.writer.register_script(SETTLE)
        self.batch = max(1, settings.concurrency // 2)
        self.room = settings.concurrency
        self.freed, self.ended = asyncio.Event(), asyncio.Event()
        self.done: list[tuple[Any, ...]] = []

    async def run(self) -> None:
        """Forever."""
        settling = asyncio.create_task(self.settle_done())
        running: set[asyncio.Task[None]] = set()
        while not settling.done():
            while self.room < min(self.batch, settings.concurrency):
                self.freed.clear()
                await self.freed.wait()
            lease = time.time() + LEASE_SECONDS
            claimed = await self.claim(keys=[READY, LEASES], args=[min(self.room, self.batch), self.name, lease])
            for job, attempt, call in zip(*[iter(claimed)] * 3, strict=True):
                self.room -= 1
                task = asyncio.create_task(self.execute(job, attempt, call))
                running.add(task)
                task.add_done_callback(running.discard)
            if not claimed:
                await self.waker.blpop([WAKE], timeout=2)
        settling.result()

    async def execute(self, job: bytes, attempt: int, call: bytes) -> None:
        envelope = decode(call)
        result = await jobs.ASYNC[envelope.task](*envelope.args, **envelope.kwargs)
        self.done.append((job, attempt, encode(result), envelope.reply))
        self.room += 1
        self.freed.set()
        self.ended.set()

    async def settle_done(self) -> None:
        while True:
            await self.ended.wait()
            self.ended.clear()
            done, self.done = self.done, []
            arguments: list[Any] = [self.name, KEEP_SECONDS]
            for entry in done:
                arguments += entry
            if await self.settle(keys=[LEASES], args=arguments) != len(done):
                raise AssertionError("a job was settled by somebody else")


if __name__ == "__main__":
    uvloop.run(Worker().run())
