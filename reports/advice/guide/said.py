"""What a run says of one of the guide's sentences."""

from __future__ import annotations

from dataclasses import dataclass

from reports.advice.model import UNKNOWN, Confidence, Effect, Figure, Gain, Line


@dataclass(frozen=True, slots=True)
class Said:
    """What the run says of one sentence."""

    effect: Effect
    finding: str
    evidence: tuple[Figure, ...] = ()
    gain: Gain = UNKNOWN
    confidence: Confidence = Confidence.MECHANISM
    lines: tuple[Line, ...] = ()
    elsewhere: tuple[str, ...] = ()
