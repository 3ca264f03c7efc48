"""Durations as people write them: a `timedelta`, seconds, or "90s" "10m" "2h" "7d". And sizes: bytes, or "512MB"."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from windlass.errors import ConfigurationError

Duration = timedelta | float | str
LONGEST = 100 * 365.25 * 86400
"""Seconds. What is to last longer is a mistake, and leads out of every calendar."""

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_BYTES = {"": 1, "B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}
_PART = re.compile(r"(\d{1,18}(?:\.\d{1,18})?)\s*(ms|[smhdw])")
_SIZE = re.compile(r"(\d{1,18}(?:\.\d{1,18})?)\s*([KMG]?B?)", re.IGNORECASE)


def seconds(duration: Duration) -> float:
    """`duration` in seconds; raises `ConfigurationError` for what is no duration, is negative, or more than `LONGEST`."""
    value: float
    if isinstance(duration, timedelta):
        value = duration.total_seconds()
    elif isinstance(duration, str) and duration.strip() and not _PART.sub("", duration).strip():
        value = sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(duration))
    elif isinstance(duration, (int, float)) and not isinstance(duration, bool):
        value = duration
    else:
        raise ConfigurationError(f'{duration!r} is no duration; write seconds, a timedelta, or "90s" "10m" "2h" "7d"')
    if not 0 <= value <= LONGEST:
        raise ConfigurationError(f"a duration is 0 seconds to 100 years, not {duration!r:.80}")
    return float(value)


def date(moment: float) -> datetime:
    """A Unix time as a date. What no calendar holds (its record is damaged) is the last day of all, or that on which Unix began."""
    try:
        return datetime.fromtimestamp(moment, UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.max.replace(tzinfo=UTC) if moment > 0 else datetime.fromtimestamp(0, UTC)


def size(text: int | str) -> int:
    """A size in bytes from an int or "512MB"; units are powers of 1024."""
    if isinstance(text, int) and not isinstance(text, bool):
        return text
    match = _SIZE.fullmatch(text.strip()) if isinstance(text, str) else None
    if match is None:
        raise ConfigurationError(f'{text!r} is no size; write bytes or "64KB" "512MB" "2GB"')
    unit = match[2].upper()
    return int(float(match[1]) * _BYTES[unit if not unit or unit.endswith("B") else unit + "B"])
