"""Finding the app: "package.module:attribute" or "path/to/file.py:attribute", and discovery when nothing is said."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import sysconfig
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from traceback import walk_tb
from types import ModuleType
from typing import Any, NamedTuple

from windlass.errors import AppNotFound, ConfigurationError, WindlassError
from windlass.settings import project

CANDIDATES = ("tasks.py", "worker.py", "main.py", "app.py", "api.py", "app/tasks.py", "app/main.py", "src/main.py")
NAMES = ("app", "windlass", "queue", "tasks")


class Found(NamedTuple):
    """What was looked for (an app, a task), the target that names it, and who said so."""

    object: Any
    target: str
    how: str


def find(target: str | None, wanted: type) -> Found:
    """The `wanted` that `target` names, or that is discovered. Raises `ConfigurationError`, as `blaming` does."""
    with blaming():
        where, how = (target, "as given") if target else discover(wanted)
        where = _with_attribute(where, wanted)
        return Found(load(where, wanted), where, how)


@contextmanager
def blaming() -> Generator[None]:
    """Around what imports user code: an error in there becomes a `ConfigurationError`, one line that names their file."""
    try:
        yield
    except (Exception, SystemExit) as error:
        place = _blame(error)
        if isinstance(error, WindlassError) and not place:
            raise
        said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise ConfigurationError(f"the app cannot be imported: {place or 'a module'}: {said}") from error


def _blame(error: BaseException) -> str:
    """The last "file:line" of the user's own code that an error passed through; "" when it passed through none."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{_short(error.filename)}:{error.lineno}"
    paths = sysconfig.get_paths()
    foreign = (str(Path(__file__).parent), paths["stdlib"], paths["purelib"], paths["platlib"], "<")
    places = [(frame.f_code.co_filename, number) for frame, number in walk_tb(error.__traceback__)]
    own = [f"{_short(file)}:{number}" for file, number in places if not file.startswith(foreign)]
    return own[-1] if own else ""


def _short(file: str) -> str:
    return os.path.relpath(file) if file.startswith(os.getcwd() + os.sep) else file


def load(target: str, wanted: type | None = None) -> Any:
    """The object a target names. Raises `ConfigurationError` with the way out when it cannot be had.

    It must be a `wanted`, if that is given. Without ":attribute", the module's only (or best named) one is taken.
    """
    module_name, _, attribute = _with_attribute(target, wanted).partition(":")
    module = _import(module_name)
    found: Any = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise ConfigurationError(
                f"{target!r}: {module_name} has no attribute {attribute!r}{_suggestion(module, wanted)}"
            )
        found = getattr(found, part)
    if wanted is not None and not isinstance(found, wanted):
        raise ConfigurationError(
            f"{target!r} is a {type(found).__name__}, not a {wanted.__name__}{_suggestion(module, wanted)}"
        )
    return found


def discover(wanted: type) -> tuple[str, str]:
    """A target and where it was found: $WINDLASS_APP, [tool.windlass] app, or the first usual file that holds an app.

    Raises `AppNotFound`.
    """
    if target := os.environ.get("WINDLASS_APP"):
        return target, "$WINDLASS_APP"
    if target := project().get("app"):
        return str(target), "[tool.windlass] app in pyproject.toml"
    for candidate in CANDIDATES:
        if Path(candidate).is_file():
            module = _import(candidate.removesuffix(".py").replace("/", "."))
            if names := _instances(module, wanted):
                return f"{module.__name__}:{_best(names)}", f"found in {candidate}"
    raise AppNotFound(
        "no Windlass app found; name it (windlass worker package.module:app), set $WINDLASS_APP, "
        'or put app = "package.module:app" under [tool.windlass] in pyproject.toml'
    )


def _import(name: str) -> ModuleType:
    if (folder := os.getcwd()) not in sys.path:
        sys.path.insert(0, folder)
    if name.endswith(".py") or "/" in name:
        return _import_file(Path(name))
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise ConfigurationError(f"there is no module {name!r} to be imported from {folder}") from None
        raise


def _import_file(path: Path) -> ModuleType:
    """A module from a file, under its stem; the same module again when it was imported before."""
    path = path.resolve()
    for module in list(sys.modules.values()):
        if (file := getattr(module, "__file__", None)) and Path(file).resolve() == path:
            return module
    spec = importlib.util.spec_from_file_location(path.stem, path) if path.is_file() else None
    if spec is None or spec.loader is None:
        raise ConfigurationError(f"there is no Python file {str(path)!r}")
    if path.stem in sys.modules:
        raise ConfigurationError(
            f"{path} would hide the module {path.stem!r}, which is in use; give the file another name"
        )
    sys.path.insert(0, str(path.parent))
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[path.stem]
        raise
    return module


def _instances(module: ModuleType, wanted: type | None) -> list[str]:
    return [name for name, value in vars(module).items() if wanted is not None and isinstance(value, wanted)]


def _best(names: list[str]) -> str:
    return next((name for name in NAMES if name in names), names[0])


def _with_attribute(target: str, wanted: type | None) -> str:
    """The target; if it names only a module, with the attribute that is meant."""
    if ":" in target:
        return target
    names = _instances(_import(target), wanted)
    if not names:
        raise ConfigurationError(f"{target!r} holds no Windlass app; say which object it is: {target}:name")
    return f"{target}:{_best(names)}"


def _suggestion(module: ModuleType, wanted: type | None) -> str:
    names = _instances(module, wanted)
    return f"; it has {', '.join(names)}" if names else ""
