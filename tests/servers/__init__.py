"""Real servers for the tests: processes of their own on random loopback ports, each in a folder of its own, gone when the test is."""

from servers.certificates import Certificates
from servers.groups import RedisCluster, RedisSentinels
from servers.proxy import Proxy
from servers.redis import BINARIES, MISSING, RedisServer

__all__ = ["BINARIES", "MISSING", "Certificates", "Proxy", "RedisCluster", "RedisSentinels", "RedisServer"]
