"""Servers that belong together: a cluster, and a primary with a replica under the eyes of sentinels."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import Any
from urllib.parse import quote

from redis.exceptions import RedisError

from servers.redis import RedisServer, wait_for

SLOTS = 16_384


class RedisCluster:
    """Masters that share the slots evenly, without replicas."""

    def __init__(self, binary: str = "", masters: int = 3) -> None:
        self.servers = [
            RedisServer(binary, cluster_enabled="yes", cluster_config_file="nodes.conf", cluster_node_timeout=2000)
            for _ in range(masters)
        ]
        self._stack = ExitStack()

    @property
    def url(self) -> str:
        """Two of them, as seeds."""
        return f"redis://{','.join(f'127.0.0.1:{one.port}' for one in self.servers[:2])}/"

    def __enter__(self) -> RedisCluster:
        with ExitStack() as stack:
            for number, server in enumerate(self.servers):
                stack.enter_context(server)
                first, last = (SLOTS * n // len(self.servers) for n in (number, number + 1))
                server.command("CLUSTER ADDSLOTSRANGE", first, last - 1)
                self.servers[0].command("CLUSTER MEET", "127.0.0.1", server.port)
            for server in self.servers:
                wait_for(partial(self._whole, server))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def flush(self) -> None:
        """Forget everything."""
        for server in self.servers:
            server.command("FLUSHALL")

    def owner(self, key: str) -> RedisServer:
        """Who holds this key's slot."""
        slot = int(self.servers[0].command("CLUSTER KEYSLOT", key))
        for first, last, (_, port, *_), *_ in self.servers[0].command("CLUSTER SLOTS"):
            if first <= slot <= last:
                return next(server for server in self.servers if server.port == port)
        raise LookupError(slot)

    def move(self, key: str, heir: RedisServer) -> None:
        """Give this key's slot, with all that is in it, to another master."""
        owner, slot = self.owner(key), self.servers[0].command("CLUSTER KEYSLOT", key)
        ids = {server: server.command("CLUSTER MYID") for server in self.servers}
        heir.command("CLUSTER SETSLOT", slot, "IMPORTING", ids[owner])
        owner.command("CLUSTER SETSLOT", slot, "MIGRATING", ids[heir])
        with owner.client(decode_responses=False) as client:
            # In two words, for as one redis-py would take the keys for text.
            while keys := client.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 100):
                client.execute_command("MIGRATE", "127.0.0.1", heir.port, "", 0, 5000, "KEYS", *keys)
        for server in (heir, owner, *self.servers):
            server.command("CLUSTER SETSLOT", slot, "NODE", ids[heir])

    def _whole(self, server: RedisServer) -> bool:
        told = server.command("CLUSTER INFO")
        return (told["cluster_state"], told["cluster_known_nodes"]) == ("ok", str(len(self.servers)))


class RedisSentinels:
    """A primary, a replica of it, and sentinels that call the pair "main"."""

    SERVICE = "main"

    def __init__(self, binary: str = "", sentinels: int = 1, password: str = "") -> None:
        self._binary, self._count, self._password = binary, sentinels, password
        self.servers: list[RedisServer] = []
        self.sentinels: list[RedisServer] = []
        self._stack = ExitStack()

    @property
    def url(self) -> str:
        """All sentinels, and the name of the service."""
        who = f":{quote(self._password, safe='')}@" if self._password else ""
        return f"redis+sentinel://{who}{','.join(f'127.0.0.1:{one.port}' for one in self.sentinels)}/{self.SERVICE}"

    @property
    def primary(self) -> RedisServer:
        """Who the first sentinel says is the primary."""
        _, port = self.sentinels[0].command("SENTINEL GET-MASTER-ADDR-BY-NAME", self.SERVICE)
        return next(server for server in self.servers if server.port == int(port))

    def __enter__(self) -> RedisSentinels:
        with ExitStack() as stack:
            common: dict[str, Any] = {
                "repl_diskless_sync_delay": 0,
                **({"masterauth": self._password} if self._password else {}),
            }
            primary = stack.enter_context(RedisServer(self._binary, password=self._password, **common))
            common["replicaof"] = f"127.0.0.1 {primary.port}"
            replica = stack.enter_context(RedisServer(self._binary, password=self._password, **common))
            wait_for(lambda: replica.info("replication")["master_link_status"] == "up")
            self.servers = [primary, replica]
            name, quorum = self.SERVICE, self._count // 2 + 1
            watch = (
                f"monitor {name} 127.0.0.1 {primary.port} {quorum}",
                f"down-after-milliseconds {name} 500", f"failover-timeout {name} 3000",
                *([f"auth-pass {name} {self._password}"] if self._password else []),
            )  # fmt: skip
            for _ in range(self._count):
                server = RedisServer(self._binary, bind="127.0.0.1", sentinel=watch)
                self.sentinels.append(stack.enter_context(server))
            for sentinel in self.sentinels:
                wait_for(partial(self._complete, sentinel))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def fail_over(self, *, crash: bool = False) -> None:
        """Make the replica the primary once it has all that there is, and wait until the sentinels say so.

        crash: they do it by themselves, for the primary has died.
        """
        before = self.primary
        before.command("WAIT", 1, 0)
        if crash:
            before.kill()
        else:
            self.sentinels[0].command("SENTINEL FAILOVER", self.SERVICE)
        wait_for(lambda: self.primary is not before)

    def _complete(self, sentinel: RedisServer) -> bool:
        try:
            sentinel.command("SENTINEL CKQUORUM", self.SERVICE)
        except RedisError:
            return False
        replicas = sentinel.command("SENTINEL REPLICAS", self.SERVICE)
        return [one["flags"] for one in replicas] == ["slave"]
