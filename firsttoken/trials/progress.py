"""What a person sees while a run goes on: one plain line a block, on standard error."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext

from rich.console import Console
from rich.status import Status

from firsttoken.core.records import BlockResult


class Progress:
    """Prints what was done, and on a terminal also what is being done.

    Everything goes to standard error, so that ``--json`` leaves standard output to the report.
    """

    def __init__(self) -> None:
        self._console = Console(file=sys.stderr, highlight=False, markup=False, soft_wrap=True)

    def say(self, text: str) -> None:
        """Print one line."""
        self._console.print(text)

    def doing(self, text: str) -> AbstractContextManager[Status | None]:
        """Show ``text`` with a spinner while the block runs; a plain line where there is no
        terminal."""
        if self._console.is_terminal:
            return self._console.status(text)
        self.say(text)
        return nullcontext()

    def block(self, block: BlockResult) -> None:
        """Print the result of one finished block."""
        self.say(block_line(block))


def block_line(block: BlockResult) -> str:
    """Return one line on a finished block; of planned starts also what became of them."""
    p50, p95 = (
        "         -" if value is None else f"{value:7.0f} ms"
        for value in (block.ttft_p50_ms, block.ttft_p95_ms)
    )
    load = f"{block.step_users:>3} talkers"
    if block.planned_rate is not None:
        load = f"{block.planned_rate:g}/s by {load.strip()}"
    line = (
        f"  {block.arm:<11} {load}   TTFT of successes p50 {p50}   p95 {p95}   "
        f"n {block.requests:>4}   errors {block.errors}"
    )
    if block.scheduled is None:
        return line
    return f"{line}   scheduled {block.scheduled}, late {block.late}, dropped {block.dropped}"
