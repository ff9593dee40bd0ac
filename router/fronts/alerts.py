"""``POST /-/alerts``: the webhook of Alertmanager."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import orjson
from starlette.types import Scope

from firsttoken.core.catalogue import DeliveryResult
from router.actions.delivery import Alert, DeliveryError, parse
from router.actions.loop import AlertLoop
from router.fronts.http import JSON, BodyError, ClientGone, Exchange, Keys
from router.fronts.operations import Handler

MOST_BYTES = 1_048_576
"""Of one delivery."""

BODY_SECONDS = 10.0
_READ_HERE_BYTES = 32_768
"""A body up to this is read without a thread: it takes well under a millisecond."""

_REFUSED = {401: DeliveryResult.UNAUTHORIZED, 413: DeliveryResult.TOO_LARGE}


def alerts(loop: AlertLoop, tell: Callable[[DeliveryResult], None]) -> Handler:
    """Return the handler.

    It answers 200 with ``{"alerts": [{"fingerprint", "action", "result", "why"}]}``, one entry for
    each alert in order; 401 without the token, 404 where the webhook is off, 413 over
    ``MOST_BYTES``, 422 for what Alertmanager does not send, each with ``{"error": ...}``.

    Alertmanager sends a delivery again after 5xx, so nothing here answers that on purpose.
    """

    async def refuse(exchange: Exchange, status: int, why: str) -> None:
        tell(_REFUSED.get(status, DeliveryResult.MALFORMED))
        headers = [("www-authenticate", "Bearer")] if status == 401 else []
        await exchange.reply(status, JSON, orjson.dumps({"error": why}), headers)

    async def handle(exchange: Exchange, scope: Scope) -> None:  # noqa: ARG001
        rules = loop.rules
        if not rules.enable:
            why = b'{"error":"alert actions are off; alert_actions.enable turns them on"}'
            await exchange.reply(404, JSON, why)
            return
        # Compared by digests, in time that does not depend on what was sent.
        if Keys([rules.token] if rules.token else []).tenant(exchange.bearer_token()) is None:
            await refuse(exchange, 401, "expected Authorization: Bearer with the token of alerts")
            return
        if not exchange.is_json:
            await refuse(exchange, 422, "content-type: expected application/json")
            return
        try:
            body = await exchange.body(MOST_BYTES, BODY_SECONDS)
            found = await _read(body)
        except ClientGone:
            tell(DeliveryResult.MALFORMED)
            return
        except BodyError as error:
            await refuse(exchange, error.status, str(error))
            return
        except DeliveryError as error:
            await refuse(exchange, 422, str(error))
            return
        tell(DeliveryResult.ACCEPTED)
        answers = await loop.deliver(found)
        await exchange.reply(200, JSON, orjson.dumps({"alerts": answers}))

    return handle


async def _read(body: bytes) -> tuple[Alert, ...]:
    if len(body) <= _READ_HERE_BYTES:
        return parse(body)
    return await asyncio.to_thread(parse, body)
