"""Every client against every trap: what it reported, beside what was so."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.client.peers import OURS, Peer, told
from benchmarks.client.truth import TruthLog
from firsttoken.core.child import Child
from firsttoken.core.clock import milliseconds
from firsttoken.core.errors import UserError
from firsttoken.trials.evidence import markdown_table
from firsttoken.upstreams.traps import TRAPS

TOLERANCE_MS = 25.0
"""How far off a time may be and still be right: half of the shortest by which a trap misleads."""
_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One client in one trap."""

    ttft_ms: float | None
    true_ttft_ms: float | None
    text_ms: float | None
    true_text_ms: float | None
    e2e_ms: float | None
    true_e2e_ms: float
    tokens: int | None
    true_tokens: int
    ok: bool
    true_ok: bool

    def wrong(self) -> list[str]:
        """Return what it got wrong, in words; empty where all was right.

        A client that tells no TTFT of a reply that failed is not wrong; one that tells none of a
        reply in order is. Tokens and E2E are compared where the reply was in order.
        """
        if self.ok != self.true_ok:
            return ["took it for a success" if self.ok else "took it for a failure"]
        wrong = []
        if self.true_ok and self.ttft_ms is None and self.true_ttft_ms is not None:
            wrong.append("no TTFT")
        elif self.ttft_ms is not None and not _near(self.ttft_ms, self.true_ttft_ms):
            wrong.append(f"TTFT {_signed(self.ttft_ms, self.true_ttft_ms)}")
        if self.true_ok and self.tokens != self.true_tokens:
            wrong.append(f"{self.tokens} tokens")
        if self.true_ok and self.e2e_ms is not None and not _near(self.e2e_ms, self.true_e2e_ms):
            wrong.append(f"E2E {_signed(self.e2e_ms, self.true_e2e_ms)}")
        return wrong


def _near(value: float, true: float | None) -> bool:
    return true is not None and abs(value - true) <= TOLERANCE_MS


def _signed(value: float, true: float | None) -> str:
    return f"{value:.0f} ms of none" if true is None else f"{value - true:+.0f} ms"


def finding(told_row: Mapping[str, Any], row: Mapping[str, Any]) -> Finding:
    """Compare what a client told with the server's row of the same reply."""
    received = row["received_ns"]
    end_ms = milliseconds(received, row["ended_ns"])
    assert end_ms is not None
    return Finding(
        ttft_ms=told_row["ttft_ms"],
        true_ttft_ms=milliseconds(received, row["first_token_ns"]),
        text_ms=told_row["text_ms"],
        true_text_ms=milliseconds(received, row["first_text_ns"]),
        e2e_ms=told_row["e2e_ms"],
        true_e2e_ms=end_ms,
        tokens=told_row["tokens"],
        true_tokens=row["tokens"],
        ok=told_row["ok"],
        true_ok=row["outcome"] == "success",
    )


def spring(peers: Sequence[Peer], traps: Sequence[str]) -> dict[str, dict[str, Finding]]:
    """Have each client walk through each trap, one after the other; return what became of them.

    Raises:
        UserError: ours could not be run. Of the others it is said on standard error.
    """
    found: dict[str, dict[str, Finding]] = {}
    with Child.start([sys.executable, "-m", "firsttoken.upstreams.trap", "--port", "0"]) as server:
        log = TruthLog(server.url)
        for peer in peers:
            try:
                with peer.start("traps", server.url, ["--traps", ",".join(traps)]) as child:
                    rows = told(child, peer.name, _SECONDS)
            except UserError as error:
                if peer.name == OURS:
                    raise
                print(f"{peer.name}: {error}", file=sys.stderr)
                rows = []
            truth = {row["trap"]: row for row in log.take()}
            found[peer.name] = {
                row["trap"]: finding(row, truth[row["trap"]])
                for row in rows
                if row["trap"] in truth
            }
    return found


def table(found: Mapping[str, Mapping[str, Finding]], names: Sequence[str] = tuple(TRAPS)) -> str:
    """Return the Markdown table: truth, ours, and what the others got wrong."""
    others = [name for name in found if name != OURS]
    rows = []
    for trap in names:
        ours = found[OURS].get(trap)
        cells = [trap, "-", "-", "-"]
        if ours is not None:
            cells = [trap, _truth(ours), _told(ours), ", ".join(ours.wrong()) or "right"]
        for other in others:
            theirs = found[other].get(trap)
            cells.append("-" if theirs is None else ", ".join(theirs.wrong()) or "right")
        rows.append(cells)
    right = [f"{sum(not f.wrong() for f in found[name].values())}/{len(names)}" for name in found]
    rows.append(["right in all", "", "", *right])
    return markdown_table(["trap", "truth", OURS, "right?", *others], rows)


def _truth(found: Finding) -> str:
    return _cell(
        found.true_ttft_ms, found.true_text_ms, found.true_e2e_ms, found.true_tokens, found.true_ok
    )


def _told(found: Finding) -> str:
    return _cell(found.ttft_ms, found.text_ms, found.e2e_ms, found.tokens or 0, found.ok)


def _cell(
    ttft_ms: float | None, text_ms: float | None, e2e_ms: float | None, tokens: int, ok: bool
) -> str:
    ttft = "no token" if ttft_ms is None else f"{ttft_ms:.1f}"
    text = ""
    if text_ms != ttft_ms:
        text = ", no text" if text_ms is None else f", text {text_ms:.1f}"
    end = "" if e2e_ms is None else f", E2E {e2e_ms:.1f}"
    return f"{ttft}{text}{end}, {tokens} tokens{'' if ok else ', error'}"
