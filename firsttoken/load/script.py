"""What each talker says, for every step, user and turn: pure and seeded."""

from __future__ import annotations

import random
from typing import Any, NamedTuple

from firsttoken.core.personas import Persona
from firsttoken.load.corpus import Corpus, Utterance

SHARED_POOL = 4
"""Utterances a persona that the repeated turns are drawn from. Few, so that all of them have been
said once when the warm-up ends."""


class Said(NamedTuple):
    """What one turn says."""

    persona: Persona
    utterance: Utterance

    def messages(self) -> list[dict[str, Any]]:
        """Return the turn as a chat of its own, in the shape of OpenAI messages."""
        return [
            {"role": "system", "content": self.persona.system},
            {"role": "user", "content": self.utterance.text},
        ]


class Script:
    """Who says what, for every (step, user, turn), whatever the arm and however late it is said.

    A user keeps one persona, as a device does. The users of a persona walk together through one
    shuffled list of its utterances and never say the same one twice until all have been said;
    each step starts at another part of the list, as wide as its share of all users. A reply that
    comes early from a cache is therefore one that ``repeat_share`` asked for, as long as the list
    lasts.
    """

    def __init__(self, corpus: Corpus, steps: list[int], seed: int, repeat_share: float) -> None:
        self._seed = seed
        self._steps = steps
        self._repeat_share = repeat_share
        self._personas = list(corpus.personas)
        random.Random(f"{seed}/personas").shuffle(self._personas)  # noqa: S311 - not a secret
        self._walks: dict[str, list[Utterance]] = {}
        self._pools: dict[str, list[Utterance]] = {}
        for persona in self._personas:
            walk = list(corpus.spoken_to(persona))
            random.Random(f"{seed}/{persona.id}").shuffle(walk)  # noqa: S311
            reserved = min(SHARED_POOL, len(walk) // 2) if repeat_share > 0 else 0
            # A list of a single utterance is both: whatever is said repeats it.
            self._pools[persona.id] = walk[:reserved] or walk[:1]
            self._walks[persona.id] = walk[reserved:]

    def reply_tokens(self, said: Said, shortest: int, longest: int) -> int:
        """Return how many tokens to ask for in answer to ``said``: uniform from ``shortest`` to
        ``longest``, and the same whenever it is said again, as a device would ask."""
        draw = random.Random(f"{self._seed}/reply/{said.utterance.id}")  # noqa: S311
        return draw.randint(min(shortest, longest), longest)

    def say(self, step: int, user: int, turn: int) -> Said:
        """Return what ``user`` (from 0) says in ``turn`` (from 0) of ``step`` (an index)."""
        count = len(self._personas)
        rank = user // count
        sharers = max(1, -(-(self._steps[step] - user % count) // count))
        return self._draw(step, user % count, turn * sharers + rank, f"{step}/{user}/{turn}")

    def arrive(self, step: int, number: int) -> Said:
        """Return what is said at the ``number``-th start (from 0) of an open loop at ``step``,
        however many talkers there are to say it."""
        walked, persona = divmod(number, len(self._personas))
        return self._draw(step, persona, walked, f"{step}/arrival/{number}")

    def _draw(self, step: int, number: int, walked: int, key: str) -> Said:
        """Return what persona ``number`` is told ``walked`` places on in its list of this step, or
        what ``key`` draws from those that are repeated."""
        persona = self._personas[number]
        if self._repeat_share > 0:
            draw = random.Random(f"{self._seed}/{key}")  # noqa: S311
            if draw.random() < self._repeat_share:
                return Said(persona, draw.choice(self._pools[persona.id]))
        walk = self._walks[persona.id]
        start = len(walk) * sum(self._steps[:step]) // sum(self._steps)
        return Said(persona, walk[(start + walked) % len(walk)])
