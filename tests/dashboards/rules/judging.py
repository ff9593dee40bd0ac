"""Alerts and their subjects together: the cases that promtool is to run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from dashboards.rules import alerts, emit
from dashboards.rules.model import Alert, Group
from firsttoken.core import settings as settings_room
from firsttoken.core import slo as slo_room
from firsttoken.core.settings import Settings
from firsttoken.core.slo import Slo
from tests.dashboards.rules.promtool import (
    RESET,
    Phase,
    Rate,
    Signal,
    alert_check,
    input_series,
    plain,
)
from tests.dashboards.rules.subjects import Subject

MINUTE = 60


@cache
def packaged() -> tuple[Slo, Settings]:
    """Return targets and settings as shipped."""
    settings = settings_room.load(None, {})
    return slo_room.load(None, settings), settings


def written(entries: Sequence[tuple[str, str, str]]) -> tuple[Slo, Settings]:
    """Return settings with these alerts: metric, threshold, action."""
    keys = ("metric", "threshold", "action")
    items = [dict(zip(keys, entry, strict=True)) for entry in entries]
    settings = settings_room.from_mapping({"monitoring_metrics": {"alerts": items}}, {})
    return slo_room.load(None, settings), settings


@cache
def shipped_files() -> dict[str, bytes]:
    return emit.files(*packaged())


def every_alert(slo: Slo, settings: Settings) -> list[Alert]:
    """Return the alerts of all groups in order."""
    return [
        each
        for group in alerts.groups(slo, settings)
        for each in group.rules
        if isinstance(each, Alert)
    ]


@dataclass(frozen=True)
class Trial:
    """An alert and what it is tried on."""

    alert: Alert
    subject: Subject

    def labels(self, found: Any = None) -> dict[str, str]:
        """Return the labels of the alert when it fires."""
        rule = emit.rule_file([Group("g", (self.alert,))], emit.Links())["groups"][0]
        own: dict[str, str] = rule["rules"][0]["labels"]
        return {**(self.subject.found if found is None else found), **own}

    def rule(self, name: str, expression: str) -> dict[str, Any]:
        """Return the rule under another name, with another query, without annotations."""
        rule = emit.rule_file([Group("g", (self.alert,))], emit.Links())["groups"][0]
        return {**plain(rule["rules"][0]), "alert": name, "expr": expression}

    @property
    def onset(self) -> int:
        """Minutes after which it must be firing."""
        return self.subject.minutes + self.alert.hold // MINUTE + 2

    @property
    def end(self) -> int:
        """Minutes after which it must have stopped."""
        return self.subject.minutes + self.alert.keep // MINUTE + 3


def trials(every: Sequence[Alert], subjects: Sequence[Subject]) -> list[Trial]:
    """Put alerts and subjects together by name and window."""
    by_key = {(each.name, each.labels.get("window", "")): each for each in every}
    return [Trial(by_key[each.alert, each.window], each) for each in subjects]


def thresholds_cases(trial: Trial, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield the cases that pin thresholds: beyond all of them, and just below each."""
    subject, last = trial.subject, trial.onset
    labels = [trial.labels()] if subject.fires else [trial.labels({})]
    yield _case([Phase(last + 1, subject.fires)], [(n, last, labels) for n in names], "fires")
    for index, signal in enumerate(subject.quiet):
        yield _case([Phase(last + 1, signal)], [(n, last, []) for n in names], f"quiet {index}")


def other_cases(trial: Trial) -> Iterator[dict[str, Any]]:
    """Yield the cases of an end, a restart of the router, no traffic, and no series at all."""
    subject, name = trial.subject, trial.alert.name
    last, labels = trial.onset, [trial.labels()]
    missing = subject.fires_when_missing
    when_missing = [] if missing is None else [trial.labels(missing)]
    yield _case([], [(name, last, when_missing)], "missing series")
    if not subject.quiet:
        return
    # What the signal of the trouble has and the one after it has not goes on unchanged, so that
    # nothing resolves by vanishing.
    healthy = {**subject.fires, **subject.quiet[0]}
    yield _case(
        [Phase(last + 1, subject.fires), Phase(trial.end, healthy)],
        [(name, last, labels), (name, last + trial.end, [])],
        "resolves",
    )
    after = max(last, RESET + subject.minutes + trial.alert.hold // MINUTE) + 2
    yield _case([Phase(after + 1, subject.fires)], [(name, after, labels)], "reset, bad", RESET)
    yield _case([Phase(after + 1, healthy)], [(name, after, [])], "reset, good", RESET)
    has_counters = any(isinstance(each, Rate) for each in subject.fires.values())
    idle: Signal = {
        series: Rate(0) if isinstance(each, Rate) else each
        for series, each in subject.fires.items()
        if not subject.recorded
    }
    expected = [] if has_counters or subject.recorded else labels
    yield _case([Phase(last + 1, idle)], [(name, last, expected)], "no traffic")


def _case(
    phases: Sequence[Phase],
    checks: Sequence[tuple[str, int, list[dict[str, str]]]],
    name: str,
    reset: int | None = None,
) -> dict[str, Any]:
    return {
        "name": name,
        "input_series": input_series(phases, reset),
        "alert_rule_test": [alert_check(*check) for check in checks],
    }
