"""What ``firsttoken bench`` can be told of talking devices, and each scenario's own defaults."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from firsttoken.core.errors import UserError

_Number = TypeVar("_Number", int, float)


class Defaults(NamedTuple):
    """What a scenario takes where nothing else was said."""

    users: str
    step_seconds: float
    warmup_seconds: float = 3.0


DEFAULTS = {
    # Devices in conversation ask seldom: 20 of them twice a second. They join over the warm-up, at
    # a rate that they go on with.
    "sessions": Defaults("20", 180.0, warmup_seconds=15.0),
    "soak": Defaults("20", 900.0, warmup_seconds=15.0),
    "voice": Defaults("20", 180.0, warmup_seconds=15.0),
    "burst": Defaults("20", 60.0),
    # Talkers that stand ready, and how long starts are made. A trace has its own length, and all
    # of it counts.
    "open_loop": Defaults("64", 60.0),
    "replay": Defaults("64", 60.0, warmup_seconds=0.0),
}
BURST_PERIOD_SECONDS = 10.0
"""Where nothing else is said."""
OTHERWISE = Defaults("5,10,15,20", 10.0)


def span(
    option: str, text: str, kind: Callable[[str], _Number], low: _Number, high: _Number
) -> tuple[_Number, _Number]:
    """Read ``1,4`` as two bounds.

    Raises:
        UserError: these are not two numbers from ``low`` to ``high``, the smaller one first.
    """
    try:
        first, second = map(kind, text.split(","))
        in_order = low <= first <= second <= high
    except ValueError:
        in_order = False
    if not in_order:
        what = "whole numbers" if kind is int else "numbers"
        raise UserError(
            f"{option} {text}: expected two {what} from {low:g} to {high:g}, the smaller one "
            "first, such as 3,8"
        )
    return first, second


def options_of(
    scenario: str,
    *,
    think: str | None,
    turns: str | None,
    barge_in: float | None,
    burst_period: float | None,
    step_seconds: float,
) -> dict[str, Any]:
    """Return what belongs into the plan: the options that were given, by their section.

    Raises:
        UserError: an option cannot be read, belongs to another scenario, or leaves no burst within
            a step.
    """
    sessions: dict[str, Any] = {}
    if think is not None:
        sessions["think_seconds"] = span("--think", think, float, 0.0, 3600.0)
    if turns is not None:
        sessions["turns"] = span("--turns", turns, int, 1, 1000)
    if barge_in is not None:
        sessions["barge_in_share"] = barge_in
    burst = {} if burst_period is None else {"period_seconds": burst_period}
    if sessions and scenario not in {"sessions", "soak", "voice"}:
        raise UserError(
            f"--scenario {scenario}: --think, --turns and --barge-in are for sessions, soak and "
            "voice"
        )
    if burst and scenario != "burst":
        raise UserError(f"--scenario {scenario}: --burst-period is for burst")
    period = BURST_PERIOD_SECONDS if burst_period is None else burst_period
    if scenario == "burst" and step_seconds < period:
        raise UserError(
            f"--burst-period {period:g}: no whole period lies within a step of {step_seconds:g} s; "
            f"expected --step-seconds {period:g} or more"
        )
    return {
        name: section for name, section in (("sessions", sessions), ("burst", burst)) if section
    }


VOICE_CHOICES = {
    "--voice-tools": ("tools", ("full", "intent", "none")),
    "--voice-language": ("language", ("all", "zh", "en")),
    "--memory-jobs": ("memory_jobs", ("on", "off")),
}
"""Option -> key of the plan's section ``voice``, and the values there are."""


def voice_options_of(
    scenario: str, *, tools: str | None, language: str | None, memory_jobs: str | None
) -> dict[str, Any]:
    """Return what belongs into the plan of devices behind a voice server, by section.

    Raises:
        UserError: an option has no such value, or belongs to another scenario.
    """
    given = dict(zip(VOICE_CHOICES, (tools, language, memory_jobs), strict=True))
    section = {}
    for option, value in given.items():
        key, choices = VOICE_CHOICES[option]
        if value is None:
            continue
        if scenario != "voice":
            raise UserError(f"--scenario {scenario}: {option} is for voice")
        if value not in choices:
            raise UserError(f"{option} {value}: expected {', '.join(choices)}")
        section[key] = value
    return {"voice": section} if section else {}
