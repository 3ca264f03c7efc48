"""Numbers and times in words."""

from __future__ import annotations


def plural(number: int, noun: str) -> str:
    """ "1 job", "2,000 jobs"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def length(seconds: float) -> str:
    """A length of time in its largest unit: "40 seconds", "3 hours"."""
    for unit, size in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        if seconds >= size:
            return plural(round(seconds / size), unit)
    return plural(max(1, round(seconds)), "second")
