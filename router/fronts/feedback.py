"""``POST /v1/feedback``: what users think of an answer, or of a whole conversation.

    {"request_id": "...", "rating": 5}        the value of the answer's X-Request-Id
    {"session_id": "...", "rating": "up"}     the value that the requests' X-Session-Id had

``rating`` is 1 (bad) to 5 (good); ``"up"`` counts as 5, ``"down"`` as 1, since a thumb is the end
of a scale. The first rating of a request or a session counts: 202. A later one is answered with
200 and changes nothing: a counter cannot take back what it has counted. What was not served
lately, or not for this API key, is answered with 404.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import orjson
from starlette.types import Receive, Scope, Send

from firsttoken.core.catalogue import Rating
from firsttoken.wire import dialects
from router.fronts.chat import admit, refuse
from router.fronts.http import (
    JSON,
    REQUEST_ID_CHARS,
    BodyError,
    ClientGone,
    Exchange,
    Keys,
    sane_id,
)
from router.ratings import Rated, Ratings, Subject

_SUBJECTS: dict[str, Subject] = {"request_id": "request", "session_id": "session"}

_THUMBS = {"up": Rating.FIVE, "down": Rating.ONE}

_OPENAI = dialects.get("openai")


@dataclass(frozen=True, slots=True)
class Opinion:
    """A rating of one request or one session."""

    subject: Subject
    name: str
    rating: Rating


def parse(fields: dict[str, object]) -> Opinion:
    """Read a rating.

    Raises:
        BodyError: it is none; one line says what is wrong and what was expected.
    """
    unknown = fields.keys() - _SUBJECTS.keys() - {"rating"}
    if unknown:
        raise BodyError(400, "expected request_id or session_id, and rating, and nothing else")
    named = [field for field in _SUBJECTS if field in fields]
    if len(named) != 1:
        raise BodyError(400, "expected request_id or session_id, one of the two")
    name = fields[named[0]]
    sane = sane_id(name.encode("utf-8", "surrogatepass")) if isinstance(name, str) else None
    if sane is None:
        raise BodyError(
            400, f"{named[0]}: expected 1 to {REQUEST_ID_CHARS} printable ASCII characters"
        )
    return Opinion(_SUBJECTS[named[0]], sane, _rating(fields.get("rating")))


def _rating(told: object) -> Rating:
    if isinstance(told, int) and not isinstance(told, bool) and 1 <= told <= 5:
        return Rating(str(told))
    if isinstance(told, str) and told in _THUMBS:
        return _THUMBS[told]
    raise BodyError(400, 'rating: expected a whole number of 1 to 5, "up" or "down"')


class Feedback:
    """The endpoint.

    Args:
        ratings: who may be rated.
        count: takes a rating that counts.
        keys: who may enter.
    """

    def __init__(self, ratings: Ratings, count: Callable[[Rating], None], keys: Keys) -> None:
        self._ratings = ratings
        self._count = count
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        exchange = Exchange(scope, receive, send)
        tenant = await admit(exchange, _OPENAI, self._keys)
        if tenant is None:
            return
        try:
            opinion = parse(await exchange.small_object())
        except BodyError as error:
            await refuse(exchange, _OPENAI, error.status, str(error))
            return
        except ClientGone:
            return
        rated = self._ratings.rate(opinion.subject, tenant, opinion.name)
        if rated is Rated.UNKNOWN:
            message = f"no {opinion.subject} of this id was served lately"
            await refuse(exchange, _OPENAI, 404, message)
            return
        counted = rated is Rated.COUNTED
        if counted:
            self._count(opinion.rating)
        body = orjson.dumps({"counted": counted, "why": None if counted else "already rated"})
        await exchange.reply(202 if counted else 200, JSON, body)
