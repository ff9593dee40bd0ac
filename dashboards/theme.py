"""Colours, units and limits of boards: one palette, told apart by colour-blind readers too.

A tier has a colour, a quantile a lightness of it; red is for what failed. A limit is drawn where
an alert or an acceptance target has its threshold, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from firsttoken.core.catalogue import CircuitState, Mode
from firsttoken.core.slo import Slo
from firsttoken.core.words import Outcome, Tier

LOCAL = "#2a7fc0"
REMOTE = "#d9730d"
CACHE = "#12936f"
NOBODY = "#8c959f"
ERROR = "#c2453d"
GOOD = "#3f9c57"
WARN = "#e3b23c"
NEUTRAL = "#8a6bb8"

TIER_COLOURS: dict[str, str] = {
    Tier.LOCAL: LOCAL,
    Tier.REMOTE: REMOTE,
    Tier.CACHE: CACHE,
    Tier.NONE: NOBODY,
}
OUTCOME_COLOURS: dict[str, str] = {
    Outcome.SUCCESS: GOOD,
    Outcome.ERROR: ERROR,
    Outcome.TIMEOUT: WARN,
    Outcome.CANCELLED: NOBODY,
    Outcome.REJECTED: NEUTRAL,
}
CIRCUIT_STATES = (CircuitState.CLOSED, CircuitState.HALF_OPEN, CircuitState.OPEN)
"""From well to ill: the numbers 0, 1 and 2 on a timeline."""
CIRCUIT_COLOURS = (GOOD, WARN, ERROR)
MODES = (Mode.NORMAL, Mode.LOCAL_ONLY, Mode.HYBRID, Mode.REDUCED_LOCAL, Mode.REMOTE_ONLY)
"""From usual to far from it: the numbers 0 to 4 on a timeline."""
MODE_COLOURS = (GOOD, LOCAL, WARN, NEUTRAL, REMOTE)

QUANTILES: dict[float, float] = {0.5: 0.45, 0.95: 0.0, 0.99: -0.35}
"""The quantiles that are drawn, and the share of white (below 0: of black) mixed in."""


class Unit(StrEnum):
    """Units as Grafana names them."""

    SECONDS = "s"
    SHARE = "percentunit"
    REQUESTS_PER_SECOND = "reqps"
    PER_SECOND = "ops"
    """Of what is no request: probes, actions, ends of conversations."""
    BYTES = "bytes"
    USD = "currencyUSD"
    NUMBER = "short"
    AGE = "dateTimeFromNow"


def mixed(colour: str, share: float) -> str:
    """Return ``colour`` with a share of white, or below 0 of black, mixed in; ``#rrggbb``."""
    towards = 255 if share > 0 else 0
    parts = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return "#" + "".join(f"{round(part + (towards - part) * abs(share)):02x}" for part in parts)


@dataclass(frozen=True, slots=True)
class Limits:
    """Where a value stops being good: at ``warn`` it is amber, at ``alarm`` red."""

    warn: float | None = None
    alarm: float | None = None
    low_is_bad: bool = False

    @property
    def known(self) -> bool:
        """Whether there is any limit to draw."""
        return self.warn is not None or self.alarm is not None

    def steps(self) -> list[dict[str, Any]]:
        """Return the threshold steps of a panel, the first without a value."""
        marks = [(self.warn, WARN), (self.alarm, ERROR)]
        known = sorted((value, colour) for value, colour in marks if value is not None)
        if not self.low_is_bad:
            return [_step(None, GOOD), *(_step(value, colour) for value, colour in known)]
        colours = [colour for _, colour in known] + [GOOD]
        values = [None, *(value for value, _ in known)]
        return [_step(value, colour) for value, colour in zip(values, colours, strict=True)]


NO_LIMITS = Limits()


def _step(value: float | None, colour: str) -> dict[str, Any]:
    return {"color": colour, "value": value}


def first_token(slo: Slo) -> Limits:
    """Amber at the acceptance target, red where the alert on the local model's response fires."""
    return Limits(slo.ttft_p95_ms / 1000, _alert(slo, "local_model_response_time"))


def error_rate(slo: Slo) -> Limits:
    """Amber at the acceptance target, red where the alert on the local error rate fires."""
    return Limits(slo.error_rate, _alert(slo, "local_model_error_rate"))


def memory(slo: Slo) -> Limits:
    """Amber at the acceptance target, red where the alert fires; of the memory limit."""
    return Limits(slo.memory_share, _alert(slo, "memory_usage"))


def cpu(slo: Slo) -> Limits:
    """Red where an alert on the processor fires, if the settings have one."""
    return Limits(alarm=_alert(slo, "cpu_usage"))


def within_target() -> Limits:
    """The target is a 95th percentile: 95 of 100 first tokens within it."""
    return Limits(alarm=0.95, low_is_bad=True)


def availability(slo: Slo) -> Limits:
    """Red below the acceptance target."""
    return Limits(alarm=slo.availability, low_is_bad=True)


def _alert(slo: Slo, metric: str) -> float | None:
    condition = slo.alert(metric)
    return None if condition is None else condition.value


Override = dict[str, Any]


def coloured(pattern: str, colour: str) -> Override:
    """Give every series whose name matches the regular expression one colour."""
    return {
        "matcher": {"id": "byRegexp", "options": f"/{pattern}/"},
        "properties": [{"id": "color", "value": {"fixedColor": colour, "mode": "fixed"}}],
    }


def shades(colour: str) -> Override:
    """Give every series a shade of one colour."""
    override = coloured(".*", colour)
    override["properties"][0]["value"]["mode"] = "shades"
    return override


def by_word(colours: Mapping[str, str]) -> list[Override]:
    """Colour series by the word their name begins with."""
    return [coloured(f"^{word}\\b.*", colour) for word, colour in colours.items()]


BY_TIER = by_word(TIER_COLOURS)
"""For names such as ``local`` and ``remote qwen_cloud``."""
BY_OUTCOME = by_word(OUTCOME_COLOURS)


def by_backend() -> list[Override]:
    """Colour series named ``tier backend``: one tier's backends in shades of its colour."""
    overrides = by_word(TIER_COLOURS)
    for override in overrides:
        override["properties"][0]["value"]["mode"] = "shades"
    return overrides


def by_quantile(quantiles: Iterable[float], colours: Mapping[str, str]) -> list[Override]:
    """Colour series named ``word ... p95``: the word gives the colour, the quantile the shade."""
    return [
        coloured(f"^{word}\\b.* {named(q)}$", mixed(colour, QUANTILES[q]))
        for word, colour in colours.items()
        for q in quantiles
    ]


def named(q: float) -> str:
    """Return a quantile as people write it: ``p95``."""
    return f"p{q * 100:g}"


def states(words: Iterable[str], colours: Iterable[str]) -> list[dict[str, Any]]:
    """Return the value mapping that shows 0, 1, 2... as coloured words."""
    options = {
        str(place): {"color": colour, "index": place, "text": word.replace("_", " ")}
        for place, (word, colour) in enumerate(zip(words, colours, strict=True))
    }
    return [{"type": "value", "options": options}]
