"""Whether an alert is acted on, as a pure function of the alert, what was done before and the time.

Actions are a closed list. An alert names one by its label ``action``; what it may name is on a list
of alert names made from the settings. Everything that stands against an action is asked in one
order, and the first answer is the one that is told::

    ignored     unknown action, not on the list, resolved, too old, from the future
    duplicate   this alert, since this start, was acted on before
    refused     flapping (frozen), the kill switch, an interlock, a cool-down, the hourly limit
    dry_run     it would have been done
    started     do it

No limit is lifted by an action that helped, nor by an alert that was resolved: a remedy that is
needed again and again does not remedy anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from firsttoken.core.catalogue import Action, ActionResult

HOUR_S = 3600.0

MOST_WATCHED = 256
"""Alerts whose starts are remembered, to see them flap; the one heard of longest ago is forgotten.
Forgetting loses a freeze, never a limit."""

FUTURE_S = 60.0
"""By which another machine's clock may be ahead."""

ALIASES: Mapping[str, Action] = {"hybrid_mode": Action.REDUCE_LOCAL_TRAFFIC}
"""Names of actions that the deployment guide has beside ours."""


@dataclass(frozen=True, slots=True)
class Limit:
    """How often one action may be carried out."""

    cool_down_s: float
    """From one to the next, whatever became of it."""
    most_per_hour: int


DEFAULT_LIMITS: Mapping[Action, Limit] = {
    Action.INVESTIGATE_PERFORMANCE: Limit(300.0, 6),
    Action.SWITCH_TO_REMOTE: Limit(60.0, 10),
    Action.RESTART_SERVICE: Limit(900.0, 2),
    Action.REDUCE_LOCAL_TRAFFIC: Limit(60.0, 20),
}


@dataclass(frozen=True, slots=True)
class Policy:
    """What may be done at all, and how often."""

    allowed: Mapping[str, frozenset[Action]] = field(default_factory=dict)
    """By alert name."""
    limits: Mapping[Action, Limit] = field(default_factory=lambda: dict(DEFAULT_LIMITS))
    dry_run: bool = True
    stale_s: float = 4 * HOUR_S
    """An alert that began longer ago is not acted on."""
    flaps: int = 4
    """Starts of one alert within the window that freeze its action."""
    flap_window_s: float = 600.0
    freeze_s: float = 1800.0


@dataclass(frozen=True, slots=True)
class Situation:
    """What stands against actions just now."""

    killed: bool = False
    """The kill switch is on."""
    local: bool = True
    """There is a local backend."""
    remote_usable: bool = True
    """Some remote backend gets requests."""
    adapter: bool = True
    """Something is configured that restarts the local engine."""
    restarting: bool = False
    restarted_ago_s: float | None = None
    """Since the engine was last restarted, whoever asked for it; None: not within the hour."""
    shared: bool = True
    """The mode is one in which the local share can be lowered."""


@dataclass(frozen=True, slots=True)
class Event:
    """One alert of a delivery."""

    name: str
    action: str
    """Its label, as it was sent; empty where it has none."""
    fingerprint: str
    starts_s: float
    """Unix time at which it began to fire."""
    firing: bool
    situation: Situation


Key = tuple[str, float, Action]
"""Fingerprint, start, action: acted on once at most."""


@dataclass(frozen=True, slots=True)
class Acted:
    """An action that was carried out, or would have been."""

    key: Key
    at_s: float

    @property
    def action(self) -> Action:
        """Which one."""
        return self.key[2]


