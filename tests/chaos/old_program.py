"""The program as it was before the deploy: it does not know "steps", and ran "nap_process" in threads."""

from __future__ import annotations

import os

import program

from windlass import Windlass


def build(url: str) -> Windlass:
    """That program over a store."""
    app = program.build(url)
    for name in ("steps", "nap_process"):
        del app.definitions[name], app._tasks[name]
    app.task(name="nap_process")(program.nap_thread)
    return app


app = build(os.environ.get("WINDLASS_URL", "memory://chaos"))
