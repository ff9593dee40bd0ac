"""The traps as scripts: replies in order that a careless client measures wrongly.

Each script tells its :class:`Truth` what it wrote and when. A stamp is the monotonic nanosecond
right before the write that completed a frame; what a client may count as a first token is said in
one place, :meth:`Scene.token`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from firsttoken.core.clock import monotonic_ns
from firsttoken.upstreams.script import CUT, Framing, Head, Headers, Script
from firsttoken.upstreams.voices import Voice

EARLY_S = 0.5
"""How long before the first token a trap begins to speak of other things."""
TOKEN_S = 0.05
"""Between tokens, and between the two parts of a frame."""


class Speech(NamedTuple):
    """What is said, token by token."""

    tokens: tuple[str, ...]
    first_segment: int
    """How many tokens it takes until a voice server can speak."""


SPEECHES: dict[str, Speech] = {
    "en": Speech(("It’", "s ", "warm ", "today", ", ", "so ", "walk", "!"), 5),
    "zh": Speech(("今天", "天气", "很", "好", "，", "适合", "散步", "。"), 5),
    "mixed": Speech(("😀", "北京", " is ", "20", "°C", "，", "go ", "散步", "！"), 6),
}
THOUGHTS = ("Let me ", "想一想", "...")
TOOL = "weather"
TOOL_ARGUMENTS = ('{"city"', ': "北', '京"}')

Kind = Literal["text", "reasoning", "tool"]


@dataclass(slots=True)
class Truth:
    """What happened to one request; stamps in monotonic nanoseconds, None for what did not."""

    request_id: str
    trap: str
    speech: str
    received_ns: int
    outcome: str
    """As a client has to see it that reads to the end: ``success`` or ``error``."""
    client_left: bool = False
    """Whether it left before the end."""
    tokens: int = 0
    """Written before the end, the cut or the error."""
    first_token_ns: int | None = None
    first_text_ns: int | None = None
    """First token that a person can see: text, neither reasoning nor a tool's argument."""
    first_segment_ns: int | None = None
    """End of the first segment that a voice server can speak."""
    last_token_ns: int | None = None
    ended_ns: int | None = None
    """Of the last write, or of the cut."""


@dataclass(slots=True)
class Scene:
    """What a trap has to work with."""

    voice: Voice
    truth: Truth
    speech: Speech
    headers: Headers
    said: int = 0
    """Text tokens so far."""

    def head(self, framing: Framing = Framing.CHUNKED) -> Head:
        """Return the head of a stream."""
        return Head(self.voice.content_type, self.headers, framing=framing)

    def token(self, stamp: int | None, kind: Kind = "text", count: int = 1) -> None:
        """Note that ``count`` tokens were completed by the write of ``stamp``."""
        truth = self.truth
        truth.tokens += count
        truth.last_token_ns = stamp
        if truth.first_token_ns is None:
            truth.first_token_ns = stamp
        if kind == "text":
            self.said += count
            if truth.first_text_ns is None:
                truth.first_text_ns = stamp
            if truth.first_segment_ns is None and self.said >= self.speech.first_segment:
                truth.first_segment_ns = stamp

    def texts(self, start: int = 0, stop: int | None = None) -> Script:
        """Speak the tokens from ``start`` to ``stop``, a pause before each but the first."""
        for number, token in enumerate(self.speech.tokens[start:stop]):
            if number:
                yield TOKEN_S
            self.token((yield self.voice.text(token)))

    def end(self, reason: str = "stop") -> Script:
        """End the stream in order."""
        frames = self.voice.end(reason, self.truth.tokens)
        self.truth.ended_ns = yield frames

    def cut(self) -> Script:
        """Close the connection in the middle."""
        self.truth.ended_ns = monotonic_ns()
        yield CUT

    def fail(self) -> Script:
        """Report an error inside the stream."""
        self.truth.ended_ns = yield self.voice.error(500, "internal_error", "the trap fails")


Trap = Callable[[Scene], Script]


