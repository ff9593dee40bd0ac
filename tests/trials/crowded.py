"""A server whose first tokens come the later, the more requests it has under way; a child process.

    python -m tests.trials.crowded MS

A request that finds ``k`` others under way waits ``(k + 1) * MS`` for its first token, so that the
number of talkers that hold a target is known.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

from firsttoken.upstreams.server import run
from firsttoken.upstreams.truth import Pace, TruthServer


@dataclass(frozen=True, slots=True)
class CrowdedPace(Pace):
    """Told what is under way by its server."""

    each_ms: float = 50.0
    under_way: list[TruthServer] | None = None

    def first_token_s(self, request_id: str) -> float:  # noqa: ARG002 - as Pace has it
        """Return the delay of the first token, seconds."""
        (server,) = self.under_way or []
        return self.each_ms * server.counters.kinds["chat"].open / 1000


def main() -> None:
    """Serve until SIGTERM."""
    servers: list[TruthServer] = []
    pace = CrowdedPace(token_interval_ms=0, each_ms=float(sys.argv[1]), under_way=servers)
    servers.append(TruthServer(pace))
    run(servers[0], 0)


if __name__ == "__main__":
    main()
