"""What ``firsttoken bench`` can be told of loads whose starts are planned: open loop and replay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from firsttoken.core.errors import UserError

ARRIVALS = ("constant", "poisson", "gamma")
_OPEN_LOOP = {"--rate": "rate", "--arrivals": "arrivals", "--burstiness": "burstiness"}
_REPLAY = {"--trace": "file", "--speed": "speed"}
_BOTH = {"--drop-after": "drop_after_seconds"}
_KEYS = {"open_loop": {**_OPEN_LOOP, **_BOTH}, "replay": {**_REPLAY, **_BOTH}}
"""Scenario -> option -> key of its section of the plan."""
SCENARIOS = frozenset(_KEYS)


def options_of(
    scenario: str,
    *,
    rate: float | None,
    arrivals: str | None,
    burstiness: float | None,
    trace: Path | None,
    speed: float | None,
    drop_after: float | None,
) -> dict[str, Any]:
    """Return what belongs into the plan: the options that were given, by their section.

    Raises:
        UserError: an option cannot be read, belongs to another scenario, or one is missing.
    """
    if arrivals is not None and arrivals not in ARRIVALS:
        raise UserError(f"--arrivals {arrivals}: expected {', '.join(ARRIVALS)}")
    if burstiness is not None and arrivals != "gamma":
        raise UserError("--burstiness is for --arrivals gamma")
    given = {
        "--rate": rate,
        "--arrivals": arrivals,
        "--burstiness": burstiness,
        "--trace": None if trace is None else str(trace.resolve()),
        "--speed": speed,
        "--drop-after": drop_after,
    }
    keys = _KEYS.get(scenario, {})
    section: dict[str, Any] = {}
    for option, value in given.items():
        if value is None:
            continue
        if option not in keys:
            owners = [name for name, options in _KEYS.items() if option in options]
            raise UserError(f"--scenario {scenario}: {option} is for {' and '.join(owners)}")
        section[keys[option]] = value
    if scenario == "replay" and trace is None:
        raise UserError("--scenario replay: expected --trace FILE, the CSV file to replay")
    return {scenario: section} if section else {}


def seconds_of(
    options: dict[str, Any], users: tuple[int, ...], step_seconds: float | None, otherwise: float
) -> float:
    """Return the length of a block, from what :func:`options_of` returned.

    Raises:
        UserError: there are several numbers of users, a block without a start, or a trace that
            cannot be replayed.
    """
    from firsttoken.trials.replay import replay_seconds

    if len(users) > 1:
        raise UserError("--users: expected one number, the talkers that stand ready, such as 64")
    if "replay" in options:
        section = options["replay"]
        return replay_seconds(Path(section["file"]), section.get("speed", 1.0), step_seconds)
    seconds = otherwise if step_seconds is None else step_seconds
    rate = options.get("open_loop", {}).get("rate", 1.0)
    if round(rate * seconds) < 1:
        raise UserError(f"--rate {rate:g}: makes no start in {seconds:g} s; give --step-seconds")
    return seconds
