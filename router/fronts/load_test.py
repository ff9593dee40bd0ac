"""``POST /-/load-test``: a load test says that it starts or stops, so that boards mark its time.

    {"state": "start", "run_id": "20260131T235959Z-steps", "scenario": "steps"}
    {"state": "stop", "run_id": "20260131T235959Z-steps"}

Alerts on latency are held back meanwhile, so a web page must not be able to send this: the body
has to call itself ``application/json``.

``run_id`` and ``scenario`` become label values: letters, digits and ``._:+-`` alone. One run is
shown at a time; one that starts replaces the one before, and one that is not stopped is forgotten
after an hour. ``start`` may be sent again, and then begins that hour anew.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import orjson
from starlette.types import Scope

from router.fronts.http import JSON, BodyError, ClientGone, Exchange
from router.fronts.operations import Handler
from router.load_test import Announced, LoadTest

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+-]{0,99}", re.ASCII)


def load_test(announced: Announced, now_s: Callable[[], float]) -> Handler:
    """Return the handler."""

    async def handle(exchange: Exchange, scope: Scope) -> None:  # noqa: ARG001
        try:
            answer = _noted(announced, await _fields(exchange), now_s())
        except BodyError as error:
            body = orjson.dumps({"error": str(error)})
            await exchange.reply(error.status, JSON, body, _closing(error.status))
        except ClientGone:
            return
        else:
            await exchange.reply(200, JSON, orjson.dumps(answer))

    return handle


async def _fields(exchange: Exchange) -> dict[str, object]:
    if not exchange.is_json:
        raise BodyError(415, "content-type: expected application/json")
    return await exchange.small_object()


def _noted(announced: Announced, fields: dict[str, object], now_s: float) -> dict[str, object]:
    state = fields.get("state")
    expected = {"start": {"state", "run_id", "scenario"}, "stop": {"state", "run_id"}}
    if not isinstance(state, str) or state not in expected:
        raise BodyError(400, 'state: expected "start" or "stop"')
    # The scenario may be told at the end too.
    if not expected[state] <= fields.keys() <= expected["start"]:
        raise BodyError(400, f"expected {', '.join(sorted(expected[state]))}, and nothing else")
    run_id = _name(fields, "run_id")
    if state == "stop":
        return {"run_id": run_id, "stopped": announced.stop(run_id)}
    before = announced.start(LoadTest(run_id, _name(fields, "scenario")), now_s)
    return {"run_id": run_id, "replaced": None if before is None else before.run_id}


def _name(fields: dict[str, object], field: str) -> str:
    value = fields[field]
    if not isinstance(value, str) or _NAME.fullmatch(value) is None:
        raise BodyError(400, f"{field}: expected 1 to 100 letters, digits or ._:+-")
    return value


def _closing(status: int) -> list[tuple[str, str]]:
    """Return the header that ends a connection on which the body was not read to its end."""
    return [("connection", "close")] if status in {408, 413, 415} else []
