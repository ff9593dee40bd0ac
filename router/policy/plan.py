"""The plan of one request: which backends are tried, in which order, each with its reason."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from firsttoken.core.settings.backend import Backend
from firsttoken.core.settings.conditions import Condition
from firsttoken.core.words import ErrorType, Reason, Tier
from router.policy.signals import QueryClass, Signals

LOCAL_TARGET = "local_model"
"""A target of ``routing_logic``: the local backends."""

REMOTE_TARGET = "remote_models"
"""A target of ``routing_logic``: the remote backends in order of preference."""

LAST_RESORT = "all_other_models_failed"
"""The trigger of a backend that is tried after every other one."""

LOCAL_TIMEOUT = "local_model_timeout"
"""The trigger of a backend that takes over when the local one is too late."""

CONFIDENCE = "local_model_confidence"
COMPLEXITY = "query_complexity"
"""Names that triggers compare."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What the settings say about routing.

    Targets are ``local_model``, ``remote_models`` or the name of a backend.
    """

    backends: tuple[Backend, ...]
    """Enabled ones, in order of preference."""
    hybrid: bool = True
    """Whether remote backends may be used at all."""
    weighted: bool = False
    """Whether default traffic is drawn by priority instead of following the order."""
    simple_target: str = LOCAL_TARGET
    complex_target: str = REMOTE_TARGET
    first_try: str = LOCAL_TARGET
    fallback: str = REMOTE_TARGET
    doubt: Condition | None = None
    """``default_strategy.confidence_threshold``: counts where no backend has such a trigger."""

    def of_tier(self, tier: Tier) -> Rules:
        """Return the same rules with the backends of one tier only."""
        return replace(self, backends=_of_tier(self.backends, tier))


@dataclass(frozen=True, slots=True)
class State:
    """What the moment says about routing."""

    blocked: frozenset[str] = frozenset()
    """Names of the backends whose circuit is open."""
    drained: frozenset[str] = frozenset()
    """Names of the backends that are being restarted; blocked as well."""
    avoid: Mapping[str, Reason] = field(default_factory=dict)
    """Names of the backends that should not come first now, each with the reason."""
    draw: float = 0.0
    """A random number in [0, 1), used by weighted shares only."""


@dataclass(frozen=True, slots=True)
class PlannedAttempt:
    """A backend to be tried and why it stands at this place of the plan."""

    backend: Backend
    reason: Reason
    doubt: Condition | None = None
    """The confidence in the local reply at which this backend takes over."""
    hedge: bool = False
    """Whether it may be started beside the attempt before it."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Attempts in order; each is made only if the one before it failed before its first token, or
    was doubted, or is late and this one may be started beside it."""

    attempts: tuple[PlannedAttempt, ...] = field(default=())


def pinned(model: str, backends: Iterable[Backend]) -> Backend | None:
    """Return the backend that a request's ``model`` names by name, model or alias, if any."""
    candidates = tuple(backends)
    for backend in candidates:
        if model == backend.name:
            return backend
    for backend in candidates:
        if model == backend.model or model in backend.model_aliases:
            return backend
    return None


def plan(model: str, signals: Signals, rules: Rules, state: State) -> Plan:
    """Decide which backends are tried for a request, and in which order.

    The first place goes, in this order of precedence, to the backend that ``model`` names, to the
    target of the rule for complex queries, to a backend whose trigger says that the query is
    complex, to the target of the rule for simple queries, to the default strategy. Every other
    usable backend follows as a fallback: the configured fallback target first, then the order of
    preference, and at the end those that wait for ``all_other_models_failed``.

    A backend whose circuit is open is left out, unless all are open: then all are used, because
    an answer is possible only there. One that is being restarted is always left out. One to be
    avoided gives its first place to the next.
    """
    usable = rules.backends if rules.hybrid else _of_tier(rules.backends, Tier.LOCAL)
    open_circuits = {backend.name for backend in usable} & state.blocked
    if len(open_circuits) == len(usable):
        open_circuits &= state.drained
    wanted, reason = _wanted(model, signals, rules, usable, state.draw)
    order = [b for b in _order(wanted, rules, usable) if b.name not in open_circuits]
    if not order:
        return Plan()
    first_reason = _first_reason(order[0], wanted, reason, open_circuits)
    if first_reason is not Reason.NAMED_MODEL and order[0].name in state.avoid:
        # Sorting is stable: where all are to be avoided, or last resorts, nothing moves.
        avoided = order[0]
        order.sort(key=lambda b: b.name in state.avoid or LAST_RESORT in b.triggers)
        if order[0] is not avoided:
            first_reason = state.avoid[avoided.name]
    doubted = first_reason in _DOUBTED and order[0].tier is Tier.LOCAL
    raced = order[0].tier is Tier.LOCAL and first_reason is not Reason.NAMED_MODEL
    return Plan(
        (
            PlannedAttempt(order[0], first_reason),
            *(
                PlannedAttempt(
                    backend,
                    _later_reason(backend),
                    _doubt(backend, rules) if doubted else None,
                    raced and backend.tier is Tier.REMOTE and LAST_RESORT not in backend.triggers,
                )
                for backend in order[1:]
            ),
        )
    )


