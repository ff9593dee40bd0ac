"""Conversations: when they begin, and how they end.

A conversation is a run of requests of one talker. It begins with its first request and ends when
nothing was asked for a while; how its last request ended says how the conversation did. Nothing of
what was said is kept: a conversation is known by a name that its client sent, or by a digest whose
key is drawn anew in each process.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Any

from firsttoken.core.catalogue import ConversationEnd
from firsttoken.core.words import Outcome
from router.policy.signals import text_of

MOST = 10_000
"""Conversations that are open at once, at most."""

PREFIX_CHARS = 256
"""Characters of the system prompt, and of the first thing said, that tell a conversation."""

END_OF: dict[Outcome, ConversationEnd] = {
    Outcome.SUCCESS: ConversationEnd.COMPLETED,
    Outcome.CANCELLED: ConversationEnd.ABANDONED,
    Outcome.ERROR: ConversationEnd.FAILED,
    Outcome.TIMEOUT: ConversationEnd.FAILED,
    Outcome.REJECTED: ConversationEnd.FAILED,
}
"""How a conversation ended, by the outcome of its last request."""

Key = bytes | tuple[str, str]
"""What tells one conversation from another."""


class Identifier:
    """Tells which conversation a request belongs to.

    Args:
        secret: key of the digests, at most 64 bytes; left out, a new one.
    """

    def __init__(self, secret: bytes | None = None) -> None:
        # Copying one is quicker than making one.
        self._digest = blake2b(digest_size=16, key=secret or secrets.token_bytes(32))

    def key(
        self, messages: Sequence[Mapping[str, Any]], tenant: str, session: str | None = None
    ) -> Key:
        """Return the key of the conversation.

        With ``session``, the name that the client gave it, that is tenant and session. Else it is a
        digest of the tenant and the beginnings of the system prompt and of the first user message,
        which stay the same while a conversation grows. Two talkers of one tenant who begin with the
        same words at the same time are then taken for one; a client that drops its oldest messages
        begins a new conversation.
        """
        if session is not None:
            return tenant, session
        told = {"system": "", "user": ""}
        missing = 2
        for message in messages:
            role = message.get("role")
            if role in told and not told[role]:
                told[role] = text_of(message.get("content"))[:PREFIX_CHARS]
                missing -= 1
                if not missing:
                    break
        system, user = told["system"], told["user"]
        text = f"{len(tenant)} {len(system)} {tenant}{system}{user}"
        digest = self._digest.copy()
        digest.update(text.encode("utf-8", "surrogatepass"))
        return digest.digest()


class Conversations:
    """The open conversations. Times are seconds of one clock that never goes back.

    Each one that begins ends exactly once, unless the process ends before. Where ``most`` are open,
    a new one ends the one that has been quiet longest; where all of them are being answered, the
    new one is not counted at all.

    Args:
        idle_s: a conversation has ended when nothing was asked for so long.
        on_start: is called for each that begins.
        on_end: is told how each ended.
        most: kept at once, at most.
    """

    def __init__(
        self,
        idle_s: float,
        on_start: Callable[[], None],
        on_end: Callable[[ConversationEnd], None],
        most: int = MOST,
    ) -> None:
        self.idle_s = idle_s
        self._on_start = on_start
        self._on_end = on_end
        self._most = most
        self._busy: dict[Key, int] = {}
        """Requests under way."""
        self._quiet: OrderedDict[Key, tuple[float, ConversationEnd]] = OrderedDict()
        """Since when, and how it ends if nothing more comes; the longest quiet first."""

    def __len__(self) -> int:
        """Return how many are open."""
        return len(self._busy) + len(self._quiet)

    def begin(self, key: Key, now_s: float) -> bool:
        """Note a request that begins; say whether its end is to be told by :meth:`end`."""
        self.expire(now_s)
        under_way = self._busy.get(key, 0)
        if not under_way and self._quiet.pop(key, None) is None:
            if len(self) >= self._most and not self._end_quietest():
                return False
            self._on_start()
        self._busy[key] = under_way + 1
        return True

    def end(self, key: Key, outcome: Outcome, now_s: float) -> None:
        """Note how a request ended that :meth:`begin` said yes to."""
        under_way = self._busy[key] - 1
        if under_way:
            self._busy[key] = under_way
        else:
            del self._busy[key]
            self._quiet[key] = now_s, END_OF[outcome]

    def expire(self, now_s: float) -> None:
        """End the conversations in which nothing was asked for ``idle_s`` seconds."""
        quiet = self._quiet
        while quiet and now_s - next(iter(quiet.values()))[0] >= self.idle_s:
            self._end_quietest()

    def _end_quietest(self) -> bool:
        """End the one that has been quiet longest; say whether there was one."""
        if not self._quiet:
            return False
        _, (_, end) = self._quiet.popitem(last=False)
        self._on_end(end)
        return True
