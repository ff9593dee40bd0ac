"""The time of day in a prompt, so that it does not make the prompt new every minute.

A voice server writes the time into its system prompt, in front of most of what it sends. An engine
keeps what it has read up to the first difference: each minute it would read the rest anew. So the
time is rounded, or moved to where the prompt grows: into the user's message that it belongs to,
and there only where it differs from what was told before. The next request has to hold the very
same words at that place again, so it is remembered what was told where.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from time import monotonic
from typing import Any, NamedTuple

import orjson
import re2

Message = dict[str, Any]

ROUNDED_MINUTES = 10

MOST = 20_000
"""Places that are remembered: some 5 MB."""

MOST_ALIKE = 8
"""Conversations that are remembered at one place: those that began with the same words."""

SAME_REQUEST_S = 20.0
"""Who says the same at the same place within this time is taken to ask once more: another backend,
the client's own retry, the next request of one turn."""

_KEPT_CHARS = 65_536
"""Of one text at most, to be kept with what was found in it."""

_TIME = (
    r"(?:(?:上午|下午|中午|晚上|早上|凌晨|傍晚|夜里)\s?)?"
    r"(?:[0-9]{1,2}[:：][0-9]{2}(?:[:：][0-9]{2}(?:\.[0-9]{1,9})?)?(?:\s?(?:[AaPp]\.?[Mm]\b\.?))?"
    r"(?:Z|\s?[+-][0-9]{2}:?[0-9]{2})?"
    r"|[0-9]{1,2}[点时](?:半|整|[0-9]{1,2}分(?:[0-9]{1,2}秒)?)?)"
)
_DATE = (
    r"(?:[0-9]{4}[-/.][0-9]{1,2}[-/.][0-9]{1,2}(?:T|[,，]?\s*)"
    r"|[0-9]{4}年[0-9]{1,2}月[0-9]{1,2}[日号][,，]?\s*)?"
    r"(?:[(（]?(?:星期|周|礼拜)[一二三四五六日天][)）]?[,，]?\s*"
    r"|[(（]?(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day[)）]?,?\s*)?"
)
_BETWEEN = r"[\s*_`\"'“「]{0,4}(?:is|是|为|at)?\s*(?:now)?[:：=]?[\s*_`\"'“「]{0,4}"


class _Label(NamedTuple):
    """What a time of day that is the present stands behind."""

    pattern: str
    """RE2, without regard to case."""
    pointer: str
    """What stands in the place of the time where it was moved."""


_SEE = "the time in square brackets before what the user said last"
_SEE_ZH = "以最近一条带方括号时间的用户消息为准"

LABELS: tuple[_Label, ...] = (
    _Label(
        r"(?:current|local|present|system) (?:local )?(?:date and |date/|date-|date & )?"
        r"(?:time|datetime)(?: of day)?(?: \([^()\n]{1,40}\))?",
        _SEE,
    ),
    _Label(r"\b(?:the )?(?:time|date and time) (?:is )?(?:right )?now", _SEE),
    _Label(r"\bit is (?:now|currently)", _SEE),
    _Label(r"<(?:current_time|current_datetime|local_time|now)>", _SEE),
    _Label(
        r"(?:当前|现在|目前|此刻|本地|北京|系统)的?(?:日期和|日期与|日期)?(?:时间|时刻)"
        r"(?:[(（][^()（）\n]{1,40}[)）])?",
        _SEE_ZH,
    ),
    _Label(r"(?:现在|此刻|目前)(?:的时间)?是", _SEE_ZH),
)
"""Behind them a time is the present; any other one, such as that of an alarm, stays."""


def _compiled() -> Any:
    options = re2.Options()
    options.case_sensitive = False
    labels = "|".join(f"({label.pattern})" for label in LABELS)
    return re2.compile(f"(?:{labels}){_BETWEEN}{_DATE}({_TIME})", options)


_PRESENT = _compiled()
_TIME_GROUP = len(LABELS) + 1
_CLOCK = re.compile(
    r"(?P<hour>[0-9]{1,2})(?P<mark>[:：点时])(?P<minute>[0-9]{2}|[0-9]{1,2}(?=分))?"
)
_SECONDS = re.compile(r"(?<=[:：][0-9]{2})[:：][0-9]{2}(?:\.[0-9]+)?|(?<=分)[0-9]{1,2}秒")
_OFFSET = re.compile(r"(?:Z|\s?[+-][0-9]{2}:?[0-9]{2})$")


class Found(NamedTuple):
    """What a text says of the present time."""

    time: str
    """To the minute; empty where it says nothing."""
    moved: str
    """The text with a pointer in the place of each such time."""
    rounded: str
    """The text with each such time rounded down."""


def find(text: str) -> Found:
    """Find the present time in a text: a time of day right behind one of :data:`LABELS`, where a
    date and a weekday may stand between; those stay as they are."""
    return _find(text) if len(text) <= _KEPT_CHARS else _find.__wrapped__(text)


