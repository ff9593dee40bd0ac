"""What a run did not measure, named: a reader takes what is left out for good news."""

from __future__ import annotations

from collections.abc import Sequence

from firsttoken.core.words import Arm
from reports import text
from reports.details import Details
from reports.guide import NOT_MEASURED, GuideRow
from reports.load import RunData
from reports.tables import CellStatistics
from reports.verdict import KINDS, Check


def unmeasured(
    data: RunData,
    cells: Sequence[CellStatistics],
    checks: Sequence[Check],
    guide: Sequence[GuideRow],
    details: Details,
    *,
    minimums: dict[str, int],
) -> list[str]:
    """Return what was not measured, or not enough, each a sentence with why."""
    return [
        *_guide(guide),
        *_short(checks, minimums),
        *_cells(cells),
        *_told(cells),
        *_arms(data),
        *_behind(data, details),
    ]


def _guide(guide: Sequence[GuideRow]) -> list[str]:
    return [
        f"{row.name} ({row.note}): not measured"
        for row in guide
        if all(words.startswith(NOT_MEASURED) for words in row.measured.values())
    ]


def _short(checks: Sequence[Check], minimums: dict[str, int]) -> list[str]:
    """Return the checks of whole arms and steps that have too few requests to claim anything."""
    return [
        f"{item.where}: {KINDS[item.name].label} rests on {text.count(item.n, 'request')}, "
        f"{minimums[item.name]} needed"
        for item in checks
        if item.tier is None and 0 < item.n < minimums[item.name]
    ]


def _cells(cells: Sequence[CellStatistics]) -> list[str]:
    return [
        f"{cell.arm}, {text.users(cell.step_users)}: no request of the steady phase"
        for cell in cells
        if not cell.n
    ]


def _told(cells: Sequence[CellStatistics]) -> list[str]:
    """Return what no reply of an arm told."""
    kinds = {
        "prompt_tokens_p50": "how many tokens the prompts had",
        "cached_token_share": "how much of the prompts was in the engine's cache",
        "ttfs_p50_ms": "when the first sentence was complete",
        "tpot_p50_ms": "the time per output token",
    }
    arms = dict.fromkeys(cell.arm for cell in cells if cell.n)
    found = []
    for name, words in kinds.items():
        silent = [
            arm
            for arm in arms
            if all(getattr(cell, name) is None for cell in cells if cell.arm == arm and cell.n)
        ]
        if silent:
            found.append(f"{', '.join(silent)}: {words} is not known: no reply told it")
    return found


def _arms(data: RunData) -> list[str]:
    found = []
    if Arm.TARGET not in data.arms:
        missing = [str(a) for a in (Arm.LOCAL_ONLY, Arm.REMOTE_ONLY) if a not in data.arms]
        if Arm.HYBRID in data.arms and missing:
            found.append(f"hybrid against {' and '.join(missing)}: not in this run")
    if any(data.emulated(arm) for arm in data.arms):
        found.append("a real provider: the remote side was an emulated cloud")
    return found


def _behind(data: RunData, details: Details) -> list[str]:
    found = []
    if not details.waterfall.check.split:
        found.append("where the first token's time went: no request could be split into phases")
    if not data.manifest.calibration:
        found.append("the load generator's own error: it was not calibrated")
    if not data.host.empty:
        names = {"engine_cpu": "the engine's cores", "router_cpu": "the router's cores"}
        found += [
            f"{words}: not sampled" for name, words in names.items() if data.host[name].isna().all()
        ]
    return found
