"""What a server under test says of the requests it answered."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

_MAX_BYTES = 64 << 20


class TruthLog:
    """Reads ``GET /truth`` of a server from where the last reading ended."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._next = 0

    def take(self) -> list[dict[str, Any]]:
        """Return the rows since the last call, in the order in which the replies ended."""
        with urllib.request.urlopen(  # noqa: S310 - loopback
            f"{self._url}/truth?after={self._next}", timeout=10
        ) as reply:
            page = json.loads(reply.read(_MAX_BYTES))
        self._next = page["next"]
        return list(page["rows"])
