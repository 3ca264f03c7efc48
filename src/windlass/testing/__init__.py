"""For tests of programs that use Windlass, and (`conformance`) for tests of brokers.

```python
async def test_signup():
    async with Harness(app) as jobs:
        await signup("ann@example.org")
        jobs.assert_enqueued(send_welcome, to="ann@example.org")
        await jobs.drain()
```
"""

from windlass.testing.harness import Enqueued, Harness

__all__ = ["Enqueued", "Harness"]
