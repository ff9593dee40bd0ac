"""What a prompt will cost a local engine, told before it is sent there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from firsttoken.core.settings.backend import Backend
from firsttoken.core.words import Reason
from firsttoken.wire.dialect import ChatRequest
from firsttoken.wire.events import Timings, Usage
from router.voice.fingerprints import Fingerprints, Prompt, Seat, fingerprint
from router.voice.prefill import Prefill

REPLY_TOKENS = 128
"""Room for a reply whose length nobody has limited."""

_FAR_OVER = 1.5
"""Times the context: a prompt that is guessed to be so long does not fit, whatever the guess."""

_CUT = 0.95
"""Of the context: a count of tokens above it may be that of a prompt that was cut."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is expected of one prompt at one local backend."""

    tokens: float
    """Of the prompt."""
    uncached_ratio: float
    """Share of the prompt that is not in the cache, in [0, 1]."""
    prefill_s: float | None
    """For reading what is not in the cache; None where it is not known yet."""
    first_token_s: float | None
    """To the first token from the moment the engine is asked; None where it is not known yet."""
    overflow: str = ""
    """Why it does not fit in one slot; empty where it does, or where nobody knows."""
    certain: bool = False
    """Whether the engine itself has told enough to say so."""


@dataclass(slots=True)
class Serve:
    """One prompt at one engine, until :meth:`close`."""

    reader: LocalReader
    prompt: Prompt
    seat: Seat
    read: bool = False
    """Whether the engine has read the whole prompt."""

    def told(
        self, usage: Usage | None, first_token_s: float | None, timings: Timings | None = None
    ) -> None:
        """Learn from a reply: how many tokens the prompt had, how many of them the engine had in
        its cache, and after how many seconds the first token came; None where nobody says. The
        engine's own time for reading the prompt is taken rather: a person hears the first token
        later, where it is held back."""
        prefill, context = self.reader.prefill, self.reader.context
        tokens = None if usage is None else usage.prompt_tokens
        if tokens and (context is None or tokens < _CUT * context):
            prefill.counted(self.prompt.size, tokens)
        if timings is not None and timings.prompt_ms:
            first_token_s = timings.prompt_ms / 1000
        if first_token_s is None:
            return
        cached = None if usage is None else usage.cached_tokens
        if tokens is None or cached is None:
            prefill.took(prefill.tokens(self.prompt.size - self.seat.cached), first_token_s)
        else:
            prefill.took(tokens - cached, first_token_s)

    def was_read(self) -> None:
        """Note that the engine has read the whole prompt."""
        self.read = True
        self.seat.was_read()

    def close(self) -> None:
        """Give the engine's slot back; more than once does nothing."""
        self.seat.leave(read=self.read)


