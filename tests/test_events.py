"""Events: everybody who subscribed hears everything, and one that fails disturbs nobody."""

from __future__ import annotations

import logging

import pytest

from windlass.events import Event, Events, WorkerChanged


def test_everybody_hears_everything_in_order() -> None:
    events = Events()
    heard: list[tuple[str, Event]] = []

    @events.subscribe
    def first(event: Event) -> None:
        heard.append(("first", event))

    events.subscribe(lambda event: heard.append(("second", event)))
    started, stopped = WorkerChanged("w", "started"), WorkerChanged("w", "stopped")
    events.emit(started)
    events.emit(stopped)
    assert heard == [("first", started), ("second", started), ("first", stopped), ("second", stopped)]


def test_a_subscriber_that_fails_is_logged_and_disturbs_nobody(caplog: pytest.LogCaptureFixture) -> None:
    events = Events()
    heard: list[Event] = []

    @events.subscribe
    def broken(event: Event) -> None:
        raise RuntimeError("no metrics server")

    events.subscribe(heard.append)
    with caplog.at_level(logging.ERROR, "windlass"):
        events.emit(WorkerChanged("w", "started"))
    assert heard == [WorkerChanged("w", "started")]
    assert "no metrics server" in caplog.text
