"""Where the time to the first token went: the phases of each request, stamped by who saw them.

Client, router and engine measure independently, and nothing is made to fit. Through our router::

    t_sched | t_send | accepted | first attempt | winner | asked ......... | token | relayed | read
       late   arrive   decide     lost            queue    connect  engine   hold    deliver

``asked`` is the winner's start plus its wait in the router's queue. Between it and the first token
that the router read lie the connection and what the engine told of itself (its queue, loading,
prefill); what is left of that interval is ``wait``. Against a target that is not ours the client's
own stamps take the place of the router's.

All stamps are of one monotonic clock, which the processes of a host share. Where the router ran on
another host, nothing is split.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from firsttoken.core.clock import NS_PER_MS
from reports.statistics import FloatArray

PHASES: dict[str, str] = {
    "late": "begun late by the load generator",
    "arrive": "network, and the front of the router",
    "decide": "deciding: signals, caches, policy",
    "lost": "fallback tax: attempts that lost",
    "queue": "queue in the router",
    "connect": "asked, until the engine's headers",
    "engine_queue": "queue in the engine, as it told",
    "load": "loading the model",
    "prefill": "prefill: reading the prompt",
    "wait": "rest in the engine: slot, decode step",
    "hold": "held back and relayed by the router",
    "deliver": "network, and the client's read",
}
"""The phases in the order in which they happen, with their meaning. All but the first lie within
TTFT; with the first they make up TTFT_user."""

WITHIN_TTFT: tuple[str, ...] = tuple(name for name in PHASES if name != "late")

SIMULTANEOUS_MS = 1.0
"""What lies closer together happened at once."""


def span_ms(rows: pd.DataFrame, start: str, end: str) -> FloatArray:
    """Return the milliseconds between two stamps of each row; NaN where one is missing."""
    found: FloatArray = (rows[end] - rows[start]).to_numpy(dtype=np.float64) / NS_PER_MS
    return found


def _told(rows: pd.DataFrame, name: str) -> FloatArray:
    """Return what somebody measured by itself in ms; nothing told counts as no time."""
    told = np.nan_to_num(rows[name].to_numpy(dtype=np.float64), nan=0.0)
    found: FloatArray = np.maximum(told, 0.0)
    return found


def _late(rows: pd.DataFrame) -> FloatArray:
    """Return how long after its planned start each request was sent; 0 where none was planned."""
    return np.nan_to_num(span_ms(rows, "t_sched_ns", "t_send_ns"), nan=0.0)


def _engine(rows: pd.DataFrame, span: FloatArray, headers: FloatArray) -> dict[str, FloatArray]:
    """Split the time from asking an engine to its first token; ``headers`` is that to its headers.

    Headers that came with the first token, or left no room for what the engine told, say nothing
    of the connection. ``wait`` may come out negative: the engine told of more time than passed.
    """
    phases = {
        "engine_queue": _told(rows, "engine_queue_ms"),
        "load": _told(rows, "load_ms"),
        "prefill": _told(rows, "prompt_ms"),
    }
    told = phases["engine_queue"] + phases["load"] + phases["prefill"]
    early = (headers >= 0) & (headers + told <= span) & (span - headers > SIMULTANEOUS_MS)
    phases["connect"] = np.where(early, headers, 0.0)
    phases["wait"] = span - phases["connect"] - told
    return phases


def _routed(rows: pd.DataFrame) -> dict[str, FloatArray]:
    """Return the phases of requests through our router."""
    served = rows["won_started_ns"].notna().to_numpy()
    hit = (~served) & (rows["tried"] == 0).to_numpy()
    queue = _told(rows, "queue_ms")
    nothing = np.zeros(len(rows))

    def step(start: str, end: str) -> FloatArray:
        # A cache hit has no attempt: all of it is the decision.
        found: FloatArray = np.where(hit, 0.0, span_ms(rows, start, end))
        return found

    engine = _engine(
        rows,
        np.where(hit, 0.0, span_ms(rows, "won_started_ns", "won_token_ns") - queue),
        span_ms(rows, "won_started_ns", "won_headers_ns") - queue,
    )
    return {
        "late": _late(rows),
        "arrive": span_ms(rows, "t_send_ns", "accepted_ns"),
        "decide": np.where(
            hit,
            span_ms(rows, "accepted_ns", "relayed_ns"),
            span_ms(rows, "accepted_ns", "began_ns"),
        ),
        "lost": step("began_ns", "won_started_ns"),
        "queue": np.where(hit, nothing, queue),
        **engine,
        "hold": step("won_token_ns", "relayed_ns"),
        "deliver": span_ms(rows, "relayed_ns", "t_first_token_ns"),
    }


def _direct(rows: pd.DataFrame) -> dict[str, FloatArray]:
    """Return the phases of requests to a target that is not ours."""
    nothing = np.zeros(len(rows))
    engine = _engine(
        rows,
        span_ms(rows, "t_send_ns", "t_first_token_ns"),
        span_ms(rows, "t_send_ns", "t_headers_ns"),
    )
    known = ("late", *engine)
    return {
        "late": _late(rows),
        **{name: nothing for name in PHASES if name not in known},
        **engine,
    }


def split(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the phases in ms of each row of :func:`reports.join.join` that has a first token.

    The index is that of ``rows``; NaN in a phase: a stamp is missing. A phase is negative where
    stamps are out of order, ``wait`` also where the engine told of too much.
    """
    delivered = rows[rows["ttft_ms"].notna()]
    parts = []
    for flag, phases_of in (("direct", _direct), ("joined", _routed)):
        mine = delivered[delivered[flag].to_numpy(dtype=bool)]
        parts.append(pd.DataFrame(phases_of(mine), index=mine.index)[list(PHASES)])
    return pd.concat(parts)
