"""The queues of a worker: strict, or by weight, so that none starves."""

from __future__ import annotations

import pytest

from windlass import ConfigurationError, Windlass
from windlass.worker.runner import working


async def order_of(app: Windlass, queues: list[str] | None) -> list[str]:
    """Jobs of two queues in the order of their start, one at a time: many of "heavy", a few of "light"."""
    ran: list[str] = []

    @app.task(name="note")
    async def note(queue: str) -> None:
        ran.append(queue)

    app.task(name="other", queue="light")(note.definition.function)
    app.task(name="another", queue="heavy")(note.definition.function)
    calls = [note.options(queue=queue).bind(queue) for queue in ["heavy"] * 200 + ["light"] * 5]
    jobs = await app.enqueue_many(calls)
    async with working(app, queues=queues):
        for job in jobs:
            await job.result(timeout=30)
    await app.close()
    return ran


async def test_without_weights_the_first_queue_is_served_until_it_is_empty(make_app: type[Windlass]) -> None:
    assert await order_of(make_app(concurrency=1), ["heavy", "light"]) == ["heavy"] * 200 + ["light"] * 5


@pytest.mark.parametrize("queues", [["heavy:3", "light:1"], None])
async def test_by_weight_no_queue_starves(make_app: type[Windlass], queues: list[str] | None) -> None:
    ran = await order_of(make_app(concurrency=1), queues)
    assert "heavy" in ran[ran.index("light") :], "the light queue came in between"
    assert ran[-1] == "heavy", "and was done before the heavy one"


async def test_a_worker_tells_the_names_of_its_queues(app: Windlass) -> None:
    async with working(app, queues=["video:2", "default:10"]) as runner:
        assert runner.card().queues == ("default", "video")


async def test_run_worker_takes_weights_and_refuses_nonsense(app: Windlass) -> None:
    @app.task(queue="video")
    async def five() -> int:
        return 5

    job = await five.enqueue()
    await app.run_worker(queues=["video:2", "default:10"], burst=True)
    assert await job == 5
    with pytest.raises(ConfigurationError, match="at least 1"):
        await app.run_worker(queues=["video:0"], burst=True)
