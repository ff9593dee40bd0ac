"""Collects the router's own record of its attempts while a run goes on."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from firsttoken.core.records import PartWriter, rows_from_mappings


class AttemptCollector:
    """Reads ``GET /debug/attempts?after=N`` of a router and appends what is new.

    The router keeps a bounded number of attempts, so :meth:`collect` is meant once a second.
    """

    def __init__(self, run_dir: Path, router_url: str) -> None:
        self._part = PartWriter(run_dir, "attempts", "router")
        self._http = httpx.Client(base_url=router_url, timeout=5.0)
        self._after = self._newest()

    def _newest(self) -> int:
        """Skip what the router did before this run."""
        after = 0
        while True:
            page = self._http.get("/debug/attempts", params={"after": after}).json()
            if not page["attempts"]:
                return int(page["next"])
            after = int(page["next"])

    def collect(self) -> int:
        """Append the attempts since the last call; return how many.

        Raises:
            httpx.HTTPError: the router does not answer.
        """
        count = 0
        while True:
            page = self._http.get("/debug/attempts", params={"after": self._after}).json()
            self._after = int(page["next"])
            for row in rows_from_mappings("attempts", page["attempts"]):
                self._part.append(row)
                count += 1
            if not page["attempts"]:
                self._part.flush()
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
