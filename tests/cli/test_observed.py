"""What a worker's own processes and their children tell: JSON lines and spans, from every lane."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from command import shell

pytestmark = pytest.mark.usefixtures("project")

LOGGING = """
import logging
from windlass import Windlass

app = Windlass()
log = logging.getLogger("shop")

def says() -> None:
    log.info("at work", extra={"order": 7})

@app.task(lane="loop")
async def loop() -> None:
    says()

app.task(lane="thread", name="tasks.thread")(says)
app.task(lane="process", name="tasks.process")(says)
"""

TRACING = """
import json
from pathlib import Path
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor
from windlass import Windlass
from windlass.observe.otel import instrument

provider = TracerProvider()
out = open("spans.jsonl", "a")
provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(out=out, formatter=lambda span: span.to_json(indent=None) + "\\n")))
trace.set_tracer_provider(provider)
app = Windlass()
instrument(app)
"""


@pytest.mark.parametrize("lane", ["loop", "thread", "process"])
def test_what_a_job_logs_is_a_json_line_that_names_it(project: Path, lane: str) -> None:
    (project / "tasks.py").write_text(LOGGING)
    job = shell("enqueue", f"tasks.{lane}").out.strip()
    ran = shell("worker", "--burst", "--log-format", "json")
    lines: list[dict[str, Any]] = [msgspec.json.decode(line) for line in ran.err.splitlines() if line.startswith("{")]
    (line,) = [line for line in lines if line["logger"] == "shop"]
    assert {name: line[name] for name in ("message", "level", "job_id", "task", "queue", "attempt")} == {
        "message": "at work", "level": "info", "job_id": job, "task": f"tasks.{lane}", "queue": "default", "attempt": 1,
    }  # fmt: skip


@pytest.mark.parametrize("lane", ["loop", "thread", "process"])
def test_a_trace_goes_on_in_another_process(project: Path, lane: str) -> None:
    (project / "tasks.py").write_text(LOGGING.replace("from windlass import Windlass\n\napp = Windlass()\n", TRACING))
    job = shell("enqueue", f"tasks.{lane}").out.strip()
    ran = shell("worker", "--burst", "--log-format", "json")
    assert ran.code == 0, ran.err
    spans = {
        (one := msgspec.json.decode(line))["name"]: one for line in (project / "spans.jsonl").read_text().splitlines()
    }
    send, process = spans["send default"], spans["process default"]
    assert process["attributes"]["messaging.message.id"] == job
    assert process["parent_id"] == send["context"]["span_id"]
    (line,) = [line for line in ran.err.splitlines() if '"logger":"shop"' in line]
    told = msgspec.json.decode(line)
    assert f"0x{told['trace_id']}" == send["context"]["trace_id"] == process["context"]["trace_id"]
    assert f"0x{told['span_id']}" == process["context"]["span_id"]
