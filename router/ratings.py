"""Ratings by users: each request and each session that was served lately can be rated once."""

from __future__ import annotations

from collections import OrderedDict
from enum import StrEnum
from typing import Literal

MOST = 20_000
"""Requests and sessions that are remembered, at most."""

Subject = Literal["request", "session"]


class Rated(StrEnum):
    """What became of a rating."""

    COUNTED = "counted"
    ALREADY = "already"
    """The first rating counts; this one does not."""
    UNKNOWN = "unknown"
    """Nothing of that name was served for this tenant, or too long ago."""


class Ratings:
    """Who may be rated still. One tenant cannot rate, or find out about, what another was served.

    Args:
        most: remembered at once, at most; whoever was served longest ago makes room.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._rated: OrderedDict[tuple[Subject, str, str], bool] = OrderedDict()

    def __len__(self) -> int:
        """Return how many are remembered."""
        return len(self._rated)

    def served(self, tenant: str, request_id: str, session: str | None) -> None:
        """Note a request, and its session where the client named one."""
        self._remember(("request", tenant, request_id))
        if session is not None:
            self._remember(("session", tenant, session))

    def rate(self, subject: Subject, tenant: str, name: str) -> Rated:
        """Take a rating of a request or a session."""
        key = (subject, tenant, name)
        rated = self._rated.get(key)
        if rated is None:
            return Rated.UNKNOWN
        self._rated[key] = True
        return Rated.ALREADY if rated else Rated.COUNTED

    def _remember(self, key: tuple[Subject, str, str]) -> None:
        if key in self._rated:
            self._rated.move_to_end(key)
            return
        if len(self._rated) >= self._most:
            self._rated.popitem(last=False)
        self._rated[key] = False
