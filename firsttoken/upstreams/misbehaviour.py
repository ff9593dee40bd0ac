"""The faults as scripts: what each writes, for a streamed reply and for one that is not.

Every script starts from the same reply in order: a role frame, then :data:`TOKENS` at an even
pace, then the dialect's end. What a fault does not change stays as it is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from firsttoken.upstreams.script import CUT, Framing, Head, Headers, Script, Whole
from firsttoken.upstreams.voices import Voice

TOKENS = ("今天", "天气", "很好", "，", "适合", "散步", "。")
THOUGHTS = ("先想", "一想")
OVERSIZED_BYTES = 4 << 20
"""Size of the text in an oversized frame."""
SILENCE_S = 3600.0
"""How long a silent server keeps its connection."""


@dataclass(frozen=True, slots=True)
class Tempo:
    """How fast the wall speaks, seconds."""

    token_s: float = 0.02
    """Before the first token, and between tokens."""
    ping_s: float = 0.1
    drip_s: float = 0.05
    """Between two drips of :data:`DRIP_BYTES`."""


TEMPO = Tempo()
DRIP_BYTES = 16


class Scene(NamedTuple):
    """What a fault has to work with."""

    voice: Voice
    tempo: Tempo
    headers: Headers

    def head(self, framing: Framing = Framing.CHUNKED) -> Head:
        """Return the head of a stream in order."""
        return Head(self.voice.content_type, self.headers, framing=framing)

    def texts(self, tokens: Iterable[str] = TOKENS) -> Script:
        """Speak ``tokens``, a pause before each."""
        for token in tokens:
            yield self.tempo.token_s
            yield self.voice.text(token)

    def end(self) -> bytes:
        """Return what ends a stream in order."""
        return self.voice.end("stop", len(TOKENS))


Fault = Callable[[Scene], Script]


def _ok(scene: Scene, framing: Framing = Framing.CHUNKED) -> Script:
    yield scene.head(framing)
    yield scene.voice.role()
    yield from scene.texts()
    yield scene.end()


def _silent(_: Scene) -> Script:
    yield SILENCE_S
    yield CUT


def _headers_then_silent(scene: Scene) -> Script:
    yield scene.head()
    yield SILENCE_S
    yield CUT


def _role_then_silent(scene: Scene) -> Script:
    yield scene.head()
    yield scene.voice.role()
    yield SILENCE_S
    yield CUT


def _pings_only(scene: Scene) -> Script:
    yield scene.head()
    for _ in range(int(SILENCE_S / scene.tempo.ping_s)):
        yield scene.voice.ping()
        yield scene.tempo.ping_s
    yield CUT


def _cut_before_first_token(scene: Scene) -> Script:
    yield scene.head()
    yield scene.voice.role()
    yield scene.tempo.token_s
    yield CUT


def _cut_after_first_token(scene: Scene) -> Script:
    yield scene.head()
    yield scene.voice.role()
    yield from scene.texts(TOKENS[:1])
    yield scene.tempo.token_s
    yield CUT


def _error_in_200(scene: Scene) -> Script:
    yield scene.head()
    yield scene.voice.role()
    yield scene.tempo.token_s
    yield scene.voice.error(500, "internal_error", "the fault wall fails inside the stream")


def _error_after_first_token(scene: Scene) -> Script:
    yield scene.head()
    yield scene.voice.role()
    yield from scene.texts(TOKENS[:1])
    yield scene.tempo.token_s
    yield scene.voice.error(500, "internal_error", "the fault wall fails inside the stream")


def _status(status: int, code: str, message: str, headers: Headers = ()) -> Fault:
    def script(scene: Scene) -> Script:
        body = scene.voice.error_body(status, code, message)
        yield Whole(body, status, (*scene.headers, *headers))

    return script


def _malformed_chunk(scene: Scene) -> Script:
    yield scene.head()
    yield scene.voice.role()
    yield scene.voice.malformed()
    yield from scene.texts()
    yield scene.end()


def _drips(scene: Scene, data: bytes) -> Script:
    for start in range(0, len(data), DRIP_BYTES):
        yield data[start : start + DRIP_BYTES]
        yield scene.tempo.drip_s


def _slow_drip(scene: Scene) -> Script:
    yield scene.head()
    voice = scene.voice
    data = voice.role() + b"".join(voice.text(token) for token in TOKENS) + scene.end()
    yield from _drips(scene, data)


def _null_content_first(scene: Scene) -> Script:
    yield scene.head()
    yield scene.voice.null()
    yield scene.voice.null()
    yield from scene.texts()
    yield scene.end()


def _no_chunked_encoding(scene: Scene) -> Script:
    return _ok(scene, Framing.UNTIL_CLOSE)


def _connection_close(scene: Scene) -> Script:
    return _ok(scene, Framing.CHUNKED_THEN_CLOSE)


def _first_frame_in_two(scene: Scene, position: Callable[[bytes], int]) -> Script:
    """Write the first token's frame as two writes, parted at ``position`` of it."""
    yield scene.head()
    yield scene.voice.role()
    yield scene.tempo.token_s
    frame = scene.voice.text(TOKENS[0])
    cut = position(frame)
    yield frame[:cut]
    yield scene.tempo.token_s
    yield frame[cut:]
    yield from scene.texts(TOKENS[1:])
    yield scene.end()


