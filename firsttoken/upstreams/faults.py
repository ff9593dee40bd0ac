"""Fault wall: a server of three dialects that misbehaves as the request asks.

    python -m firsttoken.upstreams.faults
    curl -N $URL/v1/chat/completions -d '{"model": "fault:cut_after_first_token", ...}'
    curl -N $URL/fault/cut_after_first_token/v1/chat/completions -d '{"model": "any", ...}'

The fault is named by the model or, for callers that cannot choose it, by a path prefix, which wins;
without either the reply is in order. :data:`.misbehaviour.FAULTS` lists them. ``GET /state`` counts
requests, those open, and those whose client left, by fault, and the connections open.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

from firsttoken.core.words import REQUEST_ID_HEADER
from firsttoken.upstreams import options, routes
from firsttoken.upstreams.asked import Asked, read_dashscope, read_ollama, read_openai
from firsttoken.upstreams.misbehaviour import FAULTS, TEMPO, WHOLE_FAULTS, Scene, Tempo
from firsttoken.upstreams.script import (
    Counters,
    Headers,
    Request,
    Script,
    Whole,
    json_reply,
    reply,
)
from firsttoken.upstreams.voices import (
    DashScopeVoice,
    Identity,
    OpenAIVoice,
    VoiceMaker,
    ollama_chat,
    ollama_generate,
)

MODEL_PREFIX = "fault:"
PATH_PREFIX = "/fault/"
CREATED_UNIX_S = 1_767_225_600
"""The same in every reply, so that a fault's bytes are always the same."""


class _Interface(NamedTuple):
    voice: VoiceMaker
    read: Callable[[Request], Asked]


def _openai(request: Request) -> Asked:
    return read_openai(request.body)


def _ollama(request: Request) -> Asked:
    return read_ollama(request.body)


def _dashscope(request: Request) -> Asked:
    return read_dashscope(request.body, stream=request.wants_event_stream())


INTERFACES: dict[str, _Interface] = {
    "/v1/chat/completions": _Interface(OpenAIVoice, _openai),
    "/compatible-mode/v1/chat/completions": _Interface(OpenAIVoice, _openai),
    "/api/chat": _Interface(ollama_chat, _ollama),
    "/api/generate": _Interface(ollama_generate, _ollama),
    "/api/v1/services/aigc/text-generation/generation": _Interface(DashScopeVoice, _dashscope),
}


class FaultWall:
    """The app: see the module's description."""

    headers: Headers = ()

    def __init__(self, tempo: Tempo = TEMPO) -> None:
        self.counters = Counters()
        self._tempo = tempo
        self._ids = routes.RequestIds()
        names = tuple(f"{MODEL_PREFIX}{name}" for name in FAULTS)
        tags = [{"name": name, "model": name, "size": 0, "details": {}} for name in names]
        self._routes: routes.Routes = {
            ("GET", "/"): lambda _: reply(
                Whole(b"Ollama is running", content_type="text/plain; charset=utf-8")
            ),
            ("GET", "/v1/models"): routes.models(names, "firsttoken-faults"),
            ("GET", "/api/tags"): lambda _: json_reply({"models": tags}),
            ("GET", "/api/version"): lambda _: json_reply({"version": "0.0.0-faults"}),
            ("GET", "/health"): routes.health,
            ("GET", "/state"): routes.state(self.counters),
        }

    def answer(self, request: Request) -> Script:
        """Return the script of one reply."""
        named = None
        if request.path.startswith(PATH_PREFIX):
            named, _, rest = request.path.removeprefix(PATH_PREFIX).partition("/")
            request.path = f"/{rest}"
        interface = INTERFACES.get(request.path)
        if interface is None or request.method != "POST":
            return routes.answer(self._routes, request)
        try:
            asked = interface.read(request)
        except ValueError as error:
            return routes.openai_error(400, str(error))
        if named is None and asked.model.startswith(MODEL_PREFIX):
            named = asked.model.removeprefix(MODEL_PREFIX)
        name = named or "ok"
        fault = (FAULTS if asked.stream else WHOLE_FAULTS).get(name)
        if fault is None:
            return routes.openai_error(
                400, f"no such fault: {name[:50]}; expected one of {', '.join(FAULTS)}"
            )
        request_id = self._ids.of(request)
        scene = Scene(
            voice=interface.voice(Identity(request_id, CREATED_UNIX_S), asked),
            tempo=self._tempo,
            headers=((REQUEST_ID_HEADER, request_id),),
        )
        return self.counters.count(name, fault(scene))


def _make(arguments: argparse.Namespace) -> FaultWall:
    interval_ms = options.number("--token-interval-ms", arguments.token_interval_ms, 0, 60_000)
    return FaultWall(Tempo(token_s=interval_ms / 1000))


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; return the exit code."""
    parser = options.parser("firsttoken.upstreams.faults", "Fault wall.")
    parser.add_argument(
        "--token-interval-ms", default="20", metavar="MS", help="time before each token"
    )
    return options.serve(parser, _make, argv)


if __name__ == "__main__":
    sys.exit(main())
