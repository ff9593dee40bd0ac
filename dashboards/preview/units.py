"""Numbers as Grafana writes them, for the units that our boards have."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

_SECONDS = ((1e-6, 1e9, " ns"), (1e-3, 1e6, " µs"), (1.0, 1e3, " ms"), (60.0, 1.0, " s"))
"""Below the first number: what it is multiplied by, and the unit."""
_LONGER = ((3600.0, 60.0, " min"), (86_400.0, 3600.0, " hour"), (math.inf, 86_400.0, " day"))
_COUNTS = (1.0, 1000.0, ("", " K", " Mil", " Bil", " Tri"))
_BYTES = (1.0, 1024.0, (" B", " KiB", " MiB", " GiB", " TiB"))
_AGES = (
    (60.0, 1, "second"),
    (3600.0, 60, "minute"),
    (86_400.0, 3600, "hour"),
    (math.inf, 86_400, "day"),
)


def formatted(value: float, unit: str, decimals: int | None = None, now: float = 0.0) -> str:
    """Return a value with its unit.

    Args:
        value: as the query gave it.
        unit: as Grafana names it; one that is not known is written behind the number.
        decimals: None: as many as the number needs.
        now: Unix seconds to which the unit ``dateTimeFromNow`` counts.
    """
    if unit == "dateTimeFromNow":
        return _age(now - value / 1000)
    write = _WRITERS.get(unit)
    return write(value, decimals) if write else f"{_number(value, decimals)} {unit}"


def _seconds(value: float, decimals: int | None) -> str:
    size = abs(value)
    if size == 0:
        return "0 s"
    for below, factor, name in _SECONDS:
        if size < below:
            return _number(value * factor, decimals) + name
    below, divisor, name = next(each for each in _LONGER if size < each[0])
    many = "" if name == " min" or round(value / divisor, decimals or 0) == 1 else "s"
    return _number(value / divisor, decimals) + name + many


def _scaled(
    value: float, decimals: int | None, size: float, base: float, names: Sequence[str]
) -> str:
    place = 0
    while abs(value) / size >= base and place < len(names) - 1:
        size *= base
        place += 1
    return _number(value / size, decimals) + names[place]


def _number(value: float, decimals: int | None) -> str:
    if decimals is None:
        text = f"{value:.{needed(value)}f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
    else:
        text = f"{value:.{decimals}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def needed(value: float) -> int:
    """Return the digits behind the point that show a number to about three figures."""
    if value == 0 or value == round(value):
        return 0
    return max(0, 2 - math.floor(math.log10(abs(value))))


def _age(seconds: float) -> str:
    if seconds < 5:
        return "a few seconds ago"
    _, size, name = next(each for each in _AGES if seconds < each[0])
    count = int(seconds // size)
    return f"{count} {name}{'' if count == 1 else 's'} ago"


_WRITERS: dict[str, Callable[[float, int | None], str]] = {
    "s": _seconds,
    "percentunit": lambda value, decimals: f"{_number(value * 100, decimals)}%",
    "bytes": lambda value, decimals: _scaled(value, decimals, *_BYTES),
    "reqps": lambda value, decimals: f"{_scaled(value, decimals, *_COUNTS)} req/s",
    "ops": lambda value, decimals: f"{_scaled(value, decimals, *_COUNTS)} ops/s",
    "currencyUSD": lambda value, decimals: f"${_scaled(value, decimals, *_COUNTS)}",
    "short": lambda value, decimals: _scaled(value, decimals, *_COUNTS),
    "none": lambda value, decimals: _scaled(value, decimals, *_COUNTS),
}
