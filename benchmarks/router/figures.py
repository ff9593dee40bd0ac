"""The figures of a comparison, the budgets of the router, and how both are told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.router.load import Block


@dataclass
class Side:
    """What was measured of one way to the server."""

    name: str
    ready_s: float
    """From the start of its process."""
    beyond_ms: list[float] = field(default_factory=list)
    """TTFT beyond the server's own, by request."""
    streams: int = 0
    cpu_s: float = 0.0
    resident_mb: float = 0.0
    saturated_per_s: float = 0.0
    """Streams a second without pacing."""
    saturated_cores: float = 0.0
    """Cores it used meanwhile."""

    def add(self, block: Block, cpu_s: float) -> None:
        """Take the figures of one paced block."""
        self.beyond_ms += block.beyond_ms
        self.streams += block.streams
        self.cpu_s += cpu_s

    def saturate(self, block: Block, cpu_s: float) -> None:
        """Take the figures of the block without pacing."""
        self.saturated_per_s = block.streams / block.seconds
        self.saturated_cores = cpu_s / block.seconds

    def quantile(self, share: float) -> float:
        """Return a quantile of :attr:`beyond_ms`, by nearest rank."""
        ordered = sorted(self.beyond_ms)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    @property
    def cpu_ms(self) -> float:
        """CPU time of a paced stream, milliseconds."""
        return 1000 * self.cpu_s / max(1, self.streams)

    @property
    def saturated_per_core_s(self) -> float:
        """Streams that one core carries in a second: streams / CPU seconds."""
        return self.saturated_per_s / self.saturated_cores if self.saturated_cores else 0.0


@dataclass(frozen=True)
class Check:
    """One budget of the router, and what was measured."""

    name: str
    unit: str
    value: float
    budget: float

    @property
    def passed(self) -> bool:
        """Whether the figure is within its budget."""
        return self.value <= self.budget


def checks(direct: Side, router: Side) -> list[Check]:
    """Return what the router is held to; added = its quantile - the direct server's."""
    return [
        Check("added TTFT p50", "ms", router.quantile(0.5) - direct.quantile(0.5), 1.5),
        Check("added TTFT p99", "ms", router.quantile(0.99) - direct.quantile(0.99), 5.0),
        Check("CPU a paced stream", "ms", router.cpu_ms, 3.5),
        Check("resident", "MB", router.resident_mb, 120.0),
        Check("ready after", "s", router.ready_s, 1.5),
    ]


def table(sides: Sequence[Side], missing: Sequence[str]) -> str:
    """Return the figures as text, the direct server first."""
    direct = sides[0]
    lines = [
        (
            f"{'':14}{'TTFT beyond the server, ms':>27}{'added, ms':>16}{'CPU':>8}{'memory':>8}"
            f"{'ready':>8}  {'unpaced: streams/s':>19}"
        ),
        (
            f"{'':8}{'n':>6}{'p50':>9}{'p95':>9}{'p99':>9}{'p50':>8}{'p99':>8}{'ms each':>8}"
            f"{'MB':>8}{'s':>8}  {'':>6}{'cores':>6}{'a core':>7}"
        ),
    ]
    for side in sides:
        p50, p95, p99 = (side.quantile(share) for share in (0.5, 0.95, 0.99))
        added = (
            " " * 16
            if side is direct
            else f"{p50 - direct.quantile(0.5):8.2f}{p99 - direct.quantile(0.99):8.2f}"
        )
        lines.append(
            f"{side.name:8}{len(side.beyond_ms):6}{p50:9.2f}{p95:9.2f}{p99:9.2f}{added}"
            f"{side.cpu_ms:8.2f}{side.resident_mb:8.0f}{side.ready_s:8.2f}  "
            f"{side.saturated_per_s:6.0f}{side.saturated_cores:6.2f}"
            f"{side.saturated_per_core_s:7.0f}"
        )
    lines += [f"{name:8} not installed" for name in missing]
    return "\n".join(lines)


def verdicts(found: Sequence[Check]) -> str:
    """Return one line a budget."""
    return "\n".join(
        f"{'PASS' if check.passed else 'MISSED':8}{check.name:20}{check.value:8.2f} {check.unit:3}"
        f"(budget {check.budget:g} {check.unit})"
        for check in found
    )


def as_json(
    setting: dict[str, Any], sides: Sequence[Side], found: Sequence[Check], missing: Sequence[str]
) -> dict[str, Any]:
    """Return everything for a program to read."""
    return {
        **setting,
        "sides": [
            {
                "name": side.name,
                "n": len(side.beyond_ms),
                "beyond_ms": {
                    name: round(side.quantile(share), 3)
                    for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
                },
                "cpu_ms_a_stream": round(side.cpu_ms, 3),
                "resident_mb": round(side.resident_mb, 1),
                "ready_s": round(side.ready_s, 3),
                "unpaced": {
                    "streams_per_s": round(side.saturated_per_s, 1),
                    "cores": round(side.saturated_cores, 3),
                    "streams_per_core_s": round(side.saturated_per_core_s, 1),
                },
            }
            for side in sides
        ],
        "not_installed": list(missing),
        "checks": [
            {
                "name": check.name,
                "unit": check.unit,
                "value": round(check.value, 3),
                "budget": check.budget,
                "passed": check.passed,
            }
            for check in found
        ],
    }
