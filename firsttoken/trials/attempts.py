"""Collects the router's own record of its attempts while a run goes on."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from firsttoken.core.records import PartWriter, rows_from_mappings


class AttemptsUnreadableError(Exception):
    """The router did not tell its attempts; the run goes on without them."""


class AttemptCollector:
    """Reads ``GET /debug/attempts?after=N`` of a router and appends what is new.

    The router keeps a bounded number of attempts, so :meth:`collect` is meant once a second. One
    collector serves a run: a run has one router.

    Raises:
        AttemptsUnreadableError: the router does not tell.
    """

    def __init__(self, run_dir: Path, router_url: str) -> None:
        self._http = httpx.Client(base_url=router_url, timeout=5.0)
        self._after = 0
        # What the router did before this run is skipped.
        while self._page():
            pass
        self._part = PartWriter(run_dir, "attempts", "router")

    def _page(self) -> list[dict[str, Any]]:
        """Return the attempts since the last call, as many as the router gives at once."""
        try:
            reply = self._http.get("/debug/attempts", params={"after": self._after})
            page = reply.raise_for_status().json()
            self._after = int(page["next"])
            return list(page["attempts"])
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            raise AttemptsUnreadableError(
                f"the router's attempts could not be read: {error or type(error).__name__}"
            ) from error

    def collect(self) -> int:
        """Append the attempts since the last call; return how many.

        Raises:
            AttemptsUnreadableError: the router does not tell.
        """
        count = 0
        while page := self._page():
            for row in rows_from_mappings("attempts", page):
                self._part.append(row)
            self._part.flush()
            count += len(page)
        return count

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._part.close()
        self._http.close()