@lru_cache(64)
def _find(text: str) -> Found:
    time, place = "", 0
    moved: list[str] = []
    rounded: list[str] = []
    for match in _PRESENT.finditer(text):
        start, end = match.span(_TIME_GROUP)
        told = _OFFSET.sub("", _SECONDS.sub("", match[_TIME_GROUP])).strip()
        pointer = next(
            label.pointer for number, label in enumerate(LABELS, 1) if match[number] is not None
        )
        time = time or told
        moved += text[place:start], pointer
        rounded += text[place:start], _CLOCK.sub(_round, told, count=1)
        place = end
    return Found(time, "".join((*moved, text[place:])), "".join((*rounded, text[place:])))


def _round(match: re.Match[str]) -> str:
    minute = match["minute"]
    if minute is None:
        return match[0]
    down = int(minute) // ROUNDED_MINUTES * ROUNDED_MINUTES
    return f"{match['hour']}{match['mark']}{down:02d}"


@dataclass(slots=True)
class _Telling:
    """What was told at one place of one conversation."""

    text: str
    """The time; empty: nothing, since it was the same as before."""
    at_s: float
    known: bool = False
    """Whether the conversation has gone on, and is told from others by that."""


class ClockMemory:
    """Which time was told where.

    A place is a digest of all messages up to there. Two conversations that begin alike share the
    first place: the one that goes on first takes the telling that is newest and not yet taken. What
    is forgotten costs an engine one reading of the prompt, and nothing else.

    Args:
        most: places that are remembered.
        now_s: a clock that never goes back.
    """

    def __init__(self, most: int = MOST, now_s: Callable[[], float] = monotonic) -> None:
        self._most = most
        self._now_s = now_s
        self._tellings: OrderedDict[bytes, list[_Telling]] = OrderedDict()
        self._later: OrderedDict[bytes, str] = OrderedDict()
        """What was told before a message, by the place behind that message."""

    @property
    def places(self) -> int:
        """How many are remembered. No length: a memory that is empty is a memory all the same."""
        return len(self._tellings) + len(self._later)

    def told(self, place: bytes, behind: bytes) -> str | None:
        """Return what was told at ``place``, in the conversation that goes on with the message that
        ends at ``behind``: empty where nothing had to be told, None where nobody knows."""
        known = self._later.get(behind)
        if known is not None:
            self._later.move_to_end(behind)
            return known
        tellings = self._tellings.get(place)
        if not tellings:
            return None
        free = [each for each in tellings if not each.known]
        taken = (free or tellings)[-1]
        taken.known = True
        self._later[behind] = taken.text
        self._forget()
        return taken.text

    def tell(self, place: bytes, time: str, before: str) -> str:
        """Return what to tell at ``place``, the last user message, and remember it.

        Args:
            place: digest of all messages up to and with it.
            time: the present one.
            before: what this conversation was told last.
        """
        now_s = self._now_s()
        tellings = self._tellings.setdefault(place, [])
        self._tellings.move_to_end(place)
        if tellings and now_s - tellings[-1].at_s <= SAME_REQUEST_S:
            return tellings[-1].text
        tellings.append(_Telling("" if time == before else time, now_s))
        del tellings[:-MOST_ALIKE]
        self._forget()
        return tellings[-1].text

    def _forget(self) -> None:
        while self.places > self._most:
            if len(self._tellings) > len(self._later):
                self._tellings.popitem(last=False)
            else:
                self._later.popitem(last=False)


def rounded(messages: list[Message]) -> list[Message]:
    """Return ``messages`` with the time in system prompts rounded down to ten minutes."""
    return _with_system(messages, lambda found: found.rounded)[0]


def moved(messages: list[Message], memory: ClockMemory) -> list[Message]:
    """Return ``messages`` with the time moved from system prompts to what the user says."""
    last = next((n for n in reversed(range(len(messages))) if messages[n]["role"] == "user"), None)
    if last is None:
        return messages
    timeless, time = _with_system(messages, lambda found: found.moved)
    if not time:
        return messages
    found = list(timeless)
    digest = blake2b(digest_size=16)
    before, asked = "", None
    place = b""
    for number, message in enumerate(timeless):
        digest.update(orjson.dumps(message))
        if asked is not None:
            text = memory.told(place, digest.digest())
            if text is None:
                # Only what was said last can still be told the time: the rest was read without.
                text = memory.tell(place, time, before) if asked == last else ""
            before = _tell(found, asked, text) or before
            asked = None
        if message["role"] == "user":
            asked, place = number, digest.digest()
    if asked is not None:
        _tell(found, asked, memory.tell(place, time, before))
    return found


def _tell(messages: list[Message], number: int, time: str) -> str:
    """Put a time before what message ``number`` says; return it."""
    if time:
        message = messages[number]
        messages[number] = {**message, "content": _led(message.get("content"), f"[{time}]")}
    return time


def _led(content: object, told: str) -> object:
    if isinstance(content, list):
        return [{"type": "text", "text": told}, *content]
    return f"{told} {content}" if content else told


def _with_system(
    messages: list[Message], choose: Callable[[Found], str]
) -> tuple[list[Message], str]:
    """Return ``messages`` with other texts of system prompts, and the time that they told."""
    changed = list(messages)
    time = ""
    for number, message in enumerate(messages):
        content = message.get("content")
        if message["role"] in _SYSTEM_ROLES and isinstance(content, str):
            found = find(content)
            time = time or found.time
            if found.time:
                changed[number] = {**message, "content": choose(found)}
    return (changed, time) if time else (messages, "")


_SYSTEM_ROLES: Sequence[str] = ("system", "developer")
