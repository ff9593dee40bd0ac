"""The circuit breaker of one backend, as pure functions of its state.

::

    closed --(failures in a row, or too large a share of them)--> open
    open --(cool-down over: one probe)--> half open --(it succeeded)--> closed
                                                    --(it failed)-----> open, for longer

Requests are sent only while it is closed: the probe is the router's own, so no user waits for a
backend that is probably still down.

A circuit that was opened from outside, since its backend serves and yet is not well, wants several
successes in a row: one token proves little of a backend that fails now and then.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple, Self

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
LEAST_COOL_DOWN_S = 0.1

SLICES = 10
"""The window of the failure share is counted in slices, so that noting an attempt costs the same
however many there were."""


class Slice(NamedTuple):
    """What happened in one tenth of the window."""

    number: int
    """Of the slice since the clock's zero."""
    attempts: int
    failures: int


@dataclass(frozen=True, slots=True)
class BreakerRules:
    """When a circuit opens and how long it stays open."""

    failures: int = 3
    """Failures in a row that open it, and failed probes in a row."""
    first_cool_down_s: float = FIRST_COOL_DOWN_S
    longest_cool_down_s: float = 20.0
    """The cool-down doubles with each failed probe up to this."""
    failure_share: float = 0.5
    """Share of failures among the attempts of the window that opens it."""
    least_attempts: int = 10
    """Attempts that the window must hold for its share to count."""
    window_s: float = 30.0

    @classmethod
    def of_probes(cls, failures: int, interval_s: float, timeout_s: float) -> Self:
        """Return rules under which a backend that came back is found within ``interval_s``.

        It may come back just after a probe began, which then takes ``timeout_s`` to fail, and the
        next probe may take as long to succeed: the cool-down between them is the rest.
        """
        longest = max(LEAST_COOL_DOWN_S, interval_s - 2 * timeout_s)
        return cls(failures, min(FIRST_COOL_DOWN_S, longest), longest)


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
    recent: tuple[Slice, ...] = ()
    """Attempts that succeeded or tripped, while closed; oldest first."""
    wanted: int = 1
    """Probes in a row that have to succeed before it is closed."""
    passed: int = 0
    """Those that did."""


def after_success(breaker: Breaker, rules: BreakerRules, now_s: float) -> Breaker:
    """Return the state after a reply came to its end at ``now_s``."""
    if breaker.state is CircuitState.CLOSED:
        return replace(breaker, failures=0, recent=_noted(breaker.recent, 0, rules, now_s))
    # An attempt from before the circuit opened; the probe decides.
    return breaker


def after_failure(
    breaker: Breaker, error_type: ErrorType, rules: BreakerRules, now_s: float
) -> Breaker:
    """Return the state after an attempt failed at ``now_s``."""
    if breaker.state is not CircuitState.CLOSED or error_type not in TRIPPING:
        return breaker
    failures, recent = breaker.failures + 1, _noted(breaker.recent, 1, rules, now_s)
    if failures >= rules.failures or _too_many(recent, rules):
        return opened(breaker, rules, now_s)
    return replace(breaker, failures=failures, recent=recent)


def opened(breaker: Breaker, rules: BreakerRules, now_s: float) -> Breaker:
    """Return the open state; one that is not closed stays as it is."""
    if breaker.state is not CircuitState.CLOSED:
        return breaker
    return _open(rules.first_cool_down_s, now_s)


def taken_out(
    breaker: Breaker, rules: BreakerRules, now_s: float, hold_s: float, probes: int
) -> Breaker:
    """Return the state after somebody asked that nothing be sent there: closed by ``probes`` in a
    row that succeed, and by nothing else.

    ``hold_s`` passes before the first of them, unless the circuit was open: then its own cool-down
    goes on, since a backend that failed by itself is to be found again soon. A probe under way
    does not count.
    """
    if breaker.state is CircuitState.CLOSED:
        probe_at_s = now_s + hold_s
        return replace(_open(rules.first_cool_down_s, now_s), probe_at_s=probe_at_s, wanted=probes)
    wanted = max(breaker.wanted, probes)
    if breaker.state is CircuitState.HALF_OPEN:
        return replace(_open(breaker.cool_down_s, now_s), wanted=wanted)
    return replace(breaker, wanted=wanted)


def start_probe(breaker: Breaker, now_s: float) -> Breaker | None:
    """Return the half-open state if a probe may be made now, else None.

    None also while another probe is under way: there is one at a time.
    """
    if breaker.state is not CircuitState.OPEN or now_s < breaker.probe_at_s:
        return None
    return replace(breaker, state=CircuitState.HALF_OPEN)


def after_probe(
    breaker: Breaker, succeeded: bool | None, rules: BreakerRules, now_s: float
) -> Breaker:
    """Return the state after the probe that :func:`start_probe` allowed; None is one that neither
    succeeded nor failed, and is made again after the same cool-down."""
    wanted, passed = breaker.wanted, breaker.passed + 1
    if succeeded and passed >= wanted:
        return Breaker()
    if succeeded:
        return replace(_open(rules.first_cool_down_s, now_s), wanted=wanted, passed=passed)
    longer = 1 if succeeded is None else 2
    cool_down_s = min(breaker.cool_down_s * longer, rules.longest_cool_down_s)
    return replace(_open(cool_down_s, now_s), wanted=wanted)


def _open(cool_down_s: float, now_s: float) -> Breaker:
    return Breaker(state=CircuitState.OPEN, cool_down_s=cool_down_s, probe_at_s=now_s + cool_down_s)


def _noted(
    recent: tuple[Slice, ...], failures: int, rules: BreakerRules, now_s: float
) -> tuple[Slice, ...]:
    """Return the window with one more attempt, without the slices that have left it."""
    number = int(now_s * SLICES / rules.window_s)
    kept = tuple(each for each in recent if number - SLICES < each.number < number)
    last = recent[-1] if recent and recent[-1].number == number else Slice(number, 0, 0)
    return (*kept, Slice(number, last.attempts + 1, last.failures + failures))


def _too_many(recent: tuple[Slice, ...], rules: BreakerRules) -> bool:
    attempts = sum(each.attempts for each in recent)
    failures = sum(each.failures for each in recent)
    return attempts >= rules.least_attempts and failures >= rules.failure_share * attempts
