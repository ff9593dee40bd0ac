"""What a server knows of the requests it has answered, handed out at ``GET /truth?after=N``.

N is the ``next`` of the call before; ``lost`` counts rows asked for that are no longer kept::

    {"next": 2, "lost": 0, "rows": [{"request_id": "a", "first_token_ns": 2, ...}, ...]}
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import Any
from urllib.parse import parse_qs

from firsttoken.upstreams import routes
from firsttoken.upstreams.script import Request, Script, json_reply

MAX_ROWS = 200_000


class Ledger:
    """Rows in the order in which requests ended; the oldest are dropped beyond the limit."""

    def __init__(self) -> None:
        self._rows: deque[Any] = deque(maxlen=MAX_ROWS)
        self._next = 0

    def keep(self, row: Any) -> None:
        """Keep ``row``: a data class, which is told as a JSON object."""
        self._rows.append(row)
        self._next += 1

    def answer(self, request: Request) -> Script:
        """Answer ``GET /truth``."""
        text = parse_qs(request.query).get("after", ["0"])[-1]
        if not text.isdecimal():
            return routes.openai_error(400, "after: expected a whole number, not below 0")
        after = min(int(text[:18]), self._next)
        oldest = self._next - len(self._rows)
        rows = list(islice(self._rows, max(after - oldest, 0), None))
        return json_reply({"next": self._next, "lost": max(oldest - after, 0), "rows": rows})
