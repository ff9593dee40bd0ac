"""One streamed question to a server with one talker: stamps, text and counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from firsttoken.core.clock import NS_PER_S, NowNs, milliseconds, monotonic_ns
from firsttoken.wire.dialect import ChatRequest, Dialect
from firsttoken.wire.events import Event, Failure, Text, Timings, Usage, is_token

TIMEOUT = httpx.Timeout(180.0, connect=5.0)
"""Between two reads: a large model may read a prompt for long."""
NO_REUSE = httpx.Limits(max_keepalive_connections=0)
"""A connection a question: llama.cpp closes kept ones at a moment of its own, and a question that
goes out just then is lost."""
_MAX_TEXT_CHARACTERS = 20_000
_SEED = 1
_LONGEST_S = 600.0
"""Of one reply: a server that never ends one is not waited for."""


@dataclass(slots=True)
class Reply:
    """What came back."""

    sent_ns: int
    first_ns: int | None = None
    """The first token, of whatever kind."""
    last_ns: int | None = None
    text: str = ""
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    output_tokens: int | None = None
    load_ms: float | None = None
    """Time the server spent on loading the model first, where it says so."""
    failed: str | None = None
    """Why there was no whole reply."""

    @property
    def ttft_ms(self) -> float | None:
        """From sending to the first token; None where none came."""
        return milliseconds(self.sent_ns, self.first_ns)

    @property
    def tokens_per_second(self) -> float | None:
        """After the first token; None where fewer than two are known to have come."""
        if self.first_ns is None or self.last_ns is None or (self.output_tokens or 0) < 2:
            return None
        took_ns = self.last_ns - self.first_ns
        return ((self.output_tokens or 0) - 1) * NS_PER_S / took_ns if took_ns > 0 else None


@dataclass(frozen=True, slots=True)
class Asker:
    """Asks one model of one server, one question at a time, at temperature 0."""

    http: httpx.Client
    dialect: Dialect
    model: str
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Sent with every question."""
    now_ns: NowNs = monotonic_ns

    def ask(
        self,
        question: str,
        *,
        max_tokens: int,
        system: str | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> Reply:
        """Ask and follow the stream to its end; what goes wrong is told in ``Reply.failed``."""
        messages = [{"role": "user", "content": question}]
        if system is not None:
            messages.insert(0, {"role": "system", "content": system})
        call = self.dialect.build_request(
            ChatRequest(
                model=self.model,
                messages=messages,
                stream=True,
                max_tokens=max_tokens,
                temperature=0.0,
                seed=_SEED,
                include_usage=True,
                extra={**self.extra, **(extra or {})},
            ),
            None,
        )
        reply = Reply(self.now_ns())
        try:
            self._follow(call.path, call.body, call.headers, reply)
        except httpx.HTTPError as error:
            reply.failed = str(error) or type(error).__name__
        if reply.failed is None and reply.first_ns is None:
            reply.failed = "no token came"
        return reply

    def _follow(self, path: str, body: bytes, headers: Mapping[str, str], reply: Reply) -> None:
        reader = self.dialect.reader()
        with self.http.stream("POST", path, content=body, headers=dict(headers)) as response:
            if response.status_code != httpx.codes.OK:
                said = self.dialect.read_error(response.read()[:65_536])
                reply.failed = f"HTTP {response.status_code}: {said or 'no reason given'}"
                return
            for chunk in response.iter_raw():
                now_ns = self.now_ns()
                for event in reader.feed(chunk, now_ns):
                    _take(event, reply)
                if now_ns - reply.sent_ns > _LONGEST_S * NS_PER_S:
                    reply.failed = f"no whole reply within {_LONGEST_S:g} s"
                    return
            for event in reader.close(self.now_ns()):
                _take(event, reply)


def _take(event: Event, reply: Reply) -> None:
    if is_token(event):
        if reply.first_ns is None:
            reply.first_ns = event.t_ns
        reply.last_ns = event.t_ns
    if isinstance(event, Text):
        reply.text = (reply.text + event.text)[:_MAX_TEXT_CHARACTERS]
    elif isinstance(event, Usage):
        reply.prompt_tokens = event.prompt_tokens
        reply.cached_tokens = event.cached_tokens
        reply.output_tokens = event.output_tokens
    elif isinstance(event, Timings):
        reply.load_ms = event.load_ms
    elif isinstance(event, Failure):
        reply.failed = event.message
