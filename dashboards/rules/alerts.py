"""Every alert: those of the settings, the burn of both budgets, and what else must not go unseen.

Whether the loop acts is told by the label ``action``; an alert on an action of the loop must not
carry it, or the loop would answer itself.
"""

from __future__ import annotations

from dashboards.metrics import ACTIONS, BACKEND_UP, LOAD_TEST, MEMORY_PRESSURE
from dashboards.promql import (
    Query,
    absent,
    both,
    compare,
    duration,
    either,
    of_tier,
    over,
    ratio,
    recorded,
    renamed,
    series,
    total,
    up,
)
from dashboards.rules import budget_alerts, guide_alerts, recording, terms
from dashboards.rules.model import MINUTE, USUAL, Alert, Group, Pace, Severity
from dashboards.rules.windows import MONTH, WindowSet
from firsttoken.core.alerts import OWN_ALERTS
from firsttoken.core.catalogue import ActionResult, PressureKind
from firsttoken.core.settings import LOCAL_BACKEND, Settings
from firsttoken.core.slo import Slo
from firsttoken.core.words import Tier

FLAPS = 6
"""Changes between up and down in :data:`FLAP_SPAN`: three times away and back."""
FLAP_SPAN = 15 * MINUTE

FALLBACK_SHARE = 0.2
"""Share of local attempts that had to be taken over by another backend."""

SHARE_SPAN = 15 * MINUTE
SHARE_OF_WANTED = 0.5
"""The local share is low below this part of the share that the priorities ask for."""

STARS = 3.5
"""Mean rating, of 5, below which users are unhappy."""

STALLED = 0.1
"""Share of a minute in which every task waits for memory."""

FAILED_SPAN = 15 * MINUTE


def groups(
    slo: Slo, settings: Settings, windows: WindowSet = MONTH, pace: Pace = USUAL
) -> tuple[Group, ...]:
    """Return every alert.

    Raises:
        UserError: a target leaves no budget, an alert of a window could never fire, or one of the
            settings would fire while all is well.
    """
    return (
        Group("firsttoken-settings", guide_alerts.alerts(slo, pace)),
        Group("firsttoken-budgets", budget_alerts.alerts(slo, windows)),
        Group("firsttoken-backends", _backends(pace)),
        Group("firsttoken-routing", (*_local_share(settings, pace), _fallbacks(pace))),
        Group("firsttoken-people", (_unhappy(pace),)),
        Group("firsttoken-watch", (*_absent(pace), _stalled(pace), *_loop(pace))),
    )


def _backends(pace: Pace) -> tuple[Alert, ...]:
    is_up = total(series(BACKEND_UP), "backend", how="max")
    changes = total(over("changes", series(BACKEND_UP), FLAP_SPAN), "backend", how="max")
    return (
        Alert(
            name="LLMLocalBackendDown",
            query=compare(of_tier(is_up, Tier.LOCAL), "==", 0),
            severity=Severity.CRITICAL,
            summary="The local engine gets no requests.",
            description=(
                "The circuit of {{ $labels.backend }} has been open, and its probes have failed, "
                f"for {duration(pace.hold(2 * MINUTE))}; remote backends answer, for a fee."
            ),
            hold=pace.hold(2 * MINUTE),
            keep=pace.hold(MINUTE),
            action=OWN_ALERTS["LLMLocalBackendDown"],
            board="firsttoken-routing",
        ),
        Alert(
            name="LLMRemoteBackendDown",
            query=compare(of_tier(is_up, Tier.REMOTE), "==", 0),
            severity=Severity.WARNING,
            summary="The remote backend {{ $labels.backend }} gets no requests.",
            description=(
                "The circuit of {{ $labels.backend }} has been open for "
                f"{duration(pace.hold(2 * MINUTE))}: the local engine has one fallback less."
            ),
            hold=pace.hold(2 * MINUTE),
            keep=pace.hold(MINUTE),
            board="firsttoken-routing",
        ),
        Alert(
            name="LLMBreakerFlapping",
            query=compare(changes, ">=", FLAPS),
            severity=Severity.WARNING,
            summary="The circuit of {{ $labels.backend }} opens and closes again and again.",
            description=(
                "{{ $labels.backend }} went up or down {{ $value }} times in "
                f"{duration(FLAP_SPAN)}: it passes its probes and fails under load."
            ),
            keep=pace.hold(5 * MINUTE),
            board="firsttoken-routing",
        ),
    )


def _local_share(settings: Settings, pace: Pace) -> tuple[Alert, ...]:
    local = settings.llm_routing.local_model
    wanted = local.priority if local else 0
    if not wanted:
        return ()
    of_all = wanted + sum(each.priority for each in settings.llm_routing.remote_models)
    lowest = round(wanted / of_all * SHARE_OF_WANTED, 4)
    answered = compare(terms.answered_by_models(SHARE_SPAN), ">=", pace.samples)
    return (
        Alert(
            name="LLMLocalShareLow",
            query=both(compare(terms.local_share(SHARE_SPAN), "<", lowest), answered),
            severity=Severity.WARNING,
            summary="The local engine answers {{ $value | humanizePercentage }} of requests.",
            description=(
                "{{ $value | humanizePercentage }} of requests were answered locally in "
                f"{duration(SHARE_SPAN)}, where the priorities ask for {wanted / of_all:.0%}: the "
                "rest costs a fee and comes later."
            ),
            hold=pace.hold(10 * MINUTE),
            keep=pace.hold(5 * MINUTE),
            backend=LOCAL_BACKEND,
            board="firsttoken-routing",
        ),
    )


