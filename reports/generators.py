"""Which load generators of a run were lost, and what cannot be claimed for it.

A lost generator takes its talkers with it: from then on the load was lighter than planned, and
what they had under way, the slowest requests first of all, is in no record. So its steps can FAIL,
but not PASS.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime

from firsttoken.core.clock import NS_PER_S
from firsttoken.core.records import Manifest
from reports import text

Cell = tuple[str, int]
"""Arm and users of a step."""


def short_handed(manifest: Manifest) -> dict[Cell, tuple[str, ...]]:
    """Return by arm and step the generators that did not see one of its blocks to the end."""
    told: dict[int, set[str]] = defaultdict(set)
    for share in manifest.shares:
        told[share.number].add(share.worker)
    missing: dict[Cell, dict[str, None]] = defaultdict(dict)
    for block in manifest.blocks:
        for worker in manifest.workers:
            if worker.name not in told[block.number]:
                missing[block.arm, block.step_users][worker.name] = None
    return {cell: tuple(names) for cell, names in missing.items()}


def lost_generators(manifest: Manifest) -> list[str]:
    """Return one sentence for each generator that was lost."""
    missing = short_handed(manifest)
    sentences = []
    for worker in manifest.workers:
        if worker.lost_ns is None:
            continue
        wall = datetime.fromtimestamp(manifest.anchor.wall_ns(worker.lost_ns) / NS_PER_S, tz=UTC)
        cells = [cell for cell, names in missing.items() if worker.name in names]
        where = "; ".join(f"{arm}, {text.users(users)}" for arm, users in cells)
        affected = (
            f"fewer talkers than planned from then on ({where}), where no claim can PASS"
            if cells
            else "no block that was judged was short of talkers"
        )
        sentences.append(
            f"the load generator {worker.name} on {worker.host} was lost, last heard of at "
            f"{wall:%H:%M:%S} UTC, with {worker.users} of the talkers: {affected}; its "
            f"{text.count(worker.rows, 'request')} recorded until then are kept, what it had under "
            "way is unknown"
        )
    return sentences
