"""What an engine has in its cache, as far as can be told from what it was sent.

An engine keeps, for each of its slots, what it has read last, and reads of a new prompt only what
differs. Of each slot a chain of digests is kept here, one for each piece of the prompt that went
there: the first pieces that two chains share are the part that need not be read again. Nothing of
what was said is kept.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import monotonic
from typing import NamedTuple

import orjson

from firsttoken.wire.dialect import ChatRequest

PIECE_BYTES = 256
"""Length of a piece: so exact is a prediction."""

ACTIVE_S = 120.0
"""A conversation that was quiet for so long is taken not to come back."""

LEAST_PINNED_BYTES = 2048
"""A shorter prompt is read quickly wherever it goes."""


class Prompt(NamedTuple):
    """The fingerprint of one prompt: as engines write it, system prompt and tools come first."""

    marks: tuple[int, ...]
    """A digest for each piece, of it and all before it."""
    ends: tuple[int, ...]
    """Bytes up to the end of each piece."""
    head: int
    """Pieces of system prompt and tools."""

    @property
    def size(self) -> int:
        """Bytes of UTF-8."""
        return self.ends[-1] if self.ends else 0

    @property
    def beginning(self) -> int:
        """The digest of system prompt and tools; 0 where there is neither."""
        return self.marks[self.head - 1] if self.head else 0

    def up_to(self, size: int) -> Prompt:
        """Return the fingerprint of the whole pieces within the first ``size`` bytes."""
        pieces = bisect_right(self.ends, size)
        return Prompt(self.marks[:pieces], self.ends[:pieces], min(self.head, pieces))

    @property
    def beginning_only(self) -> Prompt:
        """The fingerprint of system prompt and tools."""
        return Prompt(self.marks[: self.head], self.ends[: self.head], self.head)


def fingerprint(request: ChatRequest) -> Prompt:
    """Return the fingerprint of the prompt of a prepared request."""
    marks: list[int] = []
    ends: list[int] = []
    mark = end = head = 0
    for block, of_head in _blocks(request):
        for place in range(0, len(block), PIECE_BYTES):
            piece = block[place : place + PIECE_BYTES]
            mark = hash((mark, piece))
            end += len(piece)
            marks.append(mark)
            ends.append(end)
        if of_head:
            head = len(marks)
    return Prompt(tuple(marks), tuple(ends), head)


def _blocks(request: ChatRequest) -> Iterator[tuple[bytes, bool]]:
    messages = request.messages
    end = next((n for n, each in enumerate(messages) if each["role"] not in _HEADS), len(messages))
    for message in messages[:end]:
        yield orjson.dumps(message), True
    for tool in request.tools:
        yield orjson.dumps(tool), True
    for message in messages[end:]:
        yield orjson.dumps(message), False


_HEADS = frozenset({"system", "developer"})


def shared_bytes(one: Prompt, other: Prompt) -> int:
    """Return how many bytes at the beginning of both prompts are the same, in whole pieces."""
    most = min(len(one.marks), len(other.marks))
    # Digests are of all that comes before: up to some place they are equal, and nowhere behind it.
    same = bisect_left(range(most), 1, key=lambda place: one.marks[place] != other.marks[place])
    return one.ends[same - 1] if same else 0


@dataclass(slots=True)
class _Slot:
    prompt: Prompt | None = None
    """What it holds, or is reading."""
    read_bytes: int = 0
    """How much of that was read."""
    sure: bool = False
    """Whether the engine was told to use this slot for it: else it may be in another one."""
    used_s: float = 0.0
    busy: bool = False
    pinned: bool = False
    """Whether the engine was told to use this slot by the one that is busy."""

    def forget(self) -> None:
        """Take it that the engine has nothing in it; who is using it goes on."""
        self.prompt, self.read_bytes, self.sure = None, 0, False

    def shared(self, prompt: Prompt) -> int:
        return 0 if self.prompt is None else shared_bytes(self.prompt, prompt)

    def cached(self, prompt: Prompt) -> int:
        return min(self.shared(prompt), self.read_bytes)


@dataclass(slots=True)
class Seat:
    """Where a prompt goes, until :meth:`leave`."""

    cached: int
    """Bytes at its beginning that are taken to be in the cache."""
    number: int | None = None
    """The engine's slot, where it is to be told which one."""
    slot: _Slot | None = None
    before_s: float = 0.0
    """When the slot was used before."""

    def was_read(self) -> None:
        """Note that the engine has read the whole prompt."""
        if self.slot is not None and self.slot.prompt is not None:
            self.slot.read_bytes = self.slot.prompt.size

    def leave(self, *, read: bool = True) -> None:
        """Give the slot back; ``read`` says whether the engine has read the prompt."""
        slot, self.slot = self.slot, None
        if slot is not None:
            slot.busy = slot.pinned = False
            if slot.prompt is not None:
                kept = slot.prompt if read else slot.prompt.up_to(self.cached)
                slot.prompt, slot.read_bytes = kept if kept.marks else None, kept.size
            if not read:
                # Else nothing could be read there before it is taken not to come back.
                slot.used_s = self.before_s


