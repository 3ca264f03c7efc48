"""URLs: the places they name are found; and what is wrong with a place is said in one line, without the password."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from faults import Connect, Start, insist, said_well, soon, started, waiting, works

from servers import BINARIES, MISSING, Certificates, RedisCluster, RedisSentinels, RedisServer
from servers.certificates import OPENSSL
from windlass.broker.redis.broker import RedisBroker
from windlass.core.state import State
from windlass.errors import BrokerError, BrokerUnavailable, ConfigurationError, WindlassError
from windlass.testing.conformance.kit import add, job, state

pytestmark = pytest.mark.skipif(not BINARIES, reason=MISSING)
SECRET = "p/a:s@s%"
QUOTED = "p%2Fa%3As%40s%25"
DEAD = 1
"""A port on which nobody listens."""
needs_openssl = pytest.mark.skipif(not OPENSSL, reason="needs the command openssl: apt-get install openssl")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def guarded(certificates: Certificates) -> Iterator[RedisServer]:
    """A server with a password, and a user "windlass" with the same."""
    with RedisServer(password=SECRET, unix=True, user=f"windlass on >{SECRET} ~* &* +@all") as server:
        yield server


@asynccontextmanager
async def server_that_says(greeting: bytes | None) -> AsyncIterator[int]:
    """Something else on a port: it says this to whoever says something, or nothing ever."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1000):
            if greeting is not None:
                writer.write(greeting)
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


async def refusal(url: str) -> WindlassError:
    """The error with which a place is refused, which hides the password."""
    broker = RedisBroker(url)

    async def used() -> None:
        await broker.open()
        await broker.enqueue([job()])

    with pytest.raises(WindlassError) as refused:
        await soon(used())
    await broker.close()
    print(said_well(refused.value, SECRET, QUOTED))
    return refused.value


# --- places that are found


@pytest.mark.parametrize("login", [f":{QUOTED}", f"default:{QUOTED}", f"windlass:{QUOTED}"])
async def test_users_and_passwords(guarded: RedisServer, connect: Connect, login: str) -> None:
    await works(await connect(f"redis://{login}@127.0.0.1:{guarded.port}/0"))
    await works(await connect(f"unix://{login}@{guarded.path}?db=3"))


async def test_databases_are_apart(shared: RedisServer, connect: Connect) -> None:
    one, two = await connect(f"{shared.url()[:-1]}1"), await connect(f"{shared.url()[:-1]}2")
    stored = await add(one)
    assert await two.get([stored]) == [None]
    assert await state(one, stored) is State.READY


async def test_apps_are_apart(url: str, connect: Connect) -> None:
    one, two = await connect(url, "one"), await connect(url, "two and {more}")
    await works(two)
    assert [job.task for job in (await two.find()).jobs] == ["tests.task"]
    assert (await one.find()).jobs == await one.tally() == await one.workers() == []


async def test_the_first_host_that_answers(shared: RedisServer, connect: Connect) -> None:
    await works(await connect(f"redis://127.0.0.1:{DEAD},127.0.0.1:{shared.port}/0"))


@needs_openssl
async def test_tls(certificates: Certificates, connect: Connect) -> None:
    with RedisServer(tls=certificates, password=SECRET) as server:
        await works(await connect(server.url()))
        assert "certificate" in str(await refusal(f"rediss://:{QUOTED}@127.0.0.1:{server.port}/0"))
        assert "redis" in str(await refusal(f"redis://:{QUOTED}@127.0.0.1:{server.port}/0"))


async def test_a_cluster_by_any_of_its_members(connect: Connect) -> None:
    """Also when the app's slot moves to another master while its jobs run and calls wait."""
    with RedisCluster() as cluster:
        seeds = [f"redis://127.0.0.1:{server.port}" for server in cluster.servers]
        brokers = [await connect(seed) for seed in seeds]
        at_once = [job(queue="many", body=b"x" * 10_000) for _ in range(100)]
        await asyncio.gather(*(broker.enqueue([one]) for one in at_once for broker in brokers))
        claims = [await started(broker, str(n), f"w{n}") for n, broker in enumerate(brokers)]
        claiming = await waiting(brokers[0].claim(["later"], {"loop": 1}, "w0", wait=3600.0))
        heir = next(server for server in cluster.servers if server is not cluster.owner("{windlass}:"))
        await asyncio.to_thread(cluster.move, "{windlass}:", heir)
        for broker, claim in zip(brokers, claims, strict=True):
            assert await insist(state, broker, claim.id) is State.RUNNING
            await works(broker)
        await brokers[1].enqueue([new := job(queue="later")])
        assert [claim.id for claim in await soon(claiming)] == [new.id]
        assert "SELECT" in str(await refusal(f"{seeds[0]}/1"))