class LocalReader:
    """One local engine as a reader of prompts.

    Args:
        backend: which one.
        context: tokens of one slot; None where nobody has told.
        now_s: a clock that never goes back.
    """

    def __init__(self, backend: Backend, context: int | None, now_s: Callable[[], float]) -> None:
        self.backend = backend
        self.context = context
        self.slots: int | None = backend.slots
        """What the engine has told, or the settings."""
        self.pinnable = False
        """Whether it lets a request choose its slot."""
        self.fingerprints = Fingerprints(backend.slots or 1, now_s)
        self.prefill = Prefill()

    @property
    def under_way(self) -> int:
        """Prompts that have their place from here now, and whose slot is known: where the engine
        has chosen, nobody knows which one is in use."""
        return self.fingerprints.pinned

    def met(self, slots: int | None, context: int | None) -> None:
        """Note what the engine has told of itself: only llama.cpp tells this way."""
        if context is not None:
            self.context = context
        if slots is not None:
            self.pinnable = True
            self.slots = slots
        self._fit()

    def take_over(self, before: LocalReader) -> None:
        """Go on with what was learned, by the settings before, of the same engine."""
        self.fingerprints, self.prefill = before.fingerprints, before.prefill
        if before.pinnable:
            self.pinnable, self.slots, self.context = True, before.slots, before.context
        self._fit()

    def _fit(self) -> None:
        if len(self.fingerprints) != (self.slots or 1):
            self.fingerprints.begin_anew(self.slots or 1)

    def forecast(self, request: ChatRequest, prompt: Prompt | None = None) -> Forecast:
        """Return what is expected of a prepared request."""
        prompt = prompt or fingerprint(request)
        uncached = prompt.size - self.fingerprints.cached(prompt)
        tokens = self.prefill.tokens(prompt.size)
        line = self.prefill.line()
        prefill_s = None if line is None else line[1] * self.prefill.tokens(uncached)
        return Forecast(
            tokens,
            uncached / prompt.size if prompt.size else 0.0,
            prefill_s,
            None if line is None or prefill_s is None else line[0] + prefill_s,
            self._overflow(tokens, request.max_tokens),
            self.prefill.known or tokens > _FAR_OVER * (self.context or tokens),
        )

    def serve(
        self, request: ChatRequest, *, sticky: bool, in_use: int, prompt: Prompt | None = None
    ) -> tuple[ChatRequest, Serve]:
        """Return the request as it is to be sent, and its place.

        Args:
            request: prepared, with the caps of the backend.
            sticky: whether the engine may be told which slot to use.
            in_use: slots that others use. Where some of them have no place from here, nobody knows
                which ones they are, and a request for a slot that is in use waits for it: then the
                engine chooses.
            prompt: its fingerprint, where it is known.
        """
        prompt = prompt or fingerprint(request)
        pin = sticky and self.pinnable and in_use <= self.under_way
        return self._placed(request, prompt, self.fingerprints.take(prompt, pin=pin))

    def warm(self, request: ChatRequest, *, sticky: bool) -> tuple[ChatRequest, Serve] | None:
        """Return the same for a request whose beginning is to be read before anybody asks; None
        where no slot is left for it, or one has it already."""
        prompt = fingerprint(request)
        if self.fingerprints.knows(prompt):
            return None
        seat = self.fingerprints.take_spare(prompt, pin=sticky and self.pinnable)
        return None if seat is None else self._placed(request, prompt, seat)

    def _placed(
        self, request: ChatRequest, prompt: Prompt, seat: Seat
    ) -> tuple[ChatRequest, Serve]:
        if seat.number is not None and "id_slot" not in request.extra:
            request = replace(request, extra={**request.extra, "id_slot": seat.number})
        # What is learned here comes from the counts; the client is not told what it did not ask.
        request = replace(request, include_usage=True)
        return request, Serve(self, prompt, seat)

    def _overflow(self, tokens: float, max_tokens: int | None) -> str:
        room = REPLY_TOKENS if max_tokens is None else max_tokens
        if self.context is None or tokens + room <= self.context:
            return ""
        about = "" if self.prefill.known else "about "
        return (
            f"{self.backend.name}: the prompt of {about}{tokens:.0f} tokens and a reply of {room} "
            f"do not fit into the {self.context} tokens of one slot; raise num_ctx, or shorten the "
            "prompt with voice.compact"
        )


def reason_against(
    forecast: Forecast, wait_s: float, backend: Backend, other_s: float | None, least_s: float
) -> Reason | None:
    """Return why a local backend should not come first for a prompt; None where it may.

    Args:
        forecast: what is expected there.
        wait_s: predicted wait for a slot, seconds.
        backend: the local one.
        other_s: the usual first token of the best other backend; None where it is not known.
        least_s: the target for a first token: a prompt that is read within it is never too long.
    """
    if forecast.overflow:
        return Reason.CONTEXT_OVERFLOW
    limit_s = backend.first_token_timeout_s
    deadline_s = min(max(least_s, other_s or limit_s), limit_s)
    if forecast.prefill_s is not None and forecast.prefill_s > deadline_s:
        return Reason.PROMPT_TOO_LONG
    if wait_s > 0 and wait_s + (forecast.first_token_s or 0.0) > deadline_s:
        return Reason.PREDICTED_LATE
    return None


def against(
    avoided: Mapping[str, Reason], backend: Backend, reason: Reason | None
) -> Mapping[str, Reason]:
    """Return ``avoided`` with ``backend``, where there is a reason and none was known before; a
    prompt that does not fit is the stronger one."""
    known = avoided.get(backend.name)
    if reason is None or (known is not None and reason is not Reason.CONTEXT_OVERFLOW):
        return avoided
    return {**avoided, backend.name: reason}