def _utf8_split(scene: Scene) -> Script:
    """Part the frame after the first of a Chinese character's three bytes."""
    return _first_frame_in_two(scene, lambda frame: frame.index(TOKENS[0].encode()) + 1)


def _token_over_two_chunks(scene: Scene) -> Script:
    """Part the frame between two characters of the token."""
    return _first_frame_in_two(scene, lambda frame: frame.index(TOKENS[0].encode()) + 3)


def _reasoning_first(scene: Scene) -> Script:
    yield scene.head()
    yield scene.voice.role()
    for thought in THOUGHTS:
        yield scene.tempo.token_s
        yield scene.voice.reasoning(thought)
    yield from scene.texts()
    yield scene.end()


def _several_tokens_in_one_chunk(scene: Scene) -> Script:
    """Write the frames of three tokens at once, then go on as usual."""
    yield scene.head()
    yield scene.voice.role()
    yield scene.tempo.token_s
    yield b"".join(scene.voice.text(token) for token in TOKENS[:3])
    yield from scene.texts(TOKENS[3:])
    yield scene.end()


def _oversized_frame(scene: Scene) -> Script:
    yield scene.head()
    yield scene.voice.role()
    yield scene.tempo.token_s
    yield scene.voice.text("x" * OVERSIZED_BYTES)
    yield scene.end()


CONTEXT_MESSAGE = "the request exceeds the available context size (5000 > 4096 tokens)"

FAULTS: dict[str, Fault] = {
    "ok": _ok,
    "silent": _silent,
    "headers_then_silent": _headers_then_silent,
    "role_then_silent": _role_then_silent,
    "pings_only": _pings_only,
    "cut_before_first_token": _cut_before_first_token,
    "cut_after_first_token": _cut_after_first_token,
    "error_in_200": _error_in_200,
    "error_after_first_token": _error_after_first_token,
    "status_429": _status(429, "rate_limit_exceeded", "too many requests", (("retry-after", "1"),)),
    "status_503": _status(503, "overloaded", "no slot is free"),
    "status_401": _status(401, "invalid_api_key", "the API key is wrong"),
    "status_400_context": _status(400, "context_length_exceeded", CONTEXT_MESSAGE),
    "malformed_chunk": _malformed_chunk,
    "slow_drip": _slow_drip,
    "null_content_first": _null_content_first,
    "no_chunked_encoding": _no_chunked_encoding,
    "connection_close": _connection_close,
    "utf8_split": _utf8_split,
    "reasoning_first": _reasoning_first,
    "several_tokens_in_one_chunk": _several_tokens_in_one_chunk,
    "token_over_two_chunks": _token_over_two_chunks,
    "oversized_frame": _oversized_frame,
}
"""The faults of a streamed reply, by name."""


def _body(scene: Scene) -> bytes:
    return scene.voice.whole("".join(TOKENS), "stop", len(TOKENS))


def _whole_ok(scene: Scene) -> Script:
    yield scene.tempo.token_s * len(TOKENS)
    yield Whole(_body(scene), headers=scene.headers)


def _whole_cut(scene: Scene) -> Script:
    """Send half of the body, chunked so that a client can tell, and close."""
    body = _body(scene)
    yield Head("application/json", scene.headers)
    yield body[: len(body) // 2]
    yield scene.tempo.token_s
    yield CUT


def _whole_error(scene: Scene) -> Script:
    yield Whole(
        scene.voice.error_body(500, "internal_error", "an error under status 200"),
        headers=scene.headers,
    )


def _whole_malformed(scene: Scene) -> Script:
    body = _body(scene)
    yield Whole(body[: len(body) // 2], headers=scene.headers)


def _whole_drip(scene: Scene) -> Script:
    yield Head("application/json", scene.headers)
    yield from _drips(scene, _body(scene))


_WHOLE_STATUSES = {name: fault for name, fault in FAULTS.items() if name.startswith("status_")}
WHOLE_FAULTS: dict[str, Fault] = {
    **dict.fromkeys(FAULTS, _whole_ok),
    **_WHOLE_STATUSES,
    "silent": _silent,
    "headers_then_silent": _headers_then_silent,
    "role_then_silent": _headers_then_silent,
    "pings_only": _headers_then_silent,
    "cut_before_first_token": _whole_cut,
    "cut_after_first_token": _whole_cut,
    "error_in_200": _whole_error,
    "error_after_first_token": _whole_error,
    "malformed_chunk": _whole_malformed,
    "slow_drip": _whole_drip,
}
"""What each fault is where no stream was asked for: the nearest thing, else a reply in order."""
