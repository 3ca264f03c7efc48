"""For tests of programs that use Windlass, and (`conformance`) for tests of brokers.

```python
async def test_signup():
    async with Harness(app) as jobs:
        await signup("ann@example.org")
        jobs.assert_enqueued(send_welcome, to="ann@example.org")
        await jobs.drain()
```
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from windlass.testing.harness import Enqueued, Harness

__all__ = ["Enqueued", "Harness"]


def __getattr__(name: str) -> Any:  # imported when first used: pytest loads this package in every run, for the plugin
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("windlass.testing.harness"), name)
