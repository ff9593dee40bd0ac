"""The circuit breaker of one backend, as pure functions of its state.

::

    closed --(failures in a row)--> open --(cool-down over: one probe)--> half open
      ^                              ^                                     |     |
      |                              +--------(probe failed: longer)-------+     |
      +----------------------(probe succeeded)-----------------------------------+

Requests are sent only while it is closed: the probe is the router's own, so no user waits for a
backend that is probably still down.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from firsttoken.core.catalogue import CircuitState
from firsttoken.core.words import ErrorType

TRIPPING = frozenset(
    {
        ErrorType.CONNECT,
        ErrorType.HTTP_5XX,
        ErrorType.RATE_LIMITED,
        ErrorType.OVERLOADED,
        ErrorType.PROTOCOL,
        ErrorType.STALLED,
        ErrorType.FIRST_TOKEN_TIMEOUT,
    }
)
"""Failures that say something of the backend's health. A wrong key, a request it does not accept,
a client that left and a long reply that was asked for in one piece do not."""


FIRST_COOL_DOWN_S = 1.0


@dataclass(frozen=True, slots=True)
class BreakerRules:
    """When a circuit opens and how long it stays open."""

    failures: int = 3
    """Failures in a row that open it."""
    first_cool_down_s: float = FIRST_COOL_DOWN_S
    longest_cool_down_s: float = 30.0
    """The cool-down doubles with each failed probe up to this."""


@dataclass(frozen=True, slots=True)
class Breaker:
    """The state of one circuit."""

    state: CircuitState = CircuitState.CLOSED
    failures: int = 0
    """In a row, while closed."""
    cool_down_s: float = 0.0
    """Length of the present cool-down, while not closed."""
    probe_at_s: float = 0.0
    """When the next probe may be made, while open; seconds of the caller's clock."""


def after_success(breaker: Breaker) -> Breaker:
    """Return the state after a reply came to its end."""
    if breaker.state is CircuitState.CLOSED:
        return replace(breaker, failures=0)
    # An attempt from before the circuit opened; the probe decides.
    return breaker


def after_failure(
    breaker: Breaker, error_type: ErrorType, rules: BreakerRules, now_s: float
) -> Breaker:
    """Return the state after an attempt failed at ``now_s``."""
    if breaker.state is not CircuitState.CLOSED or error_type not in TRIPPING:
        return breaker
    failures = breaker.failures + 1
    if failures < rules.failures:
        return replace(breaker, failures=failures)
    return _open(rules.first_cool_down_s, now_s)


def start_probe(breaker: Breaker, now_s: float) -> Breaker | None:
    """Return the half-open state if a probe may be made now, else None.

    None also while another probe is under way: there is one at a time.
    """
    if breaker.state is not CircuitState.OPEN or now_s < breaker.probe_at_s:
        return None
    return replace(breaker, state=CircuitState.HALF_OPEN)


def after_probe(breaker: Breaker, succeeded: bool, rules: BreakerRules, now_s: float) -> Breaker:
    """Return the state after the probe that :func:`start_probe` allowed."""
    if succeeded:
        return Breaker()
    return _open(min(breaker.cool_down_s * 2, rules.longest_cool_down_s), now_s)


def _open(cool_down_s: float, now_s: float) -> Breaker:
    return Breaker(state=CircuitState.OPEN, cool_down_s=cool_down_s, probe_at_s=now_s + cool_down_s)
