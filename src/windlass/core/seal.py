"""Seals: what a job carries is signed, or encrypted, with keys that the store does not know.

Sealed bytes are a zero byte (which no JSON begins with), the version of this format, the length of the key's id, the id, and then

* signed: an HMAC-SHA-256, and the bytes as they were;
* encrypted: 24 random bytes, and the bytes under AES-256-GCM with its tag. The first 12 of the random bytes make the key for these bytes
  alone (by HMAC-SHA-256), the other 12 are the nonce: so a key does not wear out, however many log lines it seals.

The id tells the key, and the ring what that key does: the sealed bytes have no say in it. Bound to them are the version and what they are
(a job's body, its result, ...), so that they open in no other place.
"""

from __future__ import annotations

import os
import re
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Callable, Mapping
from hmac import compare_digest, digest
from typing import Any, NamedTuple

import msgspec

from windlass.errors import ConfigurationError, NotOpened

_ZERO, _VERSION = 0, 1
_KEY, _MAC, _SALT = 32, 32, 12
_ID = re.compile(r"[A-Za-z0-9_.-]{1,32}")  # shorter than any key, so that none is shown that stands in an id's place
_SIGNING, _ENCRYPTING, _UNSEALED = "WINDLASS_SIGNING_KEYS", "WINDLASS_ENCRYPTION_KEYS", "WINDLASS_ACCEPT_UNSEALED"
_REFUSED = bytes([_ZERO, _ZERO])

Keys = Mapping[str, bytes | str]
"""Keys by their ids, as bytes or in base64; the first one seals."""


class _Key(NamedTuple):
    """What one key does, to bytes and to what is bound to them."""

    seal: Callable[[bytes, bytes], bytes]
    open: Callable[[bytes, bytes], bytes | None]


class Seal:
    """A ring of keys: `Seal.signing({...})`, `Seal.encrypting({...})`, or both: `Seal.encrypting({...}) | Seal.signing({...})`.

    The first key seals, every key opens what it has sealed: so keys are replaced one worker at a time.
    accept_unsealed: for the time of adoption, what was never sealed is taken as it is.
    """

    def __init__(self, ring: Mapping[str, _Key], accept_unsealed: bool = False) -> None:
        self._ring = dict(ring)
        self._first = next(iter(self._ring))
        self.accept_unsealed = accept_unsealed

    def __repr__(self) -> str:
        return f"<Seal {', '.join(self._ring)}>"

    @classmethod
    def signing(cls, keys: Keys, *, accept_unsealed: bool = False) -> Seal:
        """Nobody without a key can make or change what a worker takes; everybody who reads the store can read it.

        keys: of at least 32 bytes. Raises `ConfigurationError`.
        """
        return cls({name: _signing(key) for name, key in _checked(keys)}, accept_unsealed)

    @classmethod
    def encrypting(cls, keys: Keys, *, accept_unsealed: bool = False) -> Seal:
        """As `signing`, and nobody without a key can read it either. Needs the extra `windlass[crypto]`.

        keys: of exactly 32 bytes. Raises `ConfigurationError`.
        """
        return cls({name: _encrypting(key, name) for name, key in _checked(keys)}, accept_unsealed)

    @classmethod
    def from_environment(cls) -> Seal | None:
        """The keys in $WINDLASS_ENCRYPTION_KEYS, then those in $WINDLASS_SIGNING_KEYS ("id:base64,id:base64"); None without any."""
        accepted = os.environ.get(_UNSEALED, "").lower() in ("1", "true", "yes")
        makers = {_ENCRYPTING: cls.encrypting, _SIGNING: cls.signing}
        found = [
            make(_spelled(variable, text), accept_unsealed=accepted)
            for variable, make in makers.items()
            if (text := os.environ.get(variable))
        ]
        return found[0] | found[1] if len(found) > 1 else found[0] if found else None

    def __or__(self, other: Seal) -> Seal:
        if twice := self._ring.keys() & other._ring.keys():
            raise ConfigurationError(f"two keys have the id {', '.join(sorted(twice))}")
        return Seal(self._ring | other._ring, self.accept_unsealed or other.accept_unsealed)

    def seal(self, data: bytes, *about: str) -> bytes:
        """The data, sealed. about: what it is, and whose."""
        name = self._first.encode()
        head = bytes([_ZERO, _VERSION, len(name)]) + name
        return head + self._ring[self._first].seal(data, _bound(about))

    def open(self, data: bytes, *about: str) -> bytes:
        """What was sealed as being `about` the same. Raises `NotOpened`."""
        if data[:1] != b"\0" and self.accept_unsealed:
            return data
        name, rest = _parted(data)
        if name is None:
            raise NotOpened("it is not sealed, and this app takes only what is sealed")
        if (key := self._ring.get(name)) is None:
            raise NotOpened(f"it is sealed with the key {name!a}, which this app does not have")
        if (opened := key.open(rest, _bound(about))) is None:
            raise NotOpened(f"it was changed, or made for another job: the key {name!a} does not open it")
        return opened


