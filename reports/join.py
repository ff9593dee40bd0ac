"""One row a request out of all that was recorded of it, joined by ``request_id``.

The client's row, the router's decision, the attempt that won and how many lost before it, and the
engine's own times: as the router read them, or as the stream told the client where no router of
ours stood between. A cache hit has a decision and no attempt; a request to a target that is not
ours has neither.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

ENGINE_TIMES = ("engine_queue_ms", "load_ms", "prompt_ms")
"""What an engine tells of its own time before the first token: its queue, loading, prefill."""

_REQUEST_COLUMNS = (
    "arm",
    "step_users",
    "request_id",
    "phase",
    "t_sched_ns",
    "t_send_ns",
    "t_headers_ns",
    "t_first_token_ns",
    "ttft_ms",
    "ttfs_ms",
    "tier",
    "reason",
)
_WINNER_COLUMNS = {
    "started_ns": "won_started_ns",
    "headers_ns": "won_headers_ns",
    "first_token_ns": "won_token_ns",
    "queue_ms": "queue_ms",
    **{name: name for name in ENGINE_TIMES},
}


_DECISION_COLUMNS = {
    "accepted_ns": "accepted_ns",
    "first_token_ns": "relayed_ns",
    "attempts": "decided_attempts",
}


def _of_decisions(decisions: pd.DataFrame) -> pd.DataFrame:
    once = decisions.drop_duplicates("request_id", keep="last").set_index("request_id")
    return once[list(_DECISION_COLUMNS)].rename(columns=_DECISION_COLUMNS)


def _of_attempts(attempts: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return by request when the first of its attempts began and how many there were, and the
    attempt that won."""
    grouped = attempts.groupby("request_id", sort=False)["started_ns"]
    tried = pd.DataFrame({"began_ns": grouped.min(), "tried": grouped.size()})
    won = attempts[attempts["committed"].astype(bool)].drop_duplicates("request_id", keep="last")
    winners = won.set_index("request_id")[list(_WINNER_COLUMNS)].rename(columns=_WINNER_COLUMNS)
    return tried, winners


def join(requests: pd.DataFrame, decisions: pd.DataFrame, attempts: pd.DataFrame) -> pd.DataFrame:
    """Return one row a request, in the order and with the index of ``requests``.

    Besides the request's own columns: ``accepted_ns``, ``relayed_ns`` (first token handed to the
    client's socket), ``began_ns`` (first attempt), ``won_started_ns``, ``won_headers_ns``,
    ``won_token_ns`` and ``queue_ms`` of the winning attempt, :data:`ENGINE_TIMES`, ``tried``
    (attempts found); NaN for what did not happen or is not known. And four flags:

    - ``routed``: our router had it, by its headers or its own records;
    - ``joined``: its decision is there, and as many attempts as the decision speaks of;
    - ``direct``: no router of ours had anything to do with it;
    - ``lost``: attempts were lost before the winning one began.
    """
    known = requests[list(_REQUEST_COLUMNS)]
    tried, winners = _of_attempts(attempts)
    whole = (
        known.join(_of_decisions(decisions), on="request_id")
        .join(tried, on="request_id")
        .join(winners, on="request_id")
    )
    whole["tried"] = whole["tried"].fillna(0)
    decided = whole["accepted_ns"].notna()
    whole["routed"] = decided | whole["tier"].notna() | (whole["tried"] > 0)
    whole["joined"] = decided & (whole["tried"] == whole["decided_attempts"])
    whole["direct"] = ~whole["routed"]
    whole["lost"] = whole["won_started_ns"] > whole["began_ns"]
    for name in ENGINE_TIMES:
        whole[name] = np.where(whole["direct"], requests[name], whole[name]).astype(np.float64)
    return whole
