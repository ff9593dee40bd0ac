"""The whole loop with real servers: a fault of the engine, an alert, an action, recovery."""

from __future__ import annotations

import time
from pathlib import Path

from dashboards.rules.model import QUICK
from firsttoken.core.catalogue import Action
from firsttoken.trials.alert_loop import Fault, measure
from firsttoken.trials.alert_loop_page import row
from firsttoken.trials.alert_loop_stage import TALKERS, TOKEN, entries

LONGEST_S = 60.0


def test_an_engine_that_hangs_under_load_is_restarted_by_an_alert(tmp_path: Path) -> None:
    def resolved() -> None:
        """Wait until Alertmanager has said that all is well: nothing is done for that."""
        until_s = time.monotonic() + LONGEST_S
        while not any(
            each["kind"] == "decision" and not each["firing"] and each["result"] == "ignored"
            for each in entries(tmp_path)
        ):
            assert time.monotonic() < until_s, entries(tmp_path)

    found = measure(Fault.HANG, QUICK, tmp_path, resolved)
    assert found.action is Action.RESTART_SERVICE
    assert 0 < found.circuit_s < found.fired_s < found.asked_s < found.ended_s < found.served_s
    assert found.asked_s < 40
    # Replies that had begun when the engine stopped cannot be taken over.
    assert found.failed <= TALKERS
    told = entries(tmp_path)
    ends = [each for each in told if each["kind"] == "end"]
    assert "restart_service" in {each["action"] for each in ends}
    # The errors before it may have fired first, and then have had the circuit opened.
    assert {each["action"] for each in ends} <= {"restart_service", "switch_to_remote"}
    assert {each["result"] for each in ends} == {"succeeded"}
    assert "the engine was restarted on request" in (tmp_path / "router.log").read_text()
    for name in ("audit.jsonl", "router.log", "prometheus.log", "alertmanager.log"):
        assert TOKEN not in (tmp_path / name).read_text()
    assert len(row(found)) == 10
