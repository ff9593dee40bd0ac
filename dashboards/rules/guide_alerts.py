"""The alerts of the settings, ``monitoring_metrics.alerts``: what the guide lists, with metric,
operator, threshold and action as they stand there.

The guide's figures are averages over windows, and an average over nothing, or over one request at
night, is no reason to wake anybody or to restart anything: each alert but those of memory and
processor also asks for enough events in its window.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dashboards.promql import Comparison, Query, both, compare, recorded, times
from dashboards.rules import terms
from dashboards.rules.model import MINUTE, Alert, Pace, Severity
from dashboards.rules.recording import OPINION
from firsttoken.core.alerts import GUIDE_ALERTS
from firsttoken.core.catalogue import Action
from firsttoken.core.errors import UserError
from firsttoken.core.settings import LOCAL_BACKEND, Condition
from firsttoken.core.slo import Slo

STARS = 5
"""The settings give satisfaction as a share: of the most stars there are."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """What an alert on one of the guide's figures needs."""

    bad: str
    """Operators that ask for trouble begin with these characters."""
    what: str
    shown: str
    """Function of Prometheus' templates that writes the value."""
    events: Callable[[Pace], Query] | None
    severity: Severity = Severity.WARNING
    hold: int = MINUTE
    keep: int = 2 * MINUTE
    local: bool = True
    board: str = "firsttoken-overview"


_KINDS: dict[str, _Kind] = {
    "local_model_response_time": _Kind(
        ">",
        "first token of the local engine, 95th percentile",
        "humanizeDuration",
        lambda pace: terms.local_first_tokens(pace.recent),
        board="firsttoken-latency",
    ),
    "local_model_throughput": _Kind(
        "<",
        "output tokens a second of the local engine",
        "humanize",
        lambda pace: terms.local_attempts(pace.recent),
        board="firsttoken-engine",
    ),
    "local_model_error_rate": _Kind(
        ">",
        "share of local attempts that failed",
        "humanizePercentage",
        lambda pace: terms.local_attempts(pace.recent),
        Severity.CRITICAL,
        # Once the traffic has moved away the share has no value, while the fault may still be
        # there: the alert stays on over the time in which a probe can tell.
        keep=5 * MINUTE,
        board="firsttoken-routing",
    ),
    "memory_usage": _Kind(
        ">",
        "share of the memory limit that cannot be reclaimed",
        "humanizePercentage",
        None,
        Severity.CRITICAL,
        hold=2 * MINUTE,
        keep=MINUTE,
        board="firsttoken-engine",
    ),
    "cpu_usage": _Kind(
        ">",
        "share of the engine's processors in use",
        "humanizePercentage",
        None,
        hold=5 * MINUTE,
        board="firsttoken-engine",
    ),
    "local_vs_remote_ratio": _Kind(
        "<>",
        "share of answers given by the local engine",
        "humanizePercentage",
        lambda pace: terms.answered_by_models(pace.recent),
        hold=5 * MINUTE,
        board="firsttoken-routing",
    ),
    "user_satisfaction_score": _Kind(
        "<",
        "mean rating as a share of five stars",
        "humanizePercentage",
        lambda _: terms.rated(OPINION),
        local=False,
        board="firsttoken-experience",
    ),
    "first_response_time": _Kind(
        ">",
        "first token as delivered, 95th percentile over all tiers",
        "humanizeDuration",
        lambda pace: terms.first_tokens(pace.recent),
        local=False,
        board="firsttoken-latency",
    ),
    "conversation_completion_rate": _Kind(
        "<",
        "share of conversations that ended well",
        "humanizePercentage",
        lambda _: terms.ended(OPINION),
        local=False,
        board="firsttoken-experience",
    ),
}


def alerts(slo: Slo, pace: Pace) -> tuple[Alert, ...]:
    """Return one alert for each of ``slo.alerts``.

    Raises:
        UserError: an alert would fire while all is well, or stands there twice.
    """
    asked = [(each.condition.name, each.action) for each in slo.alerts]
    for pair in asked:
        if asked.count(pair) > 1:
            raise UserError(
                f"monitoring_metrics.alerts: {pair[0]} with the action {pair[1]} stands there "
                f"{asked.count(pair)} times; expected it once"
            )
    return tuple(_alert(each.condition, each.action, pace) for each in slo.alerts)


def _alert(condition: Condition, action: str, pace: Pace) -> Alert:
    kind = _KINDS[condition.name]
    operators: dict[str | None, Comparison] = {each: each for each in (">", ">=", "<", "<=")}
    operator = operators[condition.operator]
    if operator[0] not in kind.bad or condition.value is None:
        raise UserError(
            f"monitoring_metrics.alerts: {condition.name} {condition} would fire while all is "
            f"well; expected the operator {kind.bad} or {kind.bad}="
        )
    return Alert(
        name=GUIDE_ALERTS[condition.name],
        query=_query(condition, kind, operator, condition.value, pace),
        severity=kind.severity,
        summary=f"{kind.what.capitalize()} is at {{{{ $value | {kind.shown} }}}}.",
        description=(
            f"{condition.name} is at {{{{ $value | {kind.shown} }}}}; the settings call for "
            f"{action} when it is {condition}."
        ),
        hold=pace.hold(kind.hold),
        keep=pace.hold(kind.keep),
        action=Action(action) if action in tuple(Action) else None,
        backend=LOCAL_BACKEND if kind.local else None,
        board=kind.board,
    )


def _query(
    condition: Condition, kind: _Kind, operator: Comparison, threshold: float, pace: Pace
) -> Query:
    figure = recorded(condition.name)
    if condition.name == "user_satisfaction_score":
        figure = times(figure, 1 / STARS)
    crossed = compare(figure, operator, threshold)
    if kind.events is None:
        return crossed
    return both(crossed, compare(kind.events(pace), ">=", pace.samples))
