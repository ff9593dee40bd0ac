"""What ``alert_actions`` and ``monitoring_metrics.alerts`` let alerts do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from firsttoken.core.alerts import GUIDE_ALERTS, OWN_ALERTS
from firsttoken.core.catalogue import Action
from firsttoken.core.settings import Settings
from firsttoken.core.settings.own import AlertActions
from router.actions.policy import Limit, Policy, action_of


@dataclass(frozen=True, slots=True)
class AlertRules:
    """Everything that the loop is told; by default it is closed."""

    enable: bool = False
    policy: Policy = field(default_factory=Policy)
    token: str | None = field(default=None, repr=False)
    """None: whoever reaches the webhook may use it."""
    kill_switch: Path = Path("runs/actions/stop")
    """While this file exists nothing is done."""
    audit_log: Path = Path("runs/actions/audit.jsonl")
    snapshots: Path = Path("runs/actions/snapshots")
    most_snapshots: int = 20
    hold_s: float = 30.0
    """For which a local backend that was switched off is left alone."""
    probes: int = 3
    """That have to succeed in a row before it is asked again."""


def alert_rules(settings: Settings) -> AlertRules:
    """Return the loop's part of the settings."""
    told = settings.alert_actions
    return AlertRules(
        told.enable,
        Policy(
            _allowed(settings),
            _limits(told),
            told.dry_run,
            told.stale,
            told.flaps,
            told.flap_window,
            told.freeze,
        ),
        settings.alert_token(),
        Path(told.kill_switch).expanduser(),
        Path(told.audit_log).expanduser(),
        Path(told.snapshots).expanduser(),
        told.most_snapshots,
        told.hold,
        told.probes,
    )


def _limits(told: AlertActions) -> dict[Action, Limit]:
    limits = {action: getattr(told.limits, action) for action in Action}
    return {each: Limit(limit.cool_down, limit.most_per_hour) for each, limit in limits.items()}


def _allowed(settings: Settings) -> Mapping[str, frozenset[Action]]:
    """Return which actions an alert of which name may ask for."""
    named = [
        (GUIDE_ALERTS[alert.metric], action_of(alert.action))
        for alert in settings.monitoring_metrics.alerts
    ]
    found: dict[str, frozenset[Action]] = {}
    also = settings.alert_actions.alerts
    for name, action in (*named, *OWN_ALERTS.items(), *also.items()):
        if action is not None:
            found[name] = found.get(name, frozenset()) | {action}
    return found
