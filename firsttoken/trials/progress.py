"""What a person sees while a run goes on: one plain line a block, on standard error."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from rich.console import Console
from rich.status import Status


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

    def block(self, event: Mapping[str, Any]) -> None:
        """Print the result of one finished block."""
        p50, p95 = (
            f"{event[key]:7.0f} ms" if event.get(key) is not None else "         -"
            for key in ("ttft_p50_ms", "ttft_p95_ms")
        )
        self.say(
            f"  {event['arm']:<11} {event['users']:>3} talkers   "
            f"TTFT of successes p50 {p50}   p95 {p95}   n {event['requests']:>4}   "
            f"errors {event['errors']}"
        )
