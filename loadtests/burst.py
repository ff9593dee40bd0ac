"""Burst: all devices wake at the same moment, every ten seconds.

    locust -f loadtests/ Burst --headless -u 60 -r 60 -t 60s --host http://127.0.0.1:8080

What an alarm or a power cut does to a server: ``-u 60`` requests arrive at once, then nothing until
the next wake-up. Every turn is a chat of its own. A device whose reply is still running when it
should wake speaks late, and the time that it was late by belongs to what its person waited.
"""

from __future__ import annotations

from pathlib import Path

from locust import task

from firsttoken.load.plan import Scenario
from firsttoken.load.talker import Talker


class Burst(Talker):
    """Devices that wake together."""

    corpus = Path(__file__).with_name("corpora")
    scenario = Scenario.BURST

    @task
    def chat(self) -> None:
        """Sleep until the next wake-up, speak once, and hear the reply to its end."""
        self.ask(self.next_turn())
