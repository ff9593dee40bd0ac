"""The router's mode and the share of traffic kept local, as a pure function of the evidence.

``health_check.fallback_strategy`` pairs conditions with actions. An action is a mode::

    remote_only     nothing goes to the local backend while the condition holds
    reduced_local   the local share is lowered in steps
    hybrid          likewise

Of the modes whose condition holds the first of these three is taken, else ``normal``. A condition
once met is left only when the observation is clear of the threshold by a fifth. The share falls by
a factor while a condition is met and rises by a constant while none is (additive increase,
multiplicative decrease), one step a dwell; ``normal`` comes back with the whole share.

Diverting requests helps only if the remote backends are earlier. So the share is never lowered
while their median is later than the local one: most of those diverted would wait longer. Until it
is known, theirs is taken to be what the deployment guide says at best of remote models.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from firsttoken.core.catalogue import Mode
from firsttoken.core.settings.conditions import Condition
from firsttoken.core.settings.guide import FallbackRule


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known at one moment; None is what is not known, and meets no condition."""

    local_healthy: bool | None = None
    local_ttft_p50_s: float | None = None
    local_ttft_p95_s: float | None = None
    """Of the last minute; infinite where requests were turned away or timed out."""
    local_ttft_count: int = 0
    """How many first tokens stand behind it."""
    remote_ttft_p50_s: float | None = None
    cpu_share: float | None = None
    """Of the engine's quota, mean of 30 s."""


@dataclass(frozen=True, slots=True)
class ModeRule:
    """A condition, and the mode that it asks for."""

    condition: str
    """``local_model_unhealthy``, ``local_model_slow`` or ``local_model_overload``."""
    threshold: Condition | None
    """None for a condition that has none."""
    mode: Mode


@dataclass(frozen=True, slots=True)
class ModeRules:
    """How modes follow from evidence."""

    rules: tuple[ModeRule, ...] = ()
    hybrid: bool = True
    """Whether remote backends may be used at all."""
    floor: float = 0.05
    """Of the share: what stays local, so that its recovery can be seen."""
    lower: float = 0.8
    rise: float = 0.02
    asked: float = 0.5
    """By which the share falls when an alert asks for it, once."""
    dwell_s: float = 15.0
    """Seconds between two steps of the share."""
    unknown_remote_s: float = 1.5
    """The remote backends' first token while it is not known: the guide's 1.5 to 3 s, at best."""
    clear: float = 0.8
    """A condition is left at this part of its threshold."""
    least_samples: int = 20
    """First tokens needed to judge the local response time."""


@dataclass(frozen=True, slots=True)
class ModeState:
    """The mode, and the share of default traffic that stays local while it is not remote_only."""

    mode: Mode = Mode.NORMAL
    local_share: float = 1.0
    moved_at_s: float = -math.inf
    """When the share last moved."""
    why: str = field(default="", compare=False)
    """One line for people."""


MODE_OF: Mapping[str, Mode] = {
    "switch_to_remote": Mode.REMOTE_ONLY,
    "reduce_local_traffic": Mode.REDUCED_LOCAL,
    "hybrid_mode": Mode.HYBRID,
}
"""By action, in order of precedence."""

SHARING = frozenset({Mode.REDUCED_LOCAL, Mode.HYBRID})

_OBSERVED: Mapping[str, Callable[[Evidence, ModeRules], float | bool | None]] = {
    "local_model_unhealthy": lambda seen, _: None if (up := seen.local_healthy) is None else not up,
    "local_model_slow": lambda seen, rules: (
        seen.local_ttft_p95_s if seen.local_ttft_count >= rules.least_samples else None
    ),
    "local_model_overload": lambda seen, _: seen.cpu_share,
}


def mode_rules(strategy: Iterable[FallbackRule], *, hybrid: bool = True) -> ModeRules:
    """Return the rules that ``health_check.fallback_strategy`` stands for."""
    rules = (ModeRule(rule.condition, rule.parsed, MODE_OF[rule.action]) for rule in strategy)
    return ModeRules(tuple(rules), hybrid)


def slow_after_s(rules: ModeRules) -> float:
    """Return the least first-token time that a rule calls slow, seconds; infinite without one."""
    thresholds = (each.threshold for each in rules.rules if each.condition == "local_model_slow")
    return min((each.value for each in thresholds if each and each.value), default=math.inf)


