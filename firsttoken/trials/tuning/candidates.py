"""Settings of the embedded engine that are tried."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from firsttoken.core.errors import UserError


@dataclass(frozen=True, slots=True)
class Candidate:
    """Settings of the embedded engine that are tried."""

    slots: int
    threads: int

    @property
    def name(self) -> str:
        """Such as ``slots24-threads2``; also the name of the arm."""
        return f"slots{self.slots}-threads{self.threads}"

    def __str__(self) -> str:
        """Such as ``24 slots, 2 threads``."""
        slots = "1 slot" if self.slots == 1 else f"{self.slots} slots"
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        return f"{slots}, {threads}"


def parse_candidates(texts: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Read ``slots=1,4,8`` and ``threads=1,2``, in one text or in several.

    Raises:
        UserError: another name, no whole numbers, or none above 0.
    """
    found: dict[str, tuple[int, ...]] = {}
    for part in " ".join(texts).split():
        name, mark, numbers = part.partition("=")
        expected = f"--candidates {part}: expected slots=1,4,8 or threads=1,2"
        if name not in {"slots", "threads"} or not mark:
            raise UserError(expected)
        try:
            values = tuple(sorted({int(number) for number in numbers.split(",")}))
        except ValueError as error:
            raise UserError(expected) from error
        if values[0] < 1 or values[-1] > 1024:
            raise UserError(f"--candidates {part}: expected numbers from 1 to 1024")
        found[name] = values
    return found
