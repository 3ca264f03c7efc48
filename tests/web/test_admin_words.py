"""What the dashboard's reads work out, without a store: charts, timelines, reasons, growth, what needs attention."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from windlass.broker.memory import MemoryBroker
from windlass.core.ids import new_id
from windlass.core.job import Card, Entry, Job, NewJob, QueueInfo, StoreInfo, Tried, Worker
from windlass.core.measures import STEPS, Fault, Report, Rollup, histogram_of
from windlass.core.outcome import ErrorInfo
from windlass.core.state import State
from windlass.core.terms import Terms, Use
from windlass.web.admin import charts
from windlass.web.admin.charts import Axis, Cell, axis, cell
from windlass.web.admin.desk import Recent
from windlass.web.admin.flows import Flows
from windlass.web.admin.history import History
from windlass.web.admin.jobs import code, payload
from windlass.web.admin.overview import attention, deploys
from windlass.web.admin.shapes import QueueRow
from windlass.web.admin.timeline import Tries, Try, timeline
from windlass.web.admin.why import why
from windlass.web.admin.words import length, plural

NOW = 1_800_000_030.0
ERROR = ErrorInfo("exception", "OSError", "disk full", "Traceback ...")


def at(moment: float) -> datetime:
    return datetime.fromtimestamp(moment, UTC)


def rollup(when: float, outcome: str = "succeeded", count: int = 1, run: float = 1.0, **names: str) -> Rollup:
    times = histogram_of([run] * count)
    return Rollup(names.get("queue", "q"), names.get("task", "t"), outcome, count, times, times, int(when), 60)


# --- charts -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [60, 900, 3600, 6 * 3600, 86_400, 7 * 86_400, 30 * 86_400, 90 * 86_400])
def test_an_axis_reaches_up_to_now_in_whole_steps(seconds: float) -> None:
    of = axis(seconds, NOW)
    assert of.steps[-1] <= NOW < of.steps[-1] + of.step
    assert of.start % of.step == 0
    assert of.step % of.base == 0
    assert STEPS[of.base] >= seconds
    assert len(of.steps) == of.points <= charts.POINTS
    assert seconds - of.step <= of.points * of.step <= seconds
    assert of.points * of.step / of.base <= charts.SPANS or of.base == max(STEPS)


def cells(*rollups: Rollup, of: Axis) -> list[Cell]:
    return [cell(one for one in rollups if at <= one.at < at + of.step) for at in of.steps]


def test_a_series_counts_each_step_and_keeps_its_gaps() -> None:
    of = axis(300, NOW)
    first, third = rollup(of.start, "failed", 2), rollup(of.start + 120, count=3, run=4.0)
    found = charts.series(cells(rollup(of.start), first, third, of=of), of)
    assert (found.start, found.step) == (at(of.start), 60)
    assert found.outcomes == {"succeeded": [1, 0, 3, 0, 0], "failed": [2, 0, 0, 0, 0]}
    assert [value is None for value in found.run.p95] == [False, True, False, True, True]
    assert found.run.p50[2] == pytest.approx(4.0, rel=0.45)
    assert len(found.wait.p99) == 5


def test_a_spark_folds_from_its_end() -> None:
    parts = [cell([rollup(0, count=n)]).whole for n in range(1, 61)]
    assert charts.spark(parts) == [sum(range(n, n + 3)) for n in range(1, 61, 3)]
    assert charts.spark(parts[:50]) == [3, *(sum(range(n, n + 3)) for n in range(3, 51, 3))]
    assert charts.spark([None, cell([rollup(0, "retried", 4)]).whole]) == [0, 0]
    assert charts.spark([None, cell([rollup(0, "retried", 4)]).whole], charts.MISHAPS) == [0, 4]


def test_a_cell_tells_queues_and_tasks_apart() -> None:
    some = [
        rollup(0, queue="a", task="x"),
        rollup(0, "failed", queue="a", task="y"),
        rollup(0, queue="b", task="x", count=2),
    ]
    found = cell(some)
    assert found.whole.outcomes == {"succeeded": 3, "failed": 1}
    assert {name: one.outcomes for name, one in found.queues.items()} == {
        "a": {"succeeded": 1, "failed": 1},
        "b": {"succeeded": 2},
    }
    assert {name: one.count() for name, one in found.tasks.items()} == {"x": 3, "y": 1}
    assert sum(found.whole.run.values()) == sum(sum(one.run.values()) for one in found.tasks.values()) == 4
    assert some[0].run == histogram_of([1.0])  # what was given is left as it was


def test_shares_of_nothing_are_none() -> None:
    assert (charts.failed_share([None, cell().whole]), charts.count([])) == (0.0, 0)
    done = cell([rollup(0, count=3), rollup(0, "failed"), rollup(0, "cancelled", 9), rollup(0, "retried", 9)]).whole
    assert (charts.failed_share([done, None, done]), charts.count([done, done])) == (0.25, 26)


async def test_the_past_is_added_up_once_and_the_present_each_time() -> None:
    broker, asked = MemoryBroker(), list[tuple[float, float]]()
    real = broker.series

    async def series(step: int, since: float, until: float, **only: Any) -> list[Rollup]:
        asked.append((since, until))
        return await real(step, since, until, **only)

    async def opened() -> MemoryBroker:
        return broker

    broker.series = series  # type: ignore[method-assign]  # to count
    history, of = History(opened), axis(3600, NOW)

    async def counts(of: Axis, now: float, **only: str) -> list[int]:
        return [one.whole.count() for one in await history.cells(of, now, **only)]

    async def ran(when: float, number: int) -> None:
        await broker.record("w", number, Report([rollup(0)], []), now=when)

    await ran(of.start + 60, 1)
    assert await counts(of, NOW) == [0, 1, *[0] * 58]
    assert asked == [(of.start, of.start + 3600)]
    await ran(NOW, 2)
    assert await counts(of, NOW) == [0, 1, *[0] * 57, 1]
    assert asked[1:] == [(of.start + 57 * 60, of.start + 3600)]  # what may not be over yet by the store's clock
    assert await counts(axis(3600, NOW + 60), NOW + 60) == [1, *[0] * 57, 1, 0]
    assert asked[2:] == [(of.start + 57 * 60, of.start + 3660)]
    assert await counts(of, NOW, queue="other") == [0] * 60
    assert await counts(of, NOW, queue="q") == [0, 1, *[0] * 57, 1]


async def test_much_of_the_past_is_read_bit_by_bit_and_little_is_remembered() -> None:
    broker = MemoryBroker()
    lengths = list[float]()
    real = broker.series

    async def series(step: int, since: float, until: float, **only: Any) -> list[Rollup]:
        lengths.append((until - since) / step)
        return await real(step, since, until, **only)

    async def opened() -> MemoryBroker:
        return broker

    broker.series = series  # type: ignore[method-assign]  # to count
    history = History(opened)
    for days in (90, 30, 7, 1):
        of = axis(days * 86_400, NOW)
        assert len(await history.cells(of, NOW)) == of.points
    assert max(lengths) <= 100
    assert sum(lengths) >= 2160 + 720 + 168
    assert len(history._known) <= 600


# --- a job's life -------------------------------------------------------------------------------------------


def job(state: State, **given: Any) -> Job:
    plain = {
        "id": new_id(),
        "task": "shop.resize",
        "queue": "q",
        "lane": "loop",
        "priority": 5,
        "attempt": 0,
        "crashes": 0,
    }
    return Job(**{**plain, "state": state, "created_at": at(100), "run_at": at(100), **given})


def told(attempt: int, started: float, ended: float, outcome: str = "retried") -> Try:
    return attempt, ended, Tried(outcome, started, "w1", ERROR)


def lines(found: Job, *tries: Try) -> list[str]:
    """Each span as "kind from-until #attempt"."""

    def moment(time: datetime | None) -> str:
        return "" if time is None else f"{time.timestamp():.0f}"

    spans = timeline(found, tries)
    assert spans[0].kind == "enqueued"
    return [f"{one.kind} {moment(one.at)}-{moment(one.until)} #{one.attempt}" for one in spans[1:]]


@pytest.mark.parametrize(
    ("found", "tries", "shown"),
    [
        (job(State.READY), [], ["ready 100- #1"]),
        (job(State.READY, run_at=at(130)), [], ["scheduled 100-130 #1", "ready 130- #1"]),
        (job(State.SCHEDULED, run_at=at(500)), [], ["scheduled 100- #1"]),
        (job(State.WAITING), [], ["waiting 100- #1"]),
        (job(State.PARKED), [told(0, 110, 111, "parked")], ["ready 100-110 #0", "parked 110-111 #0"]),
        (job(State.CANCELLED, finished_at=at(150)), [], ["ready 100-150 #1"]),
        (job(State.RUNNING, started_at=at(110), attempt=1), [], ["ready 100-110 #1", "running 110- #1"]),
        (
            job(State.SUCCEEDED, started_at=at(130), run_at=at(120), finished_at=at(140), attempt=1),
            [],
            ["scheduled 100-120 #1", "ready 120-130 #1", "succeeded 130-140 #1"],
        ),
        (
            job(State.SUCCEEDED, started_at=at(160), run_at=at(150), finished_at=at(170), attempt=2),
            [told(1, 110, 120)],
            [
                "ready 100-110 #1",
                "retried 110-120 #1",
                "scheduled 120-150 #2",
                "ready 150-160 #2",
                "succeeded 160-170 #2",
            ],
        ),
        (
            job(State.FAILED, started_at=at(160), run_at=at(150), finished_at=at(170), attempt=2, error=ERROR),
            [told(2, 160, 169, "failed"), told(1, 110, 120)],
            ["ready 100-110 #1", "retried 110-120 #1", "scheduled 120-150 #2", "ready 150-160 #2", "failed 160-169 #2"],
        ),
        (
            job(State.SCHEDULED, started_at=at(110), run_at=at(900), attempt=1, error=ERROR),
            [told(1, 110, 120)],
            ["ready 100-110 #1", "retried 110-120 #1", "scheduled 120- #2"],
        ),
        (  # a flow that waits for three days at most
            job(State.SCHEDULED, started_at=at(110), run_at=at(900), awaited=1),
            [],
            ["ready 100-110 #1", "suspended 110-110 #1", "scheduled 110- #2"],
        ),
        (
            job(State.WAITING, started_at=at(110), run_at=at(105), awaited=1),
            [],
            ["ready 100-110 #1", "suspended 110-110 #1", "waiting 110- #2"],
        ),
        (  # its worker was lost, and left no entry
            job(State.READY, started_at=at(110), run_at=at(118), crashes=1, error=ERROR),
            [],
            ["ready 100-110 #1", "crashed 110-118 #1", "ready 118- #2"],
        ),
    ],
)
def test_a_timeline_is_of_waits_and_runs(found: Job, tries: list[Try], shown: list[str]) -> None:
    assert lines(found, *tries) == shown


def test_each_run_says_who_ran_it_and_what_went_wrong() -> None:
    found = job(State.FAILED, started_at=at(160), finished_at=at(170), attempt=2, worker="w2", error=ERROR)
    runs = [one for one in timeline(found, [told(1, 110, 120)]) if one.worker]
    assert [(one.worker, one.error and one.error.message) for one in runs] == [("w1", "disk full"), ("w2", "disk full")]


async def test_a_journal_is_read_on_from_where_it_was_read_last() -> None:
    broker, tries, asked = MemoryBroker(), Tries(), list[int]()
    await broker.enqueue([NewJob(id=(name := new_id()), task="t", body=b"")])
    await broker.beat("w", Card(host="h", pid=1), 3600.0)
    (claim,) = await broker.claim(["default"], {"loop": 1}, "w")
    (found,) = await broker.get([name])
    assert found is not None
    real = broker.read

    async def read(job: str, *, after: int = 0, **more: Any) -> Any:
        asked.append(after)
        return await real(job, after=after, **more)

    broker.read = read  # type: ignore[method-assign]  # to see what is read
    end = found.created_at.timestamp() + 2

    async def write(kind: str, data: bytes) -> None:
        assert await broker.append([(claim, [Entry(kind, data, end, 1)])]) == [True]

    await write("log", b"{}")
    await write("attempt", msgspec.json.encode(Tried("retried", end - 1, "w1", ERROR)))
    first = await tries.of(broker, found)
    assert [(attempt, ended, told.outcome) for attempt, ended, told in first] == [(1, end, "retried")]
    await write("attempt", b"{damaged")
    await write("attempt", msgspec.json.encode(Tried("failed", end - 1, "w2")))
    assert [told.outcome for *_, told in await tries.of(broker, found)] == ["retried", "failed"]
    assert [told.outcome for *_, told in await tries.of(broker, found)] == ["retried", "failed"]
    assert asked == [0, 2, 4]
    anew = msgspec.structs.replace(found, created_at=at(end + 10))
    await tries.of(broker, anew)
    assert asked[-1] == 0  # its journal began anew, too
    assert await tries.of(broker, msgspec.structs.replace(found, id=new_id())) == []


# --- why it does not run ------------------------------------------------------------------------------------


def worker(name: str = "w", **given: Any) -> Worker:
    plain = {"host": "h", "pid": 1, "queues": ("q",), "slots": {"loop": 2}, "busy": {"loop": 0}}
    return Worker(name, Card(**{**plain, **given}), at(NOW + 5))


QUEUE = QueueInfo("q", {State.READY: 3})


@pytest.mark.parametrize(
    ("found", "queue", "workers", "ahead", "said"),
    [
        (job(State.RUNNING), QUEUE, [], 0, []),
        (job(State.SUCCEEDED), QUEUE, [], 0, []),
        (job(State.WAITING), QUEUE, [], 0, ["It waits for other jobs to finish."]),
        (job(State.WAITING, awaited=1), QUEUE, [], 0, ["It waits for 1 job."]),
        (job(State.WAITING, awaited=2000, letters=1), QUEUE, [], 0, ["It waits for 2,000 jobs, of which 1 has finished."]),
        (
            job(State.WAITING, terms=Terms(uses=(Use("openai", "ann", running=2), Use("mail", rate=1.0)))),
            QUEUE, [], 0, ["It stands at the limit openai under the key ann and mail, and passes"],
        ),
        (job(State.PARKED, reason="no task 'x'"), QUEUE, [], 0, ["It is put aside: no task 'x'."]),
        (job(State.SCHEDULED, run_at=at(NOW + 300)), QUEUE, [worker()], 0, ["Its time has not come: it is due in 5 minutes."]),
        (job(State.SCHEDULED, run_at=at(NOW - 1)), QUEUE, [worker()], 0, ["it is due now"]),
        (job(State.SCHEDULED, run_at=at(NOW + 9), error=ERROR, attempt=1), QUEUE, [worker()], 0, ["It failed (OSError)", "1 attempt "]),
        (job(State.SCHEDULED, run_at=at(NOW + 9)), QUEUE, [], 0, ["due in 9 seconds", "No worker is alive"]),
        (job(State.READY), QueueInfo("q", {}, True), [worker()], 2, ["The queue q is paused", "2 jobs of its queue are before it"]),
        (job(State.READY), QUEUE, [], 0, ["No worker is alive. Start one: windlass worker"]),
        (job(State.READY), QUEUE, [worker(queues=("other",))], 0, ["No living worker takes the queue q", "windlass worker -q q"]),
        (job(State.READY), QUEUE, [worker(state="draining")], 0, ["1 worker of the queue q take nothing new"]),
        (job(State.READY, lane="process"), QUEUE, [worker()], 0, ["No worker of the queue q has slots in the lane process"]),
        (job(State.READY), QUEUE, [worker(busy={"loop": 2})], 1, ["All 2 slots in the lane loop", "1 job of its queue is before it"]),
        (job(State.READY), QueueInfo("q", {State.READY: 4000}), [worker()], None, ["4,000 jobs of its queue are ready"]),
        (job(State.READY), QUEUE, [worker()], 0, ["Nothing keeps it"]),
        (job(State.READY, error=ERROR), QUEUE, [worker()], 0, ["Nothing keeps it", "It has run before: OSError."]),
    ],
)  # fmt: skip
def test_why_a_job_is_not_running(
    found: Job, queue: QueueInfo, workers: list[Worker], ahead: int, said: list[str]
) -> None:
    words = why(found, queue, workers, ahead, NOW)
    text = "\n".join(words)
    assert all(part in text for part in said), text
    assert bool(words) == bool(said)


def test_lengths_and_numbers_in_words() -> None:
    assert [length(n) for n in (0, 59, 61, 7200, 90_000)] == ["1 second", "59 seconds", "1 minute", "2 hours", "1 day"]
    assert (plural(1, "job"), plural(2000, "job")) == ("1 job", "2,000 jobs")


# --- growth -------------------------------------------------------------------------------------------------


def test_growth_is_told_from_the_first_look_of_the_last_minutes() -> None:
    flows = Flows()
    first, then = QueueInfo("q", {State.READY: 10}), QueueInfo("q", {State.READY: 5, State.RUNNING: 25})
    flows.look([first], 1000.0)
    assert flows.growth(then, 1001.0) is None
    assert flows.growth(then, 1010.0) == 2.0
    assert flows.growth(QueueInfo("new", {State.READY: 10}), 1010.0) == 1.0
    for moment in range(1001, 1500):
        flows.look([first], float(moment))
    assert flows.growth(first, 1500.0) == 0.0
    assert len(flows._looks) <= 61


# --- what needs attention -----------------------------------------------------------------------------------


def row(**given: Any) -> QueueRow:
    plain = {"name": "q", "paused": False, "counts": {}, "oldest": None, "in_rate": 0.0, "out_rate": 0.0, "drain": None}
    return QueueRow(**{**plain, "failed_share": 0.0, "spark": [], "slots": 1, "busy": 0, **given})


def fault(**given: Any) -> Fault:
    plain = {
        "fingerprint": "f",
        "task": "shop.resize",
        "type": "OSError",
        "frame": "",
        "count": 31,
        "final": 1,
        "job": "",
        "message": "",
    }
    return Fault(**{**plain, "first_seen": NOW - 10, "last_seen": NOW, "versions": ["v42"], **given})


STORE = StoreInfo(kind="redis", place="", version="", survives=())
DANGER = StoreInfo(kind="redis", place="", version="", survives=(), remarks=("DANGER: jobs are lost", "slow"))


@pytest.mark.parametrize(
    ("queues", "workers", "faults", "store", "seen"),
    [
        ([], [worker()], [], STORE, []),
        ([row(counts={State.READY: 5}, drain=1.0)], [worker()], [], STORE, []),
        ([row(counts={State.READY: 5}, paused=True)], [worker()], [], STORE, [("stalled", "q is paused")]),
        ([row(counts={State.READY: 5}, name="x")], [worker()], [], STORE, [("stalled", "No worker takes x")]),
        ([row(counts={State.READY: 5})], [], [], STORE, [("workers", "No worker is alive")]),
        ([row(counts={State.READY: 500}, in_rate=3.0, out_rate=2.0)], [worker()], [], STORE, [("backlog", "q grows")]),
        ([row(counts={State.READY: 500}, in_rate=2.0, out_rate=2.0)], [worker()], [], STORE, []),
        ([row(counts={State.PARKED: 1})], [worker()], [], STORE, [("parked", "1 job of q is parked")]),
        ([], [worker(state="stuck")], [], STORE, [("workers", "A worker on h is stuck")]),
        ([], [worker(code="a"), worker("v", code="b")], [], STORE, [("workers", "2 versions of the code run")]),
        ([], [], [fault()], STORE, [("failure", "shop.resize fails in a new way")]),
        ([], [], [fault(first_seen=NOW - 7200), fault(state="resolved")], STORE, []),
        ([], [worker()], [], DANGER, [("durability", "Accepted jobs can be lost")]),
    ],
)  # fmt: skip
def test_what_needs_attention(queues: Any, workers: Any, faults: Any, store: StoreInfo, seen: Any) -> None:
    found = list(attention(queues, workers, faults, store, NOW))
    assert [(one.kind, one.title) for one in found] == seen
    assert all(one.detail and one.to.startswith("/") for one in found)


def test_a_link_holds_any_name_of_a_queue() -> None:
    (found,) = attention([row(name='a/b "c"', counts={State.PARKED: 2})], [worker()], [], STORE, NOW)
    assert found.to == "/jobs?q=state%3Aparked%20queue%3A%22a/b%20%5C%22c%5C%22%22"


def test_a_deploy_is_the_first_start_of_a_version() -> None:
    workers = [
        worker(code="v2", started_at=50.0),
        worker(code="v2", started_at=40.0),
        worker(code="v1", started_at=5.0),
        worker(),
    ]
    assert [(one.at, one.version) for one in deploys(workers, 10.0)] == [(at(40.0), "v2")]


# --- what a job carries -------------------------------------------------------------------------------------


def test_a_large_value_is_cut_and_says_so() -> None:
    small = payload(10, {"a": [1, "x"]}, True)
    assert (small.value, small.cut) == ({"a": [1, "x"]}, False)
    value = {"text": "x" * 40_000, "rows": [{"n": n} for n in range(10_000)], "more": "y" * 40_000}
    large = payload(200_000, value, True)
    assert large.cut
    assert large.value["text"] == value["text"]
    assert large.value["rows"][:3] == [{"n": 0}, {"n": 1}, {"n": 2}]
    assert 30_000 < len(large.model_dump_json()) < 100_000
    assert payload(200_000, "z" * 200_000, True).value == "z" * 50_000
    hidden = payload(200_000, None, False)
    assert (hidden.hidden, hidden.size, hidden.value, hidden.cut) == (True, 200_000, None, False)


def test_code_can_be_copied_whatever_the_values_are() -> None:
    found = code(job(State.READY), {"name": "it's $(rm)", "n": 2**70, "on": True, "digits": "7"}, None, "https://x/w")
    assert found.python == (
        f"from shop import resize\n\nawait resize.enqueue(name=\"it's $(rm)\", n={2**70}, on=True, digits='7')"
    )
    assert found.cli == (
        f"windlass enqueue shop.resize --queue q -- '--name=it'\"'\"'s $(rm)' --n={2**70} --on=true '--digits=\"7\"'"
    )
    assert "https://x/w/api/v1/tasks/shop.resize/run" in found.curl
    assert str(2**70) in found.curl
    unknown = code(job(State.READY, task="send mail/now"), None, None, "")
    assert unknown.python == "await app.get_task('send mail/now').enqueue(...)"
    assert unknown.cli == "windlass enqueue 'send mail/now' --queue q -- ..."
    assert "/tasks/send%20mail%2Fnow/run" in unknown.curl


# --- what several ask for -----------------------------------------------------------------------------------


async def test_what_several_ask_for_at_once_is_worked_out_once() -> None:
    recent, made, go = Recent(), list[str](), asyncio.Event()

    async def make(what: str) -> str:
        made.append(what)
        await go.wait()
        return what

    first = asyncio.create_task(recent.get("a", lambda: make("a")))
    second, third = (asyncio.create_task(recent.get(key, lambda: make("x"))) for key in ("a", "b"))
    await asyncio.sleep(0)
    first.cancel()  # a browser that goes ends nothing for the others
    await asyncio.wait({first})
    go.set()
    assert (await second, await third, made) == ("a", "x", ["a", "x"])
    assert await recent.get("a", lambda: make("again")) == "a"


async def test_a_failure_is_everybodys_and_is_not_kept() -> None:
    recent = Recent(kept=0.0)

    async def fail() -> None:
        raise OSError("gone")

    for _ in range(2):
        with pytest.raises(OSError, match="gone"):
            await recent.get("a", fail)
    assert len(recent._found) <= 1
