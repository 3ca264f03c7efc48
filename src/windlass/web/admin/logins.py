"""Logins for a dashboard that stands alone: a password, a token, or a proxy that knows its users. Each is a `Way`: what tells who asks.

In an app of one's own, `auth=` is the app's login, and nothing here is needed.
"""

from __future__ import annotations

import binascii
import time
from base64 import b64decode
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from hmac import compare_digest
from http import HTTPStatus
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from fastapi import Request

from windlass.errors import ConfigurationError
from windlass.web.admin.access import Access, Role
from windlass.web.problems import Problem

Way = Callable[[Request], Access | None]
"""Who asks, by one kind of login; None when the request does not say, or says it wrongly."""
Networks = Sequence[IPv4Network | IPv6Network]

SHORTEST = 12
"""Characters of a password or token: what cannot be guessed however often one tries."""
TRIES, SPAN = 10, 60.0
"""Wrong passwords and tokens from one address in so many seconds; then it is not listened to until they are over."""
ADDRESSES = 10_000
"""Addresses that are remembered for that."""


def auth(ways: Sequence[Way], challenge: str) -> Callable[[Request], Access]:
    """The `auth=` that lets in whom one of the ways knows. challenge: the WWW-Authenticate of the answer to others."""

    def known(request: Request) -> Access:
        for way in ways:
            if (access := way(request)) is not None:
                return access
        problem = Problem(HTTPStatus.UNAUTHORIZED, "unauthorized", "log in first")
        problem.headers = {"WWW-Authenticate": challenge} if challenge else None
        raise problem

    return known


class Tries:
    """Counts wrong secrets by the address that they came from."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._wrong: dict[str, int] = {}
        self._since = clock()

    def check(self, request: Request) -> None:
        """Raise `Problem` (429) when there were too many from this address."""
        if self._clock() >= self._since + SPAN or len(self._wrong) > ADDRESSES:
            self._wrong, self._since = {}, self._clock()
        if self._wrong.get(_address(request), 0) >= TRIES:
            problem = Problem(
                HTTPStatus.TOO_MANY_REQUESTS, "too-many-tries", "too many wrong passwords; try again later"
            )
            problem.headers = {"Retry-After": f"{SPAN:.0f}"}
            raise problem

    def wrong(self, request: Request) -> None:
        """One more."""
        self._wrong[_address(request)] = self._wrong.get(_address(request), 0) + 1


def _address(request: Request) -> str:
    """Whom a client's tries are counted for: an IPv6 host has a whole network of addresses."""
    host = request.client.host if request.client else ""
    try:
        return str(ip_network((host, 64), strict=False)) if ip_address(host).version == 6 else host
    except ValueError:
        return host


def password(secret: str, role: Role, tries: Tries) -> Way:
    """HTTP Basic: any name, which then stands in the audit log, with this one password."""
    return _secret("basic", _named, secret, role, tries)


def token(secret: str, role: Role, tries: Tries) -> Way:
    """A bearer token, for programs."""
    return _secret("bearer", lambda text: ("token", text.encode()), secret, role, tries)


def _secret(scheme: str, read: Callable[[str], tuple[str, bytes]], secret: str, role: Role, tries: Tries) -> Way:
    """Raises `ConfigurationError` for a secret that could be guessed. read: the name and the secret in a header."""
    if len(secret) < SHORTEST:
        raise ConfigurationError(f"a password or token for the dashboard has at least {SHORTEST} characters")

    def way(request: Request) -> Access | None:
        given, _, text = request.headers.get("authorization", "").partition(" ")
        if given.lower() != scheme:
            return None
        tries.check(request)
        name, said = read(text.strip())
        if compare_digest(said, secret.encode()):
            return Access(role, name)
        tries.wrong(request)
        return None

    return way


def _named(text: str) -> tuple[str, bytes]:
    """Name and password of HTTP Basic (RFC 7617); what is none has an empty password."""
    try:
        name, _, said = b64decode(text, validate=True).partition(b":")
        return name.decode(), said
    except (binascii.Error, UnicodeDecodeError):
        return "", b""


class Grants:
    """Which role somebody has by name: "ann@example.com=admin", "*@example.com=viewer". The highest that fits counts."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._roles: list[tuple[str, Role]] = []
        for text in texts:
            pattern, _, role = text.rpartition("=")
            if not pattern or role.upper() not in Role.__members__:
                raise ConfigurationError(
                    f"{text!r} grants nothing; write NAME=ROLE, for example '*@example.com=viewer'"
                )
            self._roles.append((pattern, Role[role.upper()]))

    def access(self, name: str) -> Access | None:
        """What somebody of this name may do; None for nothing."""
        roles = [role for pattern, role in self._roles if name and fnmatchcase(name, pattern)]
        return Access(max(roles), name) if roles else None


def networks(texts: Sequence[str]) -> Networks:
    """Addresses ("10.0.0.7") and networks ("10.0.0.0/8"). Raises `ConfigurationError`."""
    try:
        return [ip_network(text) for text in texts]
    except ValueError as error:
        raise ConfigurationError(f"{error}; write an address or a network: 10.0.0.7 or 10.0.0.0/24") from None


def proxy(header: str, trusted: Networks, grants: Grants) -> Way:
    """The name in a header that a proxy sets: believed of these addresses, and of no others."""

    def way(request: Request) -> Access | None:
        names = ",".join(request.headers.getlist(header)).split(",")
        # A proxy that adds its header to the client's own vouches for neither.
        return grants.access(names[0].strip()) if len(names) == 1 and _from(request, trusted) else None

    return way


def _from(request: Request, trusted: Networks) -> bool:
    """Whether the connection itself comes from a trusted address, whatever it says of others."""
    try:
        address = ip_address(request.client.host if request.client else "")
    except ValueError:
        return False
    return any(address in network for network in trusted)
