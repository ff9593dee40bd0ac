"""A model server that goes wrong in the ways that a loudspeaker makes heard.

It speaks OpenAI's dialect. Asked with the tool ``direct_answer`` it answers through it, as the
prompts of voice servers teach; with other tools it calls the first one, unless one has answered
already; without tools it answers in plain text. What goes wrong is :attr:`TalkFaults.fault`, and
goes wrong in every reply, so that what is heard at the end is the merit of whoever stands between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any, NamedTuple

import orjson

from firsttoken.core.words import ANSWER_TOOL, REQUEST_ID_HEADER
from firsttoken.upstreams import routes
from firsttoken.upstreams.asked import Asked, read_openai
from firsttoken.upstreams.replies import language
from firsttoken.upstreams.script import (
    CUT,
    Counters,
    Head,
    Headers,
    Request,
    Script,
    Whole,
    json_reply,
)
from firsttoken.upstreams.voices import Identity, OpenAIVoice

CREATED_UNIX_S = 1_767_225_600
SILENCE_S = 3600.0

SAID: dict[str, tuple[str, ...]] = {
    "zh": ("😊", "好", "的，", "今天", "天气", "不错。", "我们", "去公园", "走走吧！"),
    "en": ("😊", "Sure,", " the", " sun", " is out.", " Let us", " walk in", " the park", "!"),
}
"""What every reply says, in pieces; the persona of a voice server asks for an emoji first."""

THOUGHTS: dict[str, tuple[str, ...]] = {
    "zh": ("先想", "一想，", "再说。"),
    "en": ("Let me", " think", " first."),
}

WORD = "content"
"""The piece that stops the real client where it stands alone."""

WORD_SAID: dict[str, tuple[str, ...]] = {
    "zh": ("😊", "好的，", "这个词读作", WORD, "，意思是内容。"),
    "en": ("😊", "Sure, you", " read it as ", WORD, ", like the thing inside."),
}


class Scene(NamedTuple):
    """One request."""

    voice: OpenAIVoice
    tongue: str
    """``zh`` or ``en``: that of the last user message."""
    calls: str
    """The tool that the reply goes through; empty: plain text."""
    turn: int
    """How many times a user has spoken."""

    def pieces(self) -> tuple[str, ...]:
        """Return what is said."""
        return SAID[self.tongue]

    def arguments(self) -> str:
        """Return the arguments of the call."""
        if self.calls == ANSWER_TOOL:
            return orjson.dumps({"response": "".join(self.pieces())}).decode()
        return '{"city": "杭州"}'


Fault = Callable[[Scene], Script]


def _head(scene: Scene) -> Script:
    yield Head(scene.voice.content_type)
    yield scene.voice.role()


def _texts(scene: Scene, texts: Iterable[str]) -> Script:
    for text in texts:
        yield scene.voice.text(text)


def _call(scene: Scene, arguments: Iterable[str]) -> Script:
    for frame in scene.voice.tool(scene.calls, list(arguments)):  # noqa: UP028 - a list takes no stamps
        yield frame


def _end(scene: Scene, reason: str = "stop") -> Script:
    yield scene.voice.end("tool_calls" if scene.calls and reason == "stop" else reason, 9)


def _split(text: str, size: int = 7) -> list[str]:
    marks = [*range(0, len(text), size), len(text)]
    return [text[start:end] for start, end in pairwise(marks)]


def _spoken(scene: Scene) -> Script:
    """Say everything, through the tool where there is one."""
    if scene.calls:
        yield from _call(scene, _split(scene.arguments()))
    else:
        yield from _texts(scene, scene.pieces())


def _ok(scene: Scene) -> Script:
    yield from _head(scene)
    yield from _spoken(scene)
    yield from _end(scene)


def _think(scene: Scene) -> Script:
    """Think aloud first, the markers split over frames."""
    yield from _head(scene)
    thoughts = ("<th", "ink>", *THOUGHTS[scene.tongue], "</thi", "nk>\n\n")
    yield from _texts(scene, thoughts)
    yield from _spoken(scene)
    yield from _end(scene)


def _tool_text(scene: Scene) -> Script:
    """Write the call as text."""
    if not scene.calls:
        yield from _ok(scene)
        return
    yield from _head(scene)
    call = f'{{"name": "{scene.calls}", "arguments": {scene.arguments()}}}'
    yield from _texts(scene, _split(f"<tool_call>\n{call}\n</tool_call>", 5))
    yield scene.voice.end("stop", 9)


def _one_shot(scene: Scene) -> Script:
    """Give the call in one frame, as Ollama does."""
    if not scene.calls:
        yield from _ok(scene)
        return
    yield from _head(scene)
    function = {"name": scene.calls, "arguments": scene.arguments()}
    call = {"index": 0, "id": "call_1", "type": "function", "function": function}
    yield scene.voice.delta({"tool_calls": [call]})
    yield from _end(scene)


def _from_one(scene: Scene) -> Script:
    """Number the calls from 1."""
    if not scene.calls:
        yield from _ok(scene)
        return
    yield from _head(scene)
    first = {"name": scene.calls, "arguments": ""}
    call = {"index": 1, "id": "call_1", "type": "function", "function": first}
    yield scene.voice.delta({"tool_calls": [call]})
    for piece in _split(scene.arguments()):
        yield scene.voice.delta({"tool_calls": [{"index": 1, "function": {"arguments": piece}}]})
    yield from _end(scene)


def _word(scene: Scene) -> Script:
    """Say a text of which one frame is exactly the word."""
    yield from _head(scene)
    yield from _texts(scene, WORD_SAID[scene.tongue])
    yield scene.voice.end("stop", 9)


def _half(scene: Scene) -> Script:
    """Say the first half, and stop inside a sentence."""
    yield from _head(scene)
    if scene.calls == ANSWER_TOOL:
        pieces = _split(scene.arguments())
        yield from _call(scene, pieces[: len(pieces) * 2 // 3])
    else:
        pieces_of_text = scene.pieces()
        yield from _texts(scene, pieces_of_text[: len(pieces_of_text) * 2 // 3])


def _cut(scene: Scene) -> Script:
    yield from _half(scene)
    yield 0.005  # else client libraries may never see what came before
    yield CUT


def _error(scene: Scene) -> Script:
    yield from _half(scene)
    yield 0.005
    yield scene.voice.error(500, "internal_error", "the model runner has stopped")


def _status(scene: Scene) -> Script:
    yield Whole(scene.voice.error_body(500, "internal_error", "no model runner"), 500)


def _stall(scene: Scene) -> Script:
    """Fall silent: before the first word on odd turns, in the middle of a sentence on even ones."""
    if scene.turn % 2 == 0:
        yield from _half(scene)
    yield SILENCE_S
    yield CUT


FAULTS: dict[str, Fault] = {
    "none": _ok,
    "think split over chunks": _think,
    "tool call as text": _tool_text,
    "one-shot tool call": _one_shot,
    "index from 1": _from_one,
    "word `content`": _word,
    "cut mid-sentence": _cut,
    "error mid-stream": _error,
    "status 500": _status,
    "stall": _stall,
}
"""What may go wrong, by name."""


class TalkFaults:
    """The app: see the module's description.

    Args:
        fault: a key of :data:`FAULTS`.
    """

    headers: Headers = ()

    def __init__(self, fault: str = "none") -> None:
        self.counters = Counters()
        self.fault = fault
        self.bodies: list[dict[str, Any]] = []
        """Of the requests, oldest first."""
        self._routes: routes.Routes = {
            ("GET", "/v1/models"): routes.models(("talker",), "firsttoken-faults"),
            ("GET", "/health"): routes.health,
        }

    def answer(self, request: Request) -> Script:
        """Return the script of one reply."""
        if request.method != "POST" or not request.path.endswith("/chat/completions"):
            return routes.answer(self._routes, request)
        try:
            asked = read_openai(request.body)
        except ValueError as error:
            return json_reply({"error": {"message": str(error)}}, 400)
        body = orjson.loads(request.body)
        self.bodies.append(body)
        request_id = request.headers.get(REQUEST_ID_HEADER, "direct")
        scene = _scene(OpenAIVoice(Identity(request_id, CREATED_UNIX_S), asked), asked, body)
        return self.counters.count(self.fault, FAULTS[self.fault](scene))


def _scene(voice: OpenAIVoice, asked: Asked, body: dict[str, Any]) -> Scene:
    names = [tool["function"]["name"] for tool in body.get("tools") or ()]
    messages = body["messages"]
    if ANSWER_TOOL in names:
        calls = ANSWER_TOOL
    else:
        answered = messages[-1]["role"] == "tool"
        calls = names[0] if names and not answered else ""
    turn = sum(message["role"] == "user" for message in messages)
    return Scene(voice, language(asked.last_user), calls, turn)
