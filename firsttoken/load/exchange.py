"""What is known of one request and its reply, and the record row it becomes."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, NamedTuple

from firsttoken.core.clock import NS_PER_MS, milliseconds
from firsttoken.core.records import REQUESTS
from firsttoken.core.words import (
    ATTEMPTS_HEADER,
    BACKEND_HEADER,
    OUTCOME_OF,
    REASON_HEADER,
    TIER_HEADER,
    ErrorType,
    Outcome,
    Phase,
    Tier,
)
from firsttoken.wire.events import (
    End,
    Event,
    Failure,
    Reasoning,
    Text,
    Timings,
    ToolArgument,
    Usage,
)
from firsttoken.wire.heard import Heard
from firsttoken.wire.replies import ToolCall, ToolCalls

_MAX_INT32 = 2**31 - 1
_MAX_HEADER_TEXT = 128
MAX_KEPT_CHARACTERS = 16_384
"""Of a reply whose text is kept."""


class Place(NamedTuple):
    """Where in a run a request belongs: the part of its row that no reply decides."""

    run_id: str
    arm: str
    step_users: int
    session_id: str
    turn: int
    block: int = 0
    planned_rate: float | None = None
    hop: int = 0


class Exchange:
    """One request under way, or done; filled by :meth:`StreamClient.ask`.

    Stamps are monotonic nanoseconds, None for what did not happen. Each is the time at which the
    socket read returned that brought it: everything that arrived in one read shares a stamp.
    """

    __slots__ = (
        "_calls",
        "_calls_room",
        "_pieces",
        "_room",
        "attempts",
        "backend",
        "cached_tokens",
        "conn_reused",
        "engine_queue_ms",
        "error_type",
        "first_token_kind",
        "heard",
        "http_status",
        "hushed",
        "load_ms",
        "message",
        "outcome",
        "predict_ms",
        "prompt_ms",
        "prompt_tokens",
        "reason",
        "request_id",
        "spoken_failure",
        "t_end_ns",
        "t_first_event_ns",
        "t_first_sentence_ns",
        "t_first_text_ns",
        "t_first_token_ns",
        "t_headers_ns",
        "t_last_token_ns",
        "t_sched_ns",
        "t_send_ns",
        "tier",
        "token_events",
        "usage_tokens",
    )

    def __init__(self, request_id: str, t_sched_ns: int, *, keep_text: bool = False) -> None:
        self.request_id = request_id
        self.t_sched_ns = t_sched_ns
        self.t_send_ns: int | None = None
        """When the request was first handed to a socket. A silent second try on a new connection
        does not move it: what the first one cost was waited for."""
        self.t_headers_ns: int | None = None
        self.t_first_event_ns: int | None = None
        self.t_first_token_ns: int | None = None
        self.first_token_kind: str | None = None
        """What the first token was: ``text``, ``reasoning`` or ``tool`` (an argument)."""
        self.t_first_text_ns: int | None = None
        """The first token that is neither reasoning nor an argument of a tool. Not recorded."""
        self.t_first_sentence_ns: int | None = None
        self.t_last_token_ns: int | None = None
        self.t_end_ns: int | None = None
        """When the dialect said that the reply was over, or the trouble struck."""
        self.outcome: Outcome | None = None
        self.error_type: ErrorType | None = None
        self.message = ""
        """What went wrong, for people; never in the record."""
        self.http_status: int | None = None
        self.tier: str | None = None
        self.backend: str | None = None
        self.reason: str | None = None
        self.attempts: int | None = None
        self.conn_reused: bool | None = None
        self.load_ms: float | None = None
        self.prompt_ms: float | None = None
        self.predict_ms: float | None = None
        self.engine_queue_ms: float | None = None
        self.prompt_tokens: int | None = None
        self.cached_tokens: int | None = None
        self.usage_tokens: int | None = None
        """Output tokens as the server counted them."""
        self.token_events = 0
        """Stream events that carried a token."""
        self.heard = Heard()
        """What a device speaks of the reply."""
        self.hushed = False
        """Whether nothing of it was spoken, whatever it says; see :meth:`hush`."""
        self.spoken_failure = False
        """Whether nobody answered, and our router said so in a sentence of its own."""
        self._pieces: list[str] = []
        self._room = MAX_KEPT_CHARACTERS if keep_text else 0
        self._calls: ToolCalls | None = None
        self._calls_room = self._room

    @property
    def tool_calls(self) -> list[ToolCall]:
        """The tools that the reply called so far; empty unless the text was to be kept."""
        return [] if self._calls is None else self._calls.joined()

    @property
    def text(self) -> str:
        """What the reply said so far, cut at :data:`MAX_KEPT_CHARACTERS`: its content, and what a
        tool made for speaking was told to say; empty unless it was to be kept."""
        return "".join(self._pieces)

    @property
    def output_tokens(self) -> int | None:
        """The server's count; where it gave none, the number of token events, which is right as
        long as an event carries one token; None where not one came."""
        return self.usage_tokens if self.usage_tokens is not None else self.token_events or None

    @property
    def tokens_counted_here(self) -> bool:
        """Whether :attr:`output_tokens` is a count of events, for want of the server's."""
        return self.usage_tokens is None and self.token_events > 0

    @property
    def ttft_ms(self) -> float | None:
        """First token minus send."""
        return milliseconds(self.t_send_ns, self.t_first_token_ns)

    @property
    def ttft_user_ms(self) -> float | None:
        """First token minus planned start: what the user waited for."""
        return milliseconds(self.t_sched_ns, self.t_first_token_ns)

    @property
    def ttfs_ms(self) -> float | None:
        """First speakable sentence minus send."""
        return milliseconds(self.t_send_ns, self.t_first_sentence_ns)

    @property
    def ttfsc_ms(self) -> float | None:
        """First speakable character minus send."""
        return milliseconds(self.t_send_ns, self.heard.first_speakable_ns)

    @property
    def segments(self) -> int | None:
        """Pieces that the reply was spoken in; None where no reply came, or nobody was to hear
        it."""
        came = self.t_first_token_ns is not None and not self.hushed
        return self.heard.segments if came else None

    @property
    def stutters(self) -> int | None:
        """How often the device fell silent within the reply; None where it never spoke."""
        return self.heard.stutters if self.heard.segments else None

    @property
    def longest_gap_ms(self) -> float | None:
        """The longest of these silences, 0 where there was none; None where it never spoke."""
        return self.heard.longest_gap_ns / NS_PER_MS if self.heard.segments else None

    @property
    def total_gap_ms(self) -> float | None:
        """All of these silences together, likewise."""
        return self.heard.total_gap_ns / NS_PER_MS if self.heard.segments else None

    @property
    def tpot_ms(self) -> float | None:
        """(last token - first token) / (output tokens - 1); None for fewer than two tokens."""
        span = milliseconds(self.t_first_token_ns, self.t_last_token_ns)
        tokens = self.output_tokens
        return span / (tokens - 1) if span is not None and tokens and tokens > 1 else None

    @property
    def e2e_ms(self) -> float | None:
        """End minus send."""
        return milliseconds(self.t_send_ns, self.t_end_ns)

    def take_headers(self, status: int, headers: dict[str, str], t_ns: int) -> None:
        """Note the status and what our router's headers say; an unknown tier is left out."""
        self.t_headers_ns = t_ns
        self.http_status = status
        tier = headers.get(TIER_HEADER)
        self.tier = tier if tier in frozenset(Tier) else None
        self.backend = _short(headers.get(BACKEND_HEADER))
        self.reason = _short(headers.get(REASON_HEADER))
        attempts = headers.get(ATTEMPTS_HEADER, "")
        self.attempts = int(attempts) if attempts.isdecimal() and len(attempts) < 10 else None

    def take(self, event: Event) -> bool:
        """Note one event of the stream; return whether it was the last one."""
        if self.t_first_event_ns is None:
            self.t_first_event_ns = event.t_ns
        match event:
            case Text():
                self._text(event)
            case Reasoning():
                self._token(event.t_ns, "reasoning")
            case ToolArgument():
                if event.text:
                    self._token(event.t_ns, "tool")
                self._listen(event)
                self._keep_call(event)
            case Usage():
                self.prompt_tokens = _count(event.prompt_tokens)
                self.cached_tokens = _count(event.cached_tokens)
                self.usage_tokens = _count(event.output_tokens)
            case Timings():
                self.load_ms, self.prompt_ms = event.load_ms, event.prompt_ms
                self.predict_ms, self.engine_queue_ms = event.predict_ms, event.queue_ms
            case Failure():
                self.fail(event.error_type, event.message, event.t_ns)
                return True
            case End():
                self._listen(event)
                self._succeed(event.t_ns)
                return True
            case _:
                pass
        return False

    def fail(self, error_type: ErrorType, message: str, t_ns: int) -> None:
        """Note why the request did not succeed; what is noted first stays."""
        if self.outcome is None:
            self.error_type = error_type
            self.outcome = OUTCOME_OF.get(error_type, Outcome.ERROR)
            self.message = message
            self.t_end_ns = t_ns

    def hush(self) -> None:
        """Take back all that was to be heard: the device does something instead of speaking. Of a
        reply that has ended; its first token stays, nothing of its speech is recorded."""
        self.hushed = True
        self.heard = Heard()
        self.t_first_sentence_ns = None
        self._pieces.clear()

    def row(self, place: Place, phase: Phase) -> tuple[Any, ...]:
        """Return the record of a request that has ended, in the order of ``records.REQUESTS``."""
        values: dict[str, Any] = {
            **place._asdict(),
            "request_id": self.request_id,
            "phase": str(phase),
            "ttft_ms": self.ttft_ms,
            "ttft_user_ms": self.ttft_user_ms,
            "ttfs_ms": self.ttfs_ms,
            "tpot_ms": self.tpot_ms,
            "e2e_ms": self.e2e_ms,
            "outcome": str(self.outcome),
            "error_type": None if self.error_type is None else str(self.error_type),
        }
        return tuple(
            [values[name] if name in values else getattr(self, name) for name in _COLUMN_NAMES]
        )

    def _text(self, event: Text) -> None:
        self._token(event.t_ns, "text")
        if self.t_first_text_ns is None:
            self.t_first_text_ns = event.t_ns
        self._listen(event)

    def _listen(self, event: Event) -> None:
        """Take what is spoken of an event."""
        said = self.heard.note((event,), event.t_ns)
        if said and self._room > 0:
            self._pieces.append(said[: self._room])
            self._room -= len(said)
        if self.t_first_sentence_ns is None:
            self.t_first_sentence_ns = self.heard.first_sentence_ns

    def _keep_call(self, event: ToolArgument) -> None:
        """Keep a fragment of a tool call, as long as there is room."""
        if self._calls_room > 0:
            self._calls = self._calls or ToolCalls()
            self._calls.add(event)
            self._calls_room -= len(event.text) + len(event.name) + len(event.id)

    def _token(self, t_ns: int, kind: str) -> None:
        self.token_events += 1
        self.t_last_token_ns = t_ns
        if self.t_first_token_ns is None:
            self.t_first_token_ns = t_ns
            self.first_token_kind = kind

    def _succeed(self, t_ns: int) -> None:
        if self.t_first_token_ns is None:
            self.fail(ErrorType.PROTOCOL, "the reply ended without a token", t_ns)
            return
        if self.tier == Tier.NONE and self.http_status == HTTPStatus.OK:
            self.spoken_failure = True
            self.fail(ErrorType.HTTP_5XX, "nobody answered: the router spoke for itself", t_ns)
            return
        self.outcome = Outcome.SUCCESS
        self.t_end_ns = t_ns


_COLUMN_NAMES: tuple[str, ...] = tuple(REQUESTS.names)


def _short(value: str | None) -> str | None:
    """Return what a header said, cut to a sane length; None for an absent or empty one."""
    return value[:_MAX_HEADER_TEXT] if value else None


def _count(value: int | None) -> int | None:
    """Return a token count that a record can hold, else None."""
    return value if value is not None and 0 <= value <= _MAX_INT32 else None
