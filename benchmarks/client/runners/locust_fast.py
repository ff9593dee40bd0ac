"""Locust's FastHttpUser, as its documentation streams: ``iter_lines`` or reading lines itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import locust.contrib.fasthttp
from locust.env import Environment

from benchmarks.client.runners.common import Seen, body, headers, options, read_lines, run_gevent

given = options()


class User(locust.contrib.fasthttp.FastHttpUser):
    """The talker."""

    host = given.url

    @locust.task
    def nothing(self) -> None:
        """Locust wants one; the talkers are driven from here."""


environment = Environment(user_classes=[User])


def _read_lines(response: Any) -> Iterator[bytes]:
    while line := response._response.readline(b"\n"):  # noqa: SLF001 - there is no other way
        yield line


def _ask(user: Any, model: str, request_id: str, tokens: int, seen: Seen) -> None:
    asked = {"json": body(model, tokens), "headers": headers(request_id)}
    path = "/v1/chat/completions"
    if "iter_lines" in given.name:
        read_lines(user.client.iter_lines(path, method="POST", **asked), seen)
        return
    with user.client.post(path, stream=True, **asked) as response:
        read_lines(_read_lines(response), seen)


if __name__ == "__main__":
    run_gevent(lambda: User(environment), _ask)