def _role_early(scene: Scene) -> Script:
    yield scene.head()
    yield scene.voice.role()
    yield EARLY_S
    yield from scene.texts()
    yield from scene.end()


def _nulls_first(scene: Scene) -> Script:
    yield scene.head()
    for _ in range(2):
        yield scene.voice.null()
        yield EARLY_S / 4
        yield scene.voice.text("")
        yield EARLY_S / 4
    yield from scene.texts()
    yield from scene.end()


def _pings_first(scene: Scene) -> Script:
    yield scene.head()
    for _ in range(5):
        yield scene.voice.ping()
        yield EARLY_S / 5
    yield from scene.texts()
    yield from scene.end()


def _reasoning_first(scene: Scene) -> Script:
    yield scene.head()
    yield scene.voice.role()
    for thought in THOUGHTS:
        yield 2 * TOKEN_S
        scene.token((yield scene.voice.reasoning(thought)), "reasoning")
    yield EARLY_S / 2
    yield from scene.texts()
    yield from scene.end()


def _tool_first(scene: Scene) -> Script:
    yield scene.head()
    announcement, *pieces = scene.voice.tool(TOOL, TOOL_ARGUMENTS)
    yield announcement
    yield EARLY_S
    for piece in pieces:
        scene.token((yield piece), "tool")
        yield TOKEN_S
    yield from scene.end("tool_calls")


def _several_in_one_frame(scene: Scene) -> Script:
    yield scene.head()
    yield scene.voice.role()
    yield TOKEN_S
    frame = scene.voice.text("".join(scene.speech.tokens[:3]))
    scene.token((yield frame), count=3)
    yield TOKEN_S
    yield from scene.texts(3)
    yield from scene.end()


def _several_in_one_write(scene: Scene) -> Script:
    yield scene.head()
    yield scene.voice.role()
    yield TOKEN_S
    stamp = yield b"".join(scene.voice.text(token) for token in scene.speech.tokens[:3])
    scene.token(stamp, count=3)
    yield TOKEN_S
    yield from scene.texts(3)
    yield from scene.end()


def _in_two(scene: Scene, position: Callable[[bytes], int]) -> Script:
    """Write the first token's frame as two writes, parted at ``position`` of it."""
    yield scene.head()
    yield scene.voice.role()
    yield TOKEN_S
    frame = scene.voice.text(scene.speech.tokens[0])
    cut = position(frame)
    yield frame[:cut]
    yield TOKEN_S
    scene.token((yield frame[cut:]))
    yield TOKEN_S
    yield from scene.texts(1)
    yield from scene.end()


def _frame_in_two(scene: Scene) -> Script:
    """Part the frame right after the token, before what delimits it."""
    token = scene.speech.tokens[0].encode()
    return _in_two(scene, lambda frame: frame.rindex(token) + len(token))


def _character_in_two(scene: Scene) -> Script:
    """Part the frame after the first byte of a character that has more."""
    return _in_two(
        scene, lambda frame: next(place for place, byte in enumerate(frame) if byte > 0x7F) + 1
    )


def _until_close(scene: Scene) -> Script:
    yield scene.head(Framing.UNTIL_CLOSE)
    yield scene.voice.role()
    yield TOKEN_S
    yield from scene.texts()
    yield from scene.end()


def _content_length(scene: Scene) -> Script:
    """Give the length of the stream beforehand, as a proxy does that has seen all of it."""
    tokens = scene.speech.tokens
    role = scene.voice.role()
    frames = [scene.voice.text(token) for token in tokens]
    end = scene.voice.end("stop", len(tokens))
    size = len(role) + sum(map(len, frames)) + len(end)
    headers = (*scene.headers, ("content-length", str(size)))
    yield Head(scene.voice.content_type, headers, framing=Framing.SIZED)
    yield role
    yield EARLY_S
    for frame in frames:
        scene.token((yield frame))
        yield TOKEN_S
    scene.truth.ended_ns = yield end