def reason_after(planned: PlannedAttempt, failed: Backend, error_type: ErrorType) -> Reason:
    """Return why ``planned`` is tried, now that the attempt before it is known to have failed."""
    if planned.reason is not Reason.FAILOVER:
        return planned.reason
    if error_type is ErrorType.CONTEXT_OVERFLOW:
        return Reason.CONTEXT_OVERFLOW
    late = error_type in {ErrorType.FIRST_TOKEN_TIMEOUT, ErrorType.TOTAL_TIMEOUT}
    if late and failed.tier is Tier.LOCAL and LOCAL_TIMEOUT in planned.backend.triggers:
        return Reason.LOCAL_TIMEOUT
    return Reason.FAILOVER


_DOUBTED = frozenset({Reason.DEFAULT_LOCAL, Reason.WEIGHTED_SHARE})
"""Why a local reply's confidence is looked at: not for simple queries, nor where it was asked for
by name."""


def _doubt(backend: Backend, rules: Rules) -> Condition | None:
    """Return the confidence at which ``backend`` takes over, if it does at all."""
    if backend.tier is not Tier.REMOTE or LAST_RESORT in backend.triggers:
        return None
    if any(_condition(each, CONFIDENCE) for each in rules.backends):
        return _condition(backend, CONFIDENCE)
    return rules.doubt


def _condition(backend: Backend, name: str) -> Condition | None:
    return next((condition for condition in backend.conditions if condition.name == name), None)


def _of_tier(backends: Sequence[Backend], tier: Tier) -> tuple[Backend, ...]:
    return tuple(backend for backend in backends if backend.tier is tier)


def _target(name: str, backends: Sequence[Backend]) -> tuple[Backend, ...]:
    """Return the backends of a target in order of preference."""
    if name == LOCAL_TARGET:
        return _of_tier(backends, Tier.LOCAL)
    if name == REMOTE_TARGET:
        return _of_tier(backends, Tier.REMOTE)
    return tuple(backend for backend in backends if backend.name == name)


def _wanted(
    model: str, signals: Signals, rules: Rules, usable: Sequence[Backend], draw: float
) -> tuple[tuple[Backend, ...], Reason]:
    """Return the backends that should come first, and why; whether they are up plays no part."""
    if not rules.hybrid:
        return tuple(usable), Reason.LOCAL_ONLY
    named = pinned(model, usable)
    if named is not None:
        return (named,), Reason.NAMED_MODEL
    capable = tuple(
        backend
        for backend in usable
        if (condition := _condition(backend, COMPLEXITY)) and condition.holds(signals.complexity)
    )
    if signals.query_class is QueryClass.COMPLEX:
        found = _target(rules.complex_target, usable), Reason.RULE_COMPLEX
    elif capable:
        found = capable, Reason.HIGH_COMPLEXITY
    elif signals.query_class is QueryClass.SIMPLE:
        found = _target(rules.simple_target, usable), Reason.RULE_SIMPLE
    elif rules.weighted:
        drawn = _draw(usable, draw)
        found = ((drawn,) if drawn else ()), Reason.WEIGHTED_SHARE
    else:
        first = _default_backends(rules.first_try, usable)
        found = first, _default_reason(first)
    return found


def _default_backends(target: str, usable: Sequence[Backend]) -> tuple[Backend, ...]:
    """Return the backends for default traffic; one that has triggers must be called by name."""
    first = [b for b in _target(target, usable) if not b.triggers or b.name == target]
    return tuple(first or (b for b in usable if not b.triggers))


def _default_reason(first: Sequence[Backend]) -> Reason:
    local = bool(first) and first[0].tier is Tier.LOCAL
    return Reason.DEFAULT_LOCAL if local else Reason.DEFAULT_REMOTE


def _draw(backends: Sequence[Backend], draw: float) -> Backend | None:
    """Return the backend into whose share, by priority, the number ``draw`` in [0, 1) falls."""
    weighted = [backend for backend in backends if backend.priority > 0]
    point = draw * sum(backend.priority for backend in weighted)
    for backend in weighted:
        point -= backend.priority
        if point < 0:
            return backend
    return None


def _order(wanted: Sequence[Backend], rules: Rules, usable: Sequence[Backend]) -> list[Backend]:
    """Return every usable backend once: wanted ones, the fallback target, the rest, last resorts.

    A last resort stands early only if it was wanted by itself, by name.
    """
    alone = wanted if len(wanted) == 1 else ()
    candidates = (*wanted, *_target(rules.fallback, usable), *usable)
    early = [b for b in candidates if LAST_RESORT not in b.triggers or b in alone]
    late = [b for b in usable if LAST_RESORT in b.triggers]
    return list(dict.fromkeys([*early, *late]))


def _first_reason(
    first: Backend, wanted: Sequence[Backend], reason: Reason, open_circuits: set[str]
) -> Reason:
    if first in wanted:
        return reason
    # What was wanted is down, or not configured at all.
    if any(backend.tier is Tier.LOCAL and backend.name in open_circuits for backend in wanted):
        return Reason.LOCAL_UNHEALTHY
    if wanted:
        return _later_reason(first)
    return _default_reason((first,))


def _later_reason(backend: Backend) -> Reason:
    return Reason.ALL_OTHERS_FAILED if LAST_RESORT in backend.triggers else Reason.FAILOVER
