"""What an advice is made of."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum


class Effect(StrEnum):
    """What the data of a run say of a change."""

    HELPS = "helps"
    HELPS_NOTHING = "helps nothing"
    HARMS = "harms"
    NOT_SHOWN = "not shown"
    """This run cannot tell."""


class Confidence(StrEnum):
    """What an expected gain rests on."""

    MEASURED = "measured"
    """This run shows it without a model in between."""
    ESTIMATED = "estimated"
    """Figures of this run, put through a stated formula."""
    MECHANISM = "by mechanism"
    """How the engine works; this run has no figure for it."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One piece of evidence."""

    name: str
    value: float | str
    unit: str = ""
    """``ms``, ``share``, ``tokens``, ``cores``; empty: a bare number or a word."""
    n: int | None = None
    """Requests or samples that it rests on."""


def known(name: str, value: float | None, unit: str, n: int | None = None) -> tuple[Figure, ...]:
    """Return a figure, or none where its value is not known."""
    return () if value is None else (Figure(name, value, unit, n),)


@dataclass(frozen=True, slots=True)
class Gain:
    """What to expect of a change."""

    how: str
    """How it was estimated."""
    ttft_p95_ms: float | None = None
    """By how much the TTFT p95 falls, ms; negative: it grows; None: unknown."""
    error_share: float | None = None
    """Share of the requests that would not fail; None: unknown, or none of its business."""


UNKNOWN = Gain("unknown")
NONE = Gain("no way for it to move the first token", ttft_p95_ms=0.0)


@dataclass(frozen=True, slots=True)
class Line:
    """One settings line: the key path, as the settings loader names it, and the value."""

    path: str
    value: bool | int | float | str

    def __str__(self) -> str:
        """As it is written in YAML on one line: ``engine.slots: 24``."""
        value = str(self.value).lower() if isinstance(self.value, bool) else self.value
        return f"{self.path}: {value}"


@dataclass(frozen=True, slots=True)
class Advice:
    """One change, and what the run says of it."""

    key: str
    effect: Effect
    finding: str
    """One plain sentence."""
    evidence: tuple[Figure, ...]
    gain: Gain
    confidence: Confidence
    lines: tuple[Line, ...] = ()
    """Settings to change; empty: none, or none of ours."""
    elsewhere: tuple[str, ...] = ()
    """What to change outside of the settings."""
    sentence: str | None = None
    """The guide's recommendation that this answers; None: not the guide's."""
    action: str = ""
    """What carrying out the guide's sentence means here."""


@dataclass(frozen=True, slots=True)
class Advised:
    """Everything said of a run."""

    run_id: str
    arm: str
    step_users: int
    n: int
    advice: tuple[Advice, ...]
    """Beyond the guide, largest expected gain first."""
    guide: tuple[Advice, ...]
    """The guide's sentences, in its order."""
    missing: tuple[str, ...]
    """What the run does not tell, and what is therefore not claimed; each a sentence."""


_ORDER = (Effect.HELPS, Effect.NOT_SHOWN, Effect.HELPS_NOTHING, Effect.HARMS)


def rank(item: Advice) -> tuple[int, float, float]:
    """Return the key by which advice is sorted: what helps first, of it what saves requests from
    failing (a failed one is later than every target), then what saves most milliseconds; an
    unknown gain comes after every known one."""
    errors, ms = item.gain.error_share, item.gain.ttft_p95_ms
    return (
        _ORDER.index(item.effect),
        -(errors or 0.0),
        -ms if ms is not None and math.isfinite(ms) else (-math.inf if ms else math.inf),
    )
