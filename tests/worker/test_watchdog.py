"""The watchdog: a blocked loop is pitied, a job beyond its limit that blocks it is not."""

from __future__ import annotations

from windlass.worker.watchdog import sentence, stuck


def test_a_loop_that_only_stands_still_is_left_alone() -> None:
    assert stuck(5)
    assert not stuck(0.5)
    assert sentence(500, None, 1000, 5) is None
    assert sentence(500, (999, "job"), 1000, 5) is None, "it still has kill_after to stop by itself"


def test_a_loop_that_turns_ends_its_jobs_itself() -> None:
    assert sentence(0.1, (900, "job"), 1000, 5) is None


def test_a_job_beyond_its_limit_that_stops_the_loop_is_named() -> None:
    verdict = sentence(10, (990, "the-job"), 1000, 5)
    assert verdict is not None
    assert "the-job was over its time limit by 10.0 s" in verdict.message
    assert verdict.evidence == {"job": "the-job"}
