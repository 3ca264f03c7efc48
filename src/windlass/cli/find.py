"""Which app and which store a command is about, and how they were found."""

from __future__ import annotations

import asyncio
import os
import sys
import sysconfig
from collections.abc import Awaitable, Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from traceback import walk_tb
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

import typer

import windlass
from windlass import Windlass, targets
from windlass.broker.port import Broker
from windlass.cli.output import talk
from windlass.errors import AppNotFound, ConfigurationError, StoreRefused, WindlassError
from windlass.settings import project

T = TypeVar("T")

Url = Annotated[
    str | None, typer.Option("--url", help="The store, e.g. sqlite:///jobs.db ($WINDLASS_URL).", metavar="URL")
]
App = Annotated[
    str | None, typer.Option("--app", help="The app: module:attr or file.py ($WINDLASS_APP).", metavar="TARGET")
]
Name = Annotated[str | None, typer.Option("--name", help="The app's name, where several apps share a store.")]


@dataclass(frozen=True)
class Found:
    """An app, the target that names it, and who said so."""

    app: Windlass
    target: str
    how: str

    def tell(self) -> Found:
        """Say on stderr which app it is, if nobody named it."""
        if self.how.startswith("found"):
            talk(f"using {self.target} ({self.how})")
        return self


def find_app(target: str | None = None, option: str | None = None) -> Found:
    """The app to use. Raises `ConfigurationError`; for an error in the user's modules it names their file and line."""
    if target and option and target != option:
        raise ConfigurationError(f"two apps are named: {target!r} and --app {option!r}; name one")
    named = target or option
    where, how = (named, "as given") if named else _blamed(lambda: targets.discover(Windlass))
    return Found(import_target(where, Windlass), where, how)


def import_target(target: str, wanted: type) -> Any:
    """The object that "module:attribute" or a file names; errors as for `find_app`."""
    return _blamed(lambda: targets.load(target, wanted))


def _blamed(work: Callable[[], T]) -> T:
    """Do what imports user code; an error in there becomes one line that names their file."""
    try:
        with redirect_stdout(sys.stderr):  # what a module prints while it is imported is not our data
            return work()
    except (Exception, SystemExit) as error:
        place = blame(error)
        if isinstance(error, WindlassError) and not place:
            raise
        said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise ConfigurationError(f"the app cannot be imported: {place or 'a module'}: {said}") from error


def find_store(url: str | None, option: str | None = None, name: str | None = None) -> Windlass:
    """The store to look at, as an app without tasks. User code is imported only when nothing names a URL."""
    said = url or (None if option else os.environ.get("WINDLASS_URL") or project().get("url"))
    if said is None:
        try:
            app = find_app(option=option).tell().app
            return app if name is None else Windlass(app.url, name=name)
        except AppNotFound:
            pass
    return Windlass(said, name=name or project().get("name") or "windlass")


def with_store(store: Windlass, work: Callable[[Broker], Awaitable[T]], *, create: bool = False) -> T:
    """Run `work` with the open store. Unless `create`, a store that does not exist yet is an error and is not made."""
    scheme = urlsplit(store.url).scheme
    if scheme == "memory":
        raise ConfigurationError("memory:// lives inside one process, no other can look into it; use sqlite:///jobs.db")
    if scheme == "sqlite" and not create:
        from windlass.broker.sqlite.place import Place

        path = Place.of(store.url, store.name).path
        if not path.exists():
            raise StoreRefused(f"there is no store at {path} yet: nothing was ever enqueued there; is --url right?")

    async def session() -> T:
        try:
            return await work(await store.broker())
        finally:
            await store.close()

    return asyncio.run(session())


def blame(error: BaseException) -> str:
    """The last "file:line" of the user's own code that an error passed through; "" when it passed through none."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{_short(error.filename)}:{error.lineno}"
    paths = sysconfig.get_paths()
    foreign = (str(Path(windlass.__file__).parent), paths["stdlib"], paths["purelib"], paths["platlib"], "<")
    places = [(frame.f_code.co_filename, number) for frame, number in walk_tb(error.__traceback__)]
    own = [f"{_short(file)}:{number}" for file, number in places if not file.startswith(foreign)]
    return own[-1] if own else ""


def _short(file: str) -> str:
    return os.path.relpath(file) if file.startswith(os.getcwd() + os.sep) else file
