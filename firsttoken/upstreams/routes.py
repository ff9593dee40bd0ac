"""What the servers answer alike: routes, state, errors in the OpenAI shape."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from firsttoken.core.words import REQUEST_ID_HEADER
from firsttoken.upstreams.script import Counters, Headers, Request, Script, json_reply

Routes = Mapping[tuple[str, str], Callable[[Request], Script]]
"""Method and path to what answers; HEAD is looked up as GET."""

MAX_REQUEST_ID = 200
_NOT_IN_AN_ID = re.compile(r"[^\x21-\x7e]")


def answer(routes: Routes, request: Request) -> Script:
    """Return the script of the route that ``request`` names, or of a 404 or 405."""
    method = "GET" if request.method == "HEAD" else request.method
    route = routes.get((method, request.path))
    if route is not None:
        return route(request)
    if any(path == request.path for _, path in routes):
        return openai_error(405, "method not allowed")
    return openai_error(404, f"no such path: {request.path[:100]}")


def openai_error(
    status: int, message: str, kind: str = "invalid_request_error", headers: Headers = ()
) -> Script:
    """Return the script of an HTTP error in the OpenAI shape."""
    error = {"message": message, "type": kind, "param": None, "code": None}
    return json_reply({"error": error}, status, headers)


def health(_: Request) -> Script:
    """Answer that the server is up."""
    return json_reply({"status": "ok"})


def state(counters: Counters) -> Callable[[Request], Script]:
    """Return what answers with ``counters``."""
    return lambda _: json_reply(counters.state())


def models(names: tuple[str, ...], owner: str) -> Callable[[Request], Script]:
    """Return what answers with a model list in the OpenAI shape."""
    data = [{"id": name, "object": "model", "created": 0, "owned_by": owner} for name in names]
    return lambda _: json_reply({"object": "list", "data": data})


class RequestIds:
    """Reads the join key of requests, and names those that have none."""

    def __init__(self) -> None:
        self._unnamed = 0

    def of(self, request: Request) -> str:
        """Return ``X-Request-Id`` as sent, or ``unnamed-<n>``, n counting from 1.

        What is not visible ASCII, or beyond 200 characters, is dropped: the id is written back
        into a header.
        """
        given = _NOT_IN_AN_ID.sub("", request.headers.get(REQUEST_ID_HEADER, ""))[:MAX_REQUEST_ID]
        if given:
            return given
        self._unnamed += 1
        return f"unnamed-{self._unnamed}"
