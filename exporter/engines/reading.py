"""What all engines share: readings, pages, tables over a Prometheus text."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson
from prometheus_client.parser import text_string_to_metric_families

from firsttoken.core.catalogue import Collector

Pages = Mapping[str, bytes]
"""Bodies by path, of the pages that were answered with 200."""


class ReadingError(Exception):
    """A page is not what its engine serves."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What an engine says of itself at one moment."""

    values: Mapping[str, Mapping[tuple[str, ...], float]] = field(default_factory=dict)
    """By name of the catalogue, then by the values of its labels after ``backend``."""
    models: tuple[str, ...] = ()
    """Names it can be asked for, those in memory first."""
    loaded: bool | None = None
    """Whether the model in question is in memory; None where that is not told."""
    context: int | None = None
    """Tokens of context with which that model was loaded, where a request could change it."""


@dataclass(frozen=True, slots=True)
class Engine:
    """One kind of engine."""

    collector: Collector
    page: str
    """The page that it always serves, and by which it is recognised."""
    recognises: Callable[[bytes], bool]
    """Whether a body of :attr:`page` is this engine's; any bytes whatever are allowed."""
    more: tuple[str, ...]
    """Pages that it may serve, by its version or how it was started."""
    read: Callable[[Pages, str | None], Reading]
    """Read the pages, :attr:`page` among them, for the model of a name (None: whichever there is).

    Raises :class:`ReadingError`."""
    dialect: str = "openai"
    """In which it is asked."""


class Row(NamedTuple):
    """One value of ours: the sum of all samples of the engine's that have one of these names."""

    metric: str
    labels: tuple[str, ...]
    names: tuple[str, ...]


def translated(text: bytes, rows: Iterable[Row]) -> dict[str, dict[tuple[str, ...], float]]:
    """Translate a page in Prometheus' text format by a table; a row that finds nothing is left out.

    Raises:
        ReadingError: a line of one of the names cannot be read.
    """
    rows = tuple(rows)
    wanted = tuple(name for row in rows for name in row.names)
    # The pages of busy engines are long: what is not asked for is not parsed.
    lines = [
        line for line in text.decode("utf-8", "replace").splitlines() if line.startswith(wanted)
    ]
    found: dict[str, float] = {}
    try:
        for family in text_string_to_metric_families("\n".join(lines) + "\n"):
            for sample in family.samples:
                if math.isfinite(sample.value) and sample.value >= 0:
                    found[sample.name] = found.get(sample.name, 0.0) + sample.value
    except (ValueError, IndexError, KeyError) as error:
        raise ReadingError(f"no Prometheus text: {error}") from error
    values: dict[str, dict[tuple[str, ...], float]] = {}
    for metric, labels, names in rows:
        parts = [found[name] for name in names if name in found]
        if parts:
            values.setdefault(metric, {})[labels] = sum(parts)
    return values


def loads(body: bytes | None) -> Any:
    """Return what a JSON body holds; None where it is no JSON or there is no body."""
    try:
        return None if body is None else orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def entries(body: bytes | None, key: str) -> list[dict[str, Any]]:
    """Return the objects of the list at ``key`` of a JSON object; empty where there is none."""
    told = loads(body)
    found = told.get(key) if isinstance(told, dict) else None
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def names(found: Iterable[Mapping[str, Any]], key: str) -> tuple[str, ...]:
    """Return the non-empty strings at ``key``, each once."""
    return tuple(dict.fromkeys(e[key] for e in found if isinstance(e.get(key), str) and e[key]))


def amount(value: object) -> float | None:
    """Return a number that is neither negative nor without end; None of anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < math.inf else None
