"""`open_broker(url)`: the only place that names concrete brokers, each imported when it is first asked for."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import cast
from urllib.parse import urlsplit, urlunsplit

from windlass.broker.port import Broker
from windlass.errors import ConfigurationError, UnknownScheme

_BROKERS = {
    "sqlite": ("windlass.broker.sqlite.broker", "SqliteBroker"),
    "memory": ("windlass.broker.memory", "MemoryBroker"),
}
_PLANNED = {"redis", "rediss", "unix", "postgresql", "postgres", "amqp", "amqps"}


def make_broker(url: str, name: str) -> Broker:
    """A broker for `url`, not yet opened, for the app called `name`. Raises `UnknownScheme` when none speaks it."""
    scheme = urlsplit(url).scheme
    if scheme not in _BROKERS:
        known = ", ".join(f"{known}://" for known in _BROKERS)
        why = "is not built yet" if scheme in _PLANNED else "is no store that Windlass knows"
        raise UnknownScheme(f"{scheme or url!r} {why}; use one of {known} (for example sqlite:///jobs.db)")
    module, cls = _BROKERS[scheme]
    try:
        factory = cast(Callable[[str, str], Broker], getattr(import_module(module), cls))
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"{scheme}:// needs the package {error.name}: pip install 'windlass[{scheme}]'"
        ) from error
    return factory(url, name)


def masked(url: str) -> str:
    """`url` without its password, for logs and banners."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    return urlunsplit(parts._replace(netloc=f"{parts.username or ''}:***@{parts.netloc.rpartition('@')[2]}"))
