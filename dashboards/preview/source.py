"""Where a preview's values come from: a Prometheus, asked within bounds of time and size."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self

import httpx
import orjson

from firsttoken.core.errors import UserError

TIMEOUT_S = 10.0
"""For one query."""

MOST_BYTES = 16 << 20
"""Of one answer."""


@dataclass(frozen=True, slots=True)
class Series:
    """One series of an answer; values that are not finite are left out."""

    labels: Mapping[str, str]
    times: tuple[float, ...]
    """Unix seconds, rising."""
    values: tuple[float, ...]

    @property
    def name(self) -> str:
        """The series as Prometheus writes it."""
        inner = ", ".join(f'{k}="{v}"' for k, v in self.labels.items() if k != "__name__")
        return self.labels.get("__name__", "") + f"{{{inner}}}"


@dataclass(frozen=True, slots=True)
class Span:
    """A time to ask about; Unix seconds, the step in seconds."""

    start: float
    end: float
    step: float


class Source(Protocol):
    """Whoever answers queries."""

    def instant(self, query: str, at: float) -> list[Series]:
        """Return the value of each series at a time."""

    def over(self, query: str, span: Span) -> list[Series]:
        """Return the values of each series at each step of a span."""


class Prometheus:
    """A Prometheus, by its HTTP API; a context manager.

    Args:
        url: its address, such as ``http://localhost:9090``.
        timeout_s: for one query.
        most_bytes: of one answer.
    """

    def __init__(
        self, url: str, *, timeout_s: float = TIMEOUT_S, most_bytes: int = MOST_BYTES
    ) -> None:
        self._url = url.rstrip("/")
        self._most_bytes = most_bytes
        self._timeout_s = timeout_s
        self._client = httpx.Client(timeout=timeout_s, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._client.close()

    def instant(self, query: str, at: float) -> list[Series]:
        """Return the value of each series at ``at``.

        Raises:
            UserError: Prometheus cannot be reached, or refuses the query.
        """
        return self._asked("query", query, {"time": at})

    def over(self, query: str, span: Span) -> list[Series]:
        """Return the values of each series over ``span``.

        Raises:
            UserError: Prometheus cannot be reached, or refuses the query.
        """
        return self._asked(
            "query_range", query, {"start": span.start, "end": span.end, "step": span.step}
        )

    def _asked(self, path: str, query: str, times: Mapping[str, float]) -> list[Series]:
        form = {"query": query, "timeout": f"{self._timeout_s:g}s"}
        form |= {name: f"{value:.3f}" for name, value in times.items()}
        told = self._answer(path, form)
        data = told.get("data")
        if told.get("status") != "success" or not isinstance(data, dict):
            why = str(told.get("error", "an answer that is none of Prometheus"))[:300]
            raise UserError(f"{self._url}: {why}; asked was {query}")
        return list(read(data))

    def _answer(self, path: str, form: Mapping[str, str]) -> dict[str, Any]:
        body = bytearray()
        with self._understood():
            with self._client.stream("POST", f"{self._url}/api/v1/{path}", data=form) as response:
                for chunk in response.iter_bytes():
                    body += chunk
                    if len(body) > self._most_bytes:
                        raise UserError(
                            f"{self._url}: an answer of more than {self._most_bytes >> 20} MiB; "
                            f"expected fewer series or a shorter time: {form['query']}"
                        )
            told = orjson.loads(body)
        return told if isinstance(told, dict) else {}

    @contextmanager
    def _understood(self) -> Iterator[None]:
        try:
            yield
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            why = str(error) or type(error).__name__
            raise UserError(f"{self._url}: {why}; expected a Prometheus that answers") from error
        except orjson.JSONDecodeError as error:
            raise UserError(f"{self._url}: no JSON; expected a Prometheus that answers") from error


def read(data: Mapping[str, Any]) -> Iterator[Series]:
    """Read the ``data`` of an answer: a matrix, a vector or a scalar."""
    result = data.get("result", ())
    if data.get("resultType") == "scalar":
        result = [{"metric": {}, "value": result}]
    for each in result:
        pairs = each["values"] if "values" in each else [each["value"]]
        known = [(float(at), number) for at, text in pairs if math.isfinite(number := float(text))]
        if known:
            times, values = zip(*known, strict=True)
            yield Series(each.get("metric", {}), times, values)
