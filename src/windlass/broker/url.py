"""`open_broker(url)`: the only place that names concrete brokers, each imported when it is first asked for."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import cast

from windlass.broker.port import Broker
from windlass.core.urls import masked, split
from windlass.errors import ConfigurationError, UnknownScheme

_REDIS = ("windlass.broker.redis.broker", "RedisBroker", "redis")
_BROKERS = {
    "sqlite": ("windlass.broker.sqlite.broker", "SqliteBroker", ""),
    "memory": ("windlass.broker.memory", "MemoryBroker", ""),
    **dict.fromkeys(("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel"), _REDIS),
}
"""By scheme: module, class, and the extra that installs what it needs."""
_PLANNED = {"postgresql", "postgres", "amqp", "amqps"}


def make_broker(url: str, name: str) -> Broker:
    """A broker for `url`, not yet opened, for the app called `name`. Raises `UnknownScheme` when none speaks it."""
    scheme = split(url).scheme
    if scheme not in _BROKERS:
        known = ", ".join(f"{known}://" for known in _BROKERS)
        why = "is not built yet" if scheme in _PLANNED else "is no store that Windlass knows"
        raise UnknownScheme(f"{scheme or masked(url)!r} {why}; use one of {known} (for example sqlite:///jobs.db)")
    module, cls, extra = _BROKERS[scheme]
    try:
        factory = cast(Callable[[str, str], Broker], getattr(import_module(module), cls))
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"{scheme}:// needs the package {error.name}: pip install 'windlass[{extra}]'"
        ) from error
    return factory(url, name)