def _cut(scene: Scene, framing: Framing) -> Script:
    yield scene.head(framing)
    yield scene.voice.role()
    yield TOKEN_S
    yield from scene.texts(0, 3)
    yield TOKEN_S
    yield from scene.cut()


def _cut_chunked(scene: Scene) -> Script:
    return _cut(scene, Framing.CHUNKED)


def _cut_unframed(scene: Scene) -> Script:
    """Cut where only the dialect's own end could have told that there was more to come."""
    return _cut(scene, Framing.UNTIL_CLOSE)


def _error_first(scene: Scene) -> Script:
    yield scene.head()
    yield scene.voice.role()
    yield TOKEN_S
    yield from scene.fail()


def _error_midway(scene: Scene) -> Script:
    yield scene.head()
    yield scene.voice.role()
    yield TOKEN_S
    yield from scene.texts(0, 3)
    yield TOKEN_S
    yield from scene.fail()


def _usage_late(scene: Scene) -> Script:
    """Keep finish reason and usage back after the last token: no time of a token is in that."""
    yield scene.head()
    yield scene.voice.role()
    yield TOKEN_S
    yield from scene.texts()
    yield EARLY_S
    yield from scene.end()


def _slow_headers(scene: Scene) -> Script:
    yield 2 * EARLY_S
    yield scene.head()
    yield scene.voice.role()
    yield TOKEN_S
    yield from scene.texts()
    yield from scene.end()


def _with_the_headers(scene: Scene) -> Script:
    """Write head and first token as one."""
    yield TOKEN_S
    first = scene.voice.text(scene.speech.tokens[0])
    scene.token((yield Head(scene.voice.content_type, scene.headers, first=first)))
    yield TOKEN_S
    yield from scene.texts(1)
    yield from scene.end()


def _rewritten(scene: Scene, rewrite: Callable[[bytes], bytes]) -> Script:
    yield scene.head()
    yield rewrite(scene.voice.role())
    yield EARLY_S
    for token in scene.speech.tokens:
        scene.token((yield rewrite(scene.voice.text(token))))
        yield TOKEN_S
    scene.truth.ended_ns = yield rewrite(scene.voice.end("stop", scene.truth.tokens))


def _crlf(scene: Scene) -> Script:
    return _rewritten(scene, lambda frame: frame.replace(b"\n", b"\r\n"))


def _several_lines(scene: Scene) -> Script:
    """Spread each JSON over two ``data`` lines, which an event may have."""
    return _rewritten(
        scene,
        lambda frame: frame.replace(b"data: {", b"data: {\ndata: ").replace(
            b"data:{", b"data:{\ndata:"
        ),
    )


TRAPS: dict[str, Trap] = {
    "role_early": _role_early,
    "nulls_first": _nulls_first,
    "pings_first": _pings_first,
    "reasoning_first": _reasoning_first,
    "tool_first": _tool_first,
    "several_in_one_frame": _several_in_one_frame,
    "several_in_one_write": _several_in_one_write,
    "frame_in_two": _frame_in_two,
    "character_in_two": _character_in_two,
    "until_close": _until_close,
    "content_length": _content_length,
    "cut_chunked": _cut_chunked,
    "cut_unframed": _cut_unframed,
    "error_first": _error_first,
    "error_midway": _error_midway,
    "usage_late": _usage_late,
    "slow_headers": _slow_headers,
    "with_the_headers": _with_the_headers,
    "crlf": _crlf,
    "several_lines": _several_lines,
}
"""By name."""

FAILING = frozenset({"cut_chunked", "cut_unframed", "error_first", "error_midway"})
"""Traps whose reply is none that a client may take for a success."""

_IMPOSSIBLE = {
    "ollama": frozenset({"several_lines"}),
    "ollama_generate": frozenset({"several_lines", "tool_first"}),
}


def possible(trap: str, dialect: str) -> bool:
    """Whether a dialect, by its name in :mod:`firsttoken.wire.dialects`, can have a trap: Ollama
    has no server-sent events, and its generate call no tools."""
    return trap not in _IMPOSSIBLE.get(dialect, ())
