"""What a report costs, and how its page behaves in a real browser."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from firsttoken.core.errors import UserError
from firsttoken.core.slo import Slo
from firsttoken.core.words import ExitCode
from firsttoken.trials import browser, synthetic_run
from firsttoken.trials.evidence import markdown_table
from firsttoken.trials.faulty_run import Faulty, faulty_run
from firsttoken.trials.progress import Progress
from reports import build, terminal, write

SIZES = (10_000, 100_000, 1_000_000)
LOOK_SECONDS = 0.25
MOST_SECONDS, MOST_BYTES = 10.0, 1 << 30
"""What a report of a million requests may take."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one call of ``firsttoken report`` took, its start included."""

    requests: int
    seconds: float
    cpu_seconds: float
    peak_bytes: int
    """The most that it and its children held at a time; what they share counts once."""
    page_bytes: int


def cost(run_dir: Path) -> Cost:
    """Report on a run in a process of its own, and measure that process.

    Raises:
        UserError: it ended otherwise than with a verdict.
    """
    argv = [sys.executable, "-m", "firsttoken.cli.main", "report", str(run_dir)]
    begun = time.monotonic()
    ended, held = threading.Event(), [0]

    def look(pid: int) -> None:
        while not ended.wait(LOOK_SECONDS):
            held.append(_held_bytes(pid))

    with (run_dir / "report.log").open("wb") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log)
        looking = threading.Thread(target=look, args=(process.pid,))
        looking.start()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - begun
        ended.set()
        looking.join()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in set(ExitCode) - {ExitCode.USAGE, ExitCode.FAULT}:
        said = (run_dir / "report.log").read_text(encoding="utf-8", errors="replace")
        raise UserError(f"firsttoken report failed with {process.returncode}: {said[-500:]}")
    whole = json.loads((run_dir / "report.json").read_text(encoding="utf-8"))
    return Cost(
        requests=sum(cell["n"] + cell["left_out"] for cell in whole["cells"]),
        seconds=seconds,
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        # Linux counts in KiB; a peak of one process alone may lie between two looks.
        peak_bytes=max(*held, usage.ru_maxrss * 1024),
        page_bytes=(run_dir / "report.html").stat().st_size,
    )


def _held_bytes(pid: int) -> int:
    """Return the memory of a process and its children, what is shared divided among them."""
    held = 0
    # They may end meanwhile.
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        for each in (process, *process.children(recursive=True)):
            held += each.memory_full_info().pss
    return held


def costs(progress: Progress) -> list[Cost]:
    """Return what reports of several sizes cost."""
    found = []
    for rows in SIZES:
        with (
            tempfile.TemporaryDirectory(prefix="firsttoken-report-") as folder,
            progress.doing(f"report: {rows:,} requests"),
        ):
            found.append(cost(synthetic_run.write(Path(folder) / "run", rows)))
    return found


def cost_table(found: list[Cost]) -> str:
    """Return the costs as a Markdown table."""
    header = ("requests", "seconds", "CPU seconds", "peak memory, MiB", "page, kB")
    return markdown_table(
        header,
        [
            (
                f"{item.requests:,}",
                f"{item.seconds:.1f}",
                f"{item.cpu_seconds:.1f}",
                f"{item.peak_bytes / (1 << 20):.0f}",
                f"{item.page_bytes / 1000:.0f}",
            )
            for item in found
        ],
    )


def page_proof(slo: Slo, progress: Progress, pictures: Path) -> str:
    """Measure a run with real faults, open its page in a browser; return what was seen.

    Pictures of the page are written to ``pictures``.

    Raises:
        UserError: something could not be started, or there is no browser.
    """
    browser.program()
    run_dir = faulty_run(Faulty(), slo, progress)
    report = build.report(run_dir, slo)
    write.write_all(report, run_dir)
    page = run_dir / "report.html"
    pictures.mkdir(parents=True, exist_ok=True)
    with progress.doing("opening the page in a browser"):
        browser.picture(page, pictures / "report-desktop.png", browser.DESKTOP)
        browser.picture(page, pictures / "report-phone.png", browser.PHONE)
        asked = browser.asked(page)
        seen = [browser.seen(page, width) for width in (360, 390, 768, 1280)]
        pages = _printed_pages(page, run_dir / "report.pdf")
    rows = [
        (
            str(item.width),
            str(item.scrolled),
            str(len(item.wide)),
            str(item.blank),
            str(len(item.faults)),
        )
        for item in seen
    ]
    header = ("width, px", "content, px", "elements beyond it", "pictures not shown", "errors")
    return (
        f"Addresses asked for over the network: {len(asked)}{' '.join(['', *asked])}. Printed: "
        f"{pages} pages. Page: {page.stat().st_size / 1000:.0f} kB.\n\n"
        + markdown_table(header, rows)
        + "\n\n![the first screen at 1280 x 800](report-desktop.png)\n\n"
        "![the first screen of a phone](report-phone.png)\n\n"
        f"```text\n{terminal.table(report)}\n```"
    )


def _printed_pages(page: Path, out: Path) -> int:
    """Print a page; return how many sheets it takes, 0 where no program can tell."""
    browser.printed(page, out)
    tool = shutil.which("pdfinfo")
    if tool is None:
        return 0
    told = subprocess.run([tool, str(out)], capture_output=True, text=True, timeout=30, check=True)
    lines = dict(line.split(":", 1) for line in told.stdout.splitlines() if ":" in line)
    return int(lines.get("Pages", "0"))
