"""Closed loop: as many talkers as there are users, each asking again as soon as it was answered.

    locust -f loadtests/ Steps --headless -u 20 -r 5 -t 60s --host http://127.0.0.1:8080

Every turn is a chat of its own: the talker's persona, which stays, and one thing to say. There is
no think time, so ``-u 20`` keeps 20 requests in flight: a heavier load than 20 devices, whose
owners listen before they speak again.
"""

from __future__ import annotations

from pathlib import Path

from locust import task

from firsttoken.load.plan import Scenario
from firsttoken.load.talker import Talker


class Steps(Talker):
    """Talkers who speak without a pause, at one or several numbers of them."""

    corpus = Path(__file__).with_name("corpora")
    scenario = Scenario.STEPS

    @task
    def chat(self) -> None:
        """Say the next thing, and hear the reply to its end."""
        self.ask(self.next_turn())
