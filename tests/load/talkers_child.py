"""Talkers under gevent, in a process of their own: what they found, as one JSON line.

python -m tests.load.talkers_child URL TALKERS [CERTIFICATE]
"""

# ruff: noqa: E402 - patching has to come before everything that is patched
from gevent import monkey

monkey.patch_all()

import gc
import json
import ssl
import sys
import time
from typing import Any

import gevent
import greenlet  # type: ignore[import-untyped]

from firsttoken.core.clock import NS_PER_MS, monotonic_ns
from firsttoken.load.client import Limits, Line, StreamClient
from firsttoken.load.endpoint import Endpoint
from firsttoken.load.exchange import Exchange
from firsttoken.wire import dialects
from firsttoken.wire.dialect import ChatRequest

TURNS = 2


class Clockwork:
    """Processor time of each greenlet, taken where one gives way to another."""

    def __init__(self) -> None:
        self.spent_ns: dict[Any, int] = {}
        self._since_ns = time.thread_time_ns()
        greenlet.settrace(self._switched)

    def _switched(self, _event: str, switch: tuple[Any, Any]) -> None:
        now_ns = time.thread_time_ns()
        self.spent_ns[switch[0]] = self.spent_ns.get(switch[0], 0) + now_ns - self._since_ns
        self._since_ns = time.thread_time_ns()

    def of_this(self) -> int:
        gevent.sleep(0)
        return self.spent_ns.get(gevent.getcurrent(), 0)


def main() -> None:
    url, talkers = sys.argv[1], int(sys.argv[2])
    tls = ssl.create_default_context(cafile=sys.argv[3]) if len(sys.argv) > 3 else None
    line = Line(Endpoint.resolve(url, tls), dialects.get("openai"), limits=Limits())
    gc.collect()
    gc.freeze()
    clockwork = Clockwork()
    exchanges: list[Exchange] = []
    first_ns: list[int] = []

    def talk(user: int) -> None:
        gevent.sleep(user * 0.005)
        client = StreamClient(line)
        for turn in range(TURNS):
            exchange = Exchange(f"{user}-{turn}", monotonic_ns())
            messages = [{"role": "user", "content": "Hi"}]
            request = ChatRequest("m", messages, stream=True, max_tokens=4)
            before_ns = clockwork.of_this()
            client.ask(request, exchange)
            if turn == 0:
                first_ns.append(clockwork.of_this() - before_ns)
            exchanges.append(exchange)
        client.close()

    began_ns = monotonic_ns()
    gevent.joinall([gevent.spawn(talk, user) for user in range(talkers)], raise_error=True)
    seconds = (monotonic_ns() - began_ns) / 1e9
    greenlet.settrace(None)
    print(
        json.dumps(
            {
                "outcomes": sorted({str(each.outcome) for each in exchanges}),
                "reused": sum(bool(each.conn_reused) for each in exchanges),
                "ttft_ms": sorted(each.ttft_ms or 0.0 for each in exchanges),
                "first_cpu_ms": sorted(spent / NS_PER_MS for spent in first_ns),
                "seconds": seconds,
            }
        )
    )


if __name__ == "__main__":
    main()
