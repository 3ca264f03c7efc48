"""The dashboard beside `windlass dev`: a process of its own, as it imports the app, which the supervisor does not."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec


def servable() -> bool:
    """Whether what serves a dashboard is installed."""
    return all(find_spec(one) is not None for one in ("fastapi", "uvicorn"))


class Dashboard:
    """`windlass dashboard` with these arguments. It dies with us, however we die."""

    def __init__(self, arguments: Sequence[str], url: str | None) -> None:
        self._command = [sys.executable, "-m", "windlass.cli.main", "dashboard", *arguments, "--leash"]
        self._variables = {**os.environ, "WINDLASS_URL": url} if url else None
        self._leash = -1
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it."""
        held, self._leash = os.pipe()
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._command, str(held), stdin=asyncio.subprocess.DEVNULL, env=self._variables, pass_fds=[held],
                start_new_session=True,
            )  # fmt: skip
        finally:
            os.close(held)

    async def stop(self) -> None:
        """End it. It only reads and asks: there is nothing that it would have to finish."""
        if self._leash >= 0:
            os.close(self._leash)
            self._leash = -1
        if self._process is not None:
            await self._process.wait()
