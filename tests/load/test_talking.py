"""The scenarios of talking devices in a Locust process, as the bench runs them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest

from firsttoken.core.errors import UserError
from firsttoken.load.plan import RunPlan
from tests.load.scripted import (
    CHUNKED_HEAD,
    DONE,
    STOP,
    USAGE,
    Reply,
    Scripted,
    chunked,
    delta,
    sse,
)
from tests.load.test_locust import arms_to, records, run, write_plan
from tests.load.test_plan import plan_of

LOADTESTS = Path(__file__).parents[2] / "loadtests"
BEGIN = chunked(sse(delta("好的，")), end=False)
WORD = chunked(sse(delta("啊")), end=False)
END = chunked(sse(STOP, USAGE, DONE))
QUICK = {
    "think_seconds": [0.0, 0.05],
    "gap_seconds": [0.0, 0.05],
    "chinese_characters_per_second": 500.0,
    "english_characters_per_second": 500.0,
}


@pytest.fixture(scope="module")
def talkative_url() -> Iterator[str]:
    """A server whose replies begin to be spoken at once, and go on for 0.2 s."""
    words: list[bytes | float] = []
    for _ in range(20):
        words += [0.01, *WORD]
    reply = Reply([CHUNKED_HEAD, *BEGIN, *words, *END])
    with Scripted(repeat(reply, 5000)) as server:
        yield server.url


def drive(tmp_path: Path, url: str, scenario: str, **changes: Any) -> dict[str, Any]:
    """Run one block of a scenario; return what the load generator says of it."""
    argv = write_plan(tmp_path, url, arms=arms_to(url)[:1], scenario=scenario, **changes)
    argv[argv.index("Steps")] = scenario.capitalize()
    argv[argv.index("-f") + 1] = str(LOADTESTS / f"{scenario}.py")
    done = run(argv)
    assert done.returncode == 0, done.stderr
    block: dict[str, Any] = json.loads(done.stdout.splitlines()[0])
    return block


def test_interrupted_replies_are_kept_and_are_no_errors(tmp_path: Path, talkative_url: str) -> None:
    options = {**QUICK, "barge_in_share": 1.0, "barge_in_seconds": [0.02, 0.1], "turns": [3, 3]}
    block = drive(tmp_path, talkative_url, "sessions", sessions=options, step_seconds=1.5)
    kept = records(tmp_path)
    assert set(kept["outcome"]) == {"success", "cancelled"}
    hung_up = kept[kept["outcome"] == "cancelled"]
    assert set(hung_up["error_type"]) == {"client_gone"}
    assert set(hung_up["turn"]) == {0, 1}, "the last turn is heard to its end"
    assert hung_up["ttft_ms"].notna().all()
    heard_ms = (hung_up["t_end_ns"] - hung_up["t_first_sentence_ns"]) / 1e6
    assert heard_ms.between(20.0, 195.0).all()
    assert block["errors"] == 0
    assert block["tokens_counted_here"] == 0
    steady = kept[kept["phase"] == "steady"]
    assert block["requests"] == len(steady) > 0
    # No pause after a hang-up: the next turn begins when it is due.
    late_ms = (kept["t_send_ns"] - kept["t_sched_ns"]) / 1e6
    assert late_ms.median() < 100.0


def test_soak_is_sessions_for_long(tmp_path: Path, talkative_url: str) -> None:
    options = {**QUICK, "barge_in_share": 0.0, "turns": [2, 2]}
    block = drive(tmp_path, talkative_url, "soak", sessions=options)
    kept = records(tmp_path)
    assert set(kept["outcome"]) == {"success"}
    assert kept["session_id"].nunique() > 2, "devices leave, others take their place"
    assert (kept.groupby("session_id")["turn"].max() <= 1).all()
    assert block["errors"] == 0
    assert block["scheduled"] is None


def test_a_burst_sends_all_it_planned_at_one_moment(tmp_path: Path, talkative_url: str) -> None:
    options = {"period_seconds": 0.5}
    block = drive(tmp_path, talkative_url, "burst", burst=options, steps=[4], step_seconds=1.5)
    steady = records(tmp_path).query("phase == 'steady'")
    assert (block["scheduled"], block["dropped"], len(steady)) == (12, 0, 12)
    assert steady["t_sched_ns"].nunique() == 3
    assert set(steady.groupby("t_sched_ns").size()) == {4}


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"sessions": {"turns": [8, 3]}}, "sessions.turns"),
        ({"sessions": {"think_seconds": [1.0, -1.0]}}, "sessions.think_seconds"),
        ({"burst": {"period_seconds": 1.0, "spread_ms": 501.0}}, "burst"),
    ],
)
def test_a_plan_with_options_that_make_no_sense_is_refused(
    options: dict[str, Any], names: str
) -> None:
    with pytest.raises(UserError, match=names):
        RunPlan.parse(json.dumps(plan_of(**options)), "plan.json")
