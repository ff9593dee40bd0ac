"""Replay in virtual time, its prompts, and the trace that the documentation shows how to make."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firsttoken.core.personas import Persona
from firsttoken.core.trace import Trace, read_trace
from firsttoken.load.corpus import Corpus, Utterance, read_corpus
from firsttoken.load.prompts import CHARACTERS_PER_TOKEN, CHAT_MARKS, Prompts
from firsttoken.load.schedules.options import ReplayOptions
from firsttoken.load.schedules.replay import Replay
from firsttoken.load.schedules.turn import WHOLE, Share
from tests.load.virtual import play, window_of

ROOT = Path(__file__).parents[2]
CORPUS = read_corpus(ROOT / "loadtests" / "corpora")
ROWS = """timestamp,session,prompt_tokens,output_tokens
10,kitchen,60,20
11,hall,55,12
12,kitchen,102,25
12.5,kitchen,150,5
30,,40,7
"""


@pytest.fixture
def trace(tmp_path: Path) -> Trace:
    file = tmp_path / "trace.csv"
    file.write_text(ROWS)
    return read_trace(file)


def replay(
    trace: Trace, speed: float = 1.0, seconds: float = 100.0, share: Share = WHOLE
) -> Replay:
    prompts = Prompts(CORPUS, 1, max(trace.prompt_tokens))
    options = ReplayOptions(file=Path("trace.csv"), speed=speed)
    return Replay(trace, prompts, options, seconds=seconds, share=share)


def test_rows_are_sent_at_the_times_of_the_trace_with_its_lengths(trace: Trace) -> None:
    schedule = replay(trace)
    sent = play(schedule, 8, window_of(0, 20))
    assert [each.sent_ns / 1e9 for each in sent] == [0, 1, 2, 2.5, 20]
    assert [each.turn.max_tokens for each in sent] == [20, 12, 25, 5, 7]
    assert [(each.turn.session, each.turn.number) for each in sent] == [
        (0, 0),
        (1, 0),
        (0, 1),
        (0, 2),
        (2, 0),
    ]
    assert schedule.starts(window_of(0, 20)) == (5, 0, 0)


def test_speed_and_length_of_the_block(trace: Trace) -> None:
    sent = play(replay(trace, speed=4, seconds=1), 8, window_of(0, 1))
    assert [each.sent_ns / 1e9 for each in sent] == [0, 0.25, 0.5, 0.625]


def test_a_turn_waits_for_the_one_before_and_keeps_its_time(trace: Trace) -> None:
    schedule = replay(trace)
    sent = play(schedule, 8, window_of(0, 20), service_s=lambda _: 3.0)
    times = [(each.turn.session, each.due_ns / 1e9, each.sent_ns / 1e9) for each in sent]
    assert times == [(0, 0, 0), (1, 1, 1), (0, 2, 3), (0, 2.5, 6), (2, 20, 20)]
    assert schedule.starts(window_of(0, 20)) == (5, 2, 0)


def test_a_session_stays_with_one_of_several_load_generators(trace: Trace) -> None:
    parts = [play(replay(trace, share=Share(index, 2)), 8, window_of(0, 20)) for index in (0, 1)]
    assert [{each.turn.session for each in part} for part in parts] == [{0, 2}, {1}]


def text_of(messages: list[dict[str, str]]) -> str:
    return "".join(message["content"] for message in messages)


@given(session=st.integers(0, 10**6), number=st.integers(0, 10**6), tokens=st.integers(0, 5000))
def test_a_prompt_is_about_as_long_as_asked(session: int, number: int, tokens: int) -> None:
    text = text_of(Prompts(CORPUS, 1, 5000).messages(session, number, tokens))
    estimate = len(text) / CHARACTERS_PER_TOKEN["en"] + CHAT_MARKS
    assert estimate == pytest.approx(tokens, abs=1.5) or (tokens < 30 and estimate < 30)


def test_turns_of_a_session_share_their_beginning_and_sessions_share_none() -> None:
    prompts = Prompts(CORPUS, 1, 1000)
    short, long = prompts.messages(7, 1, 200), prompts.messages(7, 2, 900)
    assert long[0]["content"].startswith(short[0]["content"])
    assert short[1] != long[1]
    other = prompts.messages(8, 3, 900)[0]["content"]
    assert long[0]["content"][:9] == "session 7"
    assert other[:9] == "session 8"


def test_a_corpus_in_another_language_serves_too() -> None:
    corpus = Corpus((Persona("p", "zh", "s"),), (Utterance("u", "zh", "chat", "今天几号"),))
    text = text_of(Prompts(corpus, 1, 100).messages(0, 0, 100))
    assert "今天几号" in text
    assert len(text) == pytest.approx((100 - CHAT_MARKS) * CHARACTERS_PER_TOKEN["zh"], abs=1)


def test_the_documented_lines_make_a_trace_of_burstgpt(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "load-tests.md").read_text(encoding="utf-8")
    (code,) = [part.split("```")[0] for part in page.split("```python\n")[1:]]
    (tmp_path / "BurstGPT_1.csv").write_text(
        "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
        "5,ChatGPT,472,18,490,Conversation log\n"
        "9,ChatGPT,300,0,300,API log\n"
        "45,GPT-4,1087,230,1317,API log\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, timeout=60, check=True)
    found = read_trace(tmp_path / "trace.csv")
    assert list(found.offsets_s) == [0, 40]
    assert list(found.prompt_tokens) == [472, 1087]
    assert list(found.output_tokens) == [18, 230]
    assert list(found.sessions) == [0, 1]


def test_the_documented_lines_keep_sessions_where_there_are_any(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "load-tests.md").read_text(encoding="utf-8")
    (code,) = [part.split("```")[0] for part in page.split("```python\n")[1:]]
    (tmp_path / "BurstGPT_1.csv").write_text(
        "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,"
        "Log Type\n"
        "5,12,1.0,ChatGPT,472,18,490,Conversation log\n"
        "7,,1.0,ChatGPT,300,8,308,API log\n"
        "45,12,1.0,ChatGPT,1087,230,1317,Conversation log\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, timeout=60, check=True)
    assert list(read_trace(tmp_path / "trace.csv").sessions) == [0, 1, 0]
