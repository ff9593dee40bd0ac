"""Talking devices behind a full voice server, such as xiaozhi-esp32-server.

    locust -f loadtests/ Voice --headless -u 20 -r 5 -t 180s --host http://127.0.0.1:8080

The conversations are those of ``Sessions``: 3 to 8 turns, the person listens to each reply, thinks
for 1 to 4 seconds, and interrupts 7 of 100. Around them is everything that such a server sends: a
system prompt of 1,900 tokens with a clock that ticks in its middle, twelve tools, an example
conversation, a second request in the turns that use a tool, the answer's tool result included, and
at the end of each conversation the summary for its memory, while others are talking.

``--voice-tools none`` leaves the tools out, ``intent`` has another request classify what was said
before each chat; ``--memory-jobs off`` leaves the summaries out, ``--voice-language`` takes the
personas of one language.
"""

from __future__ import annotations

from pathlib import Path

from locust import task

from firsttoken.load.plan import Scenario
from firsttoken.load.talker import Talker


class Voice(Talker):
    """Devices behind a voice server."""

    corpus = Path(__file__).with_name("corpora")
    scenario = Scenario.VOICE

    @task
    def chat(self) -> None:
        """Send the next request once it is due, and hear the reply, to its end or not."""
        self.ask(self.next_turn())
