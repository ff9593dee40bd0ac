"""What a run by hand asks for: Locust's command line or web form, as the run plan it amounts to."""

from __future__ import annotations

import json
from argparse import Namespace
from enum import StrEnum
from typing import Any, NamedTuple

from pydantic import BaseModel

from firsttoken.core.errors import UserError
from firsttoken.core.words import Arm
from firsttoken.load.plan import SHORTEST_REPLY_TOKENS, RunPlan, Scenario
from firsttoken.load.schedules.options import (
    BurstOptions,
    OpenLoopOptions,
    ReplayOptions,
    SessionsOptions,
    VoiceOptions,
)

SECONDS_WITHOUT_END = 3600.0
"""How long starts are planned for where no ``-t`` says it."""
MAX_PLANNED_STARTS = 500_000
"""Bounds what is planned where no ``-t`` says how long: about 20 MB."""


class Flag(NamedTuple):
    """An option of a schedule; its default is that of the schedule's own options."""

    flag: str
    section: str
    """Of the run plan."""
    options: type[BaseModel]
    key: str
    help: str

    @property
    def name(self) -> str:
        """Name of the parsed value."""
        return self.flag.removeprefix("--").replace("-", "_")

    @property
    def default(self) -> str | float:
        """The default in the shape in which a command line and a form give values."""
        value = self.options.model_fields[self.key].default
        match value:
            case tuple():
                return ",".join(f"{each:g}" for each in value)
            case int() | float():
                return float(value)
            case StrEnum():
                return str(value)
        return ""

    @property
    def choices(self) -> tuple[str, ...] | None:
        """The values there are, where they are few."""
        kind = type(self.options.model_fields[self.key].default)
        return tuple(map(str, kind)) if issubclass(kind, StrEnum) else None

    def value(self, given: Any) -> Any:
        """Return what was given as the plan has it.

        Raises:
            UserError: a range is none.
        """
        if not isinstance(self.options.model_fields[self.key].default, tuple):
            return given
        try:
            low, _, high = str(given).partition(",")
            return [float(low), float(high or low)]
        except ValueError as error:
            raise UserError(f"{self.flag} is {given!r}, expected such as {self.default}") from error


FLAGS: tuple[Flag, ...] = (
    Flag("--rate", "open_loop", OpenLoopOptions, "rate", "starts a second"),
    Flag("--arrivals", "open_loop", OpenLoopOptions, "arrivals", "how starts are spread"),
    Flag("--trace", "replay", ReplayOptions, "file", "CSV file of the trace"),
    Flag("--think", "sessions", SessionsOptions, "think_seconds", "pause of a talker, seconds"),
    Flag("--voice-tools", "voice", VoiceOptions, "tools", "what the voice server offers"),
    Flag("--voice-language", "voice", VoiceOptions, "language", "whose personas speak"),
    Flag("--memory-jobs", "voice", VoiceOptions, "memory_jobs", "sum up each conversation"),
    Flag("--burst-period", "burst", BurstOptions, "period_seconds", "seconds between two wake-ups"),
)
"""The few options by hand; the run plan has the others."""
_SECTIONS = {Scenario.SOAK: ("sessions",), Scenario.VOICE: ("sessions", "voice")}
"""Sections of the plan that a scenario takes its options from, where that is not its name."""


def plan_of(
    scenario: Scenario, options: Namespace, host: str, users: int, seconds: float | None
) -> RunPlan:
    """Return the plan of one scenario by hand: one block, of ``users`` talkers.

    ``seconds`` None: no end is known.

    Raises:
        UserError: an option is out of range; the message names it.
    """
    if scenario is Scenario.REPLAY and not options.trace:
        raise UserError("Replay needs a trace: give --trace FILE")
    if seconds is None:
        seconds = min(SECONDS_WITHOUT_END, MAX_PLANNED_STARTS / max(options.rate, 0.001))
    values: dict[str, Any] = {
        "run_id": "hand",
        "run_dir": ".",
        "scenario": str(scenario),
        "seed": 0,
        "steps": [users],
        "step_seconds": seconds,
        "warmup_seconds": 0.0,
        "arms": [
            {
                "arm": str(Arm.TARGET),
                "url": host,
                "model": options.model,
                "dialect": options.dialect,
                "api_key_env": options.api_key_env or None,
            }
        ],
        "max_tokens": options.max_tokens,
        "min_tokens": min(SHORTEST_REPLY_TOKENS, max(options.max_tokens, 1)),
    }
    sections = _SECTIONS.get(scenario, (str(scenario),))
    flags = [flag for flag in FLAGS if flag.section in sections]
    for flag in flags:
        values.setdefault(flag.section, {})[flag.key] = flag.value(getattr(options, flag.name))
    try:
        return RunPlan.parse(json.dumps(values), "the options")
    except UserError as error:
        raise UserError(_named(str(error), flags)) from error


def _named(message: str, flags: list[Flag]) -> str:
    """Return the message of a wrong plan in the words of the command line."""
    for flag in flags:
        message = message.replace(f"{flag.section}.{flag.key}", flag.flag)
    return message.replace("steps.0", "-u").replace("max_tokens", "--max-tokens")
