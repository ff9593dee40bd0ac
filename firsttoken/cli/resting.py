"""The options of ``firsttoken bench`` on when the steady part begins and ends, and on cores."""

from __future__ import annotations

from typing import Any

from firsttoken.core.errors import UserError
from firsttoken.trials import pinning

SETTLE_CAP_S = 30.0
PULSED = ("burst",)
"""Scenarios whose load comes in waves: it never is at rest, and is not meant to be."""
PLANNED_ENDS = ("open_loop", "replay", "burst")
"""Scenarios whose starts are all planned beforehand: they cannot go on."""


def share_of(text: str) -> float:
    """Read ``5%`` or ``0.05``.

    Raises:
        UserError: it is neither, or not between 0 and 1.
    """
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = 0.0
    if not 0 < value < 1:
        raise UserError(f"--until-ci {text}: expected a share such as 5%, above 0 and below 100%")
    return value


def options_of(
    scenario: str, *, settle: float | None, until_ci: str | None, until_cap: float | None
) -> dict[str, Any]:
    """Return the keys of the load child's plan.

    Raises:
        UserError: an option means nothing in this scenario or without another one.
    """
    if until_cap is not None and until_ci is None:
        raise UserError("--until-cap is the longest that --until-ci may take: give that too")
    if until_ci is not None and scenario in PLANNED_ENDS:
        raise UserError(f"--until-ci: the starts of {scenario} are planned and end by themselves")
    options: dict[str, Any] = {}
    cap = (0.0 if scenario in PULSED else SETTLE_CAP_S) if settle is None else settle
    if cap > 0:
        options["settle_cap_seconds"] = cap
    if until_ci is not None:
        options["until_ci"] = share_of(until_ci)
        if until_cap is not None:
            options["until_cap_seconds"] = until_cap
    return options


def pinning_of(wanted: bool) -> pinning.Pinning | None:
    """Return the cores of generator and servers, where they are to be kept apart.

    Raises:
        UserError: there are too few.
    """
    return pinning.plan() if wanted else None
