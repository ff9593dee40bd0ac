"""Conversations: when they begin, and how they end.

A conversation is a run of requests of one talker. It begins with its first request and ends when
nothing was asked for a while; how its last request ended says how the conversation did. Nothing of
what was said is kept: a conversation is known by a name that its client sent, or by a digest whose
key is drawn anew in each process.
"""

from __future__ import annotations

import re
import secrets
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Any

from firsttoken.core.catalogue import ConversationEnd
from firsttoken.core.words import Outcome
from firsttoken.wire.speech.calls import few_shot_end
from router.policy.signals import text_of

MOST = 10_000
"""Conversations that are open at once, at most."""

PREFIX_CHARS = 256
"""Characters of the system prompt, and of the first thing said, that tell a conversation."""

_CLOCK = re.compile(r"[0-9]{1,2}[:：][0-9]{2}(?::[0-9]{2})?")
"""A time of day."""

_MOMENT_CHARS = 16_384
"""Length at most of a message that tells the moment; some tell what is remembered, too."""

_MOMENT = re.compile(
    r"\s*(?:- )?(?:当前时间|Current time)\s*[:：]"
    r"(?:[^\w<]|\d|[年月日号时点分秒上下午星期周一二三四五六天]"
    r"|(?:(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day|[AP]M|UTC|GMT|CST|T|Z)(?![A-Z]))*+"
    r"(?:<(memory|context)>.*?</\1>\s*)*+",
    re.IGNORECASE | re.DOTALL,
)
"""A message that a voice server adds in the user's name: the moment, and nothing said."""

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
        digest of the tenant and the beginnings of the system prompt and of the first thing that a
        person said, which stay the same while a conversation grows. Times of day in the system
        prompt count as one and the same, and the example conversation that a voice server puts
        before the real one is no thing that a person said.

        Two talkers of one tenant who are told the same and begin with the same words at the same
        time are then taken for one, such as two devices with one persona that are greeted alike; a
        client that drops its oldest messages begins a new conversation.
        """
        if session is not None:
            return tenant, session
        system = next((each for each in messages if each.get("role") == "system"), None)
        told = "" if system is None else _timeless(text_of(system.get("content")))
        said = _first_said(messages)[:PREFIX_CHARS]
        text = f"{len(tenant)} {len(told)} {tenant}{told}{said}"
        digest = self._digest.copy()
        digest.update(text.encode("utf-8", "surrogatepass"))
        return digest.digest()


def _timeless(text: str) -> str:
    """Return the beginning of a text, every time of day in it the same."""
    # Of twice as much: what the times lose is made up for by what follows.
    return _CLOCK.sub("0:00", text[: 2 * PREFIX_CHARS])[:PREFIX_CHARS]


def _first_said(messages: Sequence[Mapping[str, Any]]) -> str:
    """Return the first thing that a person said; empty if there is none."""
    for place in range(few_shot_end(messages), len(messages)):
        message = messages[place]
        if message.get("role") == "user":
            text = text_of(message.get("content"))
            if text and not (len(text) <= _MOMENT_CHARS and _MOMENT.fullmatch(text)):
                return text
    return ""


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
