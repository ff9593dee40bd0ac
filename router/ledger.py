"""A bounded list of records that a reader can follow by sequence number."""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import Generic, TypeVar

_Record = TypeVar("_Record")


class Ledger(Generic[_Record]):
    """Keeps the last ``size`` records; the first one ever added has the sequence number 1."""

    def __init__(self, size: int) -> None:
        self._records: deque[_Record] = deque(maxlen=size)
        self._last = 0

    def add(self, record: _Record) -> None:
        """Append a record; the oldest one makes room."""
        self._records.append(record)
        self._last += 1

    def after(self, number: int, limit: int | None = None) -> tuple[int, list[_Record]]:
        """Return the first ``limit`` kept records with numbers over ``number``, and before them
        the number from which to go on: that of the last one returned.

        A number that was never given out belongs to a process before this one: reading begins anew.
        """
        dropped = self._last - len(self._records)
        start = max(0, number - dropped) if number <= self._last else 0
        found = list(islice(self._records, start, None if limit is None else start + limit))
        return dropped + start + len(found), found
