"""Locust's process with one httpx client a user: the usual way to see a first token in Locust."""

from __future__ import annotations

import httpx
import locust  # noqa: F401 - patches the process

from benchmarks.client.runners.common import Seen, body, headers, options, read_lines, run_gevent

given = options()


def _ask(client: httpx.Client, model: str, request_id: str, tokens: int, seen: Seen) -> None:
    with client.stream(
        "POST", "/v1/chat/completions", json=body(model, tokens), headers=headers(request_id)
    ) as response:
        response.raise_for_status()
        read_lines(response.iter_lines(), seen)


if __name__ == "__main__":
    run_gevent(lambda: httpx.Client(base_url=given.url, timeout=30), _ask)