@pytest.mark.parametrize("crash", [False, True], ids=["by hand", "crash"])
async def test_sentinels(connect: Connect, crash: bool) -> None:
    """After a failover they are asked anew; who waits goes on waiting at the new primary."""
    with RedisSentinels(sentinels=2, password=SECRET) as group:
        broker, other = await connect(group.url), await connect(f"{group.url}/2")
        await works(other)
        claim = await started(broker)
        claiming = await waiting(broker.claim(["later"], {"loop": 1}, "w", wait=3600.0))
        await asyncio.to_thread(group.fail_over, crash=crash)
        await insist(other.enqueue, [job()])
        assert await insist(state, broker, claim.id) is State.RUNNING
        await insist(broker.enqueue, [new := job(queue="later")])
        assert [one.id for one in await soon(claiming)] == [new.id]


async def test_sentinels_that_know_nothing() -> None:
    with RedisServer(bind="127.0.0.1", sentinel=()) as sentinel:
        error = await refusal(f"redis+sentinel://:{QUOTED}@127.0.0.1:{sentinel.port}/unknown")
        assert isinstance(error, BrokerUnavailable)
        assert "unknown" in str(error)
    assert isinstance(await refusal(f"redis+sentinel://:{QUOTED}@127.0.0.1:{DEAD}/main"), BrokerUnavailable)


# --- places that are wrong


@pytest.mark.parametrize(
    "url", [f"redis://:{QUOTED}@127.0.0.1:{DEAD}/0", f"redis://127.0.0.1:{DEAD}?password={QUOTED}"]
)
async def test_nobody_listens(url: str) -> None:
    error = await refusal(url)
    assert isinstance(error, BrokerUnavailable)
    assert "127.0.0.1:1" in str(error)


async def test_no_such_host() -> None:
    error = await refusal(f"redis://:{QUOTED}@nowhere.invalid/0")
    assert isinstance(error, BrokerUnavailable)
    assert "nowhere.invalid" in str(error)


async def test_no_such_socket() -> None:
    error = await refusal(f"unix://:{QUOTED}@/nowhere/redis.sock")
    assert isinstance(error, BrokerUnavailable)
    assert "/nowhere/redis.sock" in str(error)


async def test_something_else_on_the_port() -> None:
    async with server_that_says(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n") as port:
        assert "is a Redis running there?" in str(await refusal(f"redis://:{QUOTED}@127.0.0.1:{port}/0"))


async def test_a_port_that_accepts_and_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("windlass.broker.redis.place.CONNECT_TIMEOUT", 0.3)
    async with server_that_says(None) as port:
        assert isinstance(await refusal(f"redis://:{QUOTED}@127.0.0.1:{port}/0"), BrokerUnavailable)


@needs_openssl
async def test_tls_where_there_is_none(guarded: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("windlass.broker.redis.place.CONNECT_TIMEOUT", 0.3)
    error = await refusal(f"rediss://:{QUOTED}@127.0.0.1:{guarded.port}/0")
    assert "TLS" in str(error)


@pytest.mark.parametrize("login", ["", f":{QUOTED}x@", f"nobody:{QUOTED}@"])
async def test_a_password_that_is_missing_or_wrong(guarded: RedisServer, login: str) -> None:
    error = await refusal(f"redis://{login}127.0.0.1:{guarded.port}/0")
    assert isinstance(error, ConfigurationError)
    assert "check user and password" in str(error)


@pytest.mark.parametrize("missing", ["-evalsha", "-zadd", "-subscribe", "resetkeys", "resetchannels", "-@all"])
async def test_rights_that_are_missing_are_named_so_that_they_can_be_given(
    start: Start, connect: Connect, missing: str
) -> None:
    server = start()
    server.command(f"ACL SETUSER windlass on >{SECRET} ~* &* +@all", missing)
    url = server.url("windlass", SECRET)
    error = await refusal(url)
    assert isinstance(error, ConfigurationError)
    rights = str(error).partition("ACL SETUSER ... ")[2].replace("{NAME}", "{windlass}")
    server.command("ACL SETUSER windlass reset on", f">{SECRET}", *rights.split())
    await works(await connect(url))


async def test_a_database_that_does_not_exist(shared: RedisServer) -> None:
    assert "index" in str(await refusal(f"{shared.url()[:-1]}99"))


async def test_a_replica(start: Start) -> None:
    primary = start()
    replica = start(replicaof=f"127.0.0.1 {primary.port}")
    assert "READONLY" in str(await refusal(replica.url()))


async def test_a_sentinel_is_no_store() -> None:
    with RedisServer(bind="127.0.0.1", sentinel=()) as sentinel:
        error = await refusal(f"redis://127.0.0.1:{sentinel.port}")
        assert isinstance(error, BrokerError | ConfigurationError)
        assert "sentinel" in str(error).lower() or "EVALSHA" in str(error)


@pytest.mark.parametrize(
    "url",
    [
        f"redis://:{QUOTED}@host:port/0",
        f"redis://:{QUOTED}@host/database",
        f"redis://:{QUOTED}@host/0?no_such_option=1",
        f"redis://:{QUOTED}@host/0?socket_timeout=soon",
        f"redis+sentinel://:{QUOTED}@host:26379",
        f"redis+sentinel://:{QUOTED}@host:26379/main/database",
        f"unix://:{QUOTED}@",
    ],
)
def test_urls_that_cannot_be_meant(url: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        RedisBroker(url)
    said_well(refused.value, SECRET, QUOTED)
