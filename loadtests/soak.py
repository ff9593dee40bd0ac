"""Soak: one number of talking devices for a long time. Does anything drift?

    locust -f loadtests/ Soak --headless -u 20 -r 5 -t 15m --host http://127.0.0.1:8080

The devices are those of ``Sessions``; what differs is the length, 15 minutes where nothing else is
said to ``firsttoken bench --scenario soak``, and a single step of 20 devices.
"""

from __future__ import annotations

from pathlib import Path

from locust import task

from firsttoken.load.plan import Scenario
from firsttoken.load.talker import Talker


class Soak(Talker):
    """Devices in conversation, for long."""

    corpus = Path(__file__).with_name("corpora")
    scenario = Scenario.SOAK

    @task
    def chat(self) -> None:
        """Say the next thing once it is due, and hear the reply, to its end or not."""
        self.ask(self.next_turn())
