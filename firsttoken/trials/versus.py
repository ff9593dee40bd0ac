"""Two targets in one run: who is compared, and what a reader must know of the comparison."""

from __future__ import annotations

from dataclasses import dataclass

import httpx

from firsttoken.core.records import ArmTarget
from firsttoken.core.words import Arm
from firsttoken.trials.measure import ArmPlan
from firsttoken.trials.progress import Progress
from firsttoken.trials.target import Target, resolve


@dataclass(frozen=True, slots=True)
class Asked:
    """A server to measure, as the user named it."""

    url: str
    model: str | None = None
    dialect: str = "openai"
    api_key_env: str | None = None


def arm_of(target: Target, name: Arm) -> ArmPlan:
    """Return the arm that measures a target."""
    note = "emulated cloud" if target.emulated else ""
    return ArmPlan(
        ArmTarget(name, target.url, target.model, target.dialect, note),
        api_key_env=target.api_key_env,
        is_router=target.is_router,
    )


def find(asked: Asked, against: Asked | None, progress: Progress) -> tuple[Target, ...]:
    """Ask each server for a first token.

    Raises:
        UserError: one cannot be measured.
    """
    found = []
    for each in (asked, against):
        if each is not None:
            with progress.doing(f"asking {each.url} for a first token"):
                found.append(resolve(each.url, each.model, each.dialect, each.api_key_env))
    return tuple(found)


def arms_of(targets: tuple[Target, ...]) -> tuple[ArmPlan, ...]:
    """Return the arms ``target`` and, where there are two, ``against``."""
    names = (Arm.TARGET, Arm.AGAINST)
    return tuple(arm_of(target, name) for target, name in zip(targets, names, strict=False))


def sharing_note(targets: tuple[Target, ...]) -> str | None:
    """Return the warning that both arms may end at one engine, or None.

    An engine that has just read a prompt for one arm has it in its cache for the other.
    """
    if len(targets) < 2:
        return None
    one, other = targets
    first, second = (httpx.URL(target.url) for target in targets)
    if (first.host, first.port) == (second.host, second.port):
        return (
            f"both arms ask the same server, {first.host}:{first.port or first.scheme}: what one "
            "arm said is in the other's prefix cache"
        )
    if one.is_router or other.is_router:
        return (
            "an arm is a router: if the engine behind it also serves the other arm, what one arm "
            "said is in the other's prefix cache"
        )
    return None
