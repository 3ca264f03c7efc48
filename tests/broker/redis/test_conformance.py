"""The port on real servers: every sentence on a server of its own, and the more telling half wherever else a store may stand."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from servers import BINARIES, MISSING, Certificates, RedisCluster, RedisSentinels, RedisServer
from servers.certificates import OPENSSL
from windlass.broker.redis.broker import RedisBroker
from windlass.testing.conformance import Conformance
from windlass.testing.conformance.book import Bookkeeping
from windlass.testing.conformance.claim import Claiming
from windlass.testing.conformance.enqueue import Enqueueing
from windlass.testing.conformance.journal import Journalling
from windlass.testing.conformance.machine import check_against_model
from windlass.testing.conformance.measures import Listing, Measuring
from windlass.testing.conformance.settle import Settling
from windlass.testing.conformance.waiting import Crowding, Waiting

RIGHTS = "~{windlass}:* &{windlass}:* +@all -@admin -@dangerous +info"
"""What the message of a NOPERM asks for."""
pytestmark = pytest.mark.skipif(not BINARIES, reason=MISSING)


class TestRedis(Conformance):
    """A server alone, over TCP."""


def test_redis_agrees_with_the_model(shared: RedisServer) -> None:
    def make() -> RedisBroker:
        shared.command("FLUSHALL")
        return RedisBroker(shared.url())

    check_against_model(make)


class Elsewhere(Enqueueing, Claiming, Settling, Journalling, Measuring, Listing, Bookkeeping, Waiting, Crowding):
    """The chapters that between them use every kind of call, with one key and many, at once and waiting."""


class TestCluster(Elsewhere):
    """Three masters. The app of each test has a name of its own, so that all of them are used."""

    @pytest.fixture(scope="class")
    @classmethod
    def cluster(cls) -> Iterator[RedisCluster]:
        with RedisCluster() as cluster:
            yield cluster

    @pytest.fixture
    def url(self, cluster: RedisCluster) -> str:
        return cluster.url

    @pytest.fixture
    def name(self, request: pytest.FixtureRequest) -> str:
        return request.node.name


class TestSentinel(Elsewhere):
    """A primary found by asking sentinels, of which the first is dead."""

    @pytest.fixture(scope="class")
    @classmethod
    def sentinels(cls) -> Iterator[RedisSentinels]:
        with RedisSentinels(sentinels=2) as sentinels:
            sentinels.sentinels[0].kill()
            yield sentinels

    @pytest.fixture
    def url(self, sentinels: RedisSentinels) -> str:
        sentinels.servers[0].command("FLUSHALL")
        return sentinels.url


class TestSocketFile(Elsewhere):
    """Over unix://."""

    @pytest.fixture(scope="class")
    @classmethod
    def server(cls) -> Iterator[RedisServer]:
        with RedisServer(unix=True) as server:
            yield server

    @pytest.fixture
    def url(self, server: RedisServer) -> str:
        server.command("FLUSHALL")
        return server.url()


@pytest.mark.skipif(not OPENSSL, reason="needs the command openssl: apt-get install openssl")
class TestLeastRights(Elsewhere):
    """Over TLS, as a user who has just the rights that the docs name."""

    @pytest.fixture(scope="class")
    @classmethod
    def server(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
        certificates = Certificates(tmp_path_factory.mktemp("certificates"))
        with RedisServer(tls=certificates, password="operator", user=f"windlass on >a/b@c {RIGHTS}") as server:
            yield server

    @pytest.fixture
    def url(self, server: RedisServer) -> str:
        server.command("FLUSHALL")
        return server.url("windlass", "a/b@c")
