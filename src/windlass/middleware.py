"""Middleware: code around every run, with one signature.

```python
@app.middleware
async def timed(ctx: Context, call_next: CallNext) -> Any:
    started = time.monotonic()
    try:
        return await call_next()
    finally:
        ctx.log(f"took {time.monotonic() - started:.1f} s")
```

It runs where the function runs: in the runner for the lanes "loop" and "thread", in the child for "process".
The first one registered is the outermost. What it returns is the result; what it raises is the error.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

CallNext = Callable[[], Awaitable[Any]]
Middleware = Callable[[Any, CallNext], Awaitable[Any]]


def wrap(layers: Sequence[Middleware], context: Any, call: CallNext) -> CallNext:
    """`call` inside all `layers`, the first of them outermost."""
    for layer in reversed(layers):
        call = partial(layer, context, call)
    return call
