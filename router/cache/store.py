"""Both caches before the backends: what is asked of them, what is kept in them, and the check of
hits that were found by meaning."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from firsttoken.core.catalogue import CacheAnswer, CacheResult
from firsttoken.core.settings.backend import Backend
from firsttoken.core.settings.guide import CachingStrategy
from firsttoken.language import guards, thesaurus
from firsttoken.language.encoder import Encoder, Vector
from firsttoken.wire.dialect import ChatRequest
from firsttoken.wire.events import End, Event, Probabilities, Timings
from router.cache.exact import ExactCache, key_of
from router.cache.semantic import Hit, SemanticIndex
from router.meters import Meters
from router.policy.signals import last_user_text

_ENDINGS = frozenset({"stop", "length", "tool_calls"})
"""Finish reasons of replies that are kept. One that reached its length is whole: the length is
part of the question."""

_READ_CHARS = 512
"""Characters of a question that are searched for what makes its answer depend on the moment."""

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
    vector: Callable[[], Vector] | None = None
    """Makes the question's vector, where there is something to compare it with."""
    hit: Hit[CachedReply] | None = None
    """The entry that was found by meaning."""
    request: ChatRequest | None = None


class Caches:
    """The exact cache and, where it is on and its encoder is loaded, the semantic one.

    Args:
        exact: None where it is off.
        semantic: None where it is off.
        meters: counts lookups.
        now_s: the clock.
        found_by_meaning: is told of each semantic hit that was used.
    """

    def __init__(
        self,
        exact: ExactCache[CachedReply] | None,
        semantic: SemanticIndex[CachedReply] | None,
        meters: Meters,
        now_s: Callable[[], float],
        found_by_meaning: Callable[[Lookup], None] = lambda lookup: None,  # noqa: ARG005
    ) -> None:
        self._exact = exact
        self._semantic = semantic
        self._lookups = meters.cache_lookups
        self._now_s = now_s
        self.found_by_meaning = found_by_meaning
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
        now_s = self._now_s()
        lookup.answer, lookup.key = CacheAnswer.MISS, key_of(request, tenant)
        if self._exact is not None:
            lookup.reply = self._exact.get(lookup.key, now_s)
            self._count("exact", lookup.reply)
            if lookup.reply is not None:
                lookup.answer = CacheAnswer.EXACT
                return lookup
        if self._semantic is not None and self.encoder is not None and _is_single_turn(request):
            if not guards.cacheable(question):
                return lookup
            lookup.scope = key_of(request, tenant, text=False)
            vector = partial(self.encoder.encode, question)
            lookup.text, lookup.vector = question, vector
            lookup.hit = self._semantic.lookup(lookup.scope, question, vector, now_s)
            self._count("semantic", lookup.hit)
            if lookup.hit is not None:
                lookup.answer, lookup.reply = CacheAnswer.SEMANTIC, lookup.hit.value
                lookup.request = request
        return lookup

    def keep(self, lookup: Lookup, events: Iterable[Event], backend: Backend) -> None:
        """Keep a reply that has come to its proper end; one that may not be kept is passed by."""
        said = tuple(event for event in events if not isinstance(event, Timings | Probabilities))
        if lookup.key is None or not said:
            return
        last = said[-1]
        if not (isinstance(last, End) and (last.finish_reason or "stop") in _ENDINGS):
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


def _is_kept(request: ChatRequest, question: str) -> bool:
    """Whether a reply to ``request`` may be given again to the same request."""
    if any(request.extra.get(name) for name in _ALTERS_THE_REPLY):
        return False
    return bool(question) and not is_volatile(question)


def is_volatile(question: str) -> bool:
    """Whether the answer depends on the moment: the weather, the time, the news, chance."""
    return thesaurus.patterns("volatile").search(question[:_READ_CHARS].casefold()) is not None


def _is_single_turn(request: ChatRequest) -> bool:
    """Whether the last message is the only question, in plain text and without tools."""
    roles = [message["role"] for message in request.messages]
    plain = bool(roles) and isinstance(request.messages[-1].get("content"), str)
    return (
        plain
        and not request.tools
        and roles[-1] == "user"
        and roles.count("user") == 1
        and ("assistant" not in roles and "tool" not in roles)
    )
