"""`Patrol`: looks at the runners of a supervisor twice a second: who stands still, and why; who was stopped; who should be gone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable

from windlass.core.outcome import ErrorInfo
from windlass.settings import Settings
from windlass.worker import watchdog
from windlass.worker.chores import Chores
from windlass.worker.link import TICK
from windlass.worker.ward import Ward


class Patrol:
    """`wards` answers who is to be looked at; `say` hears what is found; `abandon` sees to a runner that was stopped for a whole lease."""

    def __init__(
        self,
        wards: Callable[[], Iterable[Ward]],
        settings: Settings,
        say: Callable[[Ward, str, str], None],
        abandon: Callable[[Ward], Awaitable[None]],
    ) -> None:
        self._wards = wards
        self._settings = settings
        self._say = say
        self._abandon = abandon
        self._chores = Chores()

    async def run(self) -> None:
        """Look, for ever."""
        seen = time.monotonic()
        try:
            while True:
                await asyncio.sleep(TICK)
                now = time.monotonic()
                for ward in list(self._wards()):
                    if now - seen > watchdog.SILENCE:  # we stood still ourselves
                        ward.excuse(now)
                    if now >= ward.due:
                        ward.put_down("for it took too long to stop")
                    if not ward.looked_at:
                        ward.looked_at = True
                        self._chores.begin(self._look(ward, now))
                seen = now
        finally:
            await self._chores.cancel()

    async def _look(self, ward: Ward, now: float) -> None:
        try:
            ward.look()
            silent = ward.tick is not None and now - ward.ticked > watchdog.SILENCE
            frozen = silent and ward.stopped()
            if not frozen:
                ward.frozen = None
            elif ward.frozen is None:
                ward.frozen = now
                self._say(ward, "frozen", "somebody has stopped it (SIGSTOP)")
            elif now - ward.frozen > self._settings.lease and ward.ids:
                await self._abandon(ward)
            if silent and not frozen and not ward.done:
                await self._examine(ward)
        finally:
            ward.looked_at = False

    async def _examine(self, ward: Ward) -> None:
        """Look into a runner that stands still: tell where; kill it when that is the fault of a job that is over its limit."""
        over = watchdog.over(ward.limited.values(), time.monotonic(), self._settings.kill_after)
        if ward.stuck is not None and not over:
            return
        since = ward.ticked
        stacks, before, asked = await ward.dump(), ward.spent(), time.monotonic()
        while over and ward.breathed < asked and time.monotonic() < asked + watchdog.SILENCE:  # noqa: ASYNC110 # it may stay away
            await asyncio.sleep(TICK / 5)
        now = time.monotonic()
        if ward.ticked > since or ward.stopped() or ward.gone.done():
            return
        if ward.stuck is None:
            ward.stuck = ErrorInfo("crash", "Stuck", "its event loop stands still", stacks)
            self._say(ward, "stuck", f"its event loop stands still\n{stacks}".strip())
        busy = None if asked < ward.breathed else watchdog.busy(before, ward.spent())
        guilty = watchdog.culprits(over, watchdog.in_the_way(ward.limited.values(), stacks, busy))
        if guilty or guilty is None:
            ward.culprits = guilty or []
            ward.condemn(watchdog.sentence(guilty or over, now, stacks))
        await asyncio.sleep(watchdog.SILENCE)
