"""What a scrape says, as the client library of Prometheus reads it."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample


def samples(text: str) -> list[Sample]:
    """All samples of a scrape."""
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


def value(text: str, name: str, **labels: str) -> float | None:
    """The sample of that name and exactly these labels; None without one."""
    return next((one.value for one in samples(text) if one.name == name and one.labels == labels), None)
