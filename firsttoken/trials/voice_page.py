"""What the proof ``voice`` says of its run: a row an arm, two ratios, and what was exercised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from firsttoken.core.clock import NS_PER_S
from firsttoken.core.errors import UserError
from firsttoken.core.records import BlockResult, read_table
from firsttoken.core.words import Outcome, Phase, Tier
from firsttoken.trials.evidence import markdown_table
from firsttoken.trials.voice_proof import (
    ARMS,
    AT_ENGINE,
    CLOUD_FIRST,
    JUDGED,
    WITHOUT,
    VoiceLoad,
)
from reports.comparison import Comparison, compare, rounds_of

ALLOWED_RATIO = 1.25
LEAST_LOCAL = 0.5
"""Share of the chats that the local engine has to answer, that their times tell of it."""


@dataclass(frozen=True, slots=True)
class Summaries:
    """What became of the summaries of one arm."""

    asked: int
    whole: int
    local: int
    """Whole, and written by the engine."""
    in_time: int
    """Whole before their block ended, that is while the others still talked."""
    local_in_time: int
    seconds: float | None
    """How long a whole one took, median."""


def summaries(rows: pd.DataFrame, blocks: Sequence[BlockResult]) -> Summaries:
    """Return what became of the summaries among the requests of one arm."""
    asked = rows[rows["phase"] == Phase.ASIDE]
    whole = asked[asked["outcome"] == Outcome.SUCCESS]
    local = (whole["tier"] == Tier.LOCAL).to_numpy(dtype=bool)
    ends = whole["block"].map({block.number: block.stop_ns for block in blocks})
    in_time = (whole["t_end_ns"] <= ends).to_numpy(dtype=bool)
    return Summaries(
        asked=len(asked),
        whole=len(whole),
        local=int(local.sum()),
        in_time=int(in_time.sum()),
        local_in_time=int((local & in_time).sum()),
        seconds=None if whole.empty else float(whole["e2e_ms"].median()) / 1000,
    )


def _requests(run_dir: Path) -> dict[str, pd.DataFrame]:
    requests = read_table(run_dir, "requests").to_pandas()
    return {arm: requests[requests["arm"] == arm] for arm in ARMS}


def _chats(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["phase"] == Phase.STEADY]


def _local_share(chats: pd.DataFrame) -> float:
    return float((chats["tier"] == Tier.LOCAL).mean()) if len(chats) else 0.0


def ratio(found: Mapping[str, pd.DataFrame], target_ms: float) -> Comparison:
    """Return the ratio of the chats' TTFT p95 with summaries, cloud first, to that without.

    Raises:
        UserError: no round has chats of both.
    """
    steady = pd.concat([_chats(found[arm]) for arm in JUDGED])
    rounds = rounds_of(steady, CLOUD_FIRST, WITHOUT, len(JUDGED), target_ms)
    compared = compare(CLOUD_FIRST, WITHOUT, rounds, (0.95,))
    if not compared:
        raise UserError(f"no round has chats both of {CLOUD_FIRST} and {WITHOUT}")
    return compared[0]


def rows(found: Mapping[str, pd.DataFrame], blocks: Sequence[BlockResult]) -> list[tuple[str, ...]]:
    """Return a row an arm: chat requests, errors, TTFT p50 and p95 in ms, prompt tokens of those
    answered locally, p50 and p95, share of them from the cache, requests in flight on average,
    share answered locally; then summaries asked for, whole, whole from the engine, and whole before
    their block ended, and how long a whole one took, s."""
    table: list[tuple[str, ...]] = []
    for arm, mine in found.items():
        chat = _chats(mine)
        told = summaries(mine, blocks)
        answered = chat[chat["outcome"].isin([Outcome.SUCCESS, Outcome.CANCELLED])]
        seconds = sum(
            (block.stop_ns - block.steady_ns) / NS_PER_S for block in blocks if block.arm == arm
        )
        in_flight = (chat["e2e_ms"].fillna(0).sum() / 1000) / seconds
        counted = answered[answered["prompt_tokens"].notna() & (answered["tier"] == Tier.LOCAL)]
        cached = counted["cached_tokens"].fillna(0).sum() / max(counted["prompt_tokens"].sum(), 1)
        table.append(
            (
                ARMS[arm],
                str(len(chat)),
                str(len(chat) - len(answered)),
                _quantiles(answered["ttft_ms"]),
                _quantiles(counted["prompt_tokens"]),
                f"{cached:.0%}",
                f"{in_flight:.1f}",
                f"{_local_share(chat):.0%}",
                str(told.asked),
                str(told.whole),
                str(told.local),
                str(told.in_time),
                "-" if told.seconds is None else f"{told.seconds:.1f}",
            )
        )
    return table


def _quantiles(values: pd.Series[Any]) -> str:
    known = values.dropna().to_numpy(dtype=np.float64)
    if known.size == 0:
        return "-"
    low, high = np.quantile(known, (0.5, 0.95))
    return f"{low:.0f} / {high:.0f}"


def page(plan: VoiceLoad, run_dir: Path, blocks: Sequence[BlockResult], target_ms: float) -> str:
    """Return what is to be said of a run, in Markdown.

    Raises:
        UserError: two arms cannot be compared.
    """
    found = _requests(run_dir)
    header = ("arm", "chats", "errors", "TTFT p50 / p95 ms", "local prompt tokens p50 / p95")
    more = ("from the cache", "in flight", "answered locally")
    asides = ("summaries asked", "whole", "local", "whole before the block ended", "whole p50 s")
    return (
        f"Scenario `voice`: {plan.devices} devices in conversation, {plan.turns[0]} to "
        f"{plan.turns[1]} turns each, replies of at most {plan.max_tokens} tokens, compact prompts "
        "(the persona alone, in English, no tools), read into every slot before the run; the "
        "history is sent along. At the end of each conversation its summary is asked for, at most "
        f"{plan.memory_tokens} tokens, while the others talk on. "
        f"{plan.rounds} turns of {plan.seconds:g} s of each arm in one run "
        f"({plan.at_engine_rounds} of the last, after the others), each after "
        f"{plan.warmup_seconds:g} s of warm-up; the two arms of a round say the same, and begin "
        f"in turn. Embedded engine with {plan.slots} slots of {plan.context} tokens, caches of "
        "answers off; backup is an **emulated** cloud. **Cloud first** is the default: a summary "
        "goes to the cloud, and the engine is left to those who talk. **At the engine** is a "
        "second router before the same engine, whose cloud is a last resort only, for chats too: a "
        "summary waits there until nobody has talked for a second, and gives way to whoever "
        "comes.\n\n"
        f"{markdown_table((*header, *more, *asides), rows(found, blocks))}\n\n"
        f"Chat TTFT p95 to that without summaries, allowed for the upper bound {ALLOWED_RATIO} "
        "(in brackets 95 %, bootstrap over rounds, widened for their number): "
        f"{_judged(found, target_ms)}\n\n{_exercised(found, blocks)}"
    )


def _judged(found: Mapping[str, pd.DataFrame], target_ms: float) -> str:
    compared = ratio(found, target_ms)
    share = min(_local_share(_chats(found[each])) for each in JUDGED)
    kept = "kept" if compared.ratio_high <= ALLOWED_RATIO else "**not kept**"
    if share < LEAST_LOCAL:
        kept = f"not judged, for only {share:.0%} of the chats were answered locally"
    return (
        f"{ARMS[CLOUD_FIRST]} **{compared.ratio:.3f}** "
        f"[{compared.ratio_low:.3f}, {compared.ratio_high:.3f}]: {kept}."
    )


def _exercised(found: Mapping[str, pd.DataFrame], blocks: Sequence[BlockResult]) -> str:
    """Return what of all this was really put to the test."""
    cloud, engine = (summaries(found[arm], blocks) for arm in (CLOUD_FIRST, AT_ENGINE))
    told = (
        f"What was exercised: with the cloud first {cloud.whole - cloud.local} of {cloud.asked} "
        f"summaries were written by the cloud, {cloud.local} by the engine: that ratio tells what "
        "the default costs those who talk, not what a summary at the engine would. "
    )
    if taken := engine.whole - engine.local:
        told += f"In the arm at the engine the cloud, its last resort, took {taken}. "
    if engine.local_in_time:
        return told + (
            f"At the engine {engine.local_in_time} of {engine.asked} summaries were whole before "
            "their block ended, in the pauses of those who talked; the others waited, or were "
            "given up for somebody who came."
        )
    return told + (
        f"At the engine none of {engine.asked} summaries was whole before its block ended: they "
        "waited behind everybody, or were given up for somebody who came, which is what protects "
        "those who talk. What a summary costs that runs to its end beside them was not exercised."
    )
