"""The plan of a measurement: its blocks, arms and loads.

A plan is a list of blocks. A block is one arm at one number of users: a warm-up in which the
talkers start one after the other, a steady part, and a drain in which nothing new is sent and
every request under way is seen to its end.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from firsttoken.core.errors import UserError
from firsttoken.load.schedules.options import (
    BurstOptions,
    OpenLoopOptions,
    ReplayOptions,
    SessionsOptions,
    Strict,
    VoiceOptions,
)

MAX_USERS = 10_000
MAX_SECONDS = 86_400.0
MAX_STARTS = 1_000_000
"""Planned starts of a block: as many as a trace may have rows."""
SHORTEST_REPLY_TOKENS = 8
"""Replies are asked for with this many tokens, unless the plan says otherwise, to
:attr:`RunPlan.max_tokens`: talkers that all got replies of one length would end, and begin again,
at the same moment."""
_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9._~-]{1,128}$")]
"""Goes into request ids, and those into headers and URLs."""
_Seconds = Annotated[float, Field(gt=0, le=MAX_SECONDS)]


class Scenario(StrEnum):
    """What decides when a talker speaks; each is a file of ``loadtests/``."""

    STEPS = "steps"
    OPEN_LOOP = "open_loop"
    SESSIONS = "sessions"
    BURST = "burst"
    REPLAY = "replay"
    SOAK = "soak"
    VOICE = "voice"


class PlannedArm(Strict):
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
    rate: float | None
    """Arrivals a second of an open loop; None where talkers wait for their replies."""
    warmup_seconds: float
    steady_seconds: float


class RunPlan(Strict):
    """The file behind ``--run-plan``."""

    run_id: _Name
    run_dir: Path
    scenario: Scenario
    seed: int
    steps: Annotated[list[Annotated[int, Field(ge=1, le=MAX_USERS)]], Field(min_length=1)]
    step_seconds: _Seconds
    """Length of the steady part of a block; the warm-up comes before it."""
    warmup_seconds: Annotated[float, Field(ge=0, le=MAX_SECONDS)]
    final_step_seconds: _Seconds | None = None
    """Length of the steady part of the largest step, where it needs more samples."""
    settle_cap_seconds: _Seconds | None = None
    """How long the load may take, after the ramp, to come to rest; the steady part begins then, or
    at the latest here. None: it begins right after the ramp, and nobody asks."""
    until_ci: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Go on beyond the planned length until half the interval of the TTFT p95 is at most this
    share of it. Only where the schedule has no planned end."""
    until_cap_seconds: _Seconds | None = None
    """Longest steady part then; None: ten times the planned length."""
    arms: Annotated[list[PlannedArm], Field(min_length=1)]
    max_tokens: Annotated[int, Field(ge=1, le=1_000_000)]
    """Length of the longest reply asked for."""
    min_tokens: Annotated[int, Field(ge=1, le=1_000_000)] = SHORTEST_REPLY_TOKENS
    """Length of the shortest one."""
    repeat_share: Annotated[float, Field(ge=0, le=1)] = 0.0
    open_loop: OpenLoopOptions = OpenLoopOptions()
    sessions: SessionsOptions = SessionsOptions()
    burst: BurstOptions = BurstOptions()
    voice: VoiceOptions = VoiceOptions()
    replay: ReplayOptions | None = None
    """Needed by the scenario of that name."""
    alternate: bool = False
    """Let the arms begin in turn, as in ABBA: none always comes after the other."""
    first_block: Annotated[int, Field(ge=0)] = 0
    """Number of the first block, where a run is made of several plans."""
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

    @model_validator(mode="after")
    def _has_what_its_scenario_needs(self) -> Self:
        if self.scenario is Scenario.REPLAY and self.replay is None:
            raise ValueError("replay: the scenario needs a trace")
        if self.scenario is Scenario.OPEN_LOOP:
            longest = max(self.step_seconds, self.final_step_seconds or 0) + self.warmup_seconds
            rate = self.open_loop.rate
            if round(rate * self.step_seconds) < 1:
                raise ValueError(f"{rate:g} starts a second make none in {self.step_seconds:g} s")
            if rate * longest > MAX_STARTS:
                raise ValueError(
                    f"{rate:g} starts a second for {longest:g} s are over {MAX_STARTS:,}"
                )
        return self

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

    @property
    def talkers(self) -> int:
        """How many talkers the plan needs at once."""
        return max(self.steps)

    def blocks(self) -> tuple[Block, ...]:
        """Return the blocks in the order of the run: for each number of users, each arm."""
        blocks: list[Block] = []
        for step, users in enumerate(self.steps):
            seconds = self.step_seconds
            if users == max(self.steps) and self.final_step_seconds is not None:
                seconds = self.final_step_seconds
            backwards = self.alternate and step % 2 == 1
            for arm in reversed(self.arms) if backwards else self.arms:
                number = self.first_block + len(blocks)
                rate = self.open_loop.rate if self.scenario is Scenario.OPEN_LOOP else None
                blocks.append(Block(number, step, arm, users, rate, self.warmup_seconds, seconds))
        return tuple(blocks)


def session_id(run_id: str, arm: str, block: int, user: int, *, aside: bool = False) -> str:
    """Name one talker of one block: unique in a run, and safe in a URL and a header. ``aside``
    tells apart the work that is done beside it."""
    return f"{run_id}-{arm}-{block}-{user}" + ("-aside" if aside else "")


def request_id(session: str, turn: int, hop: int = 0) -> str:
    """Name one turn of a session; ``hop`` tells apart the requests of a turn that uses tools."""
    return f"{session}-{turn}.{hop}" if hop else f"{session}-{turn}"
