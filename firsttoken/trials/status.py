"""Reading the state of a router: what ``firsttoken status`` shows.

Modes, backends and memory come from ``/metrics``, queues from ``/readyz``; first tokens are the
single requests of ``/debug/decisions``, so their quantiles are exact and no estimate of buckets.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import httpx

from firsttoken.core.errors import UserError
from firsttoken.core.settings import endpoint
from firsttoken.trials.status_snapshot import WINDOW_S, Request, Samples, Snapshot, snapshot

_KEPT = 100_000
"""Requests of the window that are remembered, at most."""

_TIMEOUT_S = 5.0


class StatusReader:
    """Reads the state of one router, again and again; what it read of the requests is kept.

    Args:
        url: the router's address; ``http://`` may be left out.
        key: an API key, where the router asks for one.
        now_unix_s: the wall clock, which has to agree with the router's.

    Raises:
        UserError: the URL is none.
    """

    def __init__(
        self, url: str, key: str | None = None, *, now_unix_s: Callable[[], float] = time.time
    ) -> None:
        try:
            self.url = endpoint.resolve(url if "//" in url else f"http://{url}", "openai")[0]
        except ValueError as error:
            raise UserError(f"--url {error}") from error
        self._http = httpx.Client(
            base_url=self.url,
            timeout=_TIMEOUT_S,
            headers={"authorization": f"Bearer {key}"} if key else {},
            # A proxy cannot reach this machine's loopback address.
            trust_env=not endpoint.is_loopback(urlsplit(self.url).hostname or ""),
        )
        self._now_unix_s = now_unix_s
        self._requests: deque[Request] = deque(maxlen=_KEPT)
        self._after = 0
        self._cut_off = False
        """Whether the router had forgotten requests before the first reading."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._http.close()

    def read(self) -> Snapshot:
        """Return the state of the router now.

        Raises:
            UserError: no router of ours answers there, or it asks for another key.
        """
        try:
            samples = Samples(self._get("/metrics").text)
            if "llm_mode" not in samples:
                raise ValueError("no llm_mode")  # noqa: TRY301 - told below like its kin
            health = self._get("/readyz", besides=503).json()
            unix_s = self._now_unix_s()
            window_s = self._read_requests(unix_s)
            return snapshot(
                self.url, samples, health, self._requests, unix_s=unix_s, window_s=window_s
            )
        except httpx.HTTPError as error:
            raise UserError(
                f"no router answers at {self.url} ({_why(error)}); expected the address of a "
                "running `firsttoken serve`"
            ) from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"{self.url} answers, but not as a firsttoken router does; expected the address "
                "of a running `firsttoken serve`"
            ) from error

    def _get(self, path: str, besides: int = 200, **params: int) -> httpx.Response:
        reply = self._http.get(path, params=params)
        if reply.status_code in {401, 403}:
            raise UserError(
                f"{self.url} refuses the API key; expected --api-key-env with the name of the "
                "environment variable that holds it"
            )
        if reply.status_code not in {200, besides}:
            raise ValueError(f"{path}: status {reply.status_code}")
        return reply

    def _read_requests(self, unix_s: float) -> float:
        """Read the requests since the last time; return the seconds that are covered."""
        more = True
        while more:
            page = self._get("/debug/decisions", after=self._after).json()
            found = page["decisions"]
            if self._after == 0:
                self._cut_off = page["next"] > len(found)
            more, self._after = page["more"], page["next"]
            self._requests.extend(map(_request, found))
        requests = self._requests
        while requests and requests[0].unix_s < unix_s - WINDOW_S:
            requests.popleft()
            self._cut_off = False
        if self._cut_off and requests:
            return min(WINDOW_S, max(0.0, unix_s - requests[0].unix_s))
        return WINDOW_S


def _request(told: Mapping[str, Any]) -> Request:
    return Request(
        float(told["unix_s"]),
        str(told["tier"]),
        str(told["outcome"]),
        told["error_type"],
        told["ttft_ms"],
    )


def _why(error: httpx.HTTPError) -> str:
    if isinstance(error, httpx.TimeoutException):
        return f"nothing came within {_TIMEOUT_S:g} s"
    return str(error).removeprefix("[Errno 111] ") or type(error).__name__