def step(state: ModeState, evidence: Evidence, rules: ModeRules, now_s: float) -> ModeState:
    """Return the state at ``now_s``, given the one before it."""
    if not rules.hybrid:
        return ModeState(Mode.LOCAL_ONLY, why="hybrid mode is off")
    met = [rule for rule in rules.rules if _holds(rule, evidence, rules, 1.0)]
    near = [rule for rule in rules.rules if _holds(rule, evidence, rules, rules.clear)]
    on = {rule.mode for rule in met} | ({rule.mode for rule in near} & {state.mode})
    mode = next((mode for mode in MODE_OF.values() if mode in on), Mode.NORMAL)
    why = "; ".join(_told(rule, evidence) for rule in near if rule.mode is mode)
    if mode is Mode.REMOTE_ONLY:
        return replace(state, mode=mode, why=why)
    lowering = any(rule.mode in SHARING for rule in met)
    holding = any(rule.mode in SHARING for rule in near)
    share, note = _wanted_share(state.local_share, evidence, rules, lowering, holding)
    moved_at_s = state.moved_at_s
    if share != state.local_share:
        if now_s - moved_at_s >= rules.dwell_s:
            moved_at_s = now_s
        else:
            share = state.local_share
    if mode is Mode.NORMAL and share < 1:
        mode = state.mode if state.mode in SHARING else Mode.HYBRID
    told = "; ".join(part for part in (why, note) if part)
    return ModeState(mode, share, moved_at_s, told)


def lowered(state: ModeState, evidence: Evidence, rules: ModeRules, now_s: float) -> ModeState:
    """Return the state after somebody asked for a smaller local share: one step, which rises again
    as ever. It is the same state but for ``why`` where the share is not to be lowered."""
    if state.mode in {Mode.REMOTE_ONLY, Mode.LOCAL_ONLY}:
        return replace(state, why=f"the mode {state.mode} leaves no share to lower")
    if state.local_share <= rules.floor:
        return replace(state, why="the local share is at its least")
    if note := _remote_is_later(evidence, rules):
        return replace(state, why=note)
    share = max(rules.floor, state.local_share * rules.asked)
    mode = state.mode if state.mode in SHARING else Mode.REDUCED_LOCAL
    return ModeState(mode, share, now_s, "an alert asked for a smaller local share")


def _holds(rule: ModeRule, evidence: Evidence, rules: ModeRules, part: float) -> bool:
    """Say whether a condition is met, with its threshold at ``part`` of the way to it."""
    observed = _OBSERVED[rule.condition](evidence, rules)
    threshold = rule.threshold
    if threshold is None or threshold.value is None or threshold.operator is None:
        return bool(observed)
    value = threshold.value * part if ">" in threshold.operator else threshold.value / part
    return replace(threshold, value=value).holds(observed)


def _wanted_share(
    share: float, evidence: Evidence, rules: ModeRules, lowering: bool, holding: bool
) -> tuple[float, str]:
    """Return the share after a step, and what there is to say of it."""
    if lowering and evidence.local_ttft_p50_s is None:
        return share, "nobody has asked the local backend of late"
    note = _remote_is_later(evidence, rules)
    if note and (lowering or share < 1):
        return min(1.0, share / rules.lower), note
    if lowering:
        return max(rules.floor, share * rules.lower), ""
    if holding:
        return share, ""
    return min(1.0, round(share + rules.rise, 6)), "the local share rises" if share < 1 else ""


def _remote_is_later(evidence: Evidence, rules: ModeRules) -> str:
    """Say that diverting requests would make them wait longer, or nothing where it would not."""
    local, told = evidence.local_ttft_p50_s, evidence.remote_ttft_p50_s
    remote = rules.unknown_remote_s if told is None else told
    if local is None or remote <= local or evidence.local_healthy is False:
        return ""
    return (
        f"the remote backends' median first token of {_seconds(remote)} is later than "
        f"the local one of {_seconds(local)}: the local share is not lowered"
    )


def _told(rule: ModeRule, evidence: Evidence) -> str:
    """Say in words which condition holds, and what was observed."""
    return {
        "local_model_unhealthy": "the local backend is unhealthy",
        "local_model_slow": f"local first token p95 {_seconds(evidence.local_ttft_p95_s)}",
        "local_model_overload": f"CPU at {100 * (evidence.cpu_share or 0.0):.0f} % of its quota",
    }[rule.condition] + (f" ({rule.threshold.text})" if rule.threshold else "")


def _seconds(seconds: float | None) -> str:
    return "beyond every limit" if seconds == math.inf else f"{seconds or 0.0:.2f} s"
