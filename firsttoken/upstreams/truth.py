"""Truth server: an OpenAI-compatible server that knows when it wrote each first token.

    python -m firsttoken.upstreams.truth --first-token-ms 150:450 --token-interval-ms 20

Each reply is a role frame at once, the first token after a delay fixed by the seed and the
request's ``X-Request-Id``, then a token every interval. The monotonic nanosecond read right before
the write of the first token is kept: the server's own lateness is part of the truth, not of the
error of whoever is measured against it. ``GET /truth?after=N`` hands the stamps out, N being the
``next`` of the call before::

    {"next": 2, "lost": 0, "rows": [{"request_id": "a", "received_ns": 1, "first_token_ns": 2,
                                     "ended_ns": 3, "tokens": 24}, ...]}

All stamps are of CLOCK_MONOTONIC, which the processes of a host share. ``first_token_ns`` is null
where the client left before it. A row is there before the client can see the end of its reply.
``lost`` counts rows asked for that are no longer kept. ``GET /state`` tells what is open.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice

from firsttoken.core.clock import monotonic_ns
from firsttoken.core.words import REQUEST_ID_HEADER
from firsttoken.upstreams import options, routes
from firsttoken.upstreams.asked import MAX_TOKENS, read_openai
from firsttoken.upstreams.draws import Span, uniform
from firsttoken.upstreams.ledger import Ledger
from firsttoken.upstreams.script import Counters, Head, Headers, Request, Script, Whole
from firsttoken.upstreams.voices import Identity, OpenAIVoice, Voice

MODEL = "truth"
FIRST_TOKEN_MS = Span(150.0, 450.0)
WORDS = ("The ", "first ", "token ", "was ", "written ", "at ", "this ", "instant. ")
"""Tokens, in a circle: the first sentence ends with the eighth."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How replies are timed."""

    first_token_ms: Span = FIRST_TOKEN_MS
    token_interval_ms: float = 20.0
    tokens: int = 24
    """Length of a reply whose request has no ``max_tokens``."""
    seed: int = 0

    def first_token_s(self, request_id: str) -> float:
        """Return the delay of the first token, seconds: uniform, fixed by seed and id."""
        return self.first_token_ms.at(uniform(self.seed, "first_token", request_id)) / 1000


@dataclass(frozen=True, slots=True)
class Row:
    """The truth about one request; stamps in monotonic nanoseconds."""

    request_id: str
    received_ns: int
    first_token_ns: int | None
    ended_ns: int
    tokens: int


class TruthServer:
    """The app: see the module's description."""

    headers: Headers = ()

    def __init__(self, pace: Pace) -> None:
        self.counters = Counters()
        self._pace = pace
        self._ledger = Ledger()
        self._ids = routes.RequestIds()
        self._routes: routes.Routes = {
            ("POST", "/v1/chat/completions"): self._chat,
            ("GET", "/truth"): self._ledger.answer,
            ("GET", "/v1/models"): routes.models((MODEL,), "firsttoken-truth"),
            ("GET", "/health"): routes.health,
            ("GET", "/state"): routes.state(self.counters),
        }

    def answer(self, request: Request) -> Script:
        """Return the script of one reply."""
        return routes.answer(self._routes, request)

    def _chat(self, request: Request) -> Script:
        try:
            asked = read_openai(request.body)
        except ValueError as error:
            return routes.openai_error(400, str(error))
        request_id = self._ids.of(request)
        voice = OpenAIVoice(Identity(request_id, int(time.time())), asked)
        play = self._streamed if asked.stream else self._whole
        count = asked.max_tokens or self._pace.tokens
        return self.counters.count("chat", play(request, request_id, voice, count))

    def _streamed(self, request: Request, request_id: str, voice: Voice, count: int) -> Script:
        # Made before the first is written, so that between two tokens nothing is left to do.
        frames = [voice.text(word) for word in WORDS]
        end = voice.end("length", count)
        interval_s = self._pace.token_interval_ms / 1000
        first_ns: int | None = None
        written = 0
        try:
            yield Head(voice.content_type, (("cache-control", "no-cache"), *_echo(request_id)))
            yield voice.role()
            yield self._pace.first_token_s(request_id)
            first_ns = yield frames[0]
            for written in range(1, count):
                yield interval_s
                yield frames[written % len(frames)]
            written = count
            yield end
        finally:
            self._ledger.keep(
                Row(request_id, request.received_ns, first_ns, monotonic_ns(), written)
            )

    def _whole(self, request: Request, request_id: str, voice: Voice, count: int) -> Script:
        text = "".join(islice(cycle(WORDS), count))
        reply = Whole(voice.whole(text, "length", count), headers=_echo(request_id))
        first_ns: int | None = None
        try:
            yield self._pace.first_token_s(request_id)
            yield (count - 1) * self._pace.token_interval_ms / 1000
            first_ns = yield reply
        finally:
            written = 0 if first_ns is None else count
            self._ledger.keep(
                Row(request_id, request.received_ns, first_ns, monotonic_ns(), written)
            )


def _echo(request_id: str) -> Headers:
    return ((REQUEST_ID_HEADER, request_id),)


def _make(arguments: argparse.Namespace) -> TruthServer:
    return TruthServer(
        Pace(
            first_token_ms=options.span("--first-token-ms", arguments.first_token_ms, 0, 600_000),
            token_interval_ms=options.number(
                "--token-interval-ms", arguments.token_interval_ms, 0, 60_000
            ),
            tokens=int(options.number("--tokens", arguments.tokens, 1, MAX_TOKENS)),
            seed=arguments.seed,
        )
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; return the exit code."""
    parser = options.parser("firsttoken.upstreams.truth", "Truth server for calibration.")
    add = parser.add_argument
    add("--first-token-ms", default="150:450", metavar="LOW:HIGH", help="delay of the first token")
    add("--token-interval-ms", default="20", metavar="MS", help="time between tokens")
    add("--tokens", default="24", metavar="N", help="length of a reply without max_tokens")
    return options.serve(parser, _make, argv)


if __name__ == "__main__":
    sys.exit(main())
