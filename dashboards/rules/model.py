"""What a rule is before it is text: plain frozen values, and their form in a rule file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from dashboards.promql import Query
from firsttoken.core.catalogue import Action

MINUTE = 60
HOUR = 60 * MINUTE
DAY = 24 * HOUR

SERVICE = "firsttoken"
"""The label ``service`` of every alert."""


class Severity(StrEnum):
    """Values of the label ``severity``."""

    CRITICAL = "critical"
    """Users notice now: somebody is called."""
    WARNING = "warning"
    """To be looked at within a day."""
    NONE = "none"
    """No alarm: the watchdog, which shows by firing that alerts arrive."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast Prometheus works, and with it how fast anything can be noticed. All seconds."""

    scrape: int = 5
    """Twelve samples a minute: a backend that is down is seen within seconds, for about 0.2 % of
    one core (a scrape costs some 10 ms)."""
    evaluation: int = 5
    recent: int = 300
    """The window of rates and quantiles: "now"."""
    samples: int = 20
    """Fewer events than these in a window prove nothing: a 95th percentile of fewer is their
    maximum, and one failure among them is already 5 %."""
    hold_scale: float = 1.0
    """By what each alert's ``for`` and ``keep_firing_for`` are multiplied."""
    group_wait: int = 5
    group_interval: int = 60

    def hold(self, seconds: int) -> int:
        """Return the seconds of a ``for`` at this pace, never less than 1 unless it is 0."""
        return max(1, round(seconds * self.hold_scale)) if seconds else 0


USUAL = Pace()
"""What is shipped."""

QUICK = Pace(
    scrape=1,
    evaluation=1,
    recent=10,
    samples=5,
    hold_scale=0.05,
    group_wait=1,
    group_interval=2,
)
"""For proofs in which nobody wants to wait: as fast as Prometheus usefully goes."""


@dataclass(frozen=True, slots=True)
class Recording:
    """One recording rule."""

    name: str
    query: Query


@dataclass(frozen=True, slots=True)
class Alert:
    """One alerting rule."""

    name: str
    query: Query
    severity: Severity
    summary: str
    """One sentence; may hold templates of Prometheus."""
    description: str
    """Value, threshold and what follows; may hold templates of Prometheus."""
    hold: int = 0
    """``for``: seconds the condition must last."""
    keep: int = 0
    """``keep_firing_for``: seconds it goes on firing once the condition has ended."""
    action: Action | None = None
    """What the loop is asked to do."""
    backend: str | None = None
    """The label ``backend``, where the query's result carries none."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Further labels that tell alerts of one name apart."""
    board: str = "firsttoken-overview"
    """The uid of the board that shows more."""


@dataclass(frozen=True, slots=True)
class Group:
    """Rules that are evaluated one after the other, each ``interval`` seconds."""

    name: str
    rules: tuple[Recording | Alert, ...]
    interval: int | None = None
    """None: as often as Prometheus evaluates by default."""
