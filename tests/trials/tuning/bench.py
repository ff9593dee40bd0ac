"""An engine of arithmetic under a clock of its own."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from firsttoken.trials.tuning.candidates import Candidate
from firsttoken.trials.tuning.looks import Seen
from firsttoken.trials.tuning.search import Search, Step
from firsttoken.trials.tuning.trying import Found, seek

GUIDE = Candidate(1, 2)


SEARCH = Search(GUIDE, slots=(1, 4, 8, 16, 24), threads=(1, 2), seconds=240.0, step_seconds=8.0)


HOLD_MS = 330.0


class Bench:
    """An engine of arithmetic: 20 talkers wait for each other where there are fewer slots."""

    def __init__(self, *, slots_matter: bool = True, failing: int = 0) -> None:
        self.now_s = 100.0
        self.looks: list[Step] = []
        self._random = np.random.default_rng(7)
        self._slots_matter = slots_matter
        self._failing = failing

    def look(self, step: Step) -> Seen:
        self.looks.append(step)
        slots = step.candidate.slots if self._slots_matter else 20
        wait_ms = max(0.0, (20 / slots - 1) * HOLD_MS)
        n = int(step.seconds * min(slots * 2.6, 6.0))
        delays = wait_ms + self._random.lognormal(np.log(280), 0.2, n)
        delays *= math.sqrt(2 / step.candidate.threads)
        failures = np.zeros(n)
        if step.candidate != GUIDE:
            failures[: self._failing] = 1.0
            self._random.shuffle(failures)
        delays[failures == 1.0] = np.inf
        took_s = step.warmup + step.seconds + 3.0 + wait_ms / 1000
        self.now_s += took_s
        return Seen(
            step.candidate, step.stage, delays, n, int(failures.sum()), failures, step.seconds,
            step.warmup, took_s,
            cold_ms=300.0, hold_ms=HOLD_MS, tpot_ms=12.0 * min(slots, 20), tokens_per_second=80.0,
        )  # fmt: skip

    def seek(self, search: Search, refused: tuple[Candidate, ...] = ()) -> list[Seen]:
        found = Found(refused=list(refused))
        seek(search, self.look, found, now_s=lambda: self.now_s, began_s=self.now_s)
        return found.seen


LONG = replace(SEARCH, seconds=600.0)
