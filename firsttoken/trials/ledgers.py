"""Collects the router's own records, of its attempts and decisions, while a run goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, get_args

import httpx

from firsttoken.core.records import PartWriter, rows_from_mappings

Ledger = Literal["attempts", "decisions"]
LEDGERS: tuple[Ledger, ...] = get_args(Ledger)


class LedgerUnreadableError(Exception):
    """The router did not tell its records; the run goes on without them."""


class LedgerCollector:
    """Reads ``GET /debug/<table>?after=N`` of a router and appends what is new.

    The router keeps a bounded number of records, so :meth:`collect` is meant once a second.
    ``number`` tells the routers of one run apart, ``key`` is the API key of one that wants it.

    Raises:
        LedgerUnreadableError: the router does not tell.
    """

    def __init__(
        self,
        run_dir: Path,
        router_url: str,
        table: Ledger,
        number: int = 0,
        key: str | None = None,
    ) -> None:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        self._http = httpx.Client(base_url=router_url, timeout=5.0, headers=headers)
        self._table = table
        self._after = 0
        try:
            # What the router did before this run is skipped.
            for _ in self._pages():
                pass
        except LedgerUnreadableError:
            self._http.close()
            raise
        self._part = PartWriter(run_dir, table, f"router-{number}")

    def _pages(self) -> Iterator[list[dict[str, Any]]]:
        """Yield the records since the last call, as many at a time as the router gives.

        It ends with the first page that is not full: under load there is always one more.
        """
        more = True
        while more:
            try:
                reply = self._http.get(f"/debug/{self._table}", params={"after": self._after})
                page = reply.raise_for_status().json()
                found = list(page[self._table])
                more, self._after = bool(page["more"]), int(page["next"])
            except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
                raise LedgerUnreadableError(
                    f"the router's {self._table} could not be read: {error or type(error).__name__}"
                ) from error
            yield found

    def collect(self) -> int:
        """Append the records since the last call; return how many.

        Raises:
            LedgerUnreadableError: the router does not tell.
        """
        count = 0
        for page in self._pages():
            for row in rows_from_mappings(self._table, page):
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
