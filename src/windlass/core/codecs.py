"""The codecs for the arguments and the result of one function.

Arguments are one JSON object, by parameter name. They are validated and converted by the function's annotations (pydantic,
lax mode, as FastAPI does) on the way in and again on the way out. Bytes are base64, infinities and NaN strings where
the annotation is float. Where JSON may change a value without notice (`Any`, unions, models with rules of their own), the producer reads
back what it wrote, and refuses what would not arrive as it was sent.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from math import inf
from typing import Any, NotRequired, cast

from msgspec import Raw
from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError, SchemaSerializer, SchemaValidator
from pydantic_core.core_schema import CoreConfig
from typing_extensions import TypeAliasType, TypedDict

from windlass.core.payload import LONGEST_INTEGER, check_size, no_key_twice
from windlass.core.seal import instead
from windlass.core.secret import SHOWN, Values, marked, noting
from windlass.errors import InvalidArguments, PayloadTooLarge, TaskDefinitionError, Undecodable

_CORE = CoreConfig(ser_json_bytes="base64", val_json_bytes="base64", ser_json_inf_nan="strings")
_CONFIG = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64", ser_json_inf_nan="strings")

_alias: Any = TypeAliasType  # type checkers want aliases to be static

_FAITHFUL_KEYS = {"str", "int", "uuid", "date", "datetime"}
_FAITHFUL = _FAITHFUL_KEYS | {
    *("bool", "float", "none", "bytes", "time", "timedelta", "decimal", "complex"),
    *("list", "tuple", "set", "frozenset", "dict", "nullable", "typed-dict", "typed-dict-field"),
}
"""The kinds of pydantic schema whose values always arrive as they were sent."""


def _faithful(schema: Any) -> bool:
    """Whether every value that fits a pydantic core schema arrives from JSON as it was sent."""
    if isinstance(schema, (list, tuple)):
        return all(map(_faithful, schema))
    if not isinstance(schema, Mapping):
        return True
    kind = schema.get("type")
    if isinstance(kind, str) and kind not in _FAITHFUL:
        return False
    if kind == "dict" and schema["keys_schema"]["type"] not in _FAITHFUL_KEYS:
        return False
    return all(_faithful(part) for name, part in schema.items() if name != "metadata")


def _same(sent: Any, arrived: Any) -> bool:
    """Whether `arrived` is what was `sent`: equal, and of its class or the plain one that it extends (or a float for an int)."""
    if not isinstance(sent, type(arrived)) and (type(sent), type(arrived)) != (int, float):
        return False
    if isinstance(arrived, dict):
        return sent.keys() == arrived.keys() and all(_same(sent[key], value) for key, value in arrived.items())
    if isinstance(arrived, (list, tuple)):
        return len(sent) == len(arrived) and all(map(_same, sent, arrived))
    names = getattr(arrived, "__pydantic_fields__", None) or getattr(arrived, "__dataclass_fields__", None)
    if names is not None:
        every = (*names, "model_extra") if hasattr(arrived, "model_extra") else tuple(names)
        return all(_same(getattr(sent, name), getattr(arrived, name)) for name in every)
    return bool(sent == arrived or (sent != sent and arrived != arrived))  # NaN is not itself


class Arguments:
    """The codec for one function's arguments. `hidden` names the injected parameters, which never travel.

    secret: the parameters that are, or hold, what is marked with `Secret`.
    """

    def __init__(
        self, task: str, function: Callable[..., Any], hints: Mapping[str, Any], hidden: frozenset[str]
    ) -> None:
        self.task = task
        self._whole = inspect.signature(function)
        every = self._whole.parameters.values()
        travelling = [one for one in every if one.name not in hidden]
        self.signature = inspect.Signature(travelling)
        self._positional = [one.name for one in travelling if one.kind is one.POSITIONAL_OR_KEYWORD]
        self._by_name = all(one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY) for one in every)
        adapter = _adapter(task, _shape(self.signature, hints))
        self.adapter = adapter
        self._validator = adapter.validator
        self._serializer = SchemaSerializer(adapter.core_schema, _CORE)
        self._faithful = _faithful(adapter.core_schema)
        self.secret = _secret(adapter.core_schema)

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The given arguments by parameter name, as a call would bind them. Raises `InvalidArguments`."""
        if self._by_name and len(args) <= len(self._positional):
            bound = dict(zip(self._positional, args))  # noqa: B905 # what follows has defaults; saying so takes as long as the rest
            if not kwargs:
                return bound
            if bound.keys().isdisjoint(kwargs):
                return {**bound, **kwargs}
        try:
            return dict(self.signature.bind(*args, **kwargs).arguments)
        except TypeError as error:
            raise InvalidArguments(f"{self.task}{self.signature}: {error}") from None

    @property
    def defaults(self) -> dict[str, Any]:
        """Of the parameters that have one, by name."""
        return {name: one.default for name, one in self.signature.parameters.items() if one.default is not one.empty}

    def named(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments by parameter name as the task will see them, defaults included. Raises `InvalidArguments`."""
        try:
            given: dict[str, Any] = self._validator.validate_python(self.bind(args, kwargs))
        except ValidationError as error:
            raise InvalidArguments(f"{self.task}: {_said(error, self.secret)}") from None
        return self.defaults | given

    def encode(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], limit: int) -> bytes:
        """The arguments as JSON of at most `limit` bytes. Raises `InvalidArguments` or `PayloadTooLarge`."""
        try:
            values = self._validator.validate_python(self.bind(args, kwargs))
            data = self._serializer.to_json(values)
            check_size(f"{self.task}: the arguments take", data, limit)
            if not self._faithful or len(data) > LONGEST_INTEGER:
                self._read_back(values, data)
        except ValidationError as error:
            raise InvalidArguments(f"{self.task}: {_said(error, self.secret)}") from None
        except (PydanticSerializationError, RecursionError) as error:
            said = SHOWN if self.secret else error
            raise InvalidArguments(f"{self.task}: an argument cannot be stored as JSON: {said}") from None
        return data

    def _read_back(self, sent: dict[str, Any], data: bytes) -> None:
        """Raise `InvalidArguments` unless `data` decodes to what was `sent`."""
        try:
            arrived = self._validator.validate_json(data)
        except ValidationError as error:
            raise InvalidArguments(
                f"{self.task}: an argument could not be read back: {_said(error, self.secret)}"
            ) from None
        if changed := [name for name, value in sent.items() if not _same(value, arrived[name])]:
            raise InvalidArguments(
                f"{self.task}: {', '.join(changed)} would not arrive as it was sent; annotate it with one exact type "
                f"(datetime, Path, a model, ...) or pass plain JSON values"
            )

    def decode(self, args: Raw | bytes) -> dict[str, Any]:
        """Arguments by name from JSON, as `Values` where some are secret. Raises `Undecodable`."""
        data = bytes(args)
        try:
            values = self._validated(data) if self.secret else self._validator.validate_json(data)
            if data.count(b":") > len(values):  # so many at least, when each key is there once
                no_key_twice(data)
            return values
        except ValidationError as error:
            why = _said(error, self.secret)
        except (ValueError, RecursionError) as error:
            why = str(error)
        raise Undecodable(f"the arguments do not fit {self.task}{self.signature}: {why}")

    def _validated(self, data: bytes) -> Values:
        """The arguments and what is secret in them; no error tells of a value."""
        try:
            with noting() as noted:
                return Values(self._validator.validate_json(data), self.secret, noted)
        except ValidationError:
            raise
        except Exception as error:
            raise ValueError(f"a validator raised {type(error).__name__}") from None

    def arrange(self, values: dict[str, Any], injected: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The positional and keyword arguments of the call that `values` and the `injected` ones stand for."""
        if self._by_name:
            return (), {**values, **injected} if injected else values
        bound = inspect.BoundArguments(self._whole, cast(Any, {**values, **injected}))
        return bound.args, bound.kwargs


class Result:
    """The codec for one function's result, or (what) for another value of a job."""

    def __init__(self, task: str, hint: Any, what: str = "the stored result") -> None:
        self.task = task
        self._what = what
        schema = _adapter(task, hint).core_schema
        self._validator = SchemaValidator(schema, _CORE)
        self._serializer = SchemaSerializer(schema, _CORE)
        self._faithful = _faithful(schema)

    def encode(self, value: Any, limit: int) -> bytes:
        """A result as JSON of at most `limit` bytes. Raises `InvalidArguments` (its message says what is wrong) or `PayloadTooLarge`."""
        try:
            data = self._serializer.to_json(self._validator.validate_python(value))
        except ValidationError as error:
            raise InvalidArguments(f"the result does not fit the annotation: {_said(error)}") from None
        except (PydanticSerializationError, RecursionError) as error:
            raise InvalidArguments(f"the result cannot be stored as JSON: {error}") from None
        check_size("the result takes", data, limit)
        if not self._faithful or len(data) > LONGEST_INTEGER:
            try:
                self._validator.validate_json(data)
            except ValidationError as error:
                raise InvalidArguments(f"the result could not be read back from JSON: {_said(error)}") from None
        return data

    def decode(self, data: bytes, limit: float = inf) -> Any:
        """A result from JSON of at most `limit` bytes; raises `Undecodable`."""
        try:
            check_size("the result takes", data, limit)
            return self._validator.validate_json(data)
        except ValidationError as error:
            why = instead(data) or _said(error)
        except (RecursionError, PayloadTooLarge) as error:
            why = str(error)
        raise Undecodable(f"{self._what} does not fit {self.task}: {why}")


def _shape(signature: inspect.Signature, hints: Mapping[str, Any]) -> Any:
    """A TypedDict with one key per parameter; parameters with a default may be missing."""
    keys: dict[str, Any] = {}
    for name, parameter in signature.parameters.items():
        hint = hints.get(name, Any)
        if parameter.kind is parameter.VAR_POSITIONAL:
            keys[name] = NotRequired[tuple[hint, ...]]  # type: ignore[valid-type]  # a type made at run time
        elif parameter.kind is parameter.VAR_KEYWORD:
            keys[name] = NotRequired[dict[str, hint]]  # type: ignore[valid-type]  # a type made at run time
        else:
            keys[name] = hint if parameter.default is parameter.empty else NotRequired[hint]
    shape = TypedDict("Arguments", keys)  # type: ignore[misc]  # its keys are known at run time only
    shape.__pydantic_config__ = ConfigDict(**_CONFIG, extra="forbid")  # type: ignore[attr-defined]  # pydantic's documented hook
    return shape


def _adapter(task: str, hint: Any) -> TypeAdapter[Any]:
    """A TypeAdapter for `hint`. `TaskDefinitionError` when no JSON form is known for it, NameError when a part of it is not defined."""
    try:
        # Behind an alias, because pydantic takes no configuration for a dataclass or a model at the top.
        adapter: TypeAdapter[Any] = TypeAdapter(_alias("Value", hint), config=_CONFIG)
        adapter.rebuild()
        return adapter
    except PydanticUserError as error:
        raise TaskDefinitionError(
            f"{task}: {str(error).splitlines()[0].rstrip('.')}; use a pydantic model, a dataclass or plain types, "
            f"and inject live objects with Depends()"
        ) from None


def _secret(schema: Any) -> frozenset[str]:
    """The fields of a TypedDict's core schema that are, or hold, what is marked with `Secret`."""
    definitions: dict[str, Any] = {}
    if schema["type"] == "definitions":
        definitions, schema = {one["ref"]: one for one in schema["definitions"]}, schema["schema"]
    schema = definitions.get(schema.get("schema_ref"), schema)
    return frozenset(name for name, part in schema["fields"].items() if marked(part, definitions))


def _said(error: ValidationError, secret: Collection[str] = ()) -> str:
    """A validation error in one line. Of what is `secret` only the kind of error: a validator's message may quote the value."""
    parts = error.errors(include_url=False, include_context=False, include_input=False)[:5]
    return "; ".join(
        f"{'.'.join(map(str, part['loc'])) or 'value'}: {part['type'] if {*part['loc'][:1]} & {*secret} else part['msg']}"
        for part in parts
    )
