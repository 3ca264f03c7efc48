"""The lines that a worker logs: level, job id, task and attempt in each, in every format."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import msgspec
import pytest
from msgspec.structs import replace
from opentelemetry import trace

from windlass.context import Context, _current, enter
from windlass.core.ids import new_id
from windlass.core.job import Claim
from windlass.core.outcome import Cancelled, ErrorInfo, Failed, Outcome, Parked, Released, Retried, Snoozed, Succeeded
from windlass.core.payload import packer
from windlass.errors import BrokerUnavailable, StoreFull
from windlass.events import Event, Events, JobEnded, JobStarted, StaleWrite, StoreBack, StoreTrouble, WorkerChanged
from windlass.observe import logs

JOB = new_id()
CLAIM = Claim(JOB, 1, "tasks.resize", "video", "loop", b"", 2, 0, 3, 0.0, 0.0)
ERROR = ErrorInfo("exception", "ValueError", "boom\nmore of it")


@pytest.fixture(autouse=True)
def no_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is remembered of calls that failed is this test's own, whatever ran in this process before."""
    monkeypatch.setattr(logs, "_outage", logs._Outage())


@pytest.fixture
def stderr(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[], list[str]]]:
    """Gives the lines on stderr so far; the root logger is as it was afterwards."""
    root = logging.getLogger()
    before = root.handlers[:], root.level

    def lines() -> list[str]:
        return capsys.readouterr().err.splitlines()

    yield lines
    root.handlers[:] = before[0]
    root.setLevel(before[1])


def ended(outcome: Outcome | None) -> JobEnded:
    return JobEnded(CLAIM, outcome, 1.25)


