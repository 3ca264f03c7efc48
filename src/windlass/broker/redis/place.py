"""Where Redis is, by its URL, and how to get a connection to the server that takes writes there."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator
from typing import Any, cast
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

import hiredis
from redis import exceptions
from redis.asyncio import connection as redis
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff

from windlass.core.urls import masked, split
from windlass.errors import (
    BrokerError,
    BrokerUnavailable,
    ConfigurationError,
    StoreCorrupt,
    StoreFull,
    StoreRefused,
    WindlassError,
)

CONNECT_TIMEOUT = 5.0
"""Seconds for each of the steps of connecting: to reach the server, and each of its answers to our greeting."""

Host = tuple[str, int]


class Place:
    """A server, several that know of each other (a cluster's), or sentinels that know it.

    `redis://[user:password@]host[:port][,host[:port]...][/db]`, `rediss://` for TLS, `unix:///path/to.sock?db=0`,
    `redis+sentinel://[user:password@]host[:port][,...]/SERVICE[/db]` (`rediss+sentinel://`), with redis-py's options as `?name=value`.
    Raises `ConfigurationError` when the URL cannot be understood.
    """

    def __init__(self, url: str) -> None:
        self.shown = masked(url)
        parts = split(url)
        self._sentinels = parts.scheme.endswith("+sentinel")
        self._moved: Host | None = None
        self.service = ""
        try:
            self._hosts = list(_hosts(parts, 26379 if self._sentinels else 6379))
            if self._sentinels:
                self.service, _, db = parts.path.strip("/").partition("/")
                parts = parts._replace(scheme=parts.scheme.partition("+")[0], path=f"/{db}")
            options: dict[str, Any] = dict(redis.parse_url(urlunsplit(_with_one_host(parts))))
            database = parts.path.strip("/") or "0"
            if parts.scheme != "unix" and not database.isdecimal():  # redis-py would take database 0
                raise ValueError(f"its database is a number, and not {database!r}")
        except ValueError as error:
            raise ConfigurationError(f"{self.shown} is no URL of a Redis: {error}") from None
        if self._sentinels and not self.service:
            raise ConfigurationError(
                f"{self.shown} does not say which service to ask the sentinels for: redis+sentinel://host:26379/SERVICE"
            )
        self._class: type[redis.AbstractConnection] = options.pop("connection_class", redis.Connection)
        self._sentinel_options = {name: options.pop(name) for name in list(options) if name.startswith("sentinel_")}
        self._options = options
        self._check(options)

    def _check(self, options: dict[str, Any]) -> None:
        known = {name for cls in self._class.__mro__ for name in inspect.signature(cls).parameters}
        for name in options.keys() - known:
            raise ConfigurationError(f"{self.shown}: redis-py knows no option {name!r} of a connection")
        if self._class is redis.UnixDomainSocketConnection and not options.get("path"):
            raise ConfigurationError(f"{self.shown} names no socket: unix:///path/to/redis.sock")

    async def connect(self, client: str, channel: bytes) -> redis.AbstractConnection:
        """A new connection to the server that takes writes, greeted, logged in and listening to `channel`.

        client: what `CLIENT LIST` shows.
        Raises `BrokerUnavailable`, or `ConfigurationError` when trying again cannot help.
        """
        trouble: WindlassError | None = None
        for host in await self._where():
            try:
                return await self._connect(host, client, channel)
            except ConfigurationError:
                raise
            except WindlassError as error:
                trouble = error
        self._moved = None
        raise trouble or BrokerUnavailable(f"{self.shown} names no server")

    async def _where(self) -> list[Host]:
        if self._sentinels:
            return [await self._primary()]
        return [self._moved, *self._hosts] if self._moved else self._hosts

    async def _connect(self, host: Host, client: str, channel: bytes) -> redis.AbstractConnection:
        options: dict[str, Any] = {
            "client_name": client,
            "socket_connect_timeout": CONNECT_TIMEOUT,
            "socket_timeout": CONNECT_TIMEOUT,
            "socket_keepalive": True,
            **self._options,
            "protocol": 3,
            "retry": None,  # a call that is repeated by a library behind our back may happen twice
            "health_check_interval": 0,
        }
        if self._class is redis.UnixDomainSocketConnection:
            del options["socket_keepalive"]
        else:
            options["host"], options["port"] = host
        made: Any = self._class(**options)
        caller = cast("asyncio.Task[Any]", asyncio.current_task())
        cancelled = caller.cancelling()
        try:
            await made.connect()
            await made.send_command("SUBSCRIBE", channel)
            await made.read_response(push_request=True)
            # The library writes within asyncio.wait_for, in which Python 3.11 can lose a cancellation.
            if caller.cancelling() > cancelled:
                raise asyncio.CancelledError
        except BaseException as error:  # a cancelled call, too, leaves no connection behind
            await made.disconnect(nowait=True)
            if isinstance(
                error, exceptions.RedisError | OSError | RuntimeError
            ):  # uvloop's, of a socket that was just closed
                raise self.refused(str(error), error) from error
            raise
        return cast(redis.AbstractConnection, made)

    async def _primary(self) -> Host:
        options: dict[str, Any] = {
            name.removeprefix("sentinel_"): value for name, value in self._sentinel_options.items()
        }
        # By itself redis-py asks a dead sentinel ten times, before it asks the next one.
        options |= {
            "socket_timeout": CONNECT_TIMEOUT,
            "socket_connect_timeout": CONNECT_TIMEOUT,
            "retry": Retry(NoBackoff(), 0),
        }
        sentinels = cast(Any, Sentinel)(self._hosts, sentinel_kwargs=options)
        try:
            host, port = await sentinels.discover_master(self.service)
        except exceptions.RedisError as error:
            raise BrokerUnavailable(
                f"no sentinel of {self.shown} answers, or none knows a primary of {self.service!r}"
            ) from error
        finally:
            for one in sentinels.sentinels:
                await one.aclose()
        return host, int(port)

    def redirect(self, moved: str) -> None:
        """The keys live elsewhere: "MOVED slot host:port"."""
        host, _, port = moved.split()[2].rpartition(":")
        self._moved = (host, int(port)) if host else (self._hosts[0][0], int(port))

    def refused(self, said: str, cause: Exception | None = None) -> WindlassError:
        """What the server said instead of an answer, as an error that says what to do."""
        word = said.partition(" ")[0]
        if (
            word in ("NOAUTH", "WRONGPASS")
            or "AuthenticationWrong" in said
            or isinstance(cause, exceptions.AuthenticationError)
        ):
            return ConfigurationError(f"{self.shown} does not let us in ({said}); check user and password in the URL")
        if (
            word == "NOPERM"
            or any(word in said for word in _NO_RIGHT)
            or isinstance(cause, exceptions.NoPermissionError)
        ):
            return ConfigurationError(
                f"{self.shown} does not allow us what we need ({said}); "
                "the user needs the keys and the channels of the app: ACL SETUSER ... ~{NAME}:* &{NAME}:* +@all -@admin -@dangerous +info"
            )
        if word == "OOM":
            return StoreFull(
                f"{self.shown} is full ({said}); nothing was stored. Free memory there, or raise maxmemory"
            )
        if word == "WRONGTYPE":
            return StoreCorrupt(
                f"{self.shown}: somebody changed a key of this app into one of another type; delete that key ({said})"
            )
        if "unknown command" in said:
            said = said.partition(",")[0]
            return StoreRefused(f"{self.shown} is a sentinel, or too old: Windlass needs Redis 7.0 or Valkey ({said})")
        if isinstance(cause, exceptions.ResponseError) or (cause is None and word not in _PASSING):
            return BrokerError(f"{self.shown}: {said}")
        tls = ", and does it speak TLS" if self.shown.startswith("rediss") else ""
        hint = "" if cause is None else f"; is a Redis running there{tls}?"
        return BrokerUnavailable(f"{self.shown} cannot be used now: {said}{hint}")


_NO_RIGHT = ("executing the script can't", "ACL failure in script")
"""How Redis and Valkey say that the user may not do what a script does."""
_PASSING = {
    "BUSY", "LOADING", "MASTERDOWN", "READONLY", "CLUSTERDOWN", "TRYAGAIN", "ASK", "MOVED", "NOREPLICAS", "MISCONF", "UNKILLABLE",
}  # fmt: skip
"""First words of refusals that pass by themselves."""
ELSEWHERE = {"READONLY", "MASTERDOWN", "LOADING", "CLUSTERDOWN"}
"""After these the server that takes writes may be another one: connect again."""


def first_word(refusal: hiredis.ReplyError) -> str:
    """What kind of refusal it is."""
    return str(refusal).partition(" ")[0]


def _hosts(url: SplitResult, port: int) -> Iterator[Host]:
    for one in url.netloc.rpartition("@")[2].split(","):
        parts = urlsplit(f"//{one}")
        yield unquote(parts.hostname or "localhost"), parts.port or port


def _with_one_host(parts: SplitResult) -> SplitResult:
    login, at, hosts = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{login}{at}{hosts.partition(',')[0]}")
