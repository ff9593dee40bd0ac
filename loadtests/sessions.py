"""Talking devices: conversations in which people listen, think, and now and then interrupt.

    locust -f loadtests/ Sessions --headless -u 20 -r 5 -t 180s --host http://127.0.0.1:8080

``-u 20`` keeps 20 devices in conversation: 3 to 8 turns each, with the conversation so far sent
along. After a reply the person listens until the device has spoken it, and thinks for 1 to 4
seconds, so that 20 devices make about two requests a second. A device whose conversation is over
leaves, and another one joins. In 7 of 100 turns the person interrupts the device; a reply that
still streams then is hung up, which is no error.
"""

from __future__ import annotations

from pathlib import Path

from locust import task

from firsttoken.load.plan import Scenario
from firsttoken.load.talker import Talker


class Sessions(Talker):
    """Devices in conversation."""

    corpus = Path(__file__).with_name("corpora")
    scenario = Scenario.SESSIONS

    @task
    def chat(self) -> None:
        """Say the next thing once it is due, and hear the reply, to its end or not."""
        self.ask(self.next_turn())
