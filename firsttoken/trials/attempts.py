"""Collects the router's own record of its attempts while a run goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from firsttoken.core.records import PartWriter, rows_from_mappings


class AttemptsUnreadableError(Exception):
    """The router did not tell its attempts; the run goes on without them."""


class AttemptCollector:
    """Reads ``GET /debug/attempts?after=N`` of a router and appends what is new.

    The router keeps a bounded number of attempts, so :meth:`collect` is meant once a second.
    ``number`` tells the routers of one run apart.

    Raises:
        AttemptsUnreadableError: the router does not tell.
    """

    def __init__(self, run_dir: Path, router_url: str, number: int = 0) -> None:
        self._http = httpx.Client(base_url=router_url, timeout=5.0)
        self._after = 0
        # What the router did before this run is skipped.
        for _ in self._pages():
            pass
        self._part = PartWriter(run_dir, "attempts", f"router-{number}")

    def _pages(self) -> Iterator[list[dict[str, Any]]]:
        """Yield the attempts since the last call, as many at a time as the router gives.

        It ends with the first page that is not full: under load there is always one more attempt.
        """
        more = True
        while more:
            try:
                reply = self._http.get("/debug/attempts", params={"after": self._after})
                page = reply.raise_for_status().json()
                found = list(page["attempts"])
                more, self._after = bool(page["more"]), int(page["next"])
            except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
                raise AttemptsUnreadableError(
                    f"the router's attempts could not be read: {error or type(error).__name__}"
                ) from error
            yield found

    def collect(self) -> int:
        """Append the attempts since the last call; return how many.

        Raises:
            AttemptsUnreadableError: the router does not tell.
        """
        count = 0
        for page in self._pages():
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
