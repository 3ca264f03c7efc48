"""Tasks that nobody waits for one by one."""

from __future__ import annotations

import asyncio

from windlass.worker.chores import Chores


async def test_what_is_not_done_is_broken_off_and_nothing_begins_after_that() -> None:
    chores, began, broken_off = Chores(), list[str](), asyncio.Event()

    async def chore(name: str) -> None:
        began.append(name)
        try:
            await asyncio.Event().wait()
        finally:
            broken_off.set()
            chores.begin(chore("in the midst of the end"))

    chores.begin(chore("first"))
    await asyncio.sleep(0)
    await chores.cancel()
    assert broken_off.is_set()
    chores.begin(chore("too late"))
    await asyncio.sleep(0)
    assert began == ["first"]
    assert len(asyncio.all_tasks()) == 1  # this test
