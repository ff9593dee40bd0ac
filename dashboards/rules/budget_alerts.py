"""The alerts on both budgets: late first tokens, and failed requests, by pairs of windows."""

from __future__ import annotations

from dashboards.promql import Query, both, compare, duration, less, recorded
from dashboards.rules import recording
from dashboards.rules.model import Alert
from dashboards.rules.objective import Objective
from dashboards.rules.windows import WindowSet
from firsttoken.core.slo import Slo

FIRST_TOKEN_SHARE = 0.95
"""The share of first tokens that the target's percentile speaks of."""

BAD_EVENTS = 5
"""A budget does not burn because of fewer bad events than these in the long window: one slow
request at night is 100 % of its hour."""


def alerts(slo: Slo, windows: WindowSet) -> tuple[Alert, ...]:
    """Return one alert for each pair of windows and each budget.

    Raises:
        UserError: a target leaves no budget, or an alert of a window could never fire.
    """
    return (*_late(slo, windows), *_failed(slo, windows))


def _late(slo: Slo, windows: WindowSet) -> tuple[Alert, ...]:
    objective = Objective("targets.ttft_p95_ms", FIRST_TOKEN_SHARE)
    target = f"{slo.ttft_p95_ms:g} ms"

    def late_share(span: int) -> Query:
        return less(Query("1"), recorded(recording.within_target(span)))

    return tuple(
        Alert(
            name="LLMTTFTBudgetBurn",
            query=_burns(
                late_share(each.long),
                late_share(each.short),
                recorded(recording.late(each.long)),
                objective.threshold(each, windows),
            ),
            severity=each.severity,
            summary=f"Too many first tokens come after {target}.",
            description=(
                f"{{{{ $value | humanizePercentage }}}} of first tokens came after {target} in "
                f"{duration(each.long)}, {windows.factor(each):g} times as many as the target "
                "leaves room for."
            ),
            hold=each.hold,
            labels={"window": duration(each.long)},
            board="firsttoken-latency",
        )
        for each in windows.windows
    )


def _failed(slo: Slo, windows: WindowSet) -> tuple[Alert, ...]:
    objective = Objective("targets.availability", slo.availability)
    return tuple(
        Alert(
            name="LLMErrorBudgetBurn",
            query=_burns(
                recorded(recording.failed_share(each.long)),
                recorded(recording.failed_share(each.short)),
                recorded(recording.failed(each.long)),
                objective.threshold(each, windows),
            ),
            severity=each.severity,
            summary="Too many requests fail, every failover included.",
            description=(
                f"{{{{ $value | humanizePercentage }}}} of requests failed in "
                f"{duration(each.long)}, {windows.factor(each):g} times as many as an "
                f"availability of {slo.availability:.4g} leaves room for."
            ),
            hold=each.hold,
            labels={"window": duration(each.long)},
        )
        for each in windows.windows
    )


def _burns(long: Query, short: Query, bad: Query, threshold: float) -> Query:
    over_both = both(compare(long, ">", threshold), compare(short, ">", threshold), "job")
    return both(over_both, compare(bad, ">=", BAD_EVENTS), "job")
