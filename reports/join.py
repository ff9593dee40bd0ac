"""One row a request out of all that was recorded of it, joined by ``request_id``.

The client's row, the router's decision, the attempt that won and how many lost before it, and the
engine's own times: as the router read them, or as the stream told the client where no router of
ours stood between. A cache hit has a decision and no attempt; a request to a target that is not
ours has neither.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from reports.statistics import FloatArray

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
    "backend",
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

Places = npt.NDArray[np.int64]
"""Positions in another table; -1: nowhere."""


def _ids(rows: pd.DataFrame) -> pa.Array:
    found = pa.Array.from_pandas(rows["request_id"])
    return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found


def _places(wanted: pa.Array, known: pa.Array) -> Places:
    """Return where each id stands in ``known``."""
    found = pc.index_in(wanted, value_set=known.cast(wanted.type))
    places: Places = pc.fill_null(found, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    return places


def _last(ids: pa.Array) -> tuple[pa.Array, Places]:
    """Return each id once, and where it stands last."""
    encoded = ids.dictionary_encode()
    last = np.zeros(len(encoded.dictionary), dtype=np.int64)
    # Of positions that fall on one place the last is kept.
    last[encoded.indices.to_numpy()] = np.arange(len(ids))
    return encoded.dictionary, last


def _taken(values: npt.NDArray[Any], places: Places) -> FloatArray:
    """Return the value at each place as a number; NaN where there is none."""
    found = np.full(len(places), np.nan)
    there = places >= 0
    found[there] = values[places[there]]
    return found


class Joiner:
    """Finds each request's decision and attempts once; gives the joined rows a part at a time.

    All of them at once would take as much memory as the records themselves.
    """

    def __init__(
        self, requests: pd.DataFrame, decisions: pd.DataFrame, attempts: pd.DataFrame
    ) -> None:
        self._requests = requests
        self._decisions = decisions
        self._attempts = attempts
        wanted = _ids(requests)
        once, last = _last(_ids(decisions))
        self._decided = _through(_places(wanted, once), last)
        encoded = _ids(attempts).dictionary_encode()
        codes = encoded.indices.to_numpy()
        size = len(encoded.dictionary)
        self._tried = _places(wanted, encoded.dictionary)
        self._began = np.full(size, np.inf)
        np.minimum.at(self._began, codes, attempts["started_ns"].to_numpy(dtype=np.float64))
        self._count = np.bincount(codes, minlength=size)
        won = np.flatnonzero(attempts["committed"].to_numpy(dtype=bool))
        winner = np.full(size, -1, dtype=np.int64)
        winner[codes[won]] = won
        self._won = _through(self._tried, winner)

    def accepted_ns(self, at: slice) -> FloatArray:
        """Return when the router accepted each of a slice of the requests; NaN: not known."""
        return _taken(self._decisions["accepted_ns"].to_numpy(), self._decided[at])

    def rows(self, at: slice = slice(None)) -> pd.DataFrame:
        """Return the rows of :func:`join` of a slice of the requests."""
        requests = self._requests.iloc[at]
        decided_at, tried, won = self._decided[at], self._tried[at], self._won[at]
        found = {
            "began_ns": _taken(self._began, tried),
            "tried": np.nan_to_num(_taken(self._count, tried)),
        }
        for column, name in _WINNER_COLUMNS.items():
            found[name] = _taken(self._attempts[column].to_numpy(), won)
        for column, name in _DECISION_COLUMNS.items():
            found[name] = _taken(self._decisions[column].to_numpy(), decided_at)
        decided = decided_at >= 0
        routed = decided | requests["tier"].notna().to_numpy() | (found["tried"] > 0)
        flags = {
            "routed": routed,
            "joined": decided & (found["tried"] == found["decided_attempts"]),
            "direct": ~routed,
            "lost": found["won_started_ns"] > found["began_ns"],
        }
        for name in ENGINE_TIMES:
            own = requests[name].to_numpy(dtype=np.float64)
            found[name] = np.where(routed, found[name], own)
        known = {name: requests[name] for name in _REQUEST_COLUMNS}
        return pd.DataFrame({**known, **found, **flags}, index=requests.index, copy=False)


def _through(places: Places, onwards: Places) -> Places:
    """Return where the places lead on to; -1 stays."""
    if not len(onwards):
        return np.full(len(places), -1, dtype=np.int64)
    return np.where(places >= 0, onwards[places], -1)


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
    return Joiner(requests, decisions, attempts).rows()
