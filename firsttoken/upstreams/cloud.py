"""Emulated cloud: a remote service as far as a client can tell, but for one header.

    python -m firsttoken.upstreams.cloud --first-token-s 1.5:3 --tokens-per-second 40

It speaks DashScope native, DashScope's OpenAI-compatible mode and OpenAI. Nine first tokens in ten
come within ``--first-token-s``, equal shares of the rest before and after it (a lognormal draw);
headers come with the first token, as a service behind a queue sends them. Delay, text and error
follow from the seed and ``X-Request-Id``, so that a repeated request meets the same fate. Every
reply carries ``x-firsttoken-emulated: 1``: whatever shows its figures must call them emulated.
"""

from __future__ import annotations

import argparse
import hmac
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from firsttoken.core.errors import UserError
from firsttoken.core.words import EMULATED_HEADER, REQUEST_ID_HEADER
from firsttoken.upstreams import options, routes
from firsttoken.upstreams.asked import Asked, read_dashscope, read_openai
from firsttoken.upstreams.draws import Lognormal, Span, uniform
from firsttoken.upstreams.replies import reply
from firsttoken.upstreams.script import (
    CUT,
    Counters,
    Head,
    Headers,
    Request,
    Script,
    Whole,
)
from firsttoken.upstreams.voices import (
    DashScopeVoice,
    Identity,
    OpenAIVoice,
    Voice,
    VoiceMaker,
)

OWNER = "firsttoken-emulated"
MODELS = ("qwen-flash", "qwen-turbo", "qwen-plus", "qwen-max", "gpt-4o-mini", "gpt-3.5-turbo")
"""Listed; any other name is served too."""
ERROR_KINDS = ("429", "500", "cut")
FIRST_TOKEN_S = Span(1.5, 3.0)
DASHSCOPE_PATH = "/api/v1/services/aigc/text-generation/generation"


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How the emulated cloud behaves."""

    first_token_s: Span = FIRST_TOKEN_S
    """The 5 % and the 95 % quantile of the first token's delay."""
    tokens_per_second: float = 40.0
    error_share: float = 0.0
    error_kinds: tuple[str, ...] = ERROR_KINDS
    """``error_share`` is split evenly over these."""
    seed: int = 0

    def first_token_delay_s(self, request_id: str) -> float:
        """Return the delay of the first token of a request, seconds."""
        share = uniform(self.seed, "first_token", request_id)
        if self.first_token_s.low == self.first_token_s.high:
            return self.first_token_s.low
        return Lognormal.from_quantiles(self.first_token_s).quantile(share)

    def error(self, request_id: str) -> str | None:
        """Return the kind of error that a request meets, or None."""
        draw = uniform(self.seed, "error", request_id)
        if draw >= self.error_share:
            return None
        return self.error_kinds[int(draw / self.error_share * len(self.error_kinds))]


@dataclass(frozen=True, slots=True)
class _Interface:
    """One of the three dialects."""

    name: str
    voice: VoiceMaker
    read: Callable[[Request], Asked]
    sends_role: bool
    """Whether an empty frame that names the role precedes the first token."""
    codes: dict[int, str]
    """Its word for each HTTP error."""


_OPENAI_CODES = {
    400: "invalid_request",
    401: "invalid_api_key",
    429: "rate_limit_exceeded",
    500: "internal_error",
}
_DASHSCOPE_CODES = {
    400: "InvalidParameter",
    401: "InvalidApiKey",
    429: "Throttling.RateQuota",
    500: "InternalError",
}


def _read_openai(request: Request) -> Asked:
    return read_openai(request.body)


def _read_dashscope(request: Request) -> Asked:
    return read_dashscope(request.body, stream=request.wants_event_stream())


INTERFACES: dict[str, _Interface] = {
    DASHSCOPE_PATH: _Interface(
        "dashscope", DashScopeVoice, _read_dashscope, sends_role=False, codes=_DASHSCOPE_CODES
    ),
    "/compatible-mode/v1/chat/completions": _Interface(
        "dashscope_compatible", OpenAIVoice, _read_openai, sends_role=True, codes=_OPENAI_CODES
    ),
    "/v1/chat/completions": _Interface(
        "openai", OpenAIVoice, _read_openai, sends_role=True, codes=_OPENAI_CODES
    ),
}

MESSAGES = {
    401: "the API key is missing or wrong (emulated cloud)",
    429: "the request rate is over the limit (emulated cloud)",
    500: "an internal error (emulated cloud)",
}


@dataclass(frozen=True, slots=True)
class _Spoken:
    """What is said in one reply."""

    tokens: list[str]
    full_length: int
    headers: Headers

    @property
    def finish_reason(self) -> str:
        return "length" if len(self.tokens) < self.full_length else "stop"


