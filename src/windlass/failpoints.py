"""Named points at every step of a job's way, where a test can make the process fail. Off by default, and then free.

`WINDLASS_FAILPOINTS="worker.after_claim=kill9,settler.before_settle=delay:2"` arms them for a whole process:
`kill9` (SIGKILL to itself), `stop` (SIGSTOP), `raise` (RuntimeError), `delay:SECONDS` (blocks the thread).
With `WINDLASS_FAILPOINTS_ONCE=FOLDER` each fails in one process only, the first that comes there; it leaves its pid in FOLDER/NAME.
"""

from __future__ import annotations

import os
import signal
import time

_ONCE = os.environ.get("WINDLASS_FAILPOINTS_ONCE")
armed: dict[str, str] = dict(
    pair.strip().split("=", 1) for pair in os.environ.get("WINDLASS_FAILPOINTS", "").split(",") if "=" in pair
)
"""What is armed in this process, and with which action."""


def _first(name: str) -> bool:
    """Whether no other process was here before, where that matters."""
    if _ONCE is None:
        return True
    try:
        with open(os.path.join(_ONCE, name), "x") as mark:
            mark.write(str(os.getpid()))
    except FileExistsError:
        return False
    return True


def failpoint(name: str) -> None:
    """Do what this point is armed with, once; nothing when it is not armed."""
    if not armed or (action := armed.pop(name, None)) is None or not _first(name):
        return
    if action == "kill9":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif action.startswith("delay:"):
        time.sleep(float(action.removeprefix("delay:")))
    else:
        raise RuntimeError(f"failpoint {name}")
