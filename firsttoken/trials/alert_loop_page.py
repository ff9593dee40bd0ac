"""The page about the alert loop: both faults, measured at two paces."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from dashboards.rules.model import QUICK, USUAL
from firsttoken.trials.alert_loop import CASES, Fault, Found, measure
from firsttoken.trials.alert_loop_stage import HOLD_S, PAUSE_S, TALKERS
from firsttoken.trials.evidence import markdown_table
from firsttoken.trials.progress import Progress

PACES = (QUICK, replace(USUAL, scrape=15, evaluation=15))
HEADER = (
    "fault",
    "scraped each",
    "own breaker open",
    "alert fires",
    "action begins",
    "action",
    "action ends",
    "local replies again",
    "requests since",
    "unanswered",
)


def row(found: Found) -> tuple[str, ...]:
    """Return one line of the table."""
    times = [f"{value:.1f} s" for value in (found.fired_s, found.asked_s)]
    ends = [f"{value:.1f} s" for value in (found.ended_s, found.served_s)]
    return (
        found.fault,
        f"{found.scrape_s} s",
        f"{found.circuit_s * 1000:.0f} ms",
        *times,
        found.action,
        *ends,
        str(found.requests),
        str(found.failed),
    )


EXPLAINED = (
    f"{TALKERS} talkers, {PAUSE_S:g} s between two requests; the embedded engine, an **emulated** "
    "cloud behind it, Prometheus and Alertmanager as Debian packages them, our generated rules. "
    "All times count from the fault.\n\n"
    f"- `hang` is SIGSTOP. The router's breaker opens after {CASES[Fault.HANG].retries} attempts "
    "in a row were given up, 1 s each; `LLMLocalBackendDown` asks for a restart.\n"
    "- `kill` is SIGKILL. The supervisor starts another engine at once; the breaker opens after "
    f"{CASES[Fault.KILL].retries} failed attempts in a row, so as soon as so many requests have "
    "come; what `LLMHighLocalErrorRate` then asks for keeps the local backend out for "
    f"{HOLD_S:g} s and three probes more.\n"
    "- Scraped each second, windows are 10 s and each `for` is a twentieth of the usual one; "
    "scraped each 15 s, everything else is as shipped (`for` is 2 min).\n"
    "- Unanswered are replies whose first token had been handed on when the engine failed: no "
    "other backend can go on with those. All others were answered by the cloud meanwhile.\n\n"
)


def alert_loop(progress: Progress) -> str:
    """Measure both faults at the quick pace and the hang at 15 s too; return the page's text."""
    plan = [(Fault.KILL, QUICK), *((Fault.HANG, pace) for pace in PACES)]
    rows = []
    for fault, pace in plan:
        with (
            progress.doing(f"alert-loop: {fault}, scraped each {pace.scrape} s"),
            tempfile.TemporaryDirectory(prefix="firsttoken-alert-loop-") as folder,
        ):
            rows.append(row(measure(fault, pace, Path(folder))))
        progress.say("  " + "   ".join(rows[-1]))
    return EXPLAINED + markdown_table(HEADER, rows)