def refused(error: NotOpened) -> bytes:
    """What stands in the place of bytes that did not open: no JSON, and `instead` tells why."""
    return _REFUSED + str(error).encode()


def instead(data: bytes) -> str:
    """What there is instead of JSON, if that is a matter of seals: "" otherwise."""
    if data.startswith(_REFUSED):
        return data[2:400].decode(errors="replace")
    name, _ = _parted(data)
    return "" if name is None else f"it is sealed with the key {name!a}, and this program has no keys"


def _parted(data: bytes) -> tuple[str | None, bytes]:
    """The id of the key, and what comes after it. None: that is nothing sealed."""
    if len(data) < 3 or data[0] != _ZERO or data[1] != _VERSION:
        return None, data
    end = 3 + data[2]
    return data[3:end].decode("ascii", "replace"), data[end:]


def _bound(about: tuple[str, ...]) -> bytes:
    return msgspec.json.encode((_VERSION, *about))


def _signing(key: bytes) -> _Key:
    def seal(data: bytes, bound: bytes) -> bytes:
        return digest(key, bound + data, "sha256") + data

    def open_(data: bytes, bound: bytes) -> bytes | None:
        mac, rest = data[:_MAC], data[_MAC:]
        return rest if compare_digest(mac, digest(key, bound + rest, "sha256")) else None

    return _Key(seal, open_)


def _encrypting(key: bytes, name: str) -> _Key:
    try:
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError:
        raise ConfigurationError("encryption needs the package cryptography: pip install 'windlass[crypto]'") from None
    if len(key) != _KEY:
        raise ConfigurationError(f"the key {name!r} has {len(key)} bytes; AES-256 takes exactly {_KEY}")

    def cipher(salt: bytes) -> Any:
        return AESGCM(digest(key, b"windlass" + salt, "sha256"))

    def seal(data: bytes, bound: bytes) -> bytes:
        random = os.urandom(2 * _SALT)
        return random + bytes(cipher(random[:_SALT]).encrypt(random[_SALT:], data, bound))

    def open_(data: bytes, bound: bytes) -> bytes | None:
        salt, nonce, rest = data[:_SALT], data[_SALT : 2 * _SALT], data[2 * _SALT :]
        try:
            return bytes(cipher(salt).decrypt(nonce, rest, bound))
        except (InvalidTag, ValueError):  # a nonce that was cut short is a ValueError
            return None

    return _Key(seal, open_)


def _checked(keys: Keys) -> list[tuple[str, bytes]]:
    """The keys as bytes. Raises `ConfigurationError`, which shows no key."""
    if not keys:
        raise ConfigurationError("a seal needs at least one key")
    found: list[tuple[str, bytes]] = []
    for name, given in keys.items():
        if not _ID.fullmatch(name):
            raise ConfigurationError(
                "a key's id has 1 to 32 letters, digits, '.', '_' and '-', for example the month it was made in"
            )
        try:
            key = b64decode(given, validate=True) if isinstance(given, str) else bytes(given)
        except (NotBase64, ValueError):
            raise ConfigurationError(f"the key {name!r} is no base64") from None
        if len(key) < _KEY:
            raise ConfigurationError(
                f"the key {name!r} has {len(key)} bytes; {_KEY} random ones are needed: openssl rand -base64 {_KEY}"
            )
        found.append((name, key))
    return found


def _spelled(variable: str, text: str) -> Keys:
    """Keys as the environment spells them. Raises `ConfigurationError`, which shows no key."""
    parts = [one.strip().partition(":") for one in text.split(",")]
    if not all(colon for _, colon, _ in parts):
        raise ConfigurationError(f'${variable} is to be "id:base64,id:base64"')
    if len({name for name, _, _ in parts}) < len(parts):
        raise ConfigurationError(f"${variable} has two keys of one id")
    return {name: key for name, _, key in parts}
