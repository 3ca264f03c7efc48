"""URLs of stores, as they may be shown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import SplitResult, parse_qsl, quote, urlencode, urlsplit, urlunsplit

from windlass.errors import ConfigurationError

_LOOPBACK = ("localhost", "127.", "[::1]")


def split(url: str) -> SplitResult:
    """The parts of a URL. Raises `ConfigurationError`, which shows nothing of it: a part of it may be a password."""
    start, slashes, rest = url.partition("://")
    netloc = re.split("[/?#]", rest, maxsplit=1)[0]
    login, at, hosts = netloc.rpartition("@")
    try:
        if "," not in hosts:
            return urlsplit(url)
        for host in hosts.split(","):  # each by itself: newer releases of Python refuse an IPv6 address in a list
            urlsplit(f"//{login}{at}{host}")
        return urlsplit(f"{start}{slashes}{rest[len(netloc) :]}")._replace(netloc=netloc)
    except ValueError:
        raise ConfigurationError(
            "the URL of the store makes no sense; what is special in a password is written %5B"
        ) from None


def masked(url: str) -> str:
    """`url` without its passwords, for logs and banners."""
    parts = split(url)
    login, at, hosts = parts.netloc.rpartition("@")
    user, colon, _ = login.partition(":")
    query = parts.query
    if "password" in query:
        named = parse_qsl(query, keep_blank_values=True)
        query = urlencode(
            [(name, "***" if "password" in name else value) for name, value in named], safe="*/", quote_via=quote
        )
    elif not colon:
        return url
    return urlunsplit(parts._replace(netloc=f"{user}{':***' if colon else ''}{at}{hosts}", query=query))


def exposed(url: str) -> Iterator[str]:
    """What is unsafe about a server that is reached over the network by this URL, and what would be better."""
    parts = split(url)
    login, _, hosts = parts.netloc.rpartition("@")
    if all(host.startswith(_LOOPBACK) for host in hosts.split(",")) or not hosts:
        return
    if ":" not in login and "&password=" not in f"&{parts.query}":
        yield f"it is reached at {hosts} without a password: whoever reaches it decides what runs; give it one, or sign the jobs"
    if not parts.scheme.startswith("rediss"):
        yield f"what is said to {hosts} can be read and changed on its way; use TLS: rediss://"
    elif "ssl_cert_reqs=none" in parts.query.lower():
        yield "ssl_cert_reqs=none: anybody on the way can take its place; name its authority with ssl_ca_certs"
