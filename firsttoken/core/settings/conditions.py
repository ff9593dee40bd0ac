"""The one little grammar of triggers, fallback thresholds and alert thresholds.

::

    condition = name | name operator number [unit]
    threshold =             operator number [unit]     (the name stands beside it)
    operator  = ">" | ">=" | "<" | "<="
    unit      = "ms" | "s" | "%" | "tokens/s"

Names are closed: what cannot be measured cannot be asked for. A time needs its unit; a share may
be written ``5%`` or ``0.05``.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import StrEnum


class Kind(StrEnum):
    """What a name stands for, and with it the base unit of the value it is compared with."""

    FLAG = "flag"
    """True or false; written without an operator."""
    SECONDS = "seconds"
    SHARE = "share"
    """A number from 0 to 1."""
    RATE = "tokens per second"


TRIGGERS: dict[str, Kind] = {
    "local_model_confidence": Kind.SHARE,
    "query_complexity": Kind.SHARE,
    "local_model_timeout": Kind.FLAG,
    "all_other_models_failed": Kind.FLAG,
}
"""Names of ``trigger_conditions``: known for one request."""

STATES: dict[str, dict[str, Kind]] = {
    "local_model_unhealthy": {},
    "local_model_slow": {"response_time": Kind.SECONDS},
    "local_model_overload": {"cpu_usage": Kind.SHARE},
}
"""Names of ``fallback_strategy[].condition``, each with the names its threshold may compare."""

STATE_EXAMPLES: dict[str, str] = {
    "local_model_slow": "response_time > 1000ms",
    "local_model_overload": "cpu_usage > 90%",
}

METRICS: dict[str, Kind] = {
    "local_model_response_time": Kind.SECONDS,
    "local_model_throughput": Kind.RATE,
    "local_model_error_rate": Kind.SHARE,
    "memory_usage": Kind.SHARE,
    "cpu_usage": Kind.SHARE,
    "local_vs_remote_ratio": Kind.SHARE,
    "user_satisfaction_score": Kind.SHARE,
    "first_response_time": Kind.SECONDS,
    "conversation_completion_rate": Kind.SHARE,
}
"""The guide's nine metrics: names of ``monitoring_metrics``."""

_COMPARISON = re.compile(
    r"(?P<operator>>=|<=|>|<)\s*(?P<number>[0-9]{1,9}(?:\.[0-9]{1,6})?)\s*(?P<unit>ms|s|%|tokens/s)?"
)
_CONDITION = re.compile(rf"(?P<name>[a-z][a-z0-9_]*)\s*(?:{_COMPARISON.pattern})?")

_UNITS_PER_BASE_UNIT: dict[Kind, dict[str | None, int]] = {
    Kind.FLAG: {},
    Kind.SECONDS: {"ms": 1000, "s": 1},
    Kind.SHARE: {"%": 100, None: 1},
    Kind.RATE: {"tokens/s": 1, None: 1},
}
_EXAMPLES: dict[Kind, str] = {
    Kind.FLAG: "the bare name",
    Kind.SECONDS: "a time such as '> 500ms' or '> 2s'",
    Kind.SHARE: "a share such as '> 5%' or '< 0.8'",
    Kind.RATE: "a rate such as '< 20 tokens/s'",
}
_MAX_LENGTH = 200


@dataclass(frozen=True, slots=True)
class Condition:
    """A parsed condition. Two that mean the same are equal, however they were written."""

    name: str
    operator: str | None
    """``>``, ``>=``, ``<``, ``<=``; None for a flag."""
    value: float | None
    """In the base unit of ``kind``: seconds, a share of 1, tokens per second; None for a flag."""
    kind: Kind
    text: str = field(default="", compare=False)
    """As it was written."""

    def holds(self, observed: float | bool | None) -> bool:
        """Say whether the condition is met by ``observed``, given in the base unit.

        What is not known (None) meets no condition.
        """
        if observed is None:
            return False
        if self.operator is None or self.value is None:
            return bool(observed)
        match self.operator:
            case ">":
                return observed > self.value
            case ">=":
                return observed >= self.value
            case "<":
                return observed < self.value
            case _:
                return observed <= self.value

    def __str__(self) -> str:
        return self.text


def did_you_mean(word: str, known: Collection[str]) -> str:
    """Return ``; did you mean "x"?`` for a near miss, else an empty string."""
    near = get_close_matches(word, known, n=1, cutoff=0.6)
    return f'; did you mean "{near[0]}"?' if near else ""


def parse(text: str, names: dict[str, Kind]) -> Condition:
    """Parse a condition that begins with one of ``names``.

    Raises:
        ValueError: not of the grammar, or a name, unit or value that is not possible here.
    """
    stripped = text.strip()
    match = _CONDITION.fullmatch(stripped) if len(text) <= _MAX_LENGTH else None
    if match is None:
        raise ValueError(
            f"{_shown(text)} is no condition; expected a name with a comparison, "
            "such as 'local_model_confidence < 0.8', or a bare name"
        )
    name = match["name"]
    if name not in names:
        raise ValueError(
            f'unknown name "{name[:60]}"{did_you_mean(name, names)}; '
            f"expected one of {', '.join(names)}"
        )
    kind = names[name]
    if match["operator"] is None:
        if kind is not Kind.FLAG:
            raise ValueError(f'"{name}" lacks its comparison; expected {_EXAMPLES[kind]}')
        return Condition(name, None, None, kind, stripped)
    if kind is Kind.FLAG:
        raise ValueError(f'"{name}" is true or false and is not compared; expected the bare name')
    return _compared(name, kind, match, stripped)


def parse_threshold(text: str, name: str, kind: Kind) -> Condition:
    """Parse a comparison whose name stands beside it, as in ``alerts``.

    Raises:
        ValueError: not of the grammar, or a unit or value that is not possible for ``kind``.
    """
    stripped = text.strip()
    match = _COMPARISON.fullmatch(stripped) if len(text) <= _MAX_LENGTH else None
    if match is None:
        raise ValueError(f"{_shown(text)} is no threshold; expected {_EXAMPLES[kind]}")
    return _compared(name, kind, match, stripped)


def _compared(name: str, kind: Kind, match: re.Match[str], text: str) -> Condition:
    unit = match["unit"]
    units = _UNITS_PER_BASE_UNIT[kind]
    if unit not in units:
        wrong = f'the unit "{unit}" is not possible' if unit else "a unit is missing"
        raise ValueError(f'{wrong} for "{name}"; expected {_EXAMPLES[kind]}')
    # Dividing keeps 5% equal to 0.05 to the last bit, which multiplying by 0.01 would not.
    value = float(match["number"]) / units[unit]
    if kind is Kind.SHARE and value > 1:
        raise ValueError(f'"{name}" is a share and never over 100%; expected {_EXAMPLES[kind]}')
    return Condition(name, match["operator"], value, kind, text)


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
