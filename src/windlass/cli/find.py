"""Which app and which store a command is about, and how they were found."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from contextlib import redirect_stdout
from typing import Annotated, TypeVar
from urllib.parse import urlsplit

import typer

from windlass import Windlass, targets
from windlass.broker.port import Broker
from windlass.cli.output import talk
from windlass.errors import AppNotFound, ConfigurationError, StoreRefused
from windlass.settings import project
from windlass.targets import Found

T = TypeVar("T")

Url = Annotated[
    str | None, typer.Option("--url", help="The store, e.g. sqlite:///jobs.db ($WINDLASS_URL).", metavar="URL")
]
Target = Annotated[str | None, typer.Argument(metavar="[TARGET]", help="The app: module:attr or file.py.")]
App = Annotated[
    str | None, typer.Option("--app", help="The app: module:attr or file.py ($WINDLASS_APP).", metavar="TARGET")
]
Name = Annotated[str | None, typer.Option("--name", help="The app's name, where several apps share a store.")]


def find(target: str | None, wanted: type = Windlass, *, tell: bool = True) -> Found:
    """The app to use, or any other object; `tell`: say on stderr which one, if nobody named it. Raises `ConfigurationError`."""
    with redirect_stdout(sys.stderr):  # what a module prints while it is imported is not our data
        found = targets.find(target, wanted)
    if tell and found.how.startswith("found"):
        talk(f"using {found.target} ({found.how})")
    return found


def find_store(url: str | None, option: str | None = None, name: str | None = None) -> Windlass:
    """The store to look at, as an app without tasks. User code is imported only when nothing names a URL."""
    said = url or (None if option else os.environ.get("WINDLASS_URL") or project().get("url"))
    if said is None:
        try:
            app: Windlass = find(option).object
            return app if name is None else Windlass(app.url, name=name, seal=app.seal)
        except AppNotFound:
            pass
    return Windlass(said, name=name or project().get("name") or "windlass")


def refuse_memory(url: str) -> None:
    """Raise `ConfigurationError` for a store that only the process which made it can see."""
    if urlsplit(url).scheme == "memory":
        raise ConfigurationError("memory:// lives inside one process, no other can look into it; use sqlite:///jobs.db")


def refuse_missing(store: Windlass) -> None:
    """Raise `StoreRefused` for a file that nobody has made yet."""
    if urlsplit(store.url).scheme == "sqlite":
        from windlass.broker.sqlite.place import Place

        path = Place.of(store.url, store.name).path
        if not path.exists():
            raise StoreRefused(f"there is no store at {path} yet: nothing was ever enqueued there; is --url right?")


def with_store(store: Windlass, work: Callable[[Broker], Awaitable[T]], *, create: bool = False) -> T:
    """Run `work` with the open store. Unless `create`, a store that does not exist yet is an error and is not made."""
    refuse_memory(store.url)
    if not create:
        refuse_missing(store)

    async def session() -> T:
        # Not the app's own connection, which insists on its `durability`: that concerns who puts jobs in, or runs them.
        broker = store.make_broker()
        try:
            await broker.open()
            return await work(broker)
        finally:
            await broker.close()
            await store.close()

    return asyncio.run(session())
