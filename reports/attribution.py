"""Where the time to the first token went, from the router's own record of its attempts.

Each request that got a first token is split into parts that add up to its TTFT exactly::

    t_send ... first attempt starts ... winning attempt starts ................ first token
           router                   fallback                  queue load prefill  rest

Client and router share one monotonic clock (one host); where they do not, nothing is split.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from firsttoken.core.clock import NS_PER_MS
from reports import text
from reports.load import RunData, tiers_of

PARTS: dict[str, str] = {
    "router": "router, before the first attempt",
    "fallback": "fallback tax: attempts that lost",
    "queue": "queue in the router",
    "load": "loading the model",
    "prefill": "prefill: reading the prompt",
    "rest": "rest: decode step, network, relay",
}
"""The parts of a TTFT in the order in which they happen, with their meaning."""


@dataclass(frozen=True, slots=True)
class Attribution:
    """Mean milliseconds of each part, over the ``n`` split requests of one arm, step and tier.

    Means, since they alone add up; requests without a first token are not in them.
    """

    arm: str
    step_users: int
    tier: str
    n: int
    ttft_mean_ms: float
    parts_ms: dict[str, float]


def _by_request(attempts: pd.DataFrame) -> pd.DataFrame:
    """Return one row a request: when the first attempt began, and its winning attempt."""
    began = (
        attempts.groupby("request_id", sort=False)["started_ns"].min().rename("first_started_ns")
    )
    won = attempts[attempts["committed"].astype(bool)]
    winner = won.drop_duplicates("request_id", keep="last").set_index("request_id")
    return winner.join(began, how="left")


def split(rows: pd.DataFrame, by_request: pd.DataFrame) -> pd.DataFrame:
    """Return the parts in ms of each row that joins; the index is that of ``rows``.

    The engine's own times are taken in turn from what is left of the winning attempt's time to
    its first token, so that the sum stays the TTFT even where clocks of two programs disagree by
    a little.
    """
    joined = rows.join(by_request, on="request_id", how="inner")
    ttft = joined["ttft_ms"].to_numpy(dtype=np.float64)
    sent = joined["t_send_ns"].to_numpy(dtype=np.float64)
    began = (joined["first_started_ns"].to_numpy(dtype=np.float64) - sent) / NS_PER_MS
    winning = (joined["started_ns"].to_numpy(dtype=np.float64) - sent) / NS_PER_MS
    # Another host's clock would put the attempts outside the request altogether.
    sound = np.isfinite(ttft) & (began >= 0) & (winning >= began) & (winning <= ttft)
    left = np.where(sound, ttft - winning, 0.0)
    parts = {"router": began, "fallback": winning - began}
    for name in ("queue", "load", "prefill"):
        column = "prompt_ms" if name == "prefill" else f"{name}_ms"
        told = np.nan_to_num(joined[column].to_numpy(dtype=np.float64), nan=0.0)
        parts[name] = np.minimum(np.maximum(told, 0.0), left)
        left = left - parts[name]
    parts["rest"] = left
    return pd.DataFrame({name: part[sound] for name, part in parts.items()}, joined.index[sound])


def attributions(data: RunData) -> list[Attribution]:
    """Return the attribution of every arm, step and tier for which there are attempts."""
    if data.attempts.empty:
        return []
    by_request = _by_request(data.attempts)
    found = []
    for cell in data.cells:
        rows = cell.rows[cell.rows["ttft_ms"].notna()]
        if rows.empty:
            continue
        parts = split(rows, by_request)
        tiers = tiers_of(cell.arm, rows).reindex(parts.index)
        for tier, inside in parts.groupby(tiers.to_numpy(), sort=True):
            means = {name: text.round_ms(float(inside[name].mean())) or 0.0 for name in PARTS}
            total = text.round_ms(float(inside.to_numpy().sum(axis=1).mean())) or 0.0
            found.append(
                Attribution(cell.arm, cell.step_users, str(tier), len(inside), total, means)
            )
    return found
