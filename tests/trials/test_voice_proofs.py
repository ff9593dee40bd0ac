"""The pages of the voice proofs, from rows written by hand."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pyarrow as pa
import pytest

import loadtests
from firsttoken.core import slo as slo_room
from firsttoken.core.errors import UserError
from firsttoken.core.records import BlockResult
from firsttoken.core.voice_texts import read_voice_texts
from firsttoken.trials import prefix_proof, prove, voice_page
from firsttoken.trials.asking import ask
from firsttoken.trials.direct_answer_proof import ARMS, DirectAnswer, Found, Spoken
from firsttoken.trials.direct_answer_proof import page as direct_answer_page
from firsttoken.trials.direct_answer_proof import rows as direct_answer_rows
from firsttoken.trials.prefix_proof import COMPACT, FULL, VOICE, PrefixPlan, TurnSeen
from firsttoken.trials.progress import Progress
from firsttoken.trials.voice_proof import AT_ENGINE, CLOUD_FIRST, WITHOUT, VoiceLoad


def found() -> Found:
    speeds = dict(zip(ARMS, (200.0, 400.0, 900.0), strict=True))
    spoken = {
        arm: [
            [Spoken(ms + 10 * number, ms + 500, as_text=arm == ARMS[0]) for _ in range(3)]
            for number in range(4)
        ]
        for arm, ms in speeds.items()
    }
    return Found(spoken, 80.0, 55.0, 260.0, 21, 42.0, 230.0)


def test_the_three_shapes_stand_side_by_side() -> None:
    page = direct_answer_page(DirectAnswer(utterances=4), found())
    assert "| unwrapped | 12 | content | 215 | 230 | 1 | 700 |" in page
    assert "| streamed | 12 | argument | 415 | 430 | 1.95 [" in page
    assert "| one-shot | 12 | argument | 915 |" in page
    assert "**scripted**" in page


def test_what_was_said_often_is_worth_one_utterance() -> None:
    """Utterances differ and their rounds do not: the interval is as wide as they differ."""
    times = ([100.0] * 4, [100.0, 150.0, 300.0, 400.0], [100.0] * 4)
    spoken = {
        arm: [[Spoken(ms, ms, as_text=True)] * 20 for ms in each]
        for arm, each in zip(ARMS, times, strict=True)
    }
    streamed = direct_answer_rows(Found(spoken, 80.0, 55.0, 260.0, 21, 42.0, 230.0))[1][5]
    ratio, low, high = map(float, re.findall(r"[0-9.]+", streamed))
    assert ratio == 1.5
    assert low < 1.05
    assert high > 3.0


TURNS = [WITHOUT, CLOUD_FIRST, CLOUD_FIRST, WITHOUT] * 2 + [AT_ENGINE] * 4


def block(number: int, arm: str) -> BlockResult:
    values: dict[str, Any] = {
        name: 0 for name in BlockResult.__dataclass_fields__ if name != "ended_by"
    }
    values |= {"number": number, "arm": arm, "steady_ns": 0, "stop_ns": 10**10, "ended_by": None}
    return BlockResult(**values)


def page_of(
    monkeypatch: pytest.MonkeyPatch,
    *,
    tier: str = "local",
    factor: float = 1.0,
    ended_s: float = 2.0,
) -> str:
    rows: list[tuple[Any, ...]] = []
    for number, arm in enumerate(TURNS):
        for index in range(30):
            ms = (200.0 + index) * (factor if arm == CLOUD_FIRST else 1.0)
            rows.append((arm, number, "steady", ms, 2000.0, "success", tier, 300, 200, 2.0))
        if arm != WITHOUT:
            by = "remote" if arm == CLOUD_FIRST else "local"
            rows.append((arm, number, "aside", 9.0, 4000.0, "success", by, 900, 0, ended_s))
            rows.append((arm, number, "aside", None, 1.0, "cancelled", None, None, None, 2.0))
    names = ["arm", "block", "phase", "ttft_ms", "e2e_ms", "outcome", "tier"]
    frame = pd.DataFrame(rows, columns=[*names, "prompt_tokens", "cached_tokens", "t_end_ns"])
    frame["t_send_ns"], frame["t_end_ns"] = 0, (frame["t_end_ns"] * 1e9).astype("int64")
    monkeypatch.setattr(voice_page, "read_table", lambda *_: pa.Table.from_pandas(frame))
    blocks = [block(n, arm) for n, arm in enumerate(TURNS)]
    return voice_page.page(VoiceLoad(), Path(), blocks, 400.0)


@pytest.mark.parametrize(
    ("tier", "factor", "says"),
    [("local", 1.0, ": kept."), ("local", 2.0, "**not kept**"), ("remote", 1.0, "not judged, for")],
)
def test_each_bound_is_that_of_the_interval_and_the_engine_s_own_chats(
    monkeypatch: pytest.MonkeyPatch, tier: str, factor: float, says: str
) -> None:
    page = page_of(monkeypatch, tier=tier, factor=factor)
    (line,) = [line for line in page.splitlines() if line.startswith("Chat TTFT p95")]
    assert f"with summaries, cloud first **{factor:.3f}** [{factor:.3f}, " in line
    assert says in line
    assert "| without summaries | 120 | 0 |" in page
    tokens = "300 / 300 | 67% | 6.0 | 100%" if tier == "local" else "- | 0% | 6.0 | 0%"
    assert f"| {tokens} | 8 | 4 | 0 | 4 | 4.0 |" in page
    assert f"| {tokens} | 8 | 4 | 4 | 4 | 4.0 |" in page
    assert f"| {tokens} | 0 | 0 | 0 | 0 | - |" in page


def test_the_page_says_what_was_exercised(monkeypatch: pytest.MonkeyPatch) -> None:
    page = page_of(monkeypatch)
    assert "4 of 8 summaries were written by the cloud, 0 by the engine" in page
    assert "At the engine 4 of 8 summaries were whole before their block ended" in page
    late = page_of(monkeypatch, ended_s=11.0)
    assert "none of 8 summaries was whole before its block ended: they waited" in late
    assert "| 8 | 4 | 4 | 0 | 4.0 |" in late


def turns(delay_ms: float, reused: float = 0.9951, conversations: int = 12) -> list[TurnSeen]:
    return [
        TurnSeen(number, delay_ms if number else 9000.0, 3000 + number, 2990, reused)
        for _ in range(conversations)
        for number in range(9)
    ]


def test_prefix_rows_tell_the_bound_of_the_p95_where_there_are_enough_turns() -> None:
    seen = {prefix_proof.WITHOUT: turns(9000.0, 0.4, 1), FULL: turns(431.0), COMPACT: turns(390.0)}
    without, full, compact = prefix_proof.rows(seen)
    assert without == (
        *("without", "1", "9000", "8", "3001-3008", "14", "40.00% / 40.00%", "9000", "-", "9000"),
    )
    bounded = "431.0 ms (431.0..431.0)"
    assert full[3:] == ("96", "3001-3008", "14", "99.51% / 99.51%", "431", bounded, "431")
    assert compact[0] == "compact"
    page = prefix_proof.page(PrefixPlan(), seen)
    assert f"concurrency 1: {bounded}, wanted at most 500 ms: kept." in page
    assert "concurrency 1: 390.0 ms (390.0..390.0), wanted at most 400 ms: kept." in page
    assert "are the worst case" in page
    assert "have too few turns for one" in page


@pytest.mark.parametrize(
    ("seen", "says"),
    [
        (turns(401.0), "wanted at most 400 ms: **not kept**"),
        (turns(390.0, conversations=2), "wanted at most 400 ms: **not shown**"),
        (turns(390.0, 0.98996), "lowest reuse 98.996%, wanted at least 99%: **not kept**"),
        (turns(390.0, 0.99), "lowest reuse 99.000%, wanted at least 99%: kept"),
    ],
)
def test_prefix_is_judged_by_the_bound_and_the_lowest_reuse_unrounded(
    seen: list[TurnSeen], says: str
) -> None:
    assert says in prefix_proof.judged(COMPACT, seen)


def test_each_pattern_of_the_compact_arm_removes_something() -> None:
    texts = read_voice_texts(Path(loadtests.__file__).with_name("corpora"))
    prompts = [texts.system(persona, "10:32") for persona in texts.personas]
    patterns = VOICE[COMPACT]["compact"]["remove"]
    assert patterns
    for pattern in patterns:
        assert all(re.search(pattern, prompt) for prompt in prompts), pattern


@pytest.mark.parametrize(
    ("status", "headers", "body", "says"),
    [
        (200, {"x-firsttoken-tier": "remote"}, b"data: [DONE]\n\n", "by tier remote"),
        (503, {}, b"", "did not answer"),
        (200, {}, b'data: {"error": {"message": "no room"}}\n\n', "the reply failed"),
    ],
)
def test_a_reply_of_somebody_else_is_an_error_of_the_proof(
    status: int, headers: dict[str, str], body: bytes, says: str
) -> None:
    reply = httpx.Response(status, headers=headers, stream=httpx.ByteStream(body))
    transport = httpx.MockTransport(lambda _: reply)
    with httpx.Client(transport=transport) as http, pytest.raises(UserError, match=says):
        ask(http, "http://router", {})


def test_without_the_official_client_only_its_own_proof_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    for name in ("fault_matrix", "voice_device"):
        monkeypatch.delitem(sys.modules, f"firsttoken.trials.{name}", raising=False)
    with pytest.raises(UserError, match="needs the package openai"):
        prove.prove_fault_matrix(slo_room.load(None), Progress())