@pytest.mark.parametrize(
    ("event", "level", "said"),
    [
        (JobStarted(CLAIM), "DEBUG", "started"),
        (ended(Succeeded(b"1")), "DEBUG", "succeeded after 1.250 s"),
        (ended(Retried(3.0, ERROR)), "WARNING", "failed after 1.250 s and is tried again in 3.0 s: ValueError: boom"),
        (ended(Failed(ERROR)), "ERROR", "failed after 1.250 s: ValueError: boom"),
        (ended(Parked("no worker knows it")), "WARNING", "no worker knows it"),
        (ended(Cancelled("cancelled while running")), "INFO", "cancelled while running"),
        (ended(Snoozed(60.0)), "INFO", "60.0 s"),
        (ended(Released()), "INFO", "handed back"),
        (ended(None), "WARNING", "lost"),
        (StaleWrite(CLAIM), "WARNING", "another worker"),
    ],
)
def test_every_line_about_a_job_names_it(event: Event, level: str, said: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    logs.log_event(event)
    (record,) = caplog.records
    assert record.levelname == level
    assert (record.job_id, record.task, record.attempt) == (JOB, "tasks.resize", 2)  # type: ignore[attr-defined]  # given as extra
    line = record.getMessage()
    assert JOB in line
    assert "tasks.resize" in line
    assert said in line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("event", "level"),
    [
        (WorkerChanged("w1", "started", "default"), "INFO"),
        (WorkerChanged("w1", "stopped"), "INFO"),
        (WorkerChanged("w1", "lost", "its lease ran out"), "WARNING"),
        (StoreTrouble("claim", OSError("gone")), "WARNING"),
    ],
)
def test_worker_and_store(event: Event, level: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    logs.log_event(event)
    assert [record.levelname for record in caplog.records] == [level]


def test_an_outage_is_told_when_it_begins_and_when_it_ends(caplog: pytest.LogCaptureFixture) -> None:
    """However many calls fail meanwhile; another kind of trouble is told, too."""
    caplog.set_level("INFO")
    logs.log_event(StoreBack("claim"))
    for _ in range(2):
        for verb in ("claim", "settle", "beat") * 20:
            logs.log_event(StoreTrouble(verb, BrokerUnavailable("nobody listens")))
        logs.log_event(StoreTrouble("settle", StoreFull("no room")))
        for verb in ("beat", "claim", "settle"):
            logs.log_event(StoreBack(verb))
    told = [(record.levelname, record.getMessage().partition(",")[0]) for record in caplog.records]
    once = [("WARNING", "the store failed to claim"), ("WARNING", "the store failed to settle")]
    assert told == 2 * [*once, ("INFO", caplog.records[-1].getMessage())]
    assert "61 calls failed" in caplog.text


def test_json_lines(stderr: Callable[[], list[str]]) -> None:
    logs.configure("json", "info")
    logs.log_event(JobStarted(CLAIM))
    logs.log_event(ended(Failed(ERROR)))
    (line,) = stderr()
    told = msgspec.json.decode(line)
    assert told["level"] == "error"
    assert told["logger"] == "windlass"
    assert (told["job_id"], told["task"], told["queue"], told["attempt"]) == (JOB, "tasks.resize", "video", 2)
    assert (told["error_type"], told["error"], told["seconds"]) == ("ValueError", "boom\nmore of it", 1.25)


@pytest.mark.parametrize("form", ["plain", "rich"])
def test_what_user_code_logs_in_a_job_names_the_job(stderr: Callable[[], list[str]], form: logs.LogFormat) -> None:
    logs.configure(form, "INFO")
    context = Context(CLAIM, lambda _: None, meta={})
    token = _current.set(lambda: context)
    try:
        enter(lambda: context)
        logging.getLogger("shop").info("resizing %d", 7)
    finally:
        _current.reset(token)
    logging.getLogger("shop").info("outside")
    inside, outside = stderr()
    assert inside.endswith(f"INFO    shop: resizing 7 [tasks.resize {JOB}]")
    assert outside.endswith("INFO    shop: outside")


def test_a_traceback_is_kept_in_json(stderr: Callable[[], list[str]]) -> None:
    logs.configure("json")
    try:
        raise ValueError("boom")
    except ValueError:
        logging.getLogger("shop").exception("it failed")
    assert "ValueError: boom" in msgspec.json.decode(stderr()[0])["traceback"]


def test_subscribing_twice_logs_once(caplog: pytest.LogCaptureFixture) -> None:
    events = Events()
    logs.subscribe(events)
    logs.subscribe(events)
    events.emit(WorkerChanged("w1", "lost"))
    assert len(caplog.records) == 1


# --- traces -------------------------------------------------------------------------------------------------

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
META = {"traceparent": f"00-{TRACE}-{SPAN}-01"}


def line_of(stderr: Callable[[], list[str]]) -> dict[str, object]:
    (line,) = stderr()
    told: dict[str, object] = msgspec.json.decode(line)
    return told


def test_a_line_about_a_job_names_the_trace_it_was_enqueued_in(stderr: Callable[[], list[str]]) -> None:
    logs.configure("json", "info")
    claim = replace(CLAIM, body=packer(meta=META)(b"{}"))
    logs.log_event(JobEnded(claim, Failed(ERROR), 1.0))
    told = line_of(stderr)
    assert (told["job_id"], told["trace_id"], told["span_id"]) == (JOB, TRACE, SPAN)


@pytest.mark.parametrize("meta", [{}, {"traceparent": "nonsense"}, {"traceparent": META["traceparent"] + "-more"}])
def test_a_job_without_a_trace_has_none(stderr: Callable[[], list[str]], meta: dict[str, str]) -> None:
    logs.configure("json", "info")
    logs.log_event(JobEnded(replace(CLAIM, body=packer(meta=meta)(b"{}")), Failed(ERROR), 1.0))
    assert "trace_id" not in line_of(stderr)


def test_what_a_job_logs_names_the_span_it_is_in_or_else_that_of_the_enqueue(stderr: Callable[[], list[str]]) -> None:
    logs.configure("json", "info")
    context = Context(CLAIM, lambda _: None, meta=META)
    span = trace.NonRecordingSpan(trace.SpanContext(0xA, 0xB, is_remote=False))
    token = _current.set(lambda: context)
    try:
        logging.getLogger("shop").info("untraced")
        told = line_of(stderr)
        assert (told["job_id"], told["task"], told["queue"], told["attempt"]) == (JOB, "tasks.resize", "video", 2)
        assert (told["trace_id"], told["span_id"]) == (TRACE, SPAN)
        with trace.use_span(span):
            logging.getLogger("shop").info("traced")
        told = line_of(stderr)
        assert (told["job_id"], told["trace_id"], told["span_id"]) == (JOB, f"{10:032x}", f"{11:016x}")
    finally:
        _current.reset(token)
