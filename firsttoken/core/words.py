"""The closed vocabularies of the project.

Every label value, record value and verdict is written here once; metrics, records, reports,
rules and documentation take it from here.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum


class Tier(StrEnum):
    """Who produced the text a client received."""

    LOCAL = "local"
    REMOTE = "remote"
    CACHE = "cache"
    NONE = "none"
    """Nobody: the request was rejected, failed, or answered with a canned sentence."""


class Arm(StrEnum):
    """One side of a comparison run."""

    HYBRID = "hybrid"
    LOCAL_ONLY = "local_only"
    REMOTE_ONLY = "remote_only"
    TARGET = "target"
    """A server that is not ours, measured directly."""
    AGAINST = "against"
    """The server that ``target`` is compared with."""


class Outcome(StrEnum):
    """How an accepted request (or an attempt) ended. Each accepted request has exactly one."""

    SUCCESS = "success"
    ERROR = "error"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    """Accepted, then turned away for load."""


class ErrorType(StrEnum):
    """Why a request or an attempt did not succeed."""

    CONNECT = "connect"
    HTTP_4XX = "http_4xx"
    HTTP_5XX = "http_5xx"
    RATE_LIMITED = "rate_limited"
    PROTOCOL = "protocol"
    STALLED = "stalled"
    FIRST_TOKEN_TIMEOUT = "first_token_timeout"  # noqa: S105 - an error type, not a password
    TOTAL_TIMEOUT = "total_timeout"
    CONTEXT_OVERFLOW = "context_overflow"
    CLIENT_GONE = "client_gone"
    OVERLOADED = "overloaded"
    AUTH = "auth"


OUTCOME_OF: dict[ErrorType, Outcome] = {
    ErrorType.FIRST_TOKEN_TIMEOUT: Outcome.TIMEOUT,
    ErrorType.TOTAL_TIMEOUT: Outcome.TIMEOUT,
    ErrorType.STALLED: Outcome.TIMEOUT,
    ErrorType.OVERLOADED: Outcome.REJECTED,
    ErrorType.CLIENT_GONE: Outcome.CANCELLED,
}
"""How a request or an attempt ended, by why; every other error type is an ``error``."""


class Reason(StrEnum):
    """Why a backend was chosen."""

    RULE_SIMPLE = "rule_simple"
    RULE_COMPLEX = "rule_complex"
    DEFAULT_LOCAL = "default_local"
    DEFAULT_REMOTE = "default_remote"
    """The settings name a remote backend as the first try."""
    WEIGHTED_SHARE = "weighted_share"
    LOW_CONFIDENCE = "low_confidence"
    HIGH_COMPLEXITY = "high_complexity"
    LOCAL_TIMEOUT = "local_timeout"
    LOCAL_UNHEALTHY = "local_unhealthy"
    LOCAL_SLOW = "local_slow"
    LOCAL_OVERLOADED = "local_overloaded"
    QUEUE_FULL = "queue_full"
    PROMPT_TOO_LONG = "prompt_too_long"
    CONTEXT_OVERFLOW = "context_overflow"
    NAMED_MODEL = "named_model"
    BACKGROUND = "background"
    LOCAL_ONLY = "local_only"
    PREDICTED_LATE = "predicted_late"
    FAILOVER = "failover"
    HEDGE_WON = "hedge_won"
    ALL_OTHERS_FAILED = "all_others_failed"
    MODE_REMOTE_ONLY = "mode_remote_only"
    CACHE_EXACT = "cache_exact"
    CACHE_SEMANTIC = "cache_semantic"


class CallClass(StrEnum):
    """What a talking device's server asks for with one request."""

    CHAT = "chat"
    """The answer to what a person said; the person waits for its first sentence."""
    AFTER_TOOL = "after_tool"
    """The answer after a tool was used, in the same turn."""
    INTENT = "intent"
    """What the person wants, as JSON; asked before the chat, which waits for all of it."""
    SUMMARY = "summary"
    """What to remember of a conversation that has ended; nobody waits."""
    GOODBYE = "goodbye"
    """The last words to somebody who has been silent."""
    OTHER = "other"


ANSWER_TOOL = "direct_answer"
"""The tool through which a voice server lets a model talk; offered until another one was used."""

EXIT_TOOL = "handle_exit_intent"
"""The tool that ends a conversation: what it says is spoken, and nobody asks again."""

MOST_HOPS = 5
"""How often a voice server lets a model use tools in one turn; the request after that offers
none."""


class Phase(StrEnum):
    """Where in a step a request was sent; statistics use ``steady`` rows only."""

    WARMUP = "warmup"
    STEADY = "steady"
    COOLDOWN = "cooldown"
    ASIDE = "aside"
    """At any time, for nobody who waits: such as the summary of a conversation that is over."""


class EndedBy(StrEnum):
    """What ended a steady part that had no planned length."""

    INTERVAL = "interval"
    """The interval of the judged figure was as narrow as asked for."""
    CAP = "cap"


class Verdict(StrEnum):
    """The result of checking a target, ordered from worst to best by :data:`VERDICT_ORDER`."""

    UNTRUSTED = "UNTRUSTED"
    """The generator's own error was over its budget, or the host was throttled."""
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"
    """Too few samples for the claim."""
    PASS = "PASS"  # noqa: S105 - a verdict, not a password


VERDICT_ORDER: tuple[Verdict, ...] = (
    Verdict.UNTRUSTED,
    Verdict.FAIL,
    Verdict.INCONCLUSIVE,
    Verdict.PASS,
)


class ExitCode(IntEnum):
    """Exit codes of every command."""

    PASS = 0
    FAIL = 1
    USAGE = 2
    """Bad usage, settings or data."""
    INCONCLUSIVE = 3
    UNTRUSTED = 4
    FAULT = 70
    """A fault of our own: ``EX_SOFTWARE`` of sysexits.h."""


EXIT_CODE: dict[Verdict, ExitCode] = {
    Verdict.PASS: ExitCode.PASS,
    Verdict.FAIL: ExitCode.FAIL,
    Verdict.INCONCLUSIVE: ExitCode.INCONCLUSIVE,
    Verdict.UNTRUSTED: ExitCode.UNTRUSTED,
}


def worst(verdicts: list[Verdict]) -> Verdict:
    """Return the worst of ``verdicts``; an empty list is INCONCLUSIVE, since nothing was shown."""
    return min(verdicts, key=VERDICT_ORDER.index, default=Verdict.INCONCLUSIVE)


REQUEST_ID_HEADER = "x-request-id"
"""Joins the client's record, the router's attempts and the upstream's log."""

SESSION_ID_HEADER = "x-session-id"
"""A client's name for a conversation, if it has one."""
TIER_HEADER = "x-firsttoken-tier"
BACKEND_HEADER = "x-firsttoken-backend"
REASON_HEADER = "x-firsttoken-reason"
ATTEMPTS_HEADER = "x-firsttoken-attempts"
CACHE_HEADER = "x-firsttoken-cache"
"""One of ``exact``, ``semantic``, ``miss``, ``bypass``."""
EMULATED_HEADER = "x-firsttoken-emulated"
"""Sent by our emulated cloud, so that whatever shows its figures can say so."""
