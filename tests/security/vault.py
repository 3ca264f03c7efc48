"""The program of test_secrets.py: tasks in every lane that do with a secret what they should not."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, PlainSerializer

from windlass import Cancel, Context, Depends, Fail, Retry, RetryAfter, Secret, Windlass, current

TWICE = Retry(attempts=2, first=0.01)


def _checked(value: str) -> str:
    if "wrong" in value:
        raise ValueError(f"{value} is wrong")
    if "broken" in value:
        raise RuntimeError(f"{value} broke the check")
    return value


def _told(value: Any) -> str:
    if value is None:
        return ""
    raise ValueError(f"{value} cannot be written")


Token = Annotated[str, AfterValidator(_checked), Secret]
Unwritable = Annotated[Any, PlainSerializer(_told, return_type=str)]


class Card(BaseModel):
    holder: str
    number: Annotated[str, Secret]
    pins: list[Annotated[int, Secret]] = []


@dataclass
class Login:
    user: str
    password: Annotated[bytes, Secret]


def _needs(ctx: Context = Depends()) -> str:
    return f"{ctx.job_id}"


def misbehave(how: str, token: str) -> Any:
    """Tells the token in one way or another."""
    logger = logging.getLogger("vault")
    match how:
        case "tell":
            print("printed", token)
            print(f"{[token]!r}", json.dumps([token]), json.dumps([token], ensure_ascii=False), file=sys.stderr)
            print("no end", token, end="")
            sys.stdout.writelines(["written ", token, "\n"])
            logger.warning("logged %s and %r", token, {"a": token})
            try:
                raise ValueError(token)
            except ValueError:
                logger.exception("it went wrong with %s", token)
            current().log(token)
            current().progress(1, 2, f"at {token}")
        case "raise":
            raise ValueError(f"no good: {token}")
        case "chain":
            try:
                raise KeyError(token)
            except KeyError as error:
                raise RuntimeError(repr(token)) from error
        case "fail":
            raise Fail(f"because {token}")
        case "cancel":
            raise Cancel(f"because {token}")
        case "again":
            raise RetryAfter(0.01, f"because {token}")
        case "exit":
            sys.exit(f"leaving with {token}")
        case "reject":
            return token
        case "hang":
            print("hanging", token)
            time.sleep(600)
        case "crash":
            print("crashing", token)
            os._exit(3)
        case _:
            return None
    return None


def hidden_later(token: str) -> None:
    current().hide(token.upper())
    print("derived", token.upper())
    raise ValueError(token.upper())


async def in_loop(how: str, token: Token) -> Unwritable:
    if how == "hang":
        import asyncio

        print("hanging", token)
        await asyncio.sleep(600)
    return misbehave(how, token)


def in_thread(how: str, token: Token) -> Unwritable:
    if how == "hang":
        print("hanging", token)
        for _ in range(60_000):
            time.sleep(0.01)
    return misbehave(how, token)


def with_needs(how: str, token: Token, needs: str = Depends(_needs)) -> Unwritable:
    return misbehave(how, token)


def in_process(how: str, token: Token) -> Unwritable:
    return misbehave(how, token)


async def nested(cards: list[Card], login: Login, note: str) -> None:
    print(note, cards, login)
    raise ValueError(f"{cards[0]!r} {login!r} {login.password.decode()} {cards[0].pins[0]}")


def derived(token: Annotated[str, Secret]) -> None:
    hidden_later(token)


def build(url: str | None = None) -> Windlass:
    """The program over a store."""
    app = Windlass(url, kill_after=0.3, beat=0.1, upkeep=0.05, lease=3, processes=2, threads=2)
    app.task(name="loop", retry=TWICE)(in_loop)
    app.task(name="thread", retry=TWICE)(in_thread)
    app.task(name="needing", retry=TWICE)(with_needs)
    app.task(name="process", lane="process", retry=TWICE, crash_limit=2)(in_process)
    app.task(name="nested", retry=TWICE)(nested)
    app.task(name="derived", retry=Retry(attempts=1))(derived)
    return app


app = build()
