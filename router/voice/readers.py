"""The local engines of one set of settings, as readers of the prompts of talking devices."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path

from firsttoken.core.clock import NS_PER_S, NowNs
from firsttoken.core.settings.backend import Backend
from firsttoken.core.settings.voice import Voice
from firsttoken.core.words import CallClass, ErrorType, Reason, Tier
from firsttoken.wire import dialects
from firsttoken.wire.dialect import ChatRequest, Dialect, RequestError
from router.account import AttemptRecord
from router.admission import Admission, QueueFullError, Ticket
from router.attempt import Asker, AttemptFailed
from router.backends.faults import Fault
from router.backends.requests import ReplyOptions, for_backend
from router.voice.background import SETTLE_S
from router.voice.clock import ClockMemory
from router.voice.fingerprints import fingerprint
from router.voice.foresight import LocalReader, Serve, against, reason_against
from router.voice.talk import Talk
from router.voice.warming import Warmer

_log = logging.getLogger(__name__)

TARGET_S = 0.4
"""The target for a first token: a prompt that is read within it is never too long."""

WARM_TIMEOUT_S = 300.0
"""For one beginning: thousands of tokens on a small machine."""

_MOST_FILE_BYTES = 1_048_576


class Readers:
    """What is known, and done, about the caches of the local engines.

    Args:
        voice: the settings.
        backends: by name.
        options: caps and defaults of their replies, by name.
        spoken: in which dialect each one is asked now, by name.
        queues: of the local ones, by name.
        now_ns: the clock.
        foreseen: is told the share of each prompt that is taken not to be in a backend's cache.
        meet: begins to ask a backend what it is, its slots included; is called once for each, and
            not before somebody asks it who has use for the answer.
        known: waits until a backend has answered what it is asked of itself, whoever asks.
        usable: whether a backend may be asked now.
    """

    def __init__(
        self,
        voice: Voice,
        backends: Mapping[str, Backend],
        options: Mapping[str, ReplyOptions],
        spoken: Mapping[str, Dialect],
        queues: Mapping[str, Admission],
        *,
        now_ns: NowNs,
        foreseen: Callable[[str, float], None],
        meet: Callable[[str], None],
        known: Callable[[str], Awaitable[None]],
        usable: Callable[[str], bool],
    ) -> None:
        self._voice = voice
        self._options = options
        self._spoken = spoken
        self._queues = queues
        self._now_ns = now_ns
        self._foreseen = foreseen
        self._meet = meet
        self._known = known
        self._usable = usable
        self._unasked = {name for name, each in backends.items() if each.tier is Tier.LOCAL}
        self._asker: Asker | None = None
        self._readers = {
            name: LocalReader(backend, None, lambda: now_ns() / NS_PER_S)
            for name, backend in backends.items()
            if backend.tier is Tier.LOCAL
        }
        self._warmers = {name: self._warmer(name) for name in self._readers}

    def met(self, name: str, slots: int | None, context: int | None) -> None:
        """Note what an engine has told of itself."""
        if name in self._readers:
            self._readers[name].met(slots, context)

    def came_back(self, name: str) -> None:
        """Note that an engine answers again: it may have been started anew, and know nothing."""
        if name in self._readers:
            self._readers[name].fingerprints.begin_anew()
            self._warmers[name].all_wanted()

    def take_over(self, before: Readers, same: set[str]) -> None:
        """Go on with what was learned, by the settings before, of the engines ``same``."""
        for name in same & self._readers.keys() & before._readers.keys():
            self._readers[name].take_over(before._readers[name])
            if self._voice == before._voice:  # else what is sent is another prompt
                self._warmers[name].take_over(before._warmers[name])

    def foresee(
        self,
        request: ChatRequest,
        talk: Talk,
        avoided: Mapping[str, Reason],
        others_s: Callable[[], float | None],
    ) -> Mapping[str, Reason]:
        """Return ``avoided`` and the local backends that ``request`` is too long for now.

        ``others_s`` tells the usual first token of the best other backend, seconds, if it is known.
        """
        for name in self._readers:
            self._ask_once(name)
            reader = self._reader(name)
            sent = self._as_sent(request, talk, reader.backend)
            prompt = fingerprint(sent)
            forecast = reader.forecast(sent, prompt)
            wait_s = self._queues[name].predicted_wait_s(self._now_ns())
            reason = reason_against(forecast, wait_s, reader.backend, others_s(), TARGET_S)
            avoided = against(avoided, reader.backend, reason)
            # An intent or a summary begins with words of its own, and no person waits for it.
            if self._voice.prefix.warm and talk.is_heard and not forecast.overflow:
                self._warmers[name].seen(sent, prompt)
        return avoided

    def serve(self, backend: Backend, request: ChatRequest) -> tuple[ChatRequest, Serve] | None:
        """Return a talking device's request as it is sent to a local backend, and its place; None
        for other backends.

        Args:
            backend: which one.
            request: as it would be sent otherwise; it has a slot of the queue.

        Raises:
            AttemptFailed: it is known not to fit: an engine might cut it without a word.
        """
        if backend.name not in self._readers:
            return None
        reader = self._reader(backend.name)
        prompt = fingerprint(request)
        forecast = reader.forecast(request, prompt)
        self._foreseen(backend.name, forecast.uncached_ratio)
        if forecast.overflow and forecast.certain:
            fault = Fault(ErrorType.CONTEXT_OVERFLOW, forecast.overflow, of_our_queue=True)
            raise AttemptFailed(fault)
        in_use = self._queues[backend.name].in_use - 1
        if self._spoken[backend.name].name == "ollama" and "truncate" not in request.extra:
            # It would leave out what was said first, and not say so.
            request = replace(request, extra={**request.extra, "truncate": False})
        sticky = self._voice.prefix.sticky_slots
        return reader.serve(request, sticky=sticky, in_use=in_use, prompt=prompt)

    async def run(self, asker: Asker, clocks: ClockMemory) -> None:
        """Have the beginnings of prompts read before they are needed, for ever."""
        if not (self._voice.prefix.warm and self._readers and self._voice.clients != "none"):
            return
        self._asker = asker
        files = self._voice.prefix.warm_files
        bodies = await asyncio.to_thread(_bodies, files) if files else []
        await asyncio.gather(*(self._run(name, bodies, clocks) for name in self._readers))

    async def _run(self, name: str, bodies: list[ChatRequest], clocks: ClockMemory) -> None:
        """Have the beginnings of prompts read by one engine, as soon as it is known what it is."""
        if bodies:
            self._ask_once(name)
        await self._known(name)
        for body in bodies:
            talk = Talk(self._voice, CallClass.CHAT, clocks)
            self._warmers[name].seen(self._as_sent(body, talk, self._readers[name].backend))
        await self._warmers[name].run()

    def _ask_once(self, name: str) -> None:
        if name in self._unasked:
            self._unasked.remove(name)
            self._meet(name)

    def _reader(self, name: str) -> LocalReader:
        """Return a reader, with the context that Ollama is told to load its model with."""
        reader = self._readers[name]
        context = self._options.get(name, ReplyOptions()).loading.get("num_ctx")
        if self._spoken[name].name == "ollama" and isinstance(context, int):
            reader.context = context
        return reader

    def _warmer(self, name: str) -> Warmer:
        return Warmer(lambda request: self._warm(name, request), lambda: self._usable(name))

    def _as_sent(self, request: ChatRequest, talk: Talk, backend: Backend) -> ChatRequest:
        """Return the request as the backend would be sent it now."""
        dialect = self._spoken[backend.name]
        options = self._options.get(backend.name, ReplyOptions())
        wanted = talk.prepared(request, backend, dialect.name)
        return for_backend(wanted, backend, options, dialect)

    async def _warm(self, name: str, request: ChatRequest) -> bool:
        """Have a local engine read a beginning, when nobody else is there; say whether nothing is
        left to do."""
        reader = self._readers[name]
        if self._asker is None or reader.fingerprints.knows(fingerprint(request)):
            return True
        try:
            ticket = self._queues[name].enter_behind(self._now_ns())
        except QueueFullError:
            return False
        try:
            while (done := await self._read(ticket, self._asker, reader, request)) is None:
                pass
        finally:
            ticket.leave()
        return done

    async def _read(
        self, ticket: Ticket, asker: Asker, reader: LocalReader, request: ChatRequest
    ) -> bool | None:
        """Wait for a quiet moment and have the beginning read; say whether nothing is left to do,
        or None where somebody came in."""
        await ticket.granted()
        task = asyncio.create_task(self._read_now(asker, reader, request))
        ticket.on_disturbed = lambda: _cancel(task)
        try:
            await asyncio.wait((task,))
            return None if task.cancelled() else task.result()
        finally:
            ticket.on_disturbed = None
            task.cancel()

    async def _read_now(self, asker: Asker, reader: LocalReader, request: ChatRequest) -> bool:
        # Whoever brought the prompt is about to be served: to begin at once would be in the way.
        await asyncio.sleep(SETTLE_S)
        if not self._usable(reader.backend.name):
            return False
        placed = reader.warm(request, sticky=self._voice.prefix.sticky_slots)
        if placed is None:
            return True
        sent, serve = placed
        try:
            came = await _one_token(asker, reader.backend, sent)
            if came:
                serve.was_read()
            return came
        finally:
            serve.close()


def _cancel(task: asyncio.Task[bool]) -> None:
    task.cancel()


async def _one_token(asker: Asker, backend: Backend, request: ChatRequest) -> bool:
    """Ask for one token; say whether it came."""
    record = AttemptRecord("warming", backend.name, backend.model, asker.now_ns())
    try:
        opened = await asker.open(backend, request, record, timeout_s=WARM_TIMEOUT_S)
    except AttemptFailed as failure:
        _log.info("a system prompt could not be warmed: %s", failure)
        return False
    opened.close()
    return True


def _bodies(files: tuple[str, ...]) -> list[ChatRequest]:
    """Return the request bodies in the files; one that cannot be read is told of in the log."""
    found = []
    for name in files:
        try:
            with Path(name).open("rb") as file:
                found.append(dialects.get("openai").parse_request(file.read(_MOST_FILE_BYTES)))
        except (OSError, RequestError) as error:
            _log.warning("voice.prefix.warm_files: %s is not used: %s", name, error)
    return found
