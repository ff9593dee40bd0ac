"""Replayed replies: what an engine once said, said again at the same pace, in another shape.

    python -m firsttoken.upstreams.replayed --replies replies.json

Each reply was recorded with the time of every piece (:class:`Recorded`), and is found by the last
user message. Where the request offers the tool ``direct_answer`` the words come as its argument, as
the requested model's name says: ``streamed``, piece by piece, or ``one_shot``, the whole call in
one frame once it is complete. Where it does not, they come as text. The frame of a call, which a
model has to write as well, costs the time of its tokens before the first word.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from firsttoken.core.errors import UserError
from firsttoken.core.words import ANSWER_TOOL
from firsttoken.upstreams import options, routes
from firsttoken.upstreams.asked import read_openai
from firsttoken.upstreams.script import Counters, Head, Headers, Request, Script
from firsttoken.upstreams.voices import Identity, OpenAIVoice

STREAMED, ONE_SHOT = "streamed", "one_shot"
"""Models."""
OPENING = '{"response": "'
CLOSING = '"}'


@dataclass(frozen=True, slots=True)
class Recorded:
    """One reply of an engine."""

    asked: str
    """The last user message that it answered."""
    pieces: tuple[str, ...]
    after_s: tuple[float, ...]
    """When each piece came, seconds after the request was sent."""
    call_s: float
    """What the frame of a call would have cost the engine before the first word, seconds."""

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Recorded:
        """Read one of what :func:`write` wrote."""
        return cls(value["asked"], tuple(value["pieces"]), tuple(value["after_s"]), value["call_s"])


def write(path: Path, replies: Sequence[Recorded]) -> None:
    """Write the file behind ``--replies``."""
    path.write_bytes(orjson.dumps(list(replies)))


def read(path: Path) -> list[Recorded]:
    """Read the file behind ``--replies``.

    Raises:
        UserError: it cannot be read.
    """
    try:
        return [Recorded.from_json(value) for value in orjson.loads(path.read_bytes())]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"cannot read the replies {path}: {error}") from error


class Replayed:
    """The app: see the module's description."""

    headers: Headers = ()

    def __init__(self, replies: Sequence[Recorded]) -> None:
        self.counters = Counters()
        self._replies = {reply.asked: reply for reply in replies}
        self._ids = routes.RequestIds()
        self._routes: routes.Routes = {
            ("POST", "/v1/chat/completions"): self._chat,
            ("GET", "/v1/models"): routes.models((STREAMED, ONE_SHOT), "firsttoken-replayed"),
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
        reply = self._replies.get(asked.last_user)
        if reply is None:
            return routes.openai_error(404, "nothing was recorded for this message")
        voice = OpenAIVoice(Identity(self._ids.of(request), int(time.time())), asked)
        shape = SHAPES.get(asked.model, _streamed) if _offers_tool(request.body) else _text
        return self.counters.count(shape.__name__.strip("_"), shape(voice, reply))


def _offers_tool(body: bytes) -> bool:
    tools = orjson.loads(body).get("tools") or ()
    return any(tool.get("function", {}).get("name") == ANSWER_TOOL for tool in tools)


def _text(voice: OpenAIVoice, reply: Recorded) -> Script:
    yield Head(voice.content_type)
    yield voice.role()
    for wait_s, piece in _timed(reply):
        yield wait_s
        yield voice.text(piece)
    yield voice.end("stop", len(reply.pieces))


def _streamed(voice: OpenAIVoice, reply: Recorded) -> Script:
    yield Head(voice.content_type)
    yield voice.role()
    arguments = [OPENING, *map(_escaped, reply.pieces), CLOSING]
    name, opening, *words, closing = voice.tool(ANSWER_TOOL, arguments)
    (first_s, _), *rest = _timed(reply)
    yield first_s
    yield name
    yield reply.call_s
    yield opening
    for wait_s, word in zip((0.0, *(wait_s for wait_s, _ in rest)), words, strict=True):
        yield wait_s
        yield word
    yield closing
    yield voice.end("tool_calls", len(reply.pieces))


def _one_shot(voice: OpenAIVoice, reply: Recorded) -> Script:
    yield Head(voice.content_type)
    yield voice.role()
    yield reply.after_s[-1] + reply.call_s
    text = "".join(map(_escaped, reply.pieces))
    call = {
        "index": 0,
        "id": "call_0",
        "type": "function",
        "function": {"name": ANSWER_TOOL, "arguments": f"{OPENING}{text}{CLOSING}"},
    }
    yield voice.delta({"role": "assistant", "content": "", "tool_calls": [call]})
    yield voice.end("tool_calls", len(reply.pieces))


SHAPES: Mapping[str, Callable[[OpenAIVoice, Recorded], Script]] = {
    STREAMED: _streamed,
    ONE_SHOT: _one_shot,
}
"""By model: how a call of the tool is written."""


def _timed(reply: Recorded) -> list[tuple[float, str]]:
    """Return each piece with how long to wait before it."""
    before = (0.0, *reply.after_s)
    waits = (max(0.0, now - then) for then, now in zip(before, reply.after_s, strict=False))
    return list(zip(waits, reply.pieces, strict=True))


def _escaped(text: str) -> str:
    """Return text as it stands within a JSON string."""
    return orjson.dumps(text).decode()[1:-1]


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; return the exit code."""
    parser = options.parser("firsttoken.upstreams.replayed", "Replayed replies.")
    parser.add_argument("--replies", required=True, metavar="FILE", help="what was recorded")
    return options.serve(parser, lambda given: Replayed(read(Path(given.replies))), argv)


if __name__ == "__main__":
    sys.exit(main())
