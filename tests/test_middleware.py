"""Middleware: one signature, the first one registered outermost, and full power over the result and the error."""

from __future__ import annotations

from typing import Any

import pytest

from windlass import CallNext, Windlass
from windlass.middleware import wrap


def layer(name: str, story: list[str]) -> Any:
    async def around(ctx: Any, call_next: CallNext) -> Any:
        story.append(f"{name} in {ctx}")
        try:
            return await call_next()
        finally:
            story.append(f"{name} out")

    return around


async def test_the_first_one_is_the_outermost() -> None:
    story: list[str] = []

    async def job() -> str:
        story.append("job")
        return "result"

    assert await wrap([layer("a", story), layer("b", story)], "ctx", job)() == "result"
    assert story == ["a in ctx", "b in ctx", "job", "b out", "a out"]


async def test_without_layers_the_call_is_the_call() -> None:
    async def job() -> int:
        return 1

    assert wrap([], None, job) is job


async def test_a_layer_may_replace_the_result_the_error_or_the_run() -> None:
    async def doubles(ctx: Any, call_next: CallNext) -> Any:
        return 2 * await call_next()

    async def translates(ctx: Any, call_next: CallNext) -> Any:
        try:
            return await call_next()
        except KeyError as error:
            raise LookupError("translated") from error

    async def skips(ctx: Any, call_next: CallNext) -> Any:
        return "skipped"

    async def fine() -> int:
        return 21

    async def broken() -> int:
        raise KeyError("x")

    assert await wrap([doubles], None, fine)() == 42
    assert await wrap([skips], None, broken)() == "skipped"
    with pytest.raises(LookupError, match="translated"):
        await wrap([translates], None, broken)()


def test_registering_keeps_the_function_usable() -> None:
    app = Windlass("memory://")
    first, second = layer("a", []), layer("b", [])
    assert app.middleware(first) is first
    app.middleware(second)
    assert app.middlewares == [first, second]
