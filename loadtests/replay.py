r"""Replay: the requests of a trace, at its times and of its lengths.

    locust -f loadtests/ Replay --headless -u 64 -r 64 -t 60s --trace trace.csv \
        --host http://127.0.0.1:8080

``trace.csv`` has the columns timestamp, prompt_tokens, output_tokens and, where there are
conversations, session. ``-u 64`` is the number of talkers that stand ready to send its rows.
"""

from __future__ import annotations

from pathlib import Path

from locust import task

from firsttoken.load.plan import Scenario
from firsttoken.load.talker import Talker


class Replay(Talker):
    """Talkers who send the rows of a trace."""

    corpus = Path(__file__).with_name("corpora")
    scenario = Scenario.REPLAY
    by_the_clock = True

    @task
    def chat(self) -> None:
        """Send the next row as soon as it is due, and hear the reply to its end."""
        self.ask(self.next_turn())
