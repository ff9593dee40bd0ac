"""The plan of a measurement, and what each talker says when: pure and seeded.

A plan is a list of blocks. A block is one arm at one number of users: a warm-up in which the
talkers start one after the other, a steady part, and a drain in which nothing new is sent and
every request under way is seen to its end.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from firsttoken.core.errors import UserError
from firsttoken.load.corpus import Corpus, Persona, Utterance

MAX_USERS = 10_000
MAX_SECONDS = 86_400.0
SHORTEST_REPLY_TOKENS = 8
"""Replies are asked for with this many tokens, unless the plan says otherwise, to
:attr:`RunPlan.max_tokens`: talkers that all got replies of one length would end, and begin again,
at the same moment."""
SHARED_POOL = 4
"""Utterances a persona that :attr:`RunPlan.repeat_share` of the turns are drawn from. Few, so that
all of them have been said once when the warm-up ends."""

_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9._~-]{1,128}$")]
"""Goes into request ids, and those into headers and URLs."""
_Seconds = Annotated[float, Field(gt=0, le=MAX_SECONDS)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class PlannedArm(_Strict):
    """One arm: where its requests go."""

    arm: _Name
    url: str
    model: str
    dialect: str = "openai"
    api_key_env: str | None = None
    """Name of the environment variable that holds the key; the key itself is in no file."""
    extra_body: dict[str, Any] = Field(default_factory=dict)


class Block(NamedTuple):
    """One arm at one number of users."""

    number: int
    """Position in the run, from 0; part of the request ids."""
    step: int
    """Position of the number of users in :attr:`RunPlan.steps`, from 0."""
    arm: PlannedArm
    users: int
    warmup_seconds: float
    steady_seconds: float


class RunPlan(_Strict):
    """The file behind ``--run-plan``."""

    run_id: _Name
    run_dir: Path
    scenario: str
    seed: int
    steps: Annotated[list[Annotated[int, Field(ge=1, le=MAX_USERS)]], Field(min_length=1)]
    step_seconds: _Seconds
    """Length of the steady part of a block; the warm-up comes before it."""
    warmup_seconds: Annotated[float, Field(ge=0, le=MAX_SECONDS)]
    final_step_seconds: _Seconds | None = None
    """Length of the steady part of the largest step, where it needs more samples."""
    arms: Annotated[list[PlannedArm], Field(min_length=1)]
    max_tokens: Annotated[int, Field(ge=1, le=1_000_000)]
    """Length of the longest reply asked for."""
    min_tokens: Annotated[int, Field(ge=1, le=1_000_000)] = SHORTEST_REPLY_TOKENS
    """Length of the shortest one."""
    repeat_share: Annotated[float, Field(ge=0, le=1)] = 0.0
    request_timeout_seconds: _Seconds = 30.0
    parent_pid: int | None = None
    """The run ends when this process, its parent, does."""

    @field_validator("arms")
    @classmethod
    def _arms_differ(cls, arms: list[PlannedArm]) -> list[PlannedArm]:
        names = [arm.arm for arm in arms]
        if len(set(names)) != len(names):
            raise ValueError("two arms bear the same name")
        return arms

    @classmethod
    def parse(cls, text: str, source: str) -> RunPlan:
        """Read a plan from JSON; ``source`` names it in messages.

        Raises:
            UserError: it is not JSON or not a plan; the message names the first wrong key.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise UserError(f"{source}: {where + ': ' if where else ''}{first['msg']}") from error

    @classmethod
    def read(cls, path: Path) -> RunPlan:
        """Read a plan file.

        Raises:
            UserError: it cannot be read, or is not a plan.
        """
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"cannot read the run plan {path}: {error}") from error
        return cls.parse(text, str(path))

    def blocks(self) -> tuple[Block, ...]:
        """Return the blocks in the order of the run: for each number of users, each arm."""
        blocks: list[Block] = []
        for step, users in enumerate(self.steps):
            seconds = self.step_seconds
            if users == max(self.steps) and self.final_step_seconds is not None:
                seconds = self.final_step_seconds
            for arm in self.arms:
                block = Block(len(blocks), step, arm, users, self.warmup_seconds, seconds)
                blocks.append(block)
        return tuple(blocks)


def session_id(run_id: str, arm: str, block: int, user: int) -> str:
    """Name one talker of one block: unique in a run, and safe in a URL and a header."""
    return f"{run_id}-{arm}-{block}-{user}"


def request_id(session: str, turn: int) -> str:
    """Name one turn of a session."""
    return f"{session}-{turn}"


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


class Schedule:
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
        persona = self._personas[user % count]
        if self._repeat_share > 0:
            draw = random.Random(f"{self._seed}/{step}/{user}/{turn}")  # noqa: S311
            if draw.random() < self._repeat_share:
                return Said(persona, draw.choice(self._pools[persona.id]))
        walk = self._walks[persona.id]
        start = len(walk) * sum(self._steps[:step]) // sum(self._steps)
        rank = user // count
        sharers = max(1, -(-(self._steps[step] - user % count) // count))
        return Said(persona, walk[(start + turn * sharers + rank) % len(walk)])