@dataclass(frozen=True, slots=True)
class Watched:
    """The starts of one alert that were heard of lately, oldest first."""

    fingerprint: str
    action: Action
    starts_s: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class State:
    """What is remembered. It is bounded: actions by the limits, alerts by ``MOST_WATCHED``."""

    acted: tuple[Acted, ...] = ()
    """Oldest first; kept while a limit, or a repetition of the alert, could ask for it."""
    watched: tuple[Watched, ...] = ()
    """The one heard of last at the end."""
    frozen_until_s: Mapping[Action, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of an alert."""

    result: ActionResult
    why: str
    state: State
    """What is to be remembered from now on."""
    action: Action | None = None
    """None where the alert names none that exists."""

    @property
    def acts(self) -> bool:
        """Whether the action is to be carried out."""
        return self.result is ActionResult.STARTED


def action_of(label: str) -> Action | None:
    """Return the action that a label names, or None."""
    try:
        return Action(label)
    except ValueError:
        return ALIASES.get(label)


def decide(event: Event, state: State, policy: Policy, now_s: float) -> Decision:
    """Decide about one alert at ``now_s``, Unix time."""
    action = action_of(event.action)
    ignored = _not_meant(event, action, policy, now_s)
    if action is None or ignored:
        return Decision(ActionResult.IGNORED, ignored, state, action)
    state = _forget(state, policy, now_s)
    key = (event.fingerprint, event.starts_s, action)
    if any(each.key == key for each in state.acted):
        why = "this alert, since this start, was acted on already"
        return Decision(ActionResult.DUPLICATE, why, state, action)
    state = _watch(event, action, state, policy, now_s)
    refusal = (
        _frozen(action, state, now_s)
        or ("the kill switch is on" if event.situation.killed else "")
        or _INTERLOCKS[action](event.situation)
        or _too_often(action, event.situation, state, policy, now_s)
    )
    if refusal:
        return Decision(ActionResult.REFUSED, refusal, state, action)
    state = replace(state, acted=(*state.acted, Acted(key, now_s)))
    if policy.dry_run:
        why = "it would have been carried out; alert_actions.dry_run is on"
        return Decision(ActionResult.DRY_RUN, why, state, action)
    return Decision(ActionResult.STARTED, "", state, action)


def _not_meant(event: Event, action: Action | None, policy: Policy, now_s: float) -> str:
    """Return why there is nothing to act on, or an empty string."""
    if action is None:
        return "no action of ours is named by the label action"
    if action not in policy.allowed.get(event.name, ()):
        return "the settings do not let an alert of this name ask for it"
    if not event.firing:
        return "it is resolved; nothing is done, and nothing undone, for that"
    age_s = now_s - event.starts_s
    if age_s > policy.stale_s:
        return f"it began more than {policy.stale_s:g} s ago"
    return "it begins in the future" if age_s < -FUTURE_S else ""


def _forget(state: State, policy: Policy, now_s: float) -> State:
    """Leave out what can change no decision any more."""
    kept_s = max(HOUR_S, *(limit.cool_down_s for limit in policy.limits.values()))
    acted = tuple(
        each
        for each in state.acted
        if now_s - each.at_s < kept_s or now_s - each.key[1] <= policy.stale_s
    )
    frozen = {action: until for action, until in state.frozen_until_s.items() if until > now_s}
    return replace(state, acted=acted, frozen_until_s=frozen)


def _watch(event: Event, action: Action, state: State, policy: Policy, now_s: float) -> State:
    """Note the start of an alert; freeze its action where it starts again and again."""
    others, starts = [], {event.starts_s}
    for each in state.watched:
        if (each.fingerprint, each.action) == (event.fingerprint, action):
            starts.update(at for at in each.starts_s if now_s - at <= policy.flap_window_s)
        else:
            others.append(each)
    latest = tuple(sorted(starts)[-policy.flaps :])
    watched = (*others, Watched(event.fingerprint, action, latest))[-MOST_WATCHED:]
    frozen = dict(state.frozen_until_s)
    in_window = [at for at in latest if now_s - at <= policy.flap_window_s]
    if len(in_window) >= policy.flaps and action not in frozen:
        frozen[action] = now_s + policy.freeze_s
    return replace(state, watched=watched, frozen_until_s=frozen)


def _frozen(action: Action, state: State, now_s: float) -> str:
    until_s = state.frozen_until_s.get(action)
    if until_s is None:
        return ""
    return f"its alert comes and goes: frozen for {until_s - now_s:.0f} s more; look at it yourself"


def _too_often(action: Action, seen: Situation, state: State, policy: Policy, now_s: float) -> str:
    limit = policy.limits[action]
    times_s = [each.at_s for each in state.acted if each.action is action]
    ages_s = [now_s - at_s for at_s in times_s]
    if action is Action.RESTART_SERVICE and seen.restarted_ago_s is not None:
        ages_s.append(seen.restarted_ago_s)
    if any(age_s < limit.cool_down_s for age_s in ages_s):
        return f"the last one was less than {limit.cool_down_s:g} s ago"
    if sum(now_s - at_s < HOUR_S for at_s in times_s) >= limit.most_per_hour:
        return f"there were {limit.most_per_hour} in the last hour"
    return ""


def _of_switch(seen: Situation) -> str:
    if not seen.local:
        return "there is no local backend"
    return "" if seen.remote_usable else "no remote backend could serve instead"


def _of_restart(seen: Situation) -> str:
    if not (seen.local and seen.adapter):
        return "nothing is configured that restarts the engine (recovery.adapter)"
    if seen.restarting:
        return "a restart is under way"
    return "" if seen.remote_usable else "no other backend could serve meanwhile"


def _of_reduce(seen: Situation) -> str:
    if seen.local and not seen.shared:
        return "the router's mode leaves no share to lower"
    return _of_switch(seen)


_INTERLOCKS: Mapping[Action, Callable[[Situation], str]] = {
    Action.INVESTIGATE_PERFORMANCE: lambda _: "",
    Action.SWITCH_TO_REMOTE: _of_switch,
    Action.RESTART_SERVICE: _of_restart,
    Action.REDUCE_LOCAL_TRAFFIC: _of_reduce,
}
"""What has to stand for an action to make sense; each says why not, or nothing."""
