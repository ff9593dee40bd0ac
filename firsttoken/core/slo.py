"""The acceptance targets of ``config/slo.yaml`` and the alert thresholds of the settings, as one
object: whatever judges, alerts or draws a target line takes it from here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, Strict, ValidationError, field_validator

from firsttoken.core import settings as settings_room
from firsttoken.core.settings import Condition, Settings, document, findings, packaged
from firsttoken.core.settings.kinds import Section
from firsttoken.core.settings.tree import Tree

Milliseconds = Annotated[float, Field(gt=0, le=3_600_000)]
Share = Annotated[float, Field(gt=0, le=1)]
Count = Annotated[int, Field(ge=1, le=10_000_000)]
Span = Annotated[tuple[float, float], Strict(strict=False)]


class Targets(Section):
    """``targets``: what a run is judged by."""

    ttft_p95_ms: Milliseconds = 400.0
    short_reply_p50_ms: Milliseconds = 600.0
    short_reply_tokens: Count = 8
    error_rate: Share = 0.02
    availability: Share = 0.999
    memory_share: Share = 0.80
    concurrent_talkers: Count = 20


class CalibrationBudget(Section):
    """One of ``calibration``: the generator's own error at the 99th percentile."""

    up_to_users: Count
    p99_ms: Milliseconds


class MinimumSamples(Section):
    """``minimum_samples``: fewer requests than these make a claim INCONCLUSIVE."""

    p95: Count = 72
    p99: Count = 368
    availability: Count = 3000


class GuideRow(Section):
    """One row of the guide's table: the range it expects of remote and local models."""

    unit: Literal["ms", "talkers", "share", "usd_per_1k_tokens"]
    remote: Span
    local: Span

    @field_validator("remote", "local")
    @classmethod
    def _in_order(cls, span: tuple[float, float]) -> tuple[float, float]:
        if not 0 <= span[0] <= span[1]:
            raise ValueError("is no range; expected [lowest, highest], neither negative")
        return span


class GuideTable(Section):
    """``expected``: the guide's five rows, shown beside what was measured and never judged."""

    first_token: GuideRow = GuideRow(unit="ms", remote=(1500, 3000), local=(200, 400))
    total_response: GuideRow = GuideRow(unit="ms", remote=(2000, 4000), local=(300, 600))
    concurrency: GuideRow = GuideRow(unit="talkers", remote=(5, 10), local=(15, 20))
    availability: GuideRow = GuideRow(unit="share", remote=(0.95, 0.95), local=(0.999, 0.999))
    cost: GuideRow = GuideRow(unit="usd_per_1k_tokens", remote=(0.01, 0.01), local=(0, 0))

    def rows(self) -> Iterator[tuple[str, GuideRow]]:
        """Yield name and row in the guide's order."""
        for name in type(self).model_fields:
            yield name, getattr(self, name)


def _default_budgets() -> tuple[CalibrationBudget, ...]:
    return (
        CalibrationBudget(up_to_users=20, p99_ms=3),
        CalibrationBudget(up_to_users=100, p99_ms=5),
        CalibrationBudget(up_to_users=200, p99_ms=15),
    )


class Alert(Section):
    """One of ``monitoring_metrics.alerts``, parsed."""

    condition: Condition
    """Metric, operator and threshold in seconds, a share of 1, or tokens per second."""
    action: str


class _File(Section):
    """The shape of ``slo.yaml``."""

    targets: Targets = Targets()
    calibration: Annotated[
        tuple[CalibrationBudget, ...], Strict(strict=False), Field(max_length=20)
    ] = Field(default_factory=_default_budgets)
    minimum_samples: MinimumSamples = MinimumSamples()
    expected: GuideTable = GuideTable()

    @field_validator("calibration")
    @classmethod
    def _rising(cls, budgets: tuple[CalibrationBudget, ...]) -> tuple[CalibrationBudget, ...]:
        users = [budget.up_to_users for budget in budgets]
        if users != sorted(set(users)):
            raise ValueError("is out of order; expected up_to_users to rise from item to item")
        return budgets


class Slo(_File):
    """Every target and threshold. The single ``targets`` are attributes of their own too."""

    alerts: tuple[Alert, ...] = ()

    @property
    def ttft_p95_ms(self) -> float:
        """Delivered first token, 95th percentile, over all tiers; milliseconds."""
        return self.targets.ttft_p95_ms

    @property
    def short_reply_p50_ms(self) -> float:
        """Whole reply of up to :attr:`short_reply_tokens` with one talker, median; ms."""
        return self.targets.short_reply_p50_ms

    @property
    def short_reply_tokens(self) -> int:
        """Tokens up to which a reply counts as short."""
        return self.targets.short_reply_tokens

    @property
    def error_rate(self) -> float:
        """Highest share of requests that may fail the user, after failover."""
        return self.targets.error_rate

    @property
    def availability(self) -> float:
        """Lowest share of successes among accepted requests, cancelled ones excluded."""
        return self.targets.availability

    @property
    def memory_share(self) -> float:
        """Highest share of the memory limit that may be unreclaimable."""
        return self.targets.memory_share

    @property
    def concurrent_talkers(self) -> int:
        """Talkers in flight within the targets."""
        return self.targets.concurrent_talkers

    def calibration_p99_ms(self, users: int) -> float | None:
        """Return the generator's error budget at ``users``; None above the largest calibrated."""
        return next((b.p99_ms for b in self.calibration if users <= b.up_to_users), None)

    def alert(self, metric: str) -> Condition | None:
        """Return the threshold of the first alert on ``metric``, or None."""
        return next((a.condition for a in self.alerts if a.condition.name == metric), None)


def load(path: Path | None = None, settings: Settings | None = None) -> Slo:
    """Read the acceptance targets, and the alert thresholds from the settings.

    ``path`` None reads the packaged ``slo.yaml``; ``settings`` None takes the alerts of the
    packaged ``hybrid.yaml``.

    Raises:
        UserError: one line, ``FILE:LINE: key.path: what was wrong; expected ...``, for each thing
            that is wrong.
    """
    tree = Tree()
    tree.add(document.read(packaged("slo.yaml") if path is None else path))
    try:
        file = _File.model_validate(tree.values)
    except ValidationError as error:
        document.refuse(findings.lines(error, tree, _File))
        raise
    if settings is None:
        settings = settings_room.load(None, {})
    alerts = tuple(
        Alert(condition=alert.parsed, action=alert.action)
        for alert in settings.monitoring_metrics.alerts
    )
    return Slo(
        targets=file.targets,
        calibration=file.calibration,
        minimum_samples=file.minimum_samples,
        expected=file.expected,
        alerts=alerts,
    )
