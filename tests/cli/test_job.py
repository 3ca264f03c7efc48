"""`windlass job`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from command import Windlass, claim
from msgspec.structs import replace

from windlass.broker.port import Broker
from windlass.core.ids import derived, new_id
from windlass.core.job import Entry, NewJob
from windlass.core.outcome import ErrorInfo, Failed, Parked, Succeeded, Suspended
from windlass.core.terms import Terms
from windlass.flow import Record


def put(store: Any, *jobs: NewJob) -> None:
    store(lambda broker: broker.enqueue(jobs))


def a_job(task: str = "tasks.resize", **fields: Any) -> NewJob:
    return NewJob(id=new_id(), task=task, body=b'{"args":{"number":1},"v":1}', **fields)


async def _end(broker: Broker, outcome: Any, *entries: Entry) -> None:
    claimed = await claim(broker)
    await broker.append([(claimed, entries)])
    assert (await broker.settle([(claimed, outcome)]))[0] == [True]


def ended(store: Any, outcome: Any, *entries: Entry) -> str:
    """A job that was run and ended like this, by its id."""
    job = a_job()
    put(store, job)
    store(lambda broker: _end(broker, outcome, *entries))
    return job.id


def test_list_filters_and_pages(windlass: Windlass, store: Any) -> None:
    jobs = sorted((a_job(queue="video") for _ in range(3)), key=lambda job: job.id)
    while (greeting := a_job("tasks.greet", queue="mail", delay=60.0, key="k")).id < jobs[-1].id:
        pass  # ids sort by their millisecond
    jobs.append(greeting)
    put(store, *jobs)
    assert [row[0] for row in windlass("job", "list").rows] == [job.id for job in reversed(jobs)]
    assert [row[:4] for row in windlass("job", "list", "--state", "scheduled").rows] == [
        [jobs[3].id, "scheduled", "tasks.greet", "mail"]
    ]
    assert len(windlass("job", "list", "--queue", "video").rows) == 3
    assert len(windlass("job", "list", "--task", "tasks.greet").rows) == 1
    assert len(windlass("job", "list", "--key", "k").rows) == 1
    first = windlass("job", "list", "--queue", "video", "--limit", 2)
    assert [row[0] for row in first.rows] == [jobs[2].id, jobs[1].id]
    assert f"--before {jobs[1].id}" in first.err
    assert [row[0] for row in windlass("job", "list", "--queue", "video", "--before", jobs[1].id).rows] == [jobs[0].id]


def test_a_url_is_enough_and_imports_no_user_code(windlass: Windlass, store: Any, url: str, project: Path) -> None:
    put(store, a_job())
    (project / "tasks.py").write_text("raise SystemExit('imported')")
    for command in (("job", "list"), ("queue", "list"), ("workers",)):
        assert windlass(*command, "--url", url, "--json").code == 0
    assert windlass("job", "list").code == 2


def test_columns_survive_hostile_text(windlass: Windlass, store: Any) -> None:
    ended(store, Failed(ErrorInfo("exception", "ValueError", "a\tb\nc\x1b[31m")))
    ((*_, remark),) = windlass("job", "list").rows
    assert remark == "ValueError: a b c [31m"


def test_show_tells_all_and_why_it_waits(windlass: Windlass, store: Any) -> None:
    job = a_job(queue="video")
    put(store, job)
    told = windlass("job", "show", job.id, "--json").json
    assert told["arguments"] == {"number": 1}
    assert "windlass worker -q video" in told["why"]
    plain = dict(row[:2] for row in windlass("job", "show", job.id).rows)
    assert plain["task"] == "tasks.resize"
    assert plain["arguments"] == '{"number":1}'


def test_show_says_how_far_a_job_is_in_words(windlass: Windlass, store: Any) -> None:
    progress = Entry("progress", b'{"current":40.0,"total":100.0,"message":"encoding"}', 1e9)
    job_id = ended(store, Succeeded(b"17"), progress)
    rows = windlass("job", "show", job_id).rows
    assert ["progress", "40 of 100 (40 %)", "encoding"] in rows
    assert windlass("job", "show", job_id, "--json").json["progress"]["current"] == 40


def test_show_of_a_failed_job_has_the_traceback(windlass: Windlass, store: Any) -> None:
    error = ErrorInfo("crash", "Died", "killed", "Traceback...\n  here\n", {"signal": "SIGKILL"})
    job_id = ended(store, Failed(error))
    out = windlass("job", "show", job_id).out
    assert "Died: killed\tsignal=SIGKILL" in out
    assert out.endswith("Traceback...\n  here\n")


def test_logs(windlass: Windlass, store: Any) -> None:
    entries = [Entry("log", msgspec.json.encode({"level": "info", "message": f"line {n}"}), 1e9 + n) for n in range(2)]
    job_id = ended(store, Succeeded(b"1"), *entries, Entry("progress", b'{"current":1.0}', 1e9))
    assert windlass("job", "logs", job_id).rows == [
        ["2001-09-09T01:46:40.000Z", "info", "line 0"],
        ["2001-09-09T01:46:41.000Z", "info", "line 1"],
    ]
    followed = windlass("job", "logs", "-f", job_id, "--json")
    assert [msgspec.json.decode(line)["message"] for line in followed.out.splitlines()] == ["line 0", "line 1"]


def test_watch_follows_to_the_end(windlass: Windlass, store: Any) -> None:
    job_id = ended(store, Succeeded(b"17"), Entry("progress", b'{"current":1.0,"total":4.0,"message":"begun"}', 1e9))
    assert windlass("job", "watch", job_id).rows == [["progress", "1 of 4 (25 %)", "begun"], ["end", "succeeded"]]
    events = [msgspec.json.decode(line) for line in windlass("job", "watch", job_id, "--json").out.splitlines()]
    assert [event["event"] for event in events] == ["progress", "end"]
    assert events[-1]["data"]["result"] == 17


def test_watching_a_failure_exits_1_with_its_reason(windlass: Windlass, store: Any) -> None:
    ran = windlass("job", "watch", ended(store, Failed(ErrorInfo("exception", "ValueError", "boom"))))
    assert ran.code == 1
    assert ran.rows == [["end", "failed"]]
    assert ran.err.splitlines()[-1].endswith("failed: ValueError: boom")


def test_retry_cancel_delete_by_id(windlass: Windlass, store: Any) -> None:
    job = a_job()
    put(store, job)
    assert windlass("job", "cancel", job.id).rows == [[job.id, "cancelled"]]
    assert windlass("job", "retry", job.id).rows == [[job.id, "ready"]]
    assert windlass("job", "delete", job.id, "--json").json == [{"id": job.id, "state": "deleted"}]
    assert windlass("job", "show", job.id).code == 3


def test_a_join_goes_and_comes_back_with_its_parts(windlass: Windlass, store: Any) -> None:
    join = a_job(terms=Terms(letters=1))
    part = replace(a_job(), id=derived(join.id, 0), terms=Terms(to=(join.id,), root=join.id))
    put(store, join, part)
    assert windlass("job", "cancel", join.id).rows == [[join.id, "cancelled"]]
    assert windlass("job", "list", "--state", "cancelled").rows[0][0] == max(join.id, part.id)
    assert windlass("job", "retry", join.id).rows == [[join.id, "waiting"]]
    assert [row[0] for row in windlass("job", "list", "--state", "ready").rows] == [part.id]


def test_a_running_job_is_told_to_stop_and_is_not_deleted(windlass: Windlass, store: Any) -> None:
    job = a_job()
    put(store, job)
    store(claim)
    deleting = windlass("job", "delete", job.id)
    assert (deleting.code, deleting.out) == (1, "")
    assert "cancel it first" in deleting.err
    assert windlass("job", "retry", job.id).code == 1
    assert windlass("job", "cancel", job.id).rows == [[job.id, "cancelling"]]


def test_unknown_ids_are_told_after_the_known_ones_were_done(windlass: Windlass, store: Any) -> None:
    job, unknown = a_job(), new_id()
    put(store, job)
    ran = windlass("job", "cancel", unknown, job.id)
    assert (ran.code, ran.rows) == (3, [[job.id, "cancelled"]])
    assert unknown in ran.err


@pytest.mark.parametrize(("verb", "expected"), [("retry", 1), ("cancel", 2), ("delete", 3)])
def test_all_means_what_the_verb_is_for(windlass: Windlass, store: Any, verb: str, expected: int) -> None:
    """2 unfinished jobs and 3 finished ones, of which 1 failed."""
    ended(store, Failed(ErrorInfo("exception", "ValueError", "boom")))
    ended(store, Succeeded(b"1"))
    ended(store, Succeeded(b"1"))
    put(store, a_job(), a_job(delay=60.0))
    dry = windlass("job", verb, "--all", "--dry-run")
    assert len(dry.rows) == expected
    assert {row[1] for row in dry.rows} == {f"would {verb}"}
    refused = windlass("job", verb, "--all")
    assert (refused.code, refused.out) == (2, "")
    assert "--yes" in refused.err
    assert len(windlass("job", verb, "--all", "--yes").rows) == expected


def test_filters_narrow_all(windlass: Windlass, store: Any) -> None:
    put(store, a_job(queue="video"), a_job(queue="mail"), a_job("tasks.greet", queue="mail"))
    done = windlass("job", "cancel", "--all", "--queue", "mail", "--task", "tasks.greet", "--yes")
    assert len(done.rows) == 1
    assert len(windlass("job", "list", "--state", "ready").rows) == 2
    assert windlass("job", "cancel", "--all", "--queue", "nobody", "--yes").out == ""


def test_where_speaks_the_language_of_the_dashboard(windlass: Windlass, store: Any) -> None:
    full = ended(store, Failed(ErrorInfo("exception", "OSError", "disk full")))
    wrong = ended(store, Failed(ErrorInfo("exception", "ValueError", "boom")))
    later, other = a_job(queue="video", delay=60.0), a_job("tasks.greet")
    put(store, later, other)
    refused = windlass("job", "retry", "--where", "error:OSError")
    assert (refused.code, refused.out) == (2, "")
    assert "retry 1 jobs?" in refused.err
    dry = windlass("job", "retry", "-w", "boom", "--dry-run", "--json")
    assert dry.json == [{"id": wrong, "state": "would retry"}]
    assert windlass("job", "retry", "--where", "error:OSError", "--yes").rows == [[full, "ready"]]
    cancelled = windlass("job", "cancel", "--where", "state:ready task:tasks.res*", "--queue", "default", "--yes")
    assert cancelled.rows == [[full, "cancelled"]]
    deleted = windlass("job", "delete", "--where", "state:scheduled arg.number=1", "--yes", "--json")
    assert deleted.json == [{"id": later.id, "state": "deleted"}]
    assert {row[0] for row in windlass("job", "list").rows} == {full, wrong, other.id}


@pytest.mark.parametrize(("verb", "expected"), [("retry", 1), ("cancel", 2), ("delete", 3)])
def test_where_without_a_state_means_what_the_verb_is_for(
    windlass: Windlass, store: Any, verb: str, expected: int
) -> None:
    ended(store, Failed(ErrorInfo("exception", "ValueError", "boom")))
    ended(store, Succeeded(b"1"))
    ended(store, Succeeded(b"1"))
    put(store, a_job(), a_job(delay=60.0))
    assert len(windlass("job", verb, "--where", "task:tasks.*", "--dry-run").rows) == expected
    assert len(windlass("job", verb, "--where", "task:nothing.*", "--yes").rows) == 0


@pytest.mark.parametrize(("answer", "code", "state"), [("y", 0, "cancelled"), ("n", 1, "ready")])
def test_it_asks_on_a_terminal_with_the_count(
    windlass: Windlass, store: Any, monkeypatch: pytest.MonkeyPatch, answer: str, code: int, state: str
) -> None:
    put(store, a_job(), a_job())
    asked = list[str]()
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.confirm", lambda question, **_: asked.append(question) or answer == "y")
    assert windlass("job", "cancel", "--where", "queue:default").code == code
    assert asked == ["cancel 2 jobs?"]
    assert [row[1] for row in windlass("job", "list").rows] == [state] * 2


def test_where_finds_what_lies_behind_many_others(windlass: Windlass, store: Any) -> None:
    """The store cannot tell these apart: one search looks at 1,000 jobs."""
    wanted = a_job("tasks.greet")
    put(store, wanted)
    put(store, *(a_job() for _ in range(1203)))
    assert windlass("job", "cancel", "--where", "task:tasks.gr*", "--yes").rows == [[wanted.id, "cancelled"]]


def test_more_jobs_than_one_batch(windlass: Windlass, store: Any) -> None:
    put(store, *(a_job() for _ in range(1203)))
    assert len(windlass("job", "cancel", "--all", "--yes").rows) == 1203
    assert windlass("job", "list", "--state", "ready").out == ""


def test_who_waits_for_others_says_for_whom(windlass: Windlass, store: Any) -> None:
    root = new_id()
    part = a_job(terms=Terms(root=root, to=(root,)))
    put(store, part, NewJob(id=root, task="tasks.album", body=b"", terms=Terms(root=root, letters=1)))
    why = windlass("job", "show", root, "--json").json["why"]
    assert why == (f"It waits for 1 job. The job {part.id} (tasks.resize) is ready.")
    assert [row[0] for row in windlass("job", "list", "root:*").rows] == [root]
    assert {row[0] for row in windlass("job", "list", f"root:{root}").rows} == {root, part.id}


@pytest.mark.parametrize("delay", [None, 60.0])
def test_a_flow_says_what_it_waits_for(windlass: Windlass, store: Any, delay: float | None) -> None:
    flow = a_job(terms=Terms(collects=True))
    put(store, flow)
    until = None if delay is None else time.time() + delay
    step = Entry("step", msgspec.json.encode(Record(1, "event approved", until)), time.time())
    store(lambda broker: _end(broker, Suspended(1, delay), step))
    said = windlass("job", "show", flow.id, "--json").json["why"]
    assert said.startswith('It waits for the event "approved"')
    assert (", for another " in said) == (delay is not None)


def test_a_parked_job_says_why_and_goes_on_by_retry(windlass: Windlass, store: Any) -> None:
    job_id = ended(store, Parked("no worker knows tasks.resize"))
    assert "no worker knows" in windlass("job", "show", job_id, "--json").json["why"]
    assert windlass("job", "retry", job_id).rows == [[job_id, "ready"]]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("show", "17"), 2, "is no job id"),
        (("list", "--before", "17"), 2, "is no job id"),
        (("cancel", "17"), 2, "is no job id"),
        (("show", new_id()), 3, "there is no job"),
        (("watch", new_id()), 3, "there is no job"),
        (("logs", new_id()), 3, "there is no job"),
        (("retry", new_id()), 3, "there is no job"),
        (("retry",), 2, "name at least one job id"),
        (("delete", "--queue", "mail"), 2, "need --all"),
        (("delete", new_id(), "--all"), 2, "not both"),
        (("delete", new_id(), "--where", "state:failed"), 2, "not both"),
        (("delete", "--where", " "), 2, "an empty --where means all jobs; say --all"),
        (("delete", "--where", "colour:red"), 2, "there is no filter colour:"),
        (("list", "--state", "happy"), 2, "happy"),
        (("list", "--limit", "0"), 2, "--limit"),
        (("list", "--bogus"), 2, "windlass job list --help"),
    ],
)
def test_bad_input_is_one_line(windlass: Windlass, store: Any, words: tuple[str, ...], code: int, said: str) -> None:
    put(store, a_job())
    ran = windlass("job", *words)
    assert (ran.code, ran.out) == (code, "")
    assert said in ran.err.splitlines()[-1]


def test_reading_a_store_that_does_not_exist_makes_none(windlass: Windlass, project: Path) -> None:
    ran = windlass("job", "list")
    assert ran.code == 2
    assert "there is no store at" in ran.err
    assert not (project / ".windlass").exists()
