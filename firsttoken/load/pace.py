"""Who says when a block begins, and hears how it went: one process alone, or a master of many."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, Protocol

from firsttoken.core.clock import monotonic_ns
from firsttoken.core.records import BlockResult
from firsttoken.core.words import ExitCode
from firsttoken.load.plan import Block


class Pace(Protocol):
    """What the driver of a plan asks around its blocks."""

    def begin(self, block: Block) -> int:
        """Return when the block begins, by the clock of this process; waits until that is known."""

    def end(self, result: BlockResult, ttft_ms: Sequence[float]) -> None:
        """Hear what became of a block; ``ttft_ms``: of each success of its steady part."""

    def over(self) -> None:
        """Hear that there is no further block."""


def tell(event: str, **what: Any) -> None:
    """Print one event of the run for the process that started this one: a line of JSON."""
    print(json.dumps({"event": event, **what}), flush=True)


class Alone:
    """The pace of the only load generator: every block begins when the one before is over."""

    def __init__(self, end_run: Callable[[int], None]) -> None:
        self._end_run = end_run

    def begin(self, block: Block) -> int:  # noqa: ARG002 - as Pace has it
        """Begin at once."""
        return monotonic_ns()

    def end(self, result: BlockResult, ttft_ms: Sequence[float]) -> None:  # noqa: ARG002
        """Print the result."""
        tell("block", **asdict(result))

    def over(self) -> None:
        """End the run."""
        self._end_run(int(ExitCode.PASS))
