"""Whether the load generator's clock can be trusted, beside the clocks of others.

    python -m benchmarks.client traps
    python -m benchmarks.client error --users 20,100,200
    python -m benchmarks.client recorder --rows 1000000
    python -m benchmarks.client all --write

``traps`` has each client read replies that are easily measured wrongly. ``error`` puts each under
load and compares its TTFT with the server's. ``recorder`` writes a million records while talkers
measure. ``--write`` keeps what was found in ``docs/evidence/client.md``. Other tools are run where
they are installed: name a virtual environment by option or variable, such as
``GUIDELLM=path/to/venv``. On a busy machine the figures mean little.

Exits 0 where everything held, 1 where ours missed a budget or was wrong.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.client import error, recorder, traps
from benchmarks.client.peers import OURS, Peer, peers
from firsttoken.core.errors import UserError
from firsttoken.trials.evidence import write_page
from firsttoken.upstreams.traps import TRAPS

EVIDENCE = Path("docs/evidence")
TITLE = "Whether the load generator's clock can be trusted"


TITLES = ("Traps", "Error under load", "Recorder")
"""Sections of the page, in its order."""


class Section:
    """One part of the page: its text, and whether everything held."""

    def __init__(self, title: str, command: str, text: str, held: bool) -> None:
        now = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
        self.title = title
        self.text = f"## {title}\n\n`python -m benchmarks.client {command}`, {now}\n\n{text}"
        self.held = held


def merged(page: str, sections: Sequence[Section]) -> str:
    """Return the sections of ``page``, those in ``sections`` replaced or added."""
    parts = re.split(r"^(?=## )", page, flags=re.MULTILINE)[1:]
    texts = {part[3:].partition("\n")[0]: part.strip() for part in parts}
    texts |= {section.title: section.text for section in sections}
    return "\n\n".join(texts[title] for title in TITLES if title in texts)


def _traps(present: Sequence[Peer], missing: str) -> Section:
    found = traps.spring(present, tuple(TRAPS))
    held = set(found[OURS]) == set(TRAPS) and all(not one.wrong() for one in found[OURS].values())
    return Section(
        "Traps",
        "traps",
        "Replies that are easily measured wrongly, one after the other, English and Chinese mixed. "
        "Truth is the server's: milliseconds to the first token (and to the first text, where "
        "something else came before), to the end, and the number of tokens. Of the others the "
        f"table says what they got wrong, a time by more than {traps.TOLERANCE_MS:g} ms.{missing}"
        f"\n\n{traps.table(found)}",
        held,
    )


def _users(text: str) -> list[int]:
    if not all(item.isdecimal() and int(item) > 0 for item in text.split(",")):
        raise UserError(f"--users {text}: expected numbers of talkers such as 20,100,200")
    return [int(item) for item in text.split(",")]


def _measure(peer: Peer, users: int, seconds: float, pace: error.Pace) -> error.Load:
    print(f"{peer.name}: {users} talkers, {seconds:g} s", file=sys.stderr, flush=True)
    try:
        return error.measure(peer, users, seconds, pace)
    except UserError as trouble:
        if peer.name == OURS:
            raise
        print(f"{peer.name}: {trouble}", file=sys.stderr)
        return error.Load(peer.name, users, trouble="failed")


def _error(present: Sequence[Peer], missing: str, users: Sequence[int], seconds: float) -> Section:
    loaded = [peer for peer in present if peer.under_load]
    clock = [_measure(peer, count, seconds, error.CLOCK) for count in users for peer in loaded]
    cpu = [_measure(peer, error.CPU_USERS, seconds, error.STEADY) for peer in loaded]
    return Section(
        "Error under load",
        f"error --users {','.join(map(str, users))} --seconds {seconds:g}",
        "Error of TTFT per request: the client's figure minus that of a server which stamps each "
        "first token as it writes it (after 150-450 ms; then 50 tokens a second, 24 in all). "
        "Talkers start over a second and do not pause; the first "
        f"{error.STARTING_S:g} s are left out, and with them what a tool's own start holds up; one "
        "that starts for longer has fewer requests. Lag is the way from the server's write to the "
        f"client's stamp.{missing}\n\n{error.clock_table(clock, OURS)}\n\n"
        f"Processor time with {error.CPU_USERS} talkers that get 50 tokens a second each, "
        f"without a pause to speak of:\n\n{error.cpu_table(cpu, OURS)}",
        error.within_budgets(clock, cpu, OURS),
    )


def _recorder(rows: int, rate: int) -> Section:
    found = recorder.prove(rows, rate)
    text = (
        f"Records like those of a load test, {rate:,} a second, in the process and event loop in "
        "which 20 talkers measure a truth server; every few seconds the recorder pauses for a "
        f"while.\n\n{recorder.table(found)}"
    )
    return Section("Recorder", f"recorder --rows {rows} --rate {rate}", text, found.held)


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.client",
        description=(__doc__ or "").split("\n")[0],
    )
    parser.add_argument("what", choices=("traps", "error", "recorder", "all"))
    parser.add_argument("--users", default="20,100,200", help="numbers of talkers")
    parser.add_argument("--seconds", type=float, default=10.0, help="of load, a client and number")
    parser.add_argument(
        "--only", action="append", default=[], metavar="CLIENT", help="ours and this; repeatable"
    )
    parser.add_argument("--rows", type=int, default=1_000_000, help="records to write")
    parser.add_argument("--rate", type=int, default=recorder.RATE, help="records a second")
    parser.add_argument("--write", action="store_true", help="write docs/evidence/client.md")
    parser.add_argument("--python", metavar="PATH", help="runs what needs no place of its own")
    for tool in ("guidellm", "genai-bench", "aiohttp"):
        variable = tool.upper().replace("-", "_")
        parser.add_argument(
            f"--{tool}",
            metavar="VENV",
            default=os.environ.get(variable),
            help=f"where {tool} is installed (default: ${variable})",
        )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run what was asked for, print it, and say by the exit code whether it held."""
    given = _options(argv)
    try:
        everyone = peers(
            {
                "guidellm": given.guidellm,
                "genai_bench": given.genai_bench,
                "aiohttp": given.aiohttp,
            },
            given.python,
        )
        wanted = {OURS, *given.only}
        asked = [peer for peer in everyone if not given.only or peer.name in wanted]
        present = [peer for peer in asked if peer.python is not None]
        absent = ", ".join(peer.name for peer in asked if peer.python is None)
        missing = f" Not installed here, so not run: {absent}." if absent else ""
        sections = []
        if given.what in {"traps", "all"}:
            sections.append(_traps(present, missing))
            print(f"\n{sections[-1].text}\n", flush=True)
        if given.what in {"error", "all"}:
            users = _users(given.users)
            sections.append(_error(present, missing, users, given.seconds))
            print(f"\n{sections[-1].text}\n", flush=True)
        if given.what in {"recorder", "all"}:
            sections.append(_recorder(given.rows, given.rate))
            print(f"\n{sections[-1].text}\n", flush=True)
    except UserError as trouble:
        print(f"benchmarks.client: {trouble}", file=sys.stderr)
        return 2
    if given.write:
        path = EVIDENCE / "client.md"
        page = merged(path.read_text(encoding="utf-8") if path.exists() else "", sections)
        print(f"wrote {write_page(EVIDENCE, 'client', TITLE, 'make bench-client WRITE=1', page)}")
    return 0 if all(section.held for section in sections) else 1


if __name__ == "__main__":
    sys.exit(main())
