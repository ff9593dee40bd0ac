"""The guide's three sentences against errors."""

from __future__ import annotations

import math

import numpy as np

from firsttoken.core.settings import Settings
from firsttoken.core.words import ErrorType
from reports import text
from reports.advice.facts import FEW, Facts, p95_of
from reports.advice.guide.said import Said
from reports.advice.model import Confidence, Effect, Figure, Gain, Line, known
from reports.statistics import FloatArray, median

_MODEL_FAULTS = (ErrorType.HTTP_5XX, ErrorType.PROTOCOL, ErrorType.CONNECT)
"""How a damaged model shows: the engine does not start, fails, or answers with nonsense."""


_TIMEOUTS = (ErrorType.FIRST_TOKEN_TIMEOUT, ErrorType.TOTAL_TIMEOUT, ErrorType.STALLED)


def _count(facts: Facts, kinds: tuple[ErrorType, ...]) -> int:
    return sum(facts.errors.get(kind, 0) for kind in kinds)


def model_file(facts: Facts, _settings: Settings) -> Said:
    bad = _count(facts, _MODEL_FAULTS)
    evidence = (Figure("errors that a damaged model could cause", float(bad), n=facts.n),)
    check = ("firsttoken doctor checks the file and its integrity",)
    if not bad:
        return Said(
            Effect.HELPS_NOTHING,
            f"None of the {facts.n} requests failed as with a damaged model: the engine loads and "
            "answers.",
            evidence,
            Gain("nothing to mend", 0.0, 0.0),
            Confidence.MEASURED,
            elsewhere=check,
        )
    return Said(
        Effect.NOT_SHOWN,
        f"{bad} of {facts.n} requests failed with server or connection errors; whether the model "
        "is the cause, only its check can tell.",
        evidence,
        elsewhere=check,
    )


def timeout(facts: Facts, settings: Settings) -> Said:
    late = _count(facts, _TIMEOUTS)
    local = settings.llm_routing.local_model
    limit = 5.0 if local is None else local.timeout
    seen = facts.local[np.isfinite(facts.local)]
    slower = int((seen > limit * 1000).sum())
    evidence = (
        Figure("requests that ran into a timeout", float(late), n=facts.n),
        Figure(f"local first tokens after {limit:g} s", float(slower), n=int(seen.size)),
    )
    if not late:
        return Said(
            Effect.HELPS_NOTHING,
            "No request ran into a timeout: a longer one changes nothing.",
            evidence,
            Gain("nothing to mend", 0.0, 0.0),
            Confidence.MEASURED,
        )
    return Said(
        Effect.HARMS,
        f"{late} of {facts.n} requests ran into a timeout: a longer one turns them from errors "
        f"into first tokens after more than {limit:g} s, {limit * 1000 / facts.target_ms:.0f} "
        "times the target; it hides the errors and delays the backup.",
        evidence,
        Gain("none within the target: what waits so long is late either way"),
        Confidence.MEASURED,
        (Line("llm_routing.local_model.timeout", limit),),
    )


def go_remote(facts: Facts, _settings: Settings) -> Said:
    lines = (Line("llm_routing.hybrid_mode", value=True),)
    if facts.remote.size < FEW:
        return Said(
            Effect.NOT_SHOWN,
            "The run has too few answers of a cloud to compare with.",
            (Figure("answers of a cloud", float(facts.remote.size), n=facts.n),),
            lines=lines,
        )
    remote, local = median(facts.remote), median(facts.local)
    failed, failed_there = _failed(facts.local), _failed(facts.remote)
    emulated = " (emulated)" if facts.remote_emulated else ""
    n, n_there = int(facts.local.size), int(facts.remote.size)
    evidence = (
        *known(f"cloud TTFT median{emulated}", text.round_ms(remote), "ms", n_there),
        Figure("cloud requests that failed", round(failed_there, 4), "share", n_there),
        *known("local TTFT median", text.round_ms(local), "ms", n),
        *(known("local requests that failed", round(failed, 4), "share", n) if n else ()),
    )
    before, after = facts.ttft_p95_ms.value, p95_of(facts.remote)
    moved = None
    if before is not None and after is not None and math.isfinite(before) and math.isfinite(after):
        moved = round(before - after, 1)
    there = _after(remote)
    if failed > facts.error_target and failed_there < failed:
        return Said(
            Effect.HELPS,
            f"{failed:.1%} of the local requests failed, and {failed_there:.1%} of the cloud's; "
            f"its first token comes {there} at the median.",
            evidence,
            Gain("what failed locally, sent to the cloud", moved, round(failed - failed_there, 4)),
            Confidence.ESTIMATED,
            lines,
        )
    if failed > facts.error_target:
        return Said(
            Effect.HARMS,
            f"{failed:.1%} of the local requests failed, and {failed_there:.1%} of the cloud's: "
            "there they fail no less.",
            evidence,
            Gain("every request at the cloud", moved, round(failed - failed_there, 4)),
            Confidence.ESTIMATED,
            lines,
        )
    sooner = remote is not None and local is not None and remote < local
    return Said(
        Effect.HELPS if sooner else Effect.HARMS,
        f"Local errors are within the target, and the cloud's first token comes {there} at the "
        f"median, the local one {_after(local)}: "
        + ("it is sooner there under this load." if sooner else "all of it there would be later."),
        evidence,
        Gain("every request at the cloud", moved),
        Confidence.ESTIMATED,
        lines,
    )


def _failed(delays: FloatArray) -> float:
    """Return the share of requests whose first token never came."""
    return float(np.isinf(delays).mean()) if delays.size else 0.0


def _after(delay_ms: float | None) -> str:
    if delay_ms is None or math.isinf(delay_ms):
        return "never"
    return f"after {delay_ms:.0f} ms"
