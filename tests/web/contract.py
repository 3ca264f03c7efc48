"""The shapes of docs/design/api.md, read from that page, so that answers can be held against them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs" / "design" / "api.md"
_TOKEN = re.compile(r'\s*("[^"]*"|[A-Za-z_]\w*|\[\]|[{}()<>|&:;,?])|\s*\n')
_CHECKS = {
    "string": lambda value: isinstance(value, str),
    "number": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "object": lambda value: isinstance(value, dict),
    "unknown": lambda value: True,
}


class Contract:
    """`check(value, "JobDetail")` lists what is wrong with a value; `reads` has the answer of each read by its path."""

    def __init__(self) -> None:
        text = PAGE.read_text()
        code = re.sub(r"//[^\n]*", "", text.partition("```ts\n")[2].partition("```")[0])
        self._types: dict[str, Any] = {}
        for head in re.finditer(r"^(interface|type) (\w+)(?: extends (\w+))? ?=?", code, re.MULTILINE):
            end = re.compile(r"^(?:interface|type) |\Z", re.MULTILINE).search(code, head.end())
            assert end is not None
            shape = _Parser(code[head.end() : end.start()]).whole()
            self._types[head[2]] = ("&", [("name", head[3], []), shape]) if head[3] else shape
        self.reads: dict[str, Any] = {}
        for line in text.partition("## Reads")[2].partition("`q` is a list")[0].splitlines():
            cells = re.split(r"(?<!\\)\|(?![^`]*`[^`]*\|$)", line)
            if len(cells) == 4 and "`" in cells[1] and "SSE" not in cells[2]:
                for path, answer in zip(cells[1].split(" · "), cells[2].split(" · "), strict=True):
                    shape = answer.partition("`")[2].partition("`")[0].replace(" or ", " | ")
                    self.reads[path.strip(" `").partition("?")[0]] = _Parser(shape).whole()

    def check(self, value: Any, shape: Any, where: str = "") -> list[str]:
        """What is wrong with the value, each with where it is."""
        kind, *rest = self._named(shape)
        match kind:
            case "|":
                tries = [self.check(value, one, where) for one in rest[0]]
                return [] if [] in tries else min(tries, key=len)
            case "[]":
                if not isinstance(value, list):
                    return [f"{where} is no list: {value!r:.80}"]
                return [wrong for n, one in enumerate(value) for wrong in self.check(one, rest[0], f"{where}[{n}]")]
            case "literal":
                return [] if value == rest[0] else [f"{where} is {value!r:.80}, not {rest[0]!r}"]
            case "Record":
                if not isinstance(value, dict):
                    return [f"{where} is no object: {value!r:.80}"]
                names, one = rest[0]
                wrong = [text for name in value for text in self.check(name, names, f"{where} key")]
                return wrong + [text for name in value for text in self.check(value[name], one, f"{where}.{name}")]
            case "{}":
                return self._fields(value, rest[0], where)
            case _:
                return [] if _CHECKS[kind](value) else [f"{where} is no {kind}: {value!r:.80}"]

    def _fields(self, value: Any, fields: dict[str, Any], where: str) -> list[str]:
        if not isinstance(value, dict):
            return [f"{where} is no object: {value!r:.80}"]
        wrong = [
            f"{where}.{name} is not in the contract" for name in value.keys() - {name.strip("?") for name in fields}
        ]
        for name, shape in fields.items():
            if name.strip("?") in value:
                wrong += self.check(value[name.strip("?")], shape, f"{where}.{name.strip('?')}")
            elif not name.endswith("?"):
                wrong.append(f"{where}.{name} is missing")
        return wrong

    def _named(self, shape: Any) -> Any:
        """A shape behind its name."""
        if isinstance(shape, str):
            shape = ("name", shape, [])
        if shape[0] == "&":
            parts = [self._named(one) for one in shape[1]]
            return ("{}", {name: one for part in parts for name, one in part[1].items()})
        if shape[0] != "name":
            return shape
        _, name, given = shape
        if name == "Partial":
            return self._named(given[0])
        if name == "Record":
            return ("Record", given)
        return self._named(self._types[name]) if name in self._types else (name,)


class _Parser:
    """The types of TypeScript that the page uses. A field without a type may be anything."""

    def __init__(self, text: str) -> None:
        self._tokens = [found[1] for found in _TOKEN.finditer(text) if found[1]]
        self._at = 0

    def whole(self) -> Any:
        shape = self._union()
        assert self._at == len(self._tokens), self._tokens[self._at :]
        return shape

    def _next(self, *wanted: str) -> str | None:
        """The next token, if it is one of these (or any, if none are named)."""
        token = self._tokens[self._at] if self._at < len(self._tokens) else None
        if token is None or (wanted and token not in wanted):
            return None
        self._at += 1
        return token

    def _union(self) -> Any:
        shapes = [self._all()]
        while self._next("|"):
            shapes.append(self._all())
        return shapes[0] if len(shapes) == 1 else ("|", shapes)

    def _all(self) -> Any:
        shapes = [self._one()]
        while self._next("&"):
            shapes.append(self._one())
        return shapes[0] if len(shapes) == 1 else ("&", shapes)

    def _one(self) -> Any:
        token = self._next()
        assert token is not None
        if token == "(":
            shape = self._union()
            assert self._next(")")
        elif token == "{":
            shape = ("{}", self._members())
        elif token.startswith('"'):
            shape = ("literal", token.strip('"'))
        else:
            given = []
            if self._next("<"):
                given.append(self._union())
                while self._next(","):
                    given.append(self._union())
                assert self._next(">")
            shape = ("name", token, given)
        while self._next("[]"):
            shape = ("[]", shape)
        return shape

    def _members(self) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        while not self._next("}"):
            name = str(self._next()) + ("?" if self._next("?") else "")
            fields[name] = self._union() if self._next(":") else ("name", "unknown", [])
            while self._next(";", ","):
                pass
        return fields