class Cloud:
    """The app: see the module's description."""

    headers: Headers = ((EMULATED_HEADER, "1"),)

    def __init__(self, behaviour: Behaviour, api_key: str | None = None) -> None:
        self.counters = Counters()
        self._behaviour = behaviour
        self._expected = None if api_key is None else f"Bearer {api_key}".encode()
        self._ids = routes.RequestIds()
        models = self._models(MODELS)
        self._routes: routes.Routes = {
            **{("POST", path): self._chat for path in INTERFACES},
            ("GET", "/v1/models"): models,
            ("GET", "/compatible-mode/v1/models"): models,
            ("GET", "/health"): routes.health,
            ("GET", "/state"): routes.state(self.counters),
        }

    def answer(self, request: Request) -> Script:
        """Return the script of one reply."""
        return routes.answer(self._routes, request)

    def _allowed(self, request: Request) -> bool:
        """Whether the request bears the key; compared in a time that does not depend on it."""
        given = request.headers.get("authorization", "").encode("latin-1", "replace")
        return self._expected is None or hmac.compare_digest(given, self._expected)

    def _models(self, names: tuple[str, ...]) -> Callable[[Request], Script]:
        listed = routes.models(names, OWNER)

        def answer(request: Request) -> Script:
            if not self._allowed(request):
                return routes.openai_error(401, MESSAGES[401])
            return listed(request)

        return answer

    def _chat(self, request: Request) -> Script:
        interface = INTERFACES[request.path]
        request_id = self._ids.of(request)
        identity = Identity(request_id, int(time.time()))
        status, message = 0, ""
        asked = Asked(model="", stream=False, max_tokens=None)
        if not self._allowed(request):
            status, message = 401, MESSAGES[401]
        else:
            try:
                asked = interface.read(request)
            except ValueError as error:
                status, message = 400, str(error)
        error_kind = self._behaviour.error(request_id)
        if not status and error_kind in {"429", "500"}:
            status = int(error_kind)
            message = MESSAGES[status]
        voice = interface.voice(identity, asked)
        own: Headers = ((REQUEST_ID_HEADER, request_id),)
        if status:
            script = _refusal(status, message, interface, voice, own)
        else:
            text = reply(self._behaviour.seed, request_id, asked.last_user)
            spoken = _Spoken(text[: asked.max_tokens], len(text), own)
            cut = error_kind == "cut"
            if asked.stream:
                script = self._streamed(request_id, interface, voice, spoken, cut=cut)
            else:
                script = self._whole(request_id, voice, spoken, cut=cut)
        return self.counters.count(interface.name, script)

    def _streamed(
        self, request_id: str, interface: _Interface, voice: Voice, spoken: _Spoken, *, cut: bool
    ) -> Script:
        interval_s = 1 / self._behaviour.tokens_per_second
        yield self._behaviour.first_token_delay_s(request_id)
        yield Head(voice.content_type, (("cache-control", "no-cache"), *spoken.headers))
        if interface.sends_role:
            yield voice.role()
        tokens = spoken.tokens[: max(1, len(spoken.tokens) // 2)] if cut else spoken.tokens
        for index, token in enumerate(tokens):
            if index:
                yield interval_s
            yield voice.text(token)
        yield CUT if cut else voice.end(spoken.finish_reason, len(spoken.tokens))

    def _whole(self, request_id: str, voice: Voice, spoken: _Spoken, *, cut: bool) -> Script:
        yield self._behaviour.first_token_delay_s(request_id)
        yield (len(spoken.tokens) - 1) / self._behaviour.tokens_per_second
        body = voice.whole("".join(spoken.tokens), spoken.finish_reason, len(spoken.tokens))
        if cut:
            yield Head("application/json", spoken.headers)
            yield body[: len(body) // 2]
            yield CUT
        else:
            yield Whole(body, headers=spoken.headers)


def _refusal(
    status: int, message: str, interface: _Interface, voice: Voice, headers: Headers
) -> Script:
    retry: Headers = (("retry-after", "1"),) if status == 429 else ()
    body = voice.error_body(status, interface.codes[status], message)
    yield Whole(body, status, (*headers, *retry))


def _kinds(text: str) -> tuple[str, ...]:
    kinds = tuple(kind.strip() for kind in text.split(","))
    if not set(kinds) <= set(ERROR_KINDS):
        raise UserError(f"--error-kinds is {text!r}, expected some of {','.join(ERROR_KINDS)}")
    return kinds


def _key(variable: str | None) -> str | None:
    if variable is None:
        return None
    key = os.environ.get(variable, "")
    if not key:
        raise UserError(f"--api-key-env: the environment variable {variable} is not set or empty")
    return key


def _make(arguments: argparse.Namespace) -> Cloud:
    number = options.number
    behaviour = Behaviour(
        first_token_s=options.span("--first-token-s", arguments.first_token_s, 0.001, 600),
        tokens_per_second=number("--tokens-per-second", arguments.tokens_per_second, 0.01, 1e5),
        error_share=number("--error-share", arguments.error_share, 0, 1),
        error_kinds=_kinds(arguments.error_kinds),
        seed=arguments.seed,
    )
    return Cloud(behaviour, _key(arguments.api_key_env))


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; return the exit code."""
    parser = options.parser("firsttoken.upstreams.cloud", "Emulated cloud.")
    add = parser.add_argument
    add(
        "--first-token-s",
        default="1.5:3",
        metavar="LOW:HIGH",
        help="5 %% and 95 %% quantile of the first token's delay, seconds",
    )
    add("--tokens-per-second", default="40", metavar="N", help="rate of one reply")
    add("--error-share", default="0", metavar="SHARE", help="share of requests that fail, 0 to 1")
    add("--error-kinds", default=",".join(ERROR_KINDS), metavar="LIST", help="which errors")
    add("--api-key-env", metavar="NAME", help="variable that holds the key to be asked for")
    return options.serve(parser, _make, argv)


if __name__ == "__main__":
    sys.exit(main())
