"""The lane of the jobs that need the same devices: each is handed its own, for as long as it runs, in a lane of their own."""

from __future__ import annotations

from collections.abc import Callable

from windlass.core.outcome import Ending, Interrupted, Raised
from windlass.core.resources import Amounts, Pool
from windlass.worker.call import describe
from windlass.worker.run import Lane, Reports, Run


class DeviceLane(Lane):
    """`make_inner` makes the lane in which the jobs run, given where it reports.

    on_change: called when devices were taken (True), or came back.
    """

    def __init__(
        self, name: str, needs: Amounts, pool: Pool, reports: Reports, make_inner: Callable[[Reports], Lane]
    ) -> None:
        self.inner = make_inner(Reports(reports.note, reports.began, self._finish, reports.max_payload))
        super().__init__(min(self.inner.slots, pool.most(needs)), reports)
        self.name, self.remote, self.decodes = name, self.inner.remote, self.inner.decodes
        self.on_change: Callable[[bool], None] = lambda _taken: None
        self._needs, self._pool = needs, pool

    @property
    def free(self) -> int:
        return min(super().free, self._pool.room(self._needs))

    async def start(self) -> None:
        await self.inner.start()

    async def stop(self) -> None:
        await self.inner.stop()

    def run(self, run: Run) -> None:
        if not self._pool.room(self._needs):  # two lanes had claimed for the same devices
            self.reports.finish(run, Interrupted("shutdown"))
            return
        run.devices = self._pool.take(self._needs)
        self.on_change(True)
        try:
            self.inner.run(run)
        except Exception as error:  # no thread, no memory
            self._finish(run, Raised(describe(error), ("builtins.Exception",)))

    def _finish(self, run: Run, ending: Ending) -> None:
        devices, run.devices = run.devices, {}
        self._pool.give_back(devices)
        self.reports.finish(run, ending)
        self.on_change(False)

    def tell(self, run: Run, why: str) -> None:
        self.inner.tell(run, why)

    def interrupt(self, run: Run) -> None:
        self.inner.interrupt(run)

    def kill(self, run: Run) -> bool:
        killed = self.inner.kill(run)
        if not killed:
            run.devices = {}  # its code goes on with them: they are lost, until another runner takes the place of this one
        return killed
