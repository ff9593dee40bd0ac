"""Open loop: requests start by the clock, whatever became of those before.

    locust -f loadtests/ OpenLoop --headless -u 64 -r 64 -t 60s --rate 3 --host http://127.0.0.1:8080

``-u 64`` is the number of talkers that stand ready: the most requests that can be in flight. Where
all of them are busy a start is late; TTFT_user still counts from the time that was planned for it.
"""

from __future__ import annotations

from pathlib import Path

from locust import task

from firsttoken.load.plan import Scenario
from firsttoken.load.talker import Talker


class OpenLoop(Talker):
    """Talkers who make the starts of a schedule."""

    corpus = Path(__file__).with_name("corpora")
    scenario = Scenario.OPEN_LOOP
    by_the_clock = True

    @task
    def chat(self) -> None:
        """Make the next start as soon as it is due, and hear the reply to its end."""
        self.ask(self.next_turn())
