"""The configuration of Alertmanager: who is told of what, and what is held back because of what."""

from __future__ import annotations

from typing import Any

from dashboards.promql import duration
from dashboards.rules.model import HOUR, MINUTE, USUAL, Pace, Severity
from dashboards.rules.receivers import Mute, Receivers
from firsttoken.core.catalogue import Action

PEOPLE = "people"
LOOP = "loop"
HEARTBEAT = "heartbeat"
NOBODY = "nobody"

LOAD_TESTS = "load-tests"
"""Name of the hours in which load tests are run."""

GROUP_BY = ("alertname", "backend", "action")

_BECAUSE_DOWN = (
    "LLMHighLocalResponseTime",
    "LLMHighLocalErrorRate",
    "LLMLowLocalThroughput",
    "LLMFallbackStorm",
    "LLMLocalShareLow",
    "LLMLocalRatioOffTarget",
    "LLMBreakerFlapping",
)
_BECAUSE_LOADED = (
    "LLMHighLocalResponseTime",
    "LLMHighFirstResponseTime",
    "LLMHighCpuUsage",
    "LLMLowLocalThroughput",
    "LLMTTFTBudgetBurn",
    "LLMFallbackStorm",
    "LLMLocalShareLow",
    "LLMLocalRatioOffTarget",
)


def config(receivers: Receivers, pace: Pace = USUAL) -> dict[str, Any]:
    """Return the content of ``alertmanager.yml``."""
    hours: dict[str, Any] = {}
    if receivers.mutes:
        hours = {"time_intervals": [_hours(receivers.mutes)]}
    return {
        "route": _route(receivers, pace),
        "inhibit_rules": [
            _inhibit(("LLMLocalBackendDown",), _BECAUSE_DOWN, "backend"),
            # One fault, one action: the errors already ask for the stronger one.
            _inhibit(("LLMHighLocalErrorRate",), ("LLMFallbackStorm",), "backend"),
            _inhibit(("LLMLoadTestRunning",), _BECAUSE_LOADED),
            {
                "source_matchers": [_is("severity", Severity.CRITICAL)],
                "target_matchers": [_is("severity", Severity.WARNING)],
                "equal": ["alertname", "backend", "job"],
            },
        ],
        **hours,
        "receivers": _receivers(receivers),
    }


def _route(receivers: Receivers, pace: Pace) -> dict[str, Any]:
    watchdog = {
        "receiver": HEARTBEAT,
        "matchers": [_is("alertname", "Watchdog")],
        "group_wait": "0s",
        "group_interval": "1m",
        "repeat_interval": "5m",
    }
    quiet = {"receiver": NOBODY, "matchers": [_is("severity", Severity.NONE)]}
    muted = {"mute_time_intervals": [LOAD_TESTS]} if receivers.mutes else {}
    acted_on = {
        "receiver": LOOP,
        "matchers": [_one_of("action", tuple(Action))],
        "group_wait": duration(pace.group_wait),
        "group_interval": duration(pace.group_interval),
        # The loop forgets nothing; a repetition only outlives a router that was restarted.
        "repeat_interval": duration(10 * MINUTE),
        "continue": True,
        **muted,
    }
    told = [
        {
            "receiver": PEOPLE,
            "matchers": [_is("severity", severity)],
            "group_wait": duration(wait),
            "repeat_interval": duration(repeat),
        }
        for severity, wait, repeat in (
            (Severity.CRITICAL, 10, HOUR),
            (Severity.WARNING, MINUTE, 12 * HOUR),
        )
    ]
    return {
        "receiver": PEOPLE,
        "group_by": list(GROUP_BY),
        "group_wait": "30s",
        "group_interval": "5m",
        "repeat_interval": "4h",
        "routes": [watchdog, quiet, *([acted_on] if receivers.loop else []), *told],
    }


def _receivers(receivers: Receivers) -> list[dict[str, Any]]:
    people: dict[str, Any] = {}
    for each in receivers.people:
        for kind, configs in each.config().items():
            people.setdefault(kind, []).extend(configs)
    heartbeat: dict[str, Any] = {}
    if receivers.heartbeat_url:
        heartbeat = {"webhook_configs": [{"url": receivers.heartbeat_url, "send_resolved": False}]}
    loop = [{"name": LOOP, **receivers.loop.config()}] if receivers.loop else []
    return [
        {"name": PEOPLE, **people},
        *loop,
        {"name": HEARTBEAT, **heartbeat},
        {"name": NOBODY},
    ]


def _hours(mutes: tuple[Mute, ...]) -> dict[str, Any]:
    return {"name": LOAD_TESTS, "time_intervals": [each.config() for each in mutes]}


def _inhibit(sources: tuple[str, ...], targets: tuple[str, ...], *equal: str) -> dict[str, Any]:
    rule: dict[str, Any] = {
        "source_matchers": [_one_of("alertname", sources)],
        "target_matchers": [_one_of("alertname", targets)],
    }
    return {**rule, "equal": list(equal)} if equal else rule


def _is(label: str, value: str) -> str:
    return f'{label}="{value}"'


def _one_of(label: str, values: tuple[str, ...]) -> str:
    return f'{label}=~"{"|".join(values)}"' if len(values) > 1 else _is(label, values[0])
