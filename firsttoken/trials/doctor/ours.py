"""The checks before deployment that the guide does not have: pure, from facts to findings."""

from __future__ import annotations

from collections.abc import Iterator

from firsttoken.core.settings.advice import VOICE_FIRST_TURN_TOKENS
from firsttoken.trials.doctor.facts import Facts
from firsttoken.trials.doctor.findings import Finding, Item, fail, ok, warn

PACKAGED = "hybrid.yaml (packaged)"


def settings(facts: Facts) -> Iterator[Finding]:
    """The settings can be read."""
    told = facts.settings
    names = ", ".join(told.names) or PACKAGED
    for problem in told.problems:
        yield fail(
            "settings",
            Item.OURS,
            problem,
            "put that line right; firsttoken config validate FILE checks it",
        )
    if told.settings is None:
        return
    # What has a check of its own is not said twice.
    rest = [each for each in told.settings.warnings if " is off: " not in each]
    rest = [each for each in rest if ".num_ctx: " not in each]
    for warning in rest:
        yield warn("settings", Item.OURS, warning, "see firsttoken config validate")
    if not rest:
        yield ok("settings", Item.OURS, f"{names}: read")


def packages(facts: Facts) -> Iterator[Finding]:
    """What this package needs is installed."""
    if not facts.machine.packages:
        found = "what this package needs is not known: it was not installed"
        yield warn("packages", Item.OURS, found, "make setup")
        return
    wrong = [
        f"{each.name} {each.found or 'is missing'}" + (f" < {each.wanted}" if each.found else "")
        for each in facts.machine.packages
        if each.found is None or version(each.found) < version(each.wanted)
    ]
    if wrong:
        yield fail("packages", Item.OURS, ", ".join(wrong), "make setup")
    else:
        count = len(facts.machine.packages)
        yield ok("packages", Item.OURS, f"all {count} Python packages are installed")


def version(text: str) -> tuple[int, ...]:
    """Return the leading numbers of a version, as far as they can be compared."""
    numbers = []
    for part in text.split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        numbers.append(int(digits))
    return tuple(numbers)


def ports(facts: Facts) -> Iterator[Finding]:
    """The ports of the settings are free, or held by us."""
    for port in facts.machine.ports:
        name = f"port {port.number}"
        if port.state == "taken":
            yield fail(
                name,
                Item.OURS,
                f"{port.key}: held by {port.by or 'another program'}",
                f"stop that, or set {port.key} to another one",
            )
        elif port.state == "forbidden":
            yield fail(
                name,
                Item.OURS,
                f"{port.key}: this user may not listen there",
                f"set {port.key} to 1024 or above",
            )
        else:
            what = "free" if port.state == "free" else f"held by {port.by or 'firsttoken'}"
            yield ok(name, Item.OURS, f"{port.key}: {what}")


def context(facts: Facts) -> Iterator[Finding]:
    """One slot holds a voice client's first turn and its answer."""
    found = facts.settings.settings
    if found is None or facts.engine is None:
        return
    loading = found.local_optimization.model_loading
    own = facts.engine.context
    tokens = own or found.engine.context or loading.num_ctx
    needed = VOICE_FIRST_TURN_TOKENS + loading.num_predict
    told = (
        f"{tokens:,} tokens a slot{' (the engine says)' if own else ''}; a voice client's first "
        f"turn takes {VOICE_FIRST_TURN_TOKENS:,} and its answer {loading.num_predict}"
    )
    enough = -(-needed // 1024) * 1024
    if tokens < needed:
        yield warn(
            "context",
            Item.OURS,
            told,
            f"set num_ctx: {enough} or more, or shorten the prompt; such turns go to the cloud",
        )
    else:
        yield ok("context", Item.OURS, told)


CHECKS = (settings, packages, ports, context)