class Fingerprints:
    """The slots of one engine.

    Args:
        slots: how many there are.
        now_s: a clock that never goes back.
    """

    def __init__(self, slots: int = 1, now_s: Callable[[], float] = monotonic) -> None:
        self._slots = [_Slot() for _ in range(slots)]
        self._now_s = now_s

    def __len__(self) -> int:
        """Return the number of slots."""
        return len(self._slots)

    def begin_anew(self, slots: int | None = None) -> None:
        """Forget what was read: the engine may have been started again, perhaps with other slots.
        A long reply may be under way all the same: its slot stays in use."""
        count = len(self) if slots is None else slots
        for slot in self._slots:
            slot.forget()
        del self._slots[count:]
        self._slots += [_Slot() for _ in range(count - len(self))]

    @property
    def pinned(self) -> int:
        """Slots in use of which it is known which ones they are."""
        return sum(slot.pinned for slot in self._slots)

    def cached(self, prompt: Prompt) -> int:
        """Return how many bytes at the beginning of ``prompt`` some slot has read already."""
        return max((slot.cached(prompt) for slot in self._slots), default=0)

    def knows(self, prompt: Prompt) -> bool:
        """Say whether some slot has read, or is reading, the system prompt and the tools of
        ``prompt``."""
        return self._shared(prompt) >= prompt.beginning_only.size

    def take_spare(self, prompt: Prompt, *, pin: bool) -> Seat | None:
        """Return where the beginning of ``prompt`` can be read before anybody asks: a slot that
        nobody comes back to; None where there is none."""
        now_s = self._now_s()
        free = [
            number
            for number, slot in enumerate(self._slots)
            if not slot.busy and (slot.prompt is None or now_s - slot.used_s > ACTIVE_S)
        ]
        if not free:
            return None
        number = max(free, key=lambda n: (self._slots[n].shared(prompt), -self._slots[n].used_s))
        shared = self._slots[number].shared(prompt)
        return self._give(number, prompt.beginning_only, shared, pinned=pin)

    def take(self, prompt: Prompt, *, pin: bool) -> Seat:
        """Return where ``prompt`` goes: to the free slot that saves most reading, now and later.

        A slot saves what it shares with the prompt, and costs what its own conversation, if that
        may come back, would have to be read again; of equal ones the longest unused is taken, so
        that a conversation keeps its slot as long as there is another. ``pin`` says whether the
        engine may be told the slot. It is left to choose where a slot in use shares much more than
        any free one, since it may have a copy; and where a conversation goes on that it has put
        somewhere itself.
        """
        free = [number for number, slot in enumerate(self._slots) if not slot.busy]
        if not free:
            return Seat(self.cached(prompt))
        now_s = self._now_s()

        def worth(number: int) -> tuple[int, float]:
            slot = self._slots[number]
            return slot.shared(prompt) - _loss(slot, prompt, now_s), -slot.used_s

        number = max(free, key=worth)
        slot = self._slots[number]
        shared = slot.shared(prompt)
        pinned = (
            pin
            and prompt.size >= LEAST_PINNED_BYTES
            and 2 * shared >= min(self._shared(prompt), prompt.size)
            and (slot.sure or 2 * shared < prompt.size)
        )
        if not pinned and len(self) > 1:
            # It may go to any free slot, and push out what is there.
            for each in free:
                self._slots[each].sure = False
        read_bytes = slot.cached(prompt) if pinned else self.cached(prompt)
        return self._give(number, prompt, read_bytes, pinned=pinned)

    def _shared(self, prompt: Prompt) -> int:
        """Return how many bytes at the beginning of ``prompt`` some slot has read, or is to."""
        return max((slot.shared(prompt) for slot in self._slots), default=0)

    def _give(self, number: int, prompt: Prompt, read_bytes: int, *, pinned: bool) -> Seat:
        slot = self._slots[number]
        seat = Seat(read_bytes, number if pinned else None, slot, slot.used_s)
        slot.prompt, slot.read_bytes, slot.sure = prompt, read_bytes, pinned
        slot.used_s, slot.busy, slot.pinned = self._now_s(), True, pinned
        return seat


def _loss(slot: _Slot, prompt: Prompt, now_s: float) -> int:
    """Return how many bytes would have to be read again for who has the slot now."""
    if slot.prompt is None or not _may_come_back(slot, now_s):
        return 0
    return slot.prompt.size - slot.shared(prompt)


def _may_come_back(slot: _Slot, now_s: float) -> bool:
    """Say whether a slot is a conversation's; a beginning alone is nobody's yet."""
    known = slot.prompt
    of_somebody = known is not None and len(known.marks) > known.head
    return of_somebody and now_s - slot.used_s <= ACTIVE_S
