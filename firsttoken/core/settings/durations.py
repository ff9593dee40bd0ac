"""Durations as Ollama writes them: ``24h``, ``5m``, ``1h30m``, ``300`` (seconds), ``-1``."""

from __future__ import annotations

import math
import re

_SECONDS: dict[str, float] = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_PART = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)(h|ms|m|s)")
_DURATION = re.compile(rf"(?:{_PART.pattern}){{1,4}}")
_NUMBER = re.compile(r"-?[0-9]{1,9}")

EXPECTED = 'expected a duration such as "24h", "5m" or 300 (seconds), or -1 for ever'


def seconds(value: str | int) -> float:
    """Return the seconds of a ``keep_alive``; infinity for a negative one, which means for ever.

    Raises:
        ValueError: not a duration.
    """
    text = str(value).strip()[:40] if isinstance(value, str) else str(value)
    if _NUMBER.fullmatch(text):
        number = int(text)
        return math.inf if number < 0 else float(number)
    sign = text.startswith("-")
    if not _DURATION.fullmatch(text[sign:]):
        raise ValueError(f"{text!r} is no duration; {EXPECTED}")
    if sign:
        return math.inf
    return sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(text))
