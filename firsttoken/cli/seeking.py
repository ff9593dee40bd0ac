"""What ``firsttoken bench`` can be told of a second target and of a search for the capacity."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from firsttoken.core.errors import UserError
from firsttoken.trials.capacity import CapacityPlan, check, of_rate
from firsttoken.trials.versus import Asked
from reports.capacity import Of

ROUNDS = 6
AGAINST_USERS = "20"

_SCENARIOS: dict[Of, tuple[str, ...]] = {
    Of.DEVICES: ("sessions", "steps"),
    Of.RATE: ("open_loop",),
}
"""What can carry which load; the first is taken where nothing else was said."""


def _refuse(options: Mapping[str, object | None], why: str) -> None:
    """Refuse options that were given (are not None) where they mean nothing.

    Raises:
        UserError: one line that names the first of them.
    """
    given = next((name for name, value in options.items() if value is not None), None)
    if given is not None:
        raise UserError(f"{given}: {why}")


def opponent(
    url: str | None, model: str | None, dialect: str | None, api_key_env: str | None, usual: str
) -> Asked | None:
    """Return the second target; None where none was named. ``usual``: the first one's dialect.

    The key is the second target's own: that of the first is never sent to it.

    Raises:
        UserError: something was said of a second target that was not named.
    """
    if url is not None:
        return Asked(url, model, dialect or usual, api_key_env)
    said = {
        "--against-model": model,
        "--against-dialect": dialect,
        "--against-api-key-env": api_key_env,
    }
    _refuse(said, "expected together with --against URL")
    return None


def users_of(users: str | None, usual: str, against: Asked | None) -> str:
    """Return the numbers of talkers: two targets are compared at one number.

    Raises:
        UserError: there are several, and two targets.
    """
    if against is None:
        return usual if users is None else users
    if users is not None and "," in users:
        raise UserError(f"--users {users}: expected one number of talkers with --against")
    return AGAINST_USERS if users is None else users


def rounds_of(rounds: int | None, against: Asked | None) -> int:
    """Return how many turns each target has.

    Raises:
        UserError: they were given for a single target.
    """
    if against is None:
        _refuse({"--rounds": rounds}, "expected together with --against URL")
        return 1
    return rounds or ROUNDS


def search(
    *,
    wanted: bool,
    of: str | None,
    minutes: float | None,
    cap: float | None,
    scenario: str | None,
    options_of: Callable[[str, float], Mapping[str, Any]],
    unwanted: Mapping[str, object | None],
) -> CapacityPlan | None:
    """Return how the capacity is sought; None where it is not.

    Args:
        wanted: whether it is.
        of: devices or rate.
        minutes: time for the search.
        cap: largest load to try.
        scenario: as the user named it.
        options_of: what was said of a scenario, and the longest step.
        unwanted: options, by name, that the search chooses for itself.

    Raises:
        UserError: one line: which option, what was expected.
    """
    if not wanted:
        said = {"--capacity-of": of, "--capacity-minutes": minutes, "--capacity-cap": cap}
        _refuse(said, "expected together with --capacity")
        return None
    _refuse(unwanted, "not with --capacity, which chooses for itself")
    kinds = [kind.value for kind in Of]
    if of is not None and of not in kinds:
        raise UserError(f"--capacity-of {of}: expected {' or '.join(kinds)}")
    plan = of_rate(CapacityPlan()) if of == Of.RATE else CapacityPlan()
    fitting = _SCENARIOS[plan.of]
    name = scenario or fitting[0]
    if name not in fitting:
        raise UserError(
            f"--scenario {name}: expected {' or '.join(fitting)} with --capacity of {plan.of}"
        )
    plan = replace(
        plan,
        scenario=name,
        minutes=plan.minutes if minutes is None else minutes,
        cap=plan.cap if cap is None else cap,
        options=options_of(name, plan.longest_seconds),
    )
    check(plan)
    return plan