def _fallbacks(pace: Pace) -> Alert:
    tried = terms.local_attempts_by_backend(pace.recent)
    share = ratio(terms.local_fallbacks(pace.recent), tried)
    return Alert(
        name="LLMFallbackStorm",
        query=both(
            compare(share, ">", FALLBACK_SHARE), compare(tried, ">=", pace.samples), "backend"
        ),
        severity=Severity.WARNING,
        summary="Many requests move away from {{ $labels.backend }} after a failed attempt.",
        description=(
            "{{ $value | humanizePercentage }} of the attempts at {{ $labels.backend }} had to be "
            f"taken over in {duration(pace.recent)}; each made a user wait twice."
        ),
        hold=pace.hold(2 * MINUTE),
        keep=pace.hold(5 * MINUTE),
        action=OWN_ALERTS["LLMFallbackStorm"],
        board="firsttoken-routing",
    )


def _unhappy(pace: Pace) -> Alert:
    rated = compare(terms.rated(recording.OPINION), ">=", pace.samples)
    return Alert(
        name="LLMSatisfactionDrop",
        query=both(compare(recorded("user_satisfaction_score"), "<", STARS), rated),
        severity=Severity.WARNING,
        summary="Users rate answers {{ $value | humanize }} of 5.",
        description=(
            f"The mean rating of the last {duration(recording.OPINION)} is "
            f"{{{{ $value | humanize }}}}, below {STARS:g}."
        ),
        hold=pace.hold(5 * MINUTE),
        keep=pace.hold(5 * MINUTE),
        board="firsttoken-experience",
    )


def _absent(pace: Pace) -> tuple[Alert, ...]:
    said = {
        terms.ROUTER_JOB: ("LLMRouterAbsent", Severity.CRITICAL, "router"),
        terms.EXPORTER_JOB: ("LLMExporterAbsent", Severity.WARNING, "exporter"),
    }
    return tuple(
        Alert(
            name=name,
            query=either(compare(up(job), "==", 0), absent(up(job))),
            severity=severity,
            summary=f"Prometheus cannot read the {who}.",
            description=(
                f"No scrape of the job {job} succeeded for {duration(pace.hold(MINUTE))}: the "
                "alerts that rest on its figures are blind."
            ),
            hold=pace.hold(MINUTE),
            board="firsttoken-health",
        )
        for job, (name, severity, who) in said.items()
    )


def _stalled(pace: Pace) -> Alert:
    full = total(series(MEMORY_PRESSURE, {"kind": PressureKind.FULL}), how="max")
    return Alert(
        name="LLMMemoryPressure",
        query=compare(full, ">", STALLED),
        severity=Severity.WARNING,
        summary="The engine stands still for want of memory.",
        description=(
            "{{ $value | humanizePercentage }} of the last minute every task waited for memory: "
            "the model file is read from disk again and again."
        ),
        hold=pace.hold(2 * MINUTE),
        keep=pace.hold(MINUTE),
        backend=LOCAL_BACKEND,
        board="firsttoken-engine",
    )


def _loop(pace: Pace) -> tuple[Alert, ...]:
    failures = over("increase", series(ACTIONS, {"result": ActionResult.FAILED}), FAILED_SPAN)
    load_tests = total(series(LOAD_TEST), "scenario", how="max")
    return (
        Alert(
            name="LLMActionFailed",
            # Under its own name the label would have the loop act on its own failure.
            query=compare(
                total(renamed(failures, "action", "failed_action"), "failed_action"), ">", 0
            ),
            severity=Severity.CRITICAL,
            summary="The action {{ $labels.failed_action }} failed: a person is needed.",
            description=(
                f"{{{{ $labels.failed_action }}}} failed in the last {duration(FAILED_SPAN)} and "
                "is not tried again before its cool-down has passed."
            ),
            keep=pace.hold(5 * MINUTE),
            board="firsttoken-routing",
        ),
        Alert(
            name="LLMLoadTestRunning",
            query=compare(load_tests, "==", 1),
            severity=Severity.NONE,
            summary="A load test is running: {{ $labels.scenario }}.",
            description="Alerts on latency are held back until it ends.",
            keep=pace.hold(2 * MINUTE),
            board="firsttoken-comparison",
        ),
        Alert(
            name="Watchdog",
            query=Query("vector(1)"),
            severity=Severity.NONE,
            summary="Alerts arrive.",
            description="Always fires. Where it stops arriving, no other alert arrives either.",
            board="firsttoken-health",
        ),
    )
