"""What travels in a job's body: a versioned JSON envelope around the arguments (`core.codecs` makes those).

Whoever reads takes nothing on trust: a limit on the size, no key twice in one object, `Undecodable` for all that is wrong.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from math import inf
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw, Struct
from msgspec.structs import replace
from pydantic_core import PydanticSerializationError, to_json

from windlass.core.retry import Retry
from windlass.core.seal import instead
from windlass.core.secret import Values
from windlass.errors import ConfigurationError, InvalidArguments, PayloadTooLarge
from windlass.errors import Undecodable as Undecodable

VERSION = 1
LONGEST_INTEGER = 4300
"""Digits of the longest integer that can be read back from JSON."""
_OPTIONS = 1 << 16
"""Bytes that the options of a job may take."""
_WRONG = (ValueError, RecursionError, PayloadTooLarge)
"""What reading may raise: the errors of msgspec and of UTF-8 are ValueErrors."""


class Fill(Struct, frozen=True, array_like=True, gc=False):
    """Which parameter is filled from letters: with the one result, or the list of so many `parts`, with failures among them if `collects`.
    The parts are the jobs whose ids are `derived` from the job's own.
    """

    parameter: str
    parts: int | None = None
    collects: bool = False


class Envelope(Struct, gc=False):
    """A job's body. Fields that only a newer Windlass knows are ignored; a newer `v` is not understood.

    secret: the arguments that are not to be shown. fill: what letters give.
    """

    args: Raw
    v: int = VERSION
    timeout: Annotated[float, Meta(gt=0)] | None = None
    retry: dict[str, Any] | None = None
    meta: dict[str, str] = msgspec.field(default_factory=dict)
    secret: tuple[str, ...] = ()
    fill: Fill | None = None

    def shown(self) -> dict[str, Any]:
        """The arguments, as everybody may see them. Raises `Undecodable`."""
        return Values(read_json("the arguments", bytes(self.args), dict[str, Any]), self.secret).shown()


_envelope_decoder = msgspec.json.Decoder(Envelope)


def packer(
    *,
    timeout: float | None = None,
    retry: Retry | None = None,
    meta: Mapping[str, str] | None = None,
    secret: Sequence[str] = (),
) -> Callable[[bytes], bytes]:
    """Makes bodies of encoded arguments, all with these options that differ from the task's own: they are encoded once.

    Raises `PayloadTooLarge` when the options are no small ones.
    """
    given = {
        "timeout": timeout,
        "retry": asdict(retry) if retry else None,
        "meta": meta or None,
        "secret": secret or None,
    }
    said = {"v": VERSION, **{name: value for name, value in given.items() if value is not None}}
    rest = msgspec.json.encode(said)[1:]
    if len(rest) > _OPTIONS:
        raise PayloadTooLarge(f"the options of a job take {len(rest):,} bytes; meta holds small tags, not data")
    return lambda args: b'{"args":%b,%b' % (args, rest)


def with_meta(body: bytes, more: Mapping[str, str]) -> bytes:
    """A body that `packer` made, with more tags."""
    envelope = _envelope_decoder.decode(body)
    return msgspec.json.encode(replace(envelope, meta={**envelope.meta, **more}))


def with_fill(body: bytes, fill: Fill) -> bytes:
    """A body that `packer` made, one parameter of which is filled from letters."""
    return msgspec.json.encode(replace(_envelope_decoder.decode(body), fill=fill))


def unpack(body: bytes, limit: float = inf) -> Envelope:
    """The envelope in a body whose arguments take at most `limit` bytes; raises `Undecodable`."""
    try:
        envelope = _envelope_decoder.decode(body)
        args = bytes(envelope.args)
        check_size("the arguments take", args, limit)
        if body != b'{"args":%b,"v":1}' % args:
            if len(body) - len(args) > 2 * _OPTIONS:
                raise ValueError(f"{len(body) - len(args):,} bytes of it are no arguments")
            no_key_twice(body)
    except _WRONG as error:
        raise Undecodable(f"the body is no job envelope: {instead(body) or error}") from None
    if envelope.v > VERSION:
        raise Undecodable(f"the body has version {envelope.v}, this Windlass reads up to {VERSION}: upgrade the worker")
    return envelope


def no_key_twice(data: bytes) -> None:
    """Raise ValueError when an object of this JSON has a key twice: another reader may take the one that we did not."""
    if msgspec.json.encode(msgspec.json.decode(data)) == data:
        return  # what reads back as it was written says nothing twice

    def pairs(members: list[tuple[str, Any]]) -> None:
        if len(dict(members)) < len(members):
            raise ValueError("an object has a key twice")

    json.loads(data, object_pairs_hook=pairs)


def read_json(what: str, data: bytes, kind: Any = Any, limit: float = inf) -> Any:
    """JSON that was stored, as a `kind` that msgspec knows. Raises `Undecodable`. what: "the checkpoint"."""
    try:
        check_size("it takes", data, limit)
        return msgspec.json.decode(data, type=kind)
    except _WRONG as error:
        raise Undecodable(f"{what} cannot be read: {instead(data) or error}") from None


def write_json(what: str, value: Any, limit: float = inf) -> bytes:
    """Any value that has a JSON form, for `read_json`. Raises `InvalidArguments` or `PayloadTooLarge`."""
    try:
        data = to_json(value, bytes_mode="base64", inf_nan_mode="strings")
        check_size(f"{what} takes", data, limit)
        if len(data) > LONGEST_INTEGER:
            msgspec.json.decode(data)
    except (PydanticSerializationError, msgspec.MsgspecError) as error:
        raise InvalidArguments(f"{type(value).__name__} cannot be stored as JSON: {error}") from None
    return data


def policy_of(envelope: Envelope, default: Retry) -> Retry:
    """The retry policy in an envelope, or `default`. Raises `Undecodable`."""
    if envelope.retry is None:
        return default
    known = {field.name for field in fields(Retry)}
    try:
        return Retry(**{name: value for name, value in envelope.retry.items() if name in known})
    except (ConfigurationError, TypeError) as error:
        raise Undecodable(f"the retry policy in the body makes no sense: {error}") from None


def check_size(what: str, data: bytes, limit: float) -> None:
    """Raise `PayloadTooLarge` when `data` has more than `limit` bytes. what: "the result takes"."""
    if len(data) > limit:
        raise PayloadTooLarge(
            f"{what} {len(data):,} bytes, over the limit max_payload = {limit:,}; "
            "store the data elsewhere (a file, an object store) and pass its name"
        )
