"""Both caches before the backends: what is asked of them, what is kept in them, and the check of
hits that were found by meaning."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from itertools import groupby

from firsttoken.core.catalogue import CacheAnswer, CacheResult
from firsttoken.core.settings.backend import Backend
from firsttoken.core.settings.guide import CachingStrategy
from firsttoken.language import guards, thesaurus
from firsttoken.language.encoder import Encoder
from firsttoken.wire.dialect import ChatRequest
from firsttoken.wire.events import (
    End,
    Event,
    Probabilities,
    Reasoning,
    Role,
    Text,
    Timings,
    ToolArgument,
    is_token,
)
from router.cache.exact import ExactCache, key_of
from router.cache.semantic import Entry, LazyVector, SemanticIndex
from router.meters import Meters
from router.policy.signals import last_user_text

_ENDINGS = frozenset({"stop", "length", "tool_calls"})
"""Finish reasons of replies that are kept. One that reached its length is whole: the length is
part of the question."""

_READ_CHARS = 512
"""Characters of a question that are searched for what makes its answer depend on the moment."""

_KEPT_CHARS = 65_536
"""Of a reply at most, so that the number of entries bounds the memory they take."""

_ORDINARY = ('who wrote the book "Emma"?', "谁写了《红楼梦》这本书？")
"""Questions, one a language, for which every list is read; a greeting would need none of them."""

_ALTERS_THE_REPLY = ("logprobs", "top_logprobs", "n", "context", "suffix", "raw", "audio")
"""Fields that put something into a reply which a cache does not hold."""


@dataclass(frozen=True, slots=True)
class CachedReply:
    """A whole reply."""

    events: tuple[Event, ...]
    model: str
    """Of the backend that gave it."""


@dataclass(slots=True)
class Lookup:
    """What the caches had for one request, and what is needed to keep its reply."""

    answer: CacheAnswer = CacheAnswer.BYPASS
    reply: CachedReply | None = None
    key: bytes | None = None
    """Of the exact cache; None where the reply is not to be kept."""
    scope: bytes | None = None
    """Within which the question may be compared by its meaning; None where it may not."""
    text: str = ""
    vector: LazyVector | None = None
    hit: Entry[CachedReply] | None = None
    """The entry that was found by meaning."""
    request: ChatRequest | None = None


class Caches:
    """The exact cache and, where it is on and its encoder is loaded, the semantic one.

    Args:
        exact: None where it is off.
        semantic: None where it is off.
        meters: counts lookups.
        now_s: the clock.
    """

    def __init__(
        self,
        exact: ExactCache[CachedReply] | None,
        semantic: SemanticIndex[CachedReply] | None,
        meters: Meters,
        now_s: Callable[[], float],
    ) -> None:
        self._exact = exact
        self._semantic = semantic
        self._lookups = meters.cache_lookups
        self._now_s = now_s
        self.found_by_meaning: Callable[[Lookup], None] = lambda lookup: None  # noqa: ARG005
        """Is told of each semantic hit that was used."""
        self.encoder: Encoder | None = None
        """None until it is loaded; until then nothing is found by meaning."""

    @classmethod
    def of(cls, settings: CachingStrategy, meters: Meters, now_s: Callable[[], float]) -> Caches:
        """Return the caches that the settings ask for; the semantic one begins to work when its
        encoder is set."""
        local, semantic = settings.local_cache, settings.semantic_cache
        return cls(
            ExactCache(local.max_size, local.ttl) if local.enable else None,
            SemanticIndex(local.max_size, local.ttl) if semantic.enable else None,
            meters,
            now_s,
        )

    @property
    def wants_encoder(self) -> bool:
        """Whether there is a semantic cache and no encoder for it yet."""
        return self._semantic is not None and self.encoder is None

    def use(self, encoder: Encoder, threshold: float) -> None:
        """Compare by ``encoder`` from now on; ``threshold`` is the similarity that a hit needs."""
        self.encoder = encoder
        if self._semantic is not None:
            self._semantic.threshold = threshold

    def look_up(self, request: ChatRequest, tenant: str) -> Lookup:
        """Return what the caches have for ``request``; ``tenant`` is whose it is."""
        lookup = Lookup()
        question = last_user_text(request.messages)
        if (self._exact is None and self._semantic is None) or not _is_kept(request, question):
            return lookup
        key, now_s = key_of(request, tenant), self._now_s()
        if self._exact is not None:
            lookup.answer, lookup.key = CacheAnswer.MISS, key
            lookup.reply = self._exact.get(key, now_s)
            self._count("exact", lookup.reply)
            if lookup.reply is not None:
                lookup.answer = CacheAnswer.EXACT
                return lookup
        if self._semantic is None or self.encoder is None or not _is_compared(request, question):
            return lookup
        lookup.answer, lookup.key = CacheAnswer.MISS, key
        lookup.scope, lookup.text = key_of(request, tenant, text=False), question
        # Encoded once at most, however often it is compared: here, and later as an entry.
        lookup.vector = cache(partial(self.encoder.encode, question))
        lookup.hit = self._semantic.lookup(lookup.scope, question, lookup.vector, now_s)
        self._count("semantic", lookup.hit)
        if lookup.hit is not None:
            lookup.answer, lookup.reply = CacheAnswer.SEMANTIC, lookup.hit.value
            lookup.request = request
        return lookup

    def keep(self, lookup: Lookup, events: Iterable[Event], backend: Backend) -> None:
        """Keep a reply that has come to its proper end; one that may not be kept is passed by."""
        if lookup.key is None:
            return
        said = tuple(_joined(events))
        last = said[-1] if said else None
        if not (isinstance(last, End) and (last.finish_reason or "stop") in _ENDINGS):
            return
        if sum(len(_text(event)) for event in said) > _KEPT_CHARS:
            return
        reply, now_s = CachedReply(said, backend.model), self._now_s()
        if self._exact is not None:
            self._exact.put(lookup.key, reply, now_s)
        if self._semantic is not None and lookup.scope and lookup.vector:
            self._semantic.put(lookup.scope, lookup.text, lookup.vector, reply, now_s)

    def used(self, lookup: Lookup) -> None:
        """Note that a request was answered from ``lookup``."""
        if lookup.hit is not None:
            self.found_by_meaning(lookup)

    def forget(self, lookup: Lookup) -> None:
        """Drop the entry that was found by meaning: it was no answer."""
        if self._semantic is not None and lookup.hit is not None and lookup.scope is not None:
            self._semantic.remove(lookup.scope, lookup.hit.text)

    def _count(self, cache: str, found: object) -> None:
        result = CacheResult.MISS if found is None else CacheResult.HIT
        self._lookups(cache, result).inc()


def warm() -> None:
    """Read every list that a look-up needs: 0.1 s, of which the first questions then pay nothing.

    May run in any thread.
    """
    for question in _ORDINARY:
        guards.cacheable(question)


def _joined(events: Iterable[Event]) -> Iterator[Event]:
    """Yield what a replay needs of a reply. After the first token, which is written by itself,
    neighbours become one: an event a token takes twenty times the memory of its text."""
    needed = [event for event in events if not isinstance(event, Timings | Probabilities)]
    place = next((number for number, event in enumerate(needed, 1) if is_token(event)), len(needed))
    yield from needed[:place]
    rest = (event for event in needed[place:] if not isinstance(event, Role))
    # Between the stamp and the text stands which call a fragment belongs to.
    for _, run in groupby(rest, lambda event: (type(event), event[1:-1])):
        first, *more = run
        if isinstance(first, Text | Reasoning | ToolArgument):
            yield first._replace(text=first.text + "".join(map(_text, more)))
        else:
            yield from (first, *more)


def _text(event: Event) -> str:
    return event.text if isinstance(event, Text | Reasoning | ToolArgument) else ""


def _is_kept(request: ChatRequest, question: str) -> bool:
    """Whether a reply to ``request`` may be given again to the same request."""
    if any(request.extra.get(name) for name in _ALTERS_THE_REPLY):
        return False
    return bool(question) and not is_volatile(question)


def is_volatile(question: str) -> bool:
    """Whether the answer depends on the moment: the weather, the time, the news, chance."""
    return thesaurus.patterns("volatile").search(question[:_READ_CHARS].casefold()) is not None


def _is_compared(request: ChatRequest, question: str) -> bool:
    """Whether ``question`` may be answered by its meaning: it is the only one, in plain text and
    without tools, and says by itself what it asks for."""
    roles = [message["role"] for message in request.messages]
    plain = bool(roles) and isinstance(request.messages[-1].get("content"), str)
    return (
        plain
        and not request.tools
        and roles[-1] == "user"
        and roles.count("user") == 1
        and ("assistant" not in roles and "tool" not in roles)
        and guards.cacheable(question)
    )
