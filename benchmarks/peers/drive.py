"""One measurement of one contender, inside the contender's own environment: `python -m peers.drive ADAPTER MEASURE OPTIONS`.

The suite starts it and reads one line of JSON from it. Settings come by the environment, see `adapters.Settings`.
"""

from __future__ import annotations

import asyncio
import json
import sys
import traceback
from importlib import import_module
from typing import Any

from peers.bench import Bench, Failed, Figures


def loop_run(work: Any, sync: bool) -> Any:
    """`asyncio.run`; on uvloop for clients that await."""
    if sync:
        return asyncio.run(work)
    import uvloop

    return uvloop.run(work)


async def measure(adapter: str, name: str, options: dict[str, float]) -> Figures:
    """The figures of one measurement."""
    bench = Bench(adapter, options)
    bench.clear()
    work = getattr(import_module("peers.crash" if name.startswith("kill") else "peers.measure"), name)
    await bench.client.open()
    try:
        figures: Figures = await work(bench)
    finally:
        try:
            await asyncio.wait_for(bench.client.close(), 3)
        except Exception:
            traceback.print_exc()  # the measurement is done; how a client closes is not ours to judge
    return figures


def main() -> None:
    adapter, name, options = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
    try:
        sync = import_module(adapter).SYNC
        answer: dict[str, object] = {"figures": loop_run(measure(adapter, name, options), sync)}
    except Failed as error:
        answer = {"failure": str(error)}
    except Exception as error:
        traceback.print_exc()
        answer = {"failure": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
